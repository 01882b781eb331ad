//go:build unix

package env

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// port is a TCP port on loopback that is reserved until it is closed.
//
// A port that is found free and then given to a server can be taken in between, which with several test
// binaries on one machine does happen. So the port stays bound, without listening, for as long as its server
// may want it; the server binds it too, because both set SO_REUSEPORT. A server that is started again keeps its
// address.
type port struct {
	number int
	fd     int
}

func reservePort() (*port, error) {
	syscall.ForkLock.RLock() // no child that starts meanwhile inherits it
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var address unix.Sockaddr
	if err == nil {
		address, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return &port{address.(*unix.SockaddrInet4).Port, fd}, nil
}

func (p *port) close() {
	if p != nil {
		unix.Close(p.fd)
	}
}
