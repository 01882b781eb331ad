//go:build unix

package env

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
)

// reserved is an address of TEST-NET-1 (RFC 5737), which no network routes.
const reserved = "192.0.2.1"

// outsideAddress is an address of this machine that is not a loopback one: reserved, which is given to the loopback interface where the
// process may do that, so that no other machine reaches what listens there, and else that of an interface.
var outsideAddress = sync.OnceValues(func() (string, error) {
	if addReserved() == nil {
		return reserved, nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address but those of loopback, and this process may not give it one")
})

// ListenOutside listens on a free port of an address that is not a loopback one.
func ListenOutside() (net.Listener, error) {
	address, err := outsideAddress()
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(address, "0"))
}

// Outside forwards connections to a server on loopback from an address that is not a loopback one, where url leads to, until the end is called.
func Outside(server string) (url string, end func(), err error) {
	listener, err := ListenOutside()
	if err != nil {
		return "", nil, err
	}
	go forward(listener, func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(server, "https://")) })
	return "https://" + listener.Addr().String(), func() { _ = listener.Close() }, nil
}

// forward hands each connection on until the listener is closed.
func forward(listener net.Listener, dial func() (net.Conn, error)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := dial()
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}

// Address is one on loopback that leads to one server, and later to another, as the address of a balancer or of a name does.
type Address struct {
	// URL is what clients connect to.
	URL string

	listener net.Listener
	mu       sync.Mutex
	server   string
	open     []net.Conn
}

// NewAddress is an address that leads to a server.
func NewAddress(server string) (*Address, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Address{URL: "https://" + listener.Addr().String(), listener: listener, server: server}
	go forward(listener, a.dial)
	return a, nil
}

func (a *Address) dial() (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	server, err := net.Dial("tcp", strings.TrimPrefix(a.server, "https://"))
	if err == nil {
		a.open = append(a.open, server)
	}
	return server, err
}

// Lead has the address lead to another server. It ends the connections to the former one.
func (a *Address) Lead(server string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.open {
		_ = c.Close()
	}
	a.server, a.open = server, nil
}

// Close ends the address; connections stay.
func (a *Address) Close() { _ = a.listener.Close() }

// loopbackInterface is the name of the loopback interface of this machine; empty where none is found.
func loopbackInterface() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 && strings.HasPrefix(i.Name, "lo") {
			return i.Name
		}
	}
	return ""
}
