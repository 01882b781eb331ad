package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

var pods = cluster.Resource{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods"), Kind: "Pod"}

// podLabels select the manager's pods.
const podLabels = manifests.LabelName + "=" + manifests.Name + ",app.kubernetes.io/component=manager"

// webhookPort is where a pod of the manager serves, where it does not say so.
const webhookPort = 9443

// outsideLooks is how often the one address of a manager outside the cluster is looked at in a row: behind it may be several, in turn.
const outsideLooks = 10

// replicas are the addresses of all replicas that serve: that of a manager outside the cluster, or those of the pods that run. One
// that starts later reads the Secret as it is then.
func (c *KeyChange) replicas(ctx context.Context, outside string) ([]string, error) {
	if outside != "" {
		u, err := url.Parse(outside)
		if err != nil {
			return nil, err
		}
		port := u.Port()
		if port == "" {
			port = "443"
		}
		return slices.Repeat([]string{net.JoinHostPort(u.Hostname(), port)}, outsideLooks), nil
	}
	list, _, err := cluster.List[corev1.Pod](ctx, c.Host.Conn, pods, cluster.ListOptions{Namespace: v1alpha1.HostNamespace, Labels: podLabels})
	if err != nil {
		return nil, err
	}
	var addresses []string
	for i := range list {
		pod := &list[i]
		if pod.Status.PodIP == "" || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		port := webhookPort
		for _, container := range pod.Spec.Containers {
			for _, p := range container.Ports {
				if p.Name == "webhook" {
					port = int(p.ContainerPort)
				}
			}
		}
		addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)))
	}
	return addresses, nil
}

// serving is what a replica serves from.
type serving int

const (
	servesNew serving = iota
	servesFormer
	// servesUnknown is a replica that cannot be reached, or another server at its address.
	servesUnknown
)

// handshakeTimeout bounds one look at one replica.
const handshakeTimeout = 2 * time.Second

// serving looks at a certificate. It sends nothing but a handshake.
func (s *KeyState) serving(ctx context.Context, address string) serving {
	former := slices.DeleteFunc(slices.Clone(s.bundle), s.Keys.CA.Equal)
	err := handshake(ctx, address, s.Keys.Names()[0], s.Keys.CA)
	switch _, other := errors.AsType[*tls.CertificateVerificationError](err); {
	case err == nil:
		return servesNew
	case other && handshake(ctx, address, s.Keys.Names()[0], former...) == nil:
		return servesFormer
	}
	return servesUnknown
}

func handshake(ctx context.Context, address, name string, cas ...*x509.Certificate) error {
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}
