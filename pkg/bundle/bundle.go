// Package bundle gathers what others need to find out what is wrong with a host, in one archive and without a secret. It is a gzipped tar,
// which can be written as it is read, also into a pipe, and which every system unpacks.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/redact"
)

// Bounds of the log of one container.
const (
	logLines = 5000
	logBytes = 1 << 20
	// maxPods is how many pods' logs and metrics are read.
	maxPods = 20
	// metricsTokenLifetime is the shortest that API servers issue.
	metricsTokenLifetime = 10 * time.Minute
)

// Part is one file of a bundle.
type Part struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
	// Cut says that it is not all: the log was longer.
	Cut bool `json:"cut,omitempty"`
}

// LeftOut is what could not be read, and why.
type LeftOut struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Contents are what is in a bundle, and what is not. They are its last file, contents.json.
type Contents struct {
	Created time.Time `json:"created"`
	Parts   []Part    `json:"parts"`
	LeftOut []LeftOut `json:"leftOut"`
}

// File is a file of a bundle that the caller has made: Content is written as JSON.
type File struct {
	Name    string
	Content any
	// Err is why there is none.
	Err error
}

// kind is a kind of objects that are gathered.
type kind struct {
	file     string
	resource cluster.Resource
	options  cluster.ListOptions
}

// labeled selects what init has installed.
const labeled = manifests.LabelPartOf + "=" + manifests.Name

// kinds are gathered in this order: Secrets first, of which only names, types, keys and sizes are kept, and whose values are removed
// from all that comes after them.
var kinds = []kind{
	{"secrets", cluster.Secrets, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"credentials", cluster.Secrets, cluster.ListOptions{Namespace: v1alpha1.CredentialsNamespace}},
	{"federations", cluster.Federations, cluster.ListOptions{}},
	{"memberclusters", cluster.MemberClusters, cluster.ListOptions{}},
	{"webhookconfigurations", install.Configuration.Resource, cluster.ListOptions{Labels: labeled}},
	{"policies", cluster.AdmissionPolicies, cluster.ListOptions{Labels: labeled}},
	{"policybindings", cluster.AdmissionPolicyBindings, cluster.ListOptions{Labels: labeled}},
	{"namespaces", cluster.Namespaces, cluster.ListOptions{Labels: labeled}},
	{"deployments", cluster.Deployments, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"pods", cluster.Pods, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"services", cluster.Services, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"endpointslices", cluster.EndpointSlices, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"configmaps", cluster.ConfigMaps, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"leases", cluster.Leases, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"events-system", cluster.Events, cluster.ListOptions{Namespace: v1alpha1.HostNamespace}},
	{"events", cluster.Events, host.EventQuery},
}

// Write gathers a bundle and writes it. What cannot be read is left out, with the reason; the error is of writing, or that ctx has ended.
func Write(ctx context.Context, h *host.Cluster, files []File, w io.Writer) (*Contents, error) {
	compressed := gzip.NewWriter(w)
	b := &writer{host: h, archive: tar.NewWriter(compressed), contents: &Contents{Created: time.Now().UTC().Truncate(time.Second), LeftOut: []LeftOut{}}}
	for _, k := range kinds {
		if err := b.objects(ctx, k); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		if f.Err != nil {
			b.leftOut(f.Name, f.Err)
			continue
		}
		if err := b.document(f.Name, f.Content); err != nil {
			return nil, err
		}
	}
	if err := b.logs(ctx); err != nil {
		return nil, err
	}
	if err := b.metrics(ctx); err != nil {
		return nil, err
	}
	if err := b.document("contents.json", b.contents); err != nil {
		return nil, err
	}
	if err := b.archive.Close(); err != nil {
		return nil, err
	}
	return b.contents, compressed.Close()
}

type writer struct {
	host     *host.Cluster
	archive  *tar.Writer
	contents *Contents
	// pods are those that were read.
	pods []corev1.Pod
	// secrets are the values of the Secrets that were read, and known removes them; nil until something else is written.
	secrets redact.Values
	known   *strings.Replacer
}

func (b *writer) leftOut(what string, err error) {
	b.contents.LeftOut = append(b.contents.LeftOut, LeftOut{what, redact.Text(cluster.Printable(cluster.Shortened(cluster.Cause(err))))})
}

// add writes a file, whose content has nothing any more that looks like a secret. What is known to be one is removed here.
func (b *writer) add(name string, content []byte, cut bool) error {
	if b.known == nil {
		b.known = b.secrets.Replacer()
	}
	content = []byte(b.known.Replace(string(content)))
	header := &tar.Header{Name: "kubefederate-bundle/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: b.contents.Created}
	if err := b.archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := b.archive.Write(content); err != nil {
		return err
	}
	b.contents.Parts = append(b.contents.Parts, Part{name, len(content), cut})
	return nil
}

// document writes a value as JSON, without secrets.
func (b *writer) document(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	var document bytes.Buffer
	if err := redacted(&document, text, nil); err != nil {
		return err
	}
	return b.add(name, document.Bytes(), false)
}

// redacted appends a JSON object without secrets. The items of lists name no kind: r is theirs.
func redacted(to *bytes.Buffer, text []byte, r *cluster.Resource) error {
	var o map[string]any
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&o); err != nil {
		return err
	}
	if r != nil {
		o["apiVersion"], o["kind"] = r.GroupVersion().String(), r.Kind
	}
	redact.Object(o)
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(o)
}

// objects writes all objects of a kind as a List.
func (b *writer) objects(ctx context.Context, k kind) error {
	items, _, err := cluster.List[json.RawMessage](ctx, b.host.Conn, k.resource, k.options)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.leftOut("objects/"+k.file+".json", err)
		return nil
	}
	var list bytes.Buffer
	list.WriteString(`{"apiVersion":"v1","kind":"List","metadata":{},"items":[` + "\n")
	for i, item := range items {
		if i > 0 {
			list.WriteByte(',')
		}
		if k.resource == cluster.Pods {
			var pod corev1.Pod
			if json.Unmarshal(item, &pod) == nil && len(validation.IsDNS1123Subdomain(pod.Name)) == 0 {
				b.pods = append(b.pods, pod)
			}
		}
		if k.resource == cluster.Secrets {
			var secret corev1.Secret
			if json.Unmarshal(item, &secret) == nil {
				b.secrets.Add(secret.Data)
			}
		}
		if err := redacted(&list, item, &k.resource); err != nil {
			return err
		}
	}
	list.WriteString("]}\n")
	if k.resource == cluster.Secrets {
		b.known = nil // more values are known by now
	}
	return b.add("objects/"+k.file+".json", list.Bytes(), false)
}

// logs writes the logs of the pods, and of what ran in them before.
func (b *writer) logs(ctx context.Context) error {
	if len(b.pods) == 0 {
		b.contents.LeftOut = append(b.contents.LeftOut, LeftOut{"logs", "there are no pods in " + v1alpha1.HostNamespace + " that could be read: a manager outside the cluster keeps its log itself"})
	}
	for i := range b.pods[:min(len(b.pods), maxPods)] {
		pod := &b.pods[i]
		for _, status := range pod.Status.ContainerStatuses {
			if len(validation.IsDNS1123Label(status.Name)) > 0 {
				continue
			}
			if err := b.log(ctx, pod.Name, status.Name, false); err != nil {
				return err
			}
			if status.RestartCount == 0 {
				continue
			}
			if err := b.log(ctx, pod.Name, status.Name, true); err != nil {
				return err
			}
		}
	}
	if more := len(b.pods) - maxPods; more > 0 {
		b.contents.LeftOut = append(b.contents.LeftOut, LeftOut{"logs and metrics of more pods", fmt.Sprintf("those of the first %d pods are enough", maxPods)})
	}
	return nil
}

// metrics writes what the pods count, read with a token of the account for that.
func (b *writer) metrics(ctx context.Context) error {
	ports := map[string]int32{}
	for i := range b.pods[:min(len(b.pods), maxPods)] {
		if port := metricsPort(&b.pods[i]); port != 0 {
			ports[b.pods[i].Name] = port
		}
	}
	if len(ports) == 0 {
		b.contents.LeftOut = append(b.contents.LeftOut, LeftOut{"metrics", "no pods in " + v1alpha1.HostNamespace + " that serve them could be read: " +
			"those of a manager outside the cluster are at its --metrics-bind-address"})
		return nil
	}
	account := cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.HostNamespace, Name: manifests.MetricsAccount}
	token, err := b.host.RequestToken(ctx, account, map[string]any{
		"expirationSeconds": int64(metricsTokenLifetime / time.Second), "audiences": []any{manifests.MetricsAudience},
	}, cluster.DryRunNone)
	if err != nil {
		b.leftOut("metrics", err)
		return ctx.Err()
	}
	for _, pod := range slices.Sorted(maps.Keys(ports)) {
		name := "metrics/" + pod + ".txt"
		text, err := b.host.ProxyGet(ctx, v1alpha1.HostNamespace, pod, cluster.ProxyOptions{
			Port: ports[pod], Path: "metrics", Header: http.Header{manifests.MetricsHeader: {"Bearer " + token.Value}},
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.leftOut(name, err)
			continue
		}
		if err := b.add(name, []byte(redact.Text(string(text))), false); err != nil {
			return err
		}
	}
	return nil
}

// metricsPort is the port at which a pod serves metrics; 0 where it serves none.
func metricsPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				return p.ContainerPort
			}
		}
	}
	return 0
}

func (b *writer) log(ctx context.Context, pod, container string, previous bool) error {
	name := "logs/" + pod + "/" + container + ".log"
	if previous {
		name = strings.TrimSuffix(name, ".log") + ".previous.log"
	}
	// A node counts bytes from the first of the lines: fewer lines are asked for until the last one fits.
	var (
		text []byte
		err  error
	)
	lines := logLines
	for ; lines > 0; lines /= 2 {
		text, err = b.host.Logs(ctx, v1alpha1.HostNamespace, pod, cluster.LogOptions{Container: container, Previous: previous, Lines: lines, Bytes: logBytes})
		if err != nil || len(text) < logBytes {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.leftOut(name, err)
		return nil
	}
	cut := len(text) >= logBytes || bytes.Count(text, []byte("\n")) >= lines
	return b.add(name, []byte(redact.Text(string(text))), cut)
}
