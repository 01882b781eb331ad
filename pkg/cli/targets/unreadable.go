package targets

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// unreadable is err, why a kubeconfig could not be read, with the entry and the field at fault where they are found: what
// decoders say of them has neither.
func unreadable(side, path string, err error) error {
	for _, file := range append([]string{path}, loadingRules(path).GetLoadingPrecedence()...) {
		info, statErr := os.Stat(file)
		if statErr != nil || !info.Mode().IsRegular() || info.Size() > maxExplained {
			continue // a pipe can be read only once
		}
		data, readErr := os.ReadFile(file)
		if readErr != nil {
			continue
		}
		if fault := kubeconfigFault(data); fault != nil {
			return fmt.Errorf("read the kubeconfig for %s: %q: %w", side, file, fault)
		}
	}
	return fmt.Errorf("read the kubeconfig for %s: %w", side, err)
}

// maxExplained is how large a file may be that is read once more.
const maxExplained = 16 << 20

// kubeconfigFault is what is wrong with the shape of a kubeconfig; nil where nothing is found.
func kubeconfigFault(data []byte) error {
	var content any
	if err := yaml.Unmarshal(data, &content); err != nil {
		return errors.New("it is not YAML: " + strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: "))
	}
	config, ok := content.(map[string]any)
	if content == nil {
		return nil
	}
	if !ok {
		return errors.New("it is not a kubeconfig")
	}
	for _, list := range []struct{ name, entry string }{{"clusters", "cluster"}, {"users", "user"}, {"contexts", "context"}} {
		entries, ok := config[list.name].([]any)
		if !ok && config[list.name] != nil {
			return fmt.Errorf("its %s are not a list", list.name)
		}
		for i, value := range entries {
			entry, _ := value.(map[string]any)
			name, named := entry["name"].(string)
			if !named {
				return fmt.Errorf("the name of %s %d is not text: quote it", list.entry, i+1)
			}
			fields, _ := entry[list.entry].(map[string]any)
			for _, field := range slices.Sorted(maps.Keys(fields)) {
				if fault := fieldFault(field, fields[field]); fault != "" {
					return fmt.Errorf("%s of %s %q %s", field, list.entry, name, fault)
				}
			}
		}
	}
	return nil
}

// texts are the fields of a kubeconfig that are text; those that end in -data are base64.
var texts = []string{
	"server", "tls-server-name", "proxy-url", "certificate-authority", "certificate-authority-data", "client-certificate", "client-certificate-data",
	"client-key", "client-key-data", "token", "tokenFile", "username", "password", "as", "as-uid", "cluster", "user", "namespace",
}

func fieldFault(field string, value any) string {
	if value == nil || !slices.Contains(texts, field) {
		return ""
	}
	text, ok := value.(string)
	if !ok {
		return "is not text: quote it"
	}
	if _, err := base64.StdEncoding.DecodeString(text); strings.HasSuffix(field, "-data") && err != nil {
		return "is not base64"
	}
	return ""
}
