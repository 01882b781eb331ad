//go:build unix

package env

import "time"

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

// End asks the program to end (SIGTERM), kills it when it has not after ten seconds, and returns when it is gone.
func (p *Process) End() {
	p.p.ask(10 * time.Second)
	p.p.end()
}

// Kill ends the program as a crash does, and returns when it is gone.
func (p *Process) Kill() { p.p.end() }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.p.done }
