//go:build unix

package env

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReservePort(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 200 {
		p, err := reservePort()
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		if seen[p.number] {
			t.Fatalf("port %d was given out twice", p.number)
		}
		seen[p.number] = true
	}
}

func TestReservedPort(t *testing.T) {
	t.Parallel()
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", p.number)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("somebody answers on a port that is only reserved")
	}
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
		t.Error("anybody can listen on the reserved port")
	}

	// Our servers share the port; twice, as one that is started again does.
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var fault error
		err := c.Control(func(fd uintptr) { fault = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, fault)
	}}
	for range 2 {
		l, err := share.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("a server of ours cannot listen: %v", err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("a server of ours is not reached: %v", err)
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
