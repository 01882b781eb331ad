package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

// reloadInterval is how often the folder is read: a kubelet needs a minute to change it, so nothing is gained by a watch.
const reloadInterval = time.Second

// Keys serve from the keys of a folder. They run on every replica.
type Keys struct {
	dir string
	log logr.Logger

	mu     sync.RWMutex
	files  map[string][]byte
	keys   *keys.Keys
	served *tls.Certificate
}

// FromKeys reads the keys of a folder, which must be there. Once started it reads them again when they change, and issues a new
// certificate before the served one ends; while the folder cannot be read, or is half replaced, the former keys are served.
func FromKeys(dir string, log logr.Logger) (*Keys, error) {
	k := &Keys{dir: dir, log: log}
	return k, k.reload(time.Now())
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*Keys) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *Keys) Start(ctx context.Context) error {
	reported := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-time.After(reloadInterval):
			err := k.reload(now)
			if text := fmt.Sprint(err); err != nil && text != reported {
				k.log.Error(err, "the keys cannot be read again; the former ones are served")
				reported = text
			} else if err == nil {
				reported = ""
			}
		}
	}
}

// Ready is a readiness check that always passes: FromKeys has read keys.
func (*Keys) Ready() healthz.Checker { return healthz.Ping }

// GetCertificate is the certificate that is served.
func (k *Keys) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.served, nil
}

// Accepts says whether a path that ends in word is one of the webhook's; "" stands for a path without a word.
func (k *Keys) Accepts(word string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys.Accepts(word)
}

// reload reads the folder and issues a certificate where either is due.
func (k *Keys) reload(now time.Time) error {
	files, err := k.read()
	if err != nil {
		return err
	}
	k.mu.RLock()
	same := k.keys != nil && maps.EqualFunc(files, k.files, slices.Equal)
	done := same && !keys.Due(k.served.Leaf, now)
	k.mu.RUnlock()
	if done {
		return nil
	}
	read, err := keys.Parse(files)
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	served, err := read.Serving(now)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.files, k.keys, k.served = files, read, served
	k.mu.Unlock()
	k.log.Info("issued a serving certificate", "names", read.Names(), "ca", read.CA.Subject.CommonName, "ends", served.Leaf.NotAfter)
	return nil
}

var errHalfReplaced = errors.New("read the keys: the folder changes while it is read")

// read reads the files as they were at one time: a kubelet replaces all of them at once, so two readings are alike.
func (k *Keys) read() (map[string][]byte, error) {
	first, err := readFiles(k.dir)
	if err != nil {
		return nil, err
	}
	second, err := readFiles(k.dir)
	if err == nil && !maps.EqualFunc(first, second, slices.Equal) {
		err = errHalfReplaced
	}
	return second, err
}

func readFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range keys.Files {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if name == keys.FileOldPath && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the keys: %w", err)
		}
		files[name] = content
	}
	return files, nil
}
