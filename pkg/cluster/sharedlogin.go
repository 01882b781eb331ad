package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A LoginError is a credential that could not be had: a plugin failed, or a provider did not renew a token. The request was
// not sent.
type LoginError struct {
	Err error
	// Words are what a plugin printed; empty where it printed nothing, or to a terminal.
	Words string
}

func (e *LoginError) Error() string {
	if e.Words == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Words
}

func (e *LoginError) Unwrap() error { return e.Err }

// loginPause is how long a login that failed is not tried again: requests that are made at once, to one cluster or to many
// with one user, would each ask the person, or wait, anew.
const loginPause = 30 * time.Second

// sharedLogin is what requests with one login share. The first of them logs in; others wait until it has, and fail when it fails.
type sharedLogin struct {
	// turn holds one token while a login is under way.
	turn chan struct{}
	// output is what a plugin prints; nil where that is not kept.
	output *pluginOutput

	mu     sync.Mutex
	done   bool
	failed error
	at     time.Time
}

// making is held while sharedLogins, or the standard error of this process, is changed.
var making sync.Mutex

// sharedLogins are by the configuration of the login. client-go as well keeps what plugins return for as long as the process lives.
var sharedLogins = map[string]*sharedLogin{}

// sharedLoginOf is the login of a configuration; nil where its credential is at hand.
func sharedLoginOf(config *rest.Config) *sharedLogin {
	key := struct {
		Exec     *clientcmdapi.ExecConfig
		Server   string
		Provider *clientcmdapi.AuthProviderConfig
	}{Exec: config.ExecProvider, Provider: config.AuthProvider}
	if key.Exec == nil && key.Provider == nil {
		return nil
	}
	if key.Exec != nil && key.Exec.ProvideClusterInfo {
		key.Server = config.Host
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil
	}
	making.Lock()
	defer making.Unlock()
	shared, known := sharedLogins[string(name)]
	if !known {
		shared = &sharedLogin{turn: make(chan struct{}, 1)}
		if key.Exec != nil {
			shared.output = newPluginOutput()
		}
		sharedLogins[string(name)] = shared
	}
	return shared
}

// begin waits for a login that is under way. It returns why that failed, or whether the caller is to log in.
func (l *sharedLogin) begin(ctx context.Context) (first bool, err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil && time.Since(l.at) >= loginPause {
		l.failed = nil
	}
	if l.done || l.failed != nil {
		<-l.turn
		return false, l.failed
	}
	if l.output != nil {
		l.output.begin()
	}
	return true, nil
}

// succeed ends the login that the caller began.
func (l *sharedLogin) succeed() {
	if l.output != nil {
		l.output.end(false)
	}
	l.mu.Lock()
	l.done, l.failed = true, nil
	l.mu.Unlock()
	<-l.turn
}

// fail ends the login with an error, which it adds the plugin's words to where the caller began it.
func (l *sharedLogin) fail(err *LoginError, first bool) {
	if first && l.output != nil {
		err.Words = l.output.end(true)
	}
	l.mu.Lock()
	l.done, l.failed, l.at = false, err, time.Now()
	l.mu.Unlock()
	if first {
		<-l.turn
	}
}

// loggedInKey is the key of what is called when a request has its credential and goes on its way.
type loggedInKey struct{}

// withLogin is outside of what puts credentials into requests.
type withLogin struct {
	http.RoundTripper
	login *sharedLogin
}

// RoundTrip implements http.RoundTripper.
func (w *withLogin) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, first := r.Context(), false
	if w.login != nil {
		var err error
		if first, err = w.login.begin(ctx); err != nil {
			return nil, err
		}
	}
	loggedIn := sync.OnceFunc(func() {
		if first {
			w.login.succeed()
		}
	})
	sent := false
	resp, err := w.RoundTripper.RoundTrip(r.WithContext(context.WithValue(ctx, loggedInKey{}, func() { sent = true; loggedIn() })))
	if err == nil || sent {
		loggedIn()
		return resp, err
	}
	failed := &LoginError{Err: err}
	if w.login != nil {
		w.login.fail(failed, first)
	}
	return nil, failed
}

// WrappedRoundTripper lets idle connections be closed.
func (w *withLogin) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }

// loggedIn is called by what sends a request that has its credential.
func loggedIn(r *http.Request) {
	if f, ok := r.Context().Value(loggedInKey{}).(func()); ok {
		f()
	}
}
