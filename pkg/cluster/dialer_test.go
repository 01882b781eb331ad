package cluster

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// machineAddress is an address of this machine that is not loopback.
func machineAddress(t *testing.T) netip.Addr {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr()
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback")
	return netip.Addr{}
}

// names is a DNS server, with the addresses of each name.
type names map[string]func() []netip.Addr

func (n names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for buffer := make([]byte, 2048); ; {
			size, client, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := n.answer(buffer[:size]); err == nil {
				_, _ = server.WriteTo(answer, client)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func (n names) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	asked := m.Questions[0]
	addresses, known := n[strings.TrimSuffix(asked.Name.String(), ".")]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	for _, a := range addresses() {
		header := dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class}
		switch {
		case a.Is4() && asked.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && asked.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

func always(texts ...string) func() []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return func() []netip.Addr { return list }
}

// dialerFor restricts with a list, on a host whose API server is at addresses.
func dialerFor(t *testing.T, resolver *net.Resolver, host []netip.Addr, entries ...string) *Dialer {
	t.Helper()
	list, err := endpoint.ParseAllowList(entries)
	if err != nil {
		t.Fatal(err)
	}
	return &Dialer{
		Allow: func() endpoint.AllowList { return list }, resolver: resolver,
		Host: &HostAddresses{hosts: []string{"host"}, lookup: func(context.Context, string, string) ([]netip.Addr, error) { return host, nil }},
	}
}

// listener counts the connections to a port of this machine, at every address of it.
type listener struct {
	port     string
	accepted atomic.Int32
}

func listen(t *testing.T) *listener {
	t.Helper()
	all, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() })
	l := &listener{}
	_, l.port, _ = net.SplitHostPort(all.Addr().String())
	go func() {
		for {
			conn, err := all.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			_ = conn.Close()
		}
	}()
	return l
}

// What a name resolves to is judged when it is dialled, each address by itself, and nothing is sent to one that is refused.
func TestDialerDial(t *testing.T) {
	t.Parallel()
	machine := machineAddress(t).String()
	resolver := names{
		"good.example.com": always(machine), "loopback.example.com": always("127.0.0.1"), "loopback6.example.com": always("::1"),
		"mapped.example.com": always("::ffff:127.0.0.1"), "mixed.example.com": always("127.0.0.1", machine), "metadata.example.com": always("169.254.169.254", "fd00:ec2::254"),
	}.resolver(t)
	const never = ", which discovery never allows"
	for name, c := range map[string]struct {
		host    string
		entries []string
		own     []netip.Addr
		want    string
	}{
		"listed":             {host: "good.example.com", entries: []string{"good.example.com"}},
		"by its address":     {host: "good.example.com", entries: []string{machine}},
		"an address":         {host: machine, entries: []string{machine + "/32"}},
		"any":                {host: "good.example.com", entries: []string{"*"}},
		"not listed":         {host: "good.example.com", entries: []string{"other.example.com"}, want: `"good.example.com" is not in spec.discovery.endpoints`},
		"another range":      {host: "good.example.com", entries: []string{"198.51.100.0/24"}, want: `"good.example.com" resolves to ` + machine + `, which is not in spec.discovery.endpoints`},
		"listed, loopback":   {host: "loopback.example.com", entries: []string{".example.com"}, want: `"loopback.example.com" resolves to 127.0.0.1, which is a loopback address` + never},
		"any, loopback":      {host: "loopback6.example.com", entries: []string{"*"}, want: `"loopback6.example.com" resolves to ::1, which is a loopback address` + never},
		"mapped":             {host: "mapped.example.com", entries: []string{"*"}, want: `"mapped.example.com" resolves to 127.0.0.1, which is a loopback address` + never},
		"localhost":          {host: "localhost", entries: []string{"*"}, want: `"localhost" is a loopback address` + never},
		"loopback address":   {host: "127.0.0.1", entries: []string{"*"}, want: `"127.0.0.1" is a loopback address` + never},
		"short address":      {host: "127.1", entries: []string{"*"}, want: `"127.1" is neither a DNS name nor an IP address`},
		"one of two":         {host: "mixed.example.com", entries: []string{".example.com"}},
		"the host":           {host: "good.example.com", entries: []string{"*"}, own: always(machine)(), want: `"good.example.com" resolves to ` + machine + `, which is an address of the host's own API server` + never},
		"the host's address": {host: machine, entries: []string{machine}, own: always("::ffff:" + machine)(), want: `"` + machine + `" is an address of the host's own API server` + never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t)
			conn, err := dialerFor(t, resolver, c.own, c.entries...).DialContext(t.Context(), "tcp", net.JoinHostPort(c.host, l.port))
			if conn != nil {
				_, _ = bufio.NewReader(conn).ReadByte() // until it is accepted and closed
				_ = conn.Close()
			}
			got := ""
			if refused, ok := errors.AsType[*endpoint.NotAllowed](err); ok {
				got = refused.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			if accepted := l.accepted.Load(); got != c.want || (accepted > 0) != (c.want == "") {
				t.Errorf("got %q after %d connections, want %q", got, accepted, c.want)
			}
		})
	}
	// Metadata services are asked nothing, by any list.
	for _, entry := range []string{"*", ".example.com", "0.0.0.0/0"} {
		_, err := dialerFor(t, resolver, nil, entry).DialContext(t.Context(), "tcp", "metadata.example.com:80")
		if _, ok := errors.AsType[*endpoint.NotAllowed](err); !ok {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// A name that leads elsewhere after the cluster was taken, and a list that changes, count at the next dial.
func TestDialerNextDial(t *testing.T) {
	t.Parallel()
	machine, l := machineAddress(t), listen(t)
	to := []netip.Addr{machine}
	dialer := dialerFor(t, names{"api.example.com": func() []netip.Addr { return to }}.resolver(t), nil, "api.example.com")
	dial := func() error {
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("api.example.com", l.port))
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	refused := func() bool {
		_, ok := errors.AsType[*endpoint.NotAllowed](dial())
		return ok
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	to = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if !refused() {
		t.Error("a name that was rebound to loopback is dialled")
	}
	to = []netip.Addr{machine}
	if err := dial(); err != nil {
		t.Error(err)
	}
	dialer.Allow = func() endpoint.AllowList { return endpoint.AllowList{} }
	if !refused() {
		t.Error("what is no longer listed is dialled")
	}
}

// apiServer answers everything with an object, over TLS, at an address that is not loopback.
func apiServer(t *testing.T, handler http.Handler, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	var err error
	if server.Listener, err = net.Listen("tcp", net.JoinHostPort(machineAddress(t).String(), "0")); err != nil {
		t.Fatal(err)
	}
	start(server)
	t.Cleanup(server.Close)
	return server
}

// tunnel is a proxy that leads each tunnel to one server, and counts them.
func tunnel(to *httptest.Server, count *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to.Listener.Addr().String())
		if err != nil || r.Method != http.MethodConnect {
			return
		}
		defer server.Close()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(server, client) }()
		_, _ = io.Copy(client, server)
	})
}

// A restricted connection is a connection; what the dialer refuses is an error of its own, and no request is sent.
func TestDialerApply(t *testing.T) {
	t.Parallel()
	var requests, tunnels atomic.Int32
	server := apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"u"}}`)
	}), (*httptest.Server).StartTLS)
	proxy := apiServer(t, tunnel(server, &tunnels), (*httptest.Server).Start)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	machine := machineAddress(t).String()
	for name, c := range map[string]struct {
		server, proxy string
		entries       []string
		want          string
		tunnels       int32
	}{
		"allowed":             {server: server.URL, entries: []string{machine}},
		"refused":             {server: server.URL, entries: []string{"198.51.100.0/24"}, want: `member: "` + machine + `" is not in spec.discovery.endpoints`},
		"through a proxy":     {server: "https://api.example.com:" + port, proxy: proxy.URL, entries: []string{"api.example.com", machine}, tunnels: 1},
		"a name by a range":   {server: "https://api.example.com:" + port, proxy: proxy.URL, entries: []string{machine}, want: `member: "api.example.com" is not in spec.discovery.endpoints by its name, which is what counts where a proxy resolves it`},
		"proxy elsewhere":     {server: "https://api.example.com:" + port, proxy: proxy.URL, entries: []string{"api.example.com"}, want: `member: "` + machine + `" is not in spec.discovery.endpoints`},
		"loopback by a proxy": {server: "https://127.0.0.1:" + port, proxy: proxy.URL, entries: []string{"*"}, want: `member: "127.0.0.1" is a loopback address, which discovery never allows`},
	} {
		requests.Store(0)
		tunnels.Store(0)
		config := &rest.Config{Host: c.server, BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
		if u, err := url.Parse(c.proxy); err == nil && c.proxy != "" {
			config.Proxy = http.ProxyURL(u)
		}
		dialerFor(t, nil, nil, c.entries...).Apply(config)
		conn, err := Connect(Member, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.Endpoint().ProxyURL; c.want == "" && got != c.proxy {
			t.Errorf("%s: the proxy is %q", name, got)
		}
		_, err = conn.Get(t.Context(), Ref{Resource: Namespaces, Name: "kube-system"})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want || (requests.Load() > 0) != (c.want == "") || tunnels.Load() != c.tunnels || err != nil && FaultOf(err) != FaultNotAllowed {
			t.Errorf("%s: got %q after %d requests and %d tunnels, want %q", name, got, requests.Load(), tunnels.Load(), c.want)
		}
		conn.CloseIdle()
	}
}

// A proxy of the environment is used where an entry names it, and only then.
func TestDialerEnvironment(t *testing.T) {
	t.Parallel()
	environment := http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example.com:3128"})
	for name, c := range map[string]struct {
		entries []string
		used    bool
		refused bool
	}{
		"listed":                {entries: []string{"api.example.com", "proxy.example.com"}, used: true},
		"its domain":            {entries: []string{".example.com"}, used: true},
		"not listed":            {entries: []string{"api.example.com"}},
		"any":                   {entries: []string{"*"}},
		"any, and listed":       {entries: []string{"*", "proxy.example.com"}, used: true},
		"listed, server is not": {entries: []string{"10.0.0.0/8", "proxy.example.com"}, refused: true},
	} {
		r := &http.Request{URL: &url.URL{Scheme: "https", Host: "api.example.com:6443", Path: "/api"}}
		proxy, err := dialerFor(t, nil, nil, c.entries...).proxy(r, nil, environment)
		if (err != nil) != c.refused || err == nil && (proxy != nil) != c.used {
			t.Errorf("%s: proxy %v, %v", name, proxy, err)
		}
		// It is no part of the endpoint that a member has: others do not share the environment.
		r = r.WithContext(context.WithValue(t.Context(), configuredOnly{}, true))
		if proxy, err := dialerFor(t, nil, nil, c.entries...).proxy(r, nil, environment); err != nil || proxy != nil {
			t.Errorf("%s: the endpoint has proxy %v, %v", name, proxy, err)
		}
	}
}

// The host's addresses are looked up again, kept where that fails, and not guessed where nothing is known.
func TestHostAddresses(t *testing.T) {
	t.Parallel()
	found, failed, lookups := always("203.0.113.5"), error(nil), 0
	h := &HostAddresses{hosts: []string{"api.host.example.com", "10.96.0.1"}, lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
		lookups++
		if a, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{a}, nil
		}
		return found(), failed
	}}
	failed = errors.New("no such host")
	const want = "look up the addresses of the host's own API server, where no discovered cluster may be: no such host"
	if _, err := h.Get(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := (&Dialer{Allow: dialerFor(t, nil, nil, "*").Allow, Host: h}).DialContext(t.Context(), "tcp", "192.0.2.1:443"); err == nil || err.Error() != want {
		t.Errorf("a dial while the host is not known: %v", err)
	}
	failed = nil
	expect := func(texts ...string) {
		t.Helper()
		got, err := h.Get(t.Context())
		if err != nil || len(got) != len(texts) || got[0].String() != texts[0] || got[1].String() != texts[1] {
			t.Errorf("got %v, %v; want %v", got, err, texts)
		}
	}
	expect("203.0.113.5", "10.96.0.1")
	found, lookups = always("203.0.113.6"), 0
	if expect("203.0.113.5", "10.96.0.1"); lookups != 0 {
		t.Error("it is looked up each time")
	}
	old := func() { h.at = time.Now().Add(-2 * hostAddressesAge) }
	old()
	expect("203.0.113.6", "10.96.0.1")
	failed = errors.New("no such host")
	old()
	expect("203.0.113.6", "10.96.0.1")
}

func TestNewHostAddresses(t *testing.T) {
	t.Setenv(serviceHost, "10.96.0.1")
	h, err := NewHostAddresses(&rest.Config{Host: "https://127.0.0.1:6443"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Get(t.Context())
	if err != nil || len(got) != 2 || got[0].String() != "127.0.0.1" || got[1].String() != "10.96.0.1" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := NewHostAddresses(&rest.Config{Host: "https://a b"}); err == nil {
		t.Error("no URL is taken")
	}
}
