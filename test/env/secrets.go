package env

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Secrets are what must be shown in no output, each with what it is: tokens, keys and passwords.
type Secrets map[string]string

// minSecret is the least length of one: what is shorter is found by chance.
const minSecret = 12

var (
	webToken = regexp.MustCompile(`[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)
	encoded  = regexp.MustCompile(`[A-Za-z0-9+/]{60,}={0,2}`)
)

// Add adds a value, in the ways in which it may be written, and what it holds: tokens, lines of keys, and what is encoded in it.
func (s Secrets) Add(what string, value []byte) {
	add := func(text string) {
		if len(text) >= minSecret {
			s[text] = what
		}
	}
	value = bytes.TrimSpace(value)
	add(string(value))
	add(base64.StdEncoding.EncodeToString(value))
	for _, token := range webToken.FindAllString(string(value), -1) {
		add(token)
		add(token[strings.LastIndex(token, ".")+1:]) // the signature is what makes it valid
	}
	for rest := value; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			for line := range strings.Lines(string(pem.EncodeToMemory(block))) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
					add(line)
				}
			}
		}
	}
	for _, text := range encoded.FindAllString(string(value), -1) {
		if inner, err := base64.StdEncoding.DecodeString(text); err == nil && bytes.HasPrefix(inner, []byte("-----BEGIN")) && bytes.Contains(inner, []byte("PRIVATE KEY")) {
			s.Add(what+", decoded", inner)
		}
	}
}

// AddCluster adds all values of a cluster's Secrets, and the credential of its administrator.
func (s Secrets) AddCluster(ctx context.Context, c *Cluster) error {
	config := c.Config()
	s.Add("the key of the administrator of "+c.Name, config.KeyData)
	s.Add("the token of the administrator of "+c.Name, []byte(config.BearerToken))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	secrets, err := client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		for key, value := range secret.Data {
			s.Add(fmt.Sprintf("%s of Secret %s/%s of %s", key, secret.Namespace, secret.Name, c.Name), value)
		}
	}
	return nil
}

// In are the secrets that a text holds, as what they are, sorted.
func (s Secrets) In(text string) []string {
	found := map[string]bool{}
	for secret, what := range s {
		if strings.Contains(text, secret) {
			found[what] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
