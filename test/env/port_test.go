//go:build unix

package env

import (
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReservedPort(t *testing.T) {
	t.Parallel()
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", p.number)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("there is an answer on a port that is only reserved")
	}
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
		t.Error("anybody can listen on the reserved port")
	}
	// A server that is started shares it; twice, as one that is started again does.
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	for range 2 {
		l, err := share.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("a server that shares the port cannot listen: %v", err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("a server that shares the port is not reached: %v", err)
		}
		conn.Close()
		l.Close()
	}
	// Control: it was the reservation that kept others away.
	p.close()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("a port that is given back cannot be used: %v", err)
	}
	l.Close()
}
