package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// dataKey is where the journal is in the ConfigMap.
const dataKey = "journal"

// errConflict says that another replica has written since.
var errConflict = errors.New("the journal was written by another replica")

// store reads and writes the journal.
type store interface {
	// read gives the content and what write asks for.
	read(context.Context) (State, string, error)
	// write gives errConflict when the journal is not at the version any more.
	write(context.Context, State, string) (string, error)
}

const (
	// writeRate and writeBurst bound the bytes that are written to etcd, which keeps all versions of some minutes: a journal
	// that forged reviews keep full is written less often.
	writeRate, writeBurst = 1 << 20, 64 << 20
)

// configMap keeps the journal in the ConfigMap that manifests/ installs. It is for one goroutine.
type configMap struct {
	client client.Client
	rate   *rate.Limiter
	// last is as it was read or written last: its metadata stays.
	last *corev1.ConfigMap
}

func newConfigMap(c client.Client) *configMap {
	return &configMap{client: c, rate: rate.NewLimiter(writeRate, writeBurst)}
}

func (s *configMap) read(ctx context.Context) (State, string, error) {
	var m corev1.ConfigMap
	at := client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.Journal}
	if err := s.client.Get(ctx, at, &m); err != nil {
		return State{}, "", err
	}
	s.last = &m
	state, err := decode(m.Data[dataKey])
	return state, m.ResourceVersion, err
}

func decode(text string) (state State, err error) {
	if text == "" {
		return state, nil
	}
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		return State{}, fmt.Errorf("data.%s: %w", dataKey, err)
	}
	for _, e := range state.Entries {
		if e.UID == "" || e.Request == "" || (e.Kind == Member) != (e.Member != nil) {
			return State{}, fmt.Errorf("data.%s: entry %d is incomplete", dataKey, e.Number)
		}
	}
	return state, nil
}

func (s *configMap) write(ctx context.Context, state State, version string) (string, error) {
	text, err := json.Marshal(state)
	if err != nil {
		return "", err
	}
	if err := s.rate.WaitN(ctx, len(text)); err != nil {
		return "", err
	}
	m := s.last.DeepCopy()
	m.ResourceVersion, m.Data = version, map[string]string{dataKey: string(text)}
	switch err := s.client.Update(ctx, m); {
	case apierrors.IsConflict(err):
		return "", errConflict
	case err != nil:
		return "", err
	}
	s.last = m
	return m.ResourceVersion, nil
}
