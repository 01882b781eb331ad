package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// loginOf is the login of an auth provider; nil where the configuration has none. All connections of one user share it: an
// issuer may take a refresh token once only, and client-go shares logins of one server only.
func loginOf(config *rest.Config) (transport.WrapperFunc, error) {
	if config.AuthProvider == nil {
		return nil, nil
	}
	user, err := json.Marshal(config.AuthProvider) // keys of maps are sorted
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(user)
	provider, err := rest.GetAuthProvider(hex.EncodeToString(digest[:]), config.AuthProvider, &onePersister{config.AuthConfigPersister})
	if err != nil {
		return nil, err
	}
	return provider.WrapTransport, nil
}

// persisting is held while a kubeconfig is written: client-go fails where two users' tokens are written to one file at once.
var persisting sync.Mutex

// onePersister writes new tokens to the kubeconfig, one user at a time.
type onePersister struct {
	rest.AuthProviderConfigPersister
}

func (p *onePersister) Persist(tokens map[string]string) error {
	persisting.Lock()
	defer persisting.Unlock()
	return p.AuthProviderConfigPersister.Persist(tokens)
}
