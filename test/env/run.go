//go:build unix

package env

// Program is a program to run beside the clusters.
type Program struct {
	Path  string
	Flags []string
	// Log is the file that gets its output.
	Log string
}

// Process is a running Program. It ends with this process at the latest, however that ends.
type Process struct{ p *process }

// Run starts a program as the servers of a Fleet are started.
func Run(program Program) (*Process, error) {
	p, err := command{path: program.Path, flags: program.Flags, log: program.Log}.start()
	if err != nil {
		return nil, err
	}
	return &Process{p}, nil
}

// End asks the program to end, kills it when it does not, and returns when it is gone.
func (p *Process) End() { p.p.end(grace) }

// Kill ends the program as a crash does, and returns when it is gone.
func (p *Process) Kill() {
	p.p.stop.Do(func() { p.p.pipe.Close() })
	<-p.p.done
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.p.done }
