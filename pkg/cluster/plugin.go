package cluster

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

const (
	// pluginSilence is how long what a credential plugin prints is kept for the error that it may end with. One that takes
	// longer may wait for a person, who must read it.
	pluginSilence = 5 * time.Second
	// maxPluginWords is how much of it an error has.
	maxPluginWords = 1 << 10
)

// pluginOutput is the standard error of a credential plugin where that is no terminal: a log that has what the plugins of many
// contexts print does not say which of them it is about, and an error does.
type pluginOutput struct {
	out    *os.File
	writer *os.File
	// ended has a value when the reader has come to the end of what was printed.
	ended chan struct{}

	mu    sync.Mutex
	words []byte
	timer *time.Timer
	// live says that what is printed is passed on at once.
	live bool
}

// newPluginOutput is nil where a plugin writes to the standard error of this process.
func newPluginOutput() *pluginOutput {
	out := os.Stderr
	if term.IsTerminal(int(out.Fd())) {
		return nil
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil
	}
	p := &pluginOutput{out: out, writer: writer, ended: make(chan struct{}, 1), live: true}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := reader.Read(buffer)
			if err != nil {
				return
			}
			for i, part := range bytes.Split(buffer[:n], []byte{0}) {
				if i > 0 {
					select {
					case p.ended <- struct{}{}:
					default: // a plugin that prints zeros is read to some end
					}
				}
				p.read(part)
			}
		}
	}()
	return p
}

func (p *pluginOutput) read(part []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		_, _ = p.out.Write(part)
	}
	p.words = append(p.words, part[:min(len(part), maxPluginWords-len(p.words))]...)
}

// begin keeps what is printed from now on.
func (p *pluginOutput) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.words, p.live = nil, false
	p.timer = time.AfterFunc(pluginSilence, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pass()
	})
}

// pass prints what was kept, and what follows. It is called with the lock held.
func (p *pluginOutput) pass() {
	if !p.live {
		_, _ = p.out.Write(p.words)
		p.live = true
	}
}

// end returns what was printed. Where the plugin did not fail, it is passed on.
func (p *pluginOutput) end(failed bool) string {
	p.timer.Stop()
	select {
	case <-p.ended:
	default:
	}
	if _, err := p.writer.Write([]byte{0}); err == nil { // what was printed before is read when this is
		<-p.ended
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !failed {
		p.pass()
	}
	p.live = true
	return strings.TrimSpace(string(p.words))
}

// transportConfig is that of a configuration. client-go makes credential plugins there, with the standard error that this
// process has at that moment, and no other.
func (l *sharedLogin) transportConfig(config *rest.Config) (*transport.Config, error) {
	if l == nil || l.output == nil {
		return config.TransportConfig()
	}
	making.Lock()
	defer making.Unlock()
	os.Stderr = l.output.writer
	defer func() { os.Stderr = l.output.out }()
	return config.TransportConfig()
}
