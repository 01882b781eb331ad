//go:build unix

package env

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// port is a TCP port on loopback that belongs to us until it is closed.
//
// A port that is found free and then handed to a server can be taken in between, which with several test
// binaries on one machine does happen. So the port stays bound, without listening, for as long as its server
// may want it; the server binds it too, because both set SO_REUSEPORT. The kernel gives the port to nobody
// else, and a server that is started again keeps its address.
type port struct {
	number int
	fd     int
}

func reservePort() (*port, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	p := &port{fd: fd}
	if err := p.bind(); err != nil {
		p.close()
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	return p, nil
}

func (p *port) bind() error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(p.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	address, err := unix.Getsockname(p.fd)
	if err != nil {
		return err
	}
	p.number = address.(*unix.SockaddrInet4).Port
	return nil
}

func (p *port) close() {
	if p != nil {
		unix.Close(p.fd)
	}
}
