// Package redact removes secrets from what is shown to others: text such as logs and errors, URLs, and objects of a cluster. It goes by
// shape, since nothing says of a text what was put into it, and removes too much rather than too little. It is pure.
package redact

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Mark stands for what was removed.
const Mark = "REDACTED"

// secretNames are how fields are called that hold secrets.
const secretNames = `(?:(?:id|access|refresh|bearer|session|auth)[-_]?)?token|password|passwd|passphrase|client[-_]?secret|client-key-data|` +
	`private[-_]?key|api[-_]?key|secret[-_]?(?:access[-_]?)?key`

// secretField is the name of a field, of an annotation or of a flag whose value is one.
var secretField = regexp.MustCompile(`(?i)(?:^|[^0-9])(?:` + secretNames + `|auth)$`)

// rules are applied one after another. What a rule has left is read by the next.
var rules = []struct {
	pattern *regexp.Regexp
	with    string
}{
	// A private key in PEM, also one whose line breaks are escaped, or whose end is missing.
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)`), Mark},
	// A JSON Web Token: its header begins with a brace.
	{regexp.MustCompile(`e(yJ|yA|yI|wo|wk|w0|30)[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`), Mark},
	// What follows a scheme of authentication in a header.
	{regexp.MustCompile(`(?i)\b(authorization["']?\s*[:=]\s*\[?["']?)((bearer|basic|negotiate|digest)\s+)?[^\s"',;\]]+`), "${1}" + Mark},
	{regexp.MustCompile(`(?i)\b(bearer)\s+[A-Za-z0-9._~+/=:-]{8,}`), "${1} " + Mark},
	// A user, and with it a password, in a URL.
	{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'<>?#]*@`), "${1}" + Mark + "@"},
	// One whose password has a slash or the like, which does not belong there.
	{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>/:@]*:[^\s"'<>@]*@`), "${1}" + Mark + "@"},
	// Fields of kubeconfigs, credentials and queries, in YAML, JSON, logs and URLs.
	{regexp.MustCompile(`(?i)((?:\b|[\w-]*[_-])(?:` + secretNames + `|sig|signature)|[a-z][A-Za-z]*(?:Token|Password|Passwd|Passphrase|SecretKey|ApiKey))(\\?["']?\s*[:=]\s*)(\\?"[^"]*"?|'[^']*'?|[^\s,;&}\])]+)`), "${1}${2}" + Mark},
	// The word that the webhook's path ends in.
	{regexp.MustCompile(`(/validate/[a-z]+/)[^\s"'?#/:]+`), "${1}" + Mark},
}

// opaque is a run of letters and digits that may be a key or a token; which it is, isOpaque says.
var opaque = regexp.MustCompile(`[A-Za-z0-9+/_-]{32,}={0,2}`)

// isOpaque says whether a part of a run between slashes mixes letters of both cases and digits, as what is random does in base64. Names of
// Kubernetes are in lower case, and so are digests.
func isOpaque(run string) bool {
	return slices.ContainsFunc(strings.Split(run, "/"), func(part string) bool {
		return strings.ContainsAny(part, "0123456789") && strings.ToLower(part) != part && strings.ToUpper(part) != part
	})
}

// Text is s without secrets.
func Text(s string) string {
	for _, r := range rules {
		s = r.pattern.ReplaceAllString(s, r.with)
	}
	return opaque.ReplaceAllStringFunc(s, func(run string) string {
		if isOpaque(run) {
			return Mark
		}
		return run
	})
}

// parameters are those of API servers. The values of others may be anything.
var parameters = map[string]bool{
	"allowWatchBookmarks": true, "container": true, "dryRun": true, "fieldManager": true, "fieldSelector": true, "fieldValidation": true, "force": true,
	"labelSelector": true, "limit": true, "limitBytes": true, "previous": true, "propagationPolicy": true, "resourceVersion": true,
	"resourceVersionMatch": true, "sendInitialEvents": true, "tailLines": true, "timeout": true, "timeoutSeconds": true, "timestamps": true, "watch": true,
}

// URL is u without its user, and without the values of parameters that are not of API servers.
func URL(u *url.URL) string {
	shown := *u
	if shown.User != nil {
		shown.User = url.User(Mark)
	}
	query := shown.Query()
	for name := range query {
		if !parameters[name] {
			query[name] = []string{Mark}
		}
	}
	shown.RawQuery, shown.Fragment, shown.RawFragment = query.Encode(), "", ""
	return shown.String()
}

// lastApplied is where kubectl apply keeps a whole object as text.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// hidden are the fields whose values are not shown, by kind.
var hidden = map[string][]string{"Secret": {"data", "stringData"}, "ConfigMap": {"binaryData"}}

// Object removes secrets from an object of a cluster, as JSON is read into a map, and changes it. Of a Secret only names, type, keys and
// sizes stay.
func Object(o map[string]any) {
	if metadata, ok := o["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			if text, ok := annotations[lastApplied].(string); ok {
				annotations[lastApplied] = removed(text)
			}
		}
	}
	for _, field := range hidden[fmt.Sprint(o["kind"])] {
		values, _ := o[field].(map[string]any)
		for key, value := range values {
			text := fmt.Sprint(value)
			if content, err := base64.StdEncoding.DecodeString(text); err == nil && field != "stringData" {
				text = string(content)
			}
			values[key] = removed(text)
		}
	}
	for key, value := range o {
		o[key] = redacted(key, value)
	}
}

// redacted is a value of a field without secrets.
func redacted(field string, value any) any {
	switch v := value.(type) {
	case string:
		if isKubeconfig(v) || v != "" && secretField.MatchString(field) {
			return removed(v)
		}
		return Text(v)
	case []any:
		for i, item := range v {
			if variable, ok := item.(map[string]any); ok && field == "env" {
				if text, has := variable["value"].(string); has && text != "" {
					variable["value"] = removed(text)
				}
			}
			before := ""
			if i > 0 {
				before, _ = v[i-1].(string)
			}
			if !strings.HasPrefix(before, "-") {
				before = ""
			}
			v[i] = redacted(before, item)
		}
	case map[string]any:
		if v["kind"] != nil && v["metadata"] != nil {
			Object(v)
			return v
		}
		for key, item := range v {
			v[key] = redacted(key, item)
		}
	}
	return value
}

// removed says how large a value was.
func removed(value string) string { return fmt.Sprintf("%s (%d bytes)", Mark, len(value)) }

// isKubeconfig says whether a text has the parts of a kubeconfig.
func isKubeconfig(s string) bool {
	return strings.Contains(s, "clusters") && strings.Contains(s, "users") && strings.Contains(s, "contexts")
}
