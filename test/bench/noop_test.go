//go:build unix

package bench

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/signal"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// noopVariable is set where this program is to be the webhook that does nothing.
const noopVariable = "BENCH_NOOP_WEBHOOK"

// noopServer is where that webhook listens, as it prints it.
type noopServer struct {
	URL string `json:"url"`
	CA  []byte `json:"ca"`
}

func TestMain(m *testing.M) {
	if os.Getenv(noopVariable) != "" {
		serveNoop()
		return
	}
	if os.Getenv(fakeKubectl) != "" {
		os.Exit(runFakeKubectl())
	}
	os.Exit(m.Run())
}

// serveNoop serves until it is interrupted, with the library that the manager is made with.
func serveNoop() {
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server := httptest.NewTLSServer(&admission.Webhook{
		Handler: admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") }),
	})
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := json.NewEncoder(os.Stdout).Encode(noopServer{URL: server.URL, CA: ca}); err != nil {
		return
	}
	<-ctx.Done()
}
