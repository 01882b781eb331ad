package install

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
	plugin "github.com/kubefederate/kubectl-federate/pkg/version"
)

// Times of a change of keys.
const (
	// settleTime is how long an API server may take to read a changed webhook configuration.
	settleTime = 10 * time.Second
	// serveTime is how long a replica may take to serve from a changed Secret: a kubelet reads it again after a minute, and a
	// little more.
	serveTime = 2 * time.Minute
	// serveInterval is the time between two looks at the replicas.
	serveInterval = time.Second
)

// KeyChange makes and changes the keys of a host. A change refuses no request, and wherever it ends the former keys and the new
// ones are valid: first API servers learn the new CA beside the former one; then the Secret has the new keys, with the former
// word beside the new one; when every replica serves from them, API servers learn that nothing else is valid, and then the
// former word is removed from the Secret.
type KeyChange struct {
	Host   *host.Cluster
	Report Report
	// Progress is called with what is waited for.
	Progress func(string)
	// Settle and Serve are how long API servers and replicas may take to read a change. Zero means as long as they may.
	Settle, Serve time.Duration
}

// prepared is how many of objects come before the keys: the kinds and the namespaces.
func prepared(objects []*unstructured.Unstructured) int {
	n := 0
	for i, object := range objects {
		if object.GetKind() == cluster.Namespaces.Kind {
			n = i + 1
		}
	}
	return n
}

// WithKeys are the objects of manifests, with KeysObject where it is made.
func WithKeys(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.Insert(slices.Clone(objects), prepared(objects), KeysObject())
}

// Install applies the objects of manifests, with keys, and says whether Finish is to be called once the manager runs.
func (c *KeyChange) Install(ctx context.Context, o manifests.Options) (unfinished bool, err error) {
	objects, err := manifests.Objects(o)
	if err != nil {
		return false, err
	}
	n := prepared(objects)
	if err := Apply(ctx, c.Host, objects[:n], cluster.DryRunNone, c.Report); err != nil {
		return false, err
	}
	calls, unfinished, err := c.ensure(ctx, o.WebhookURL)
	if err != nil {
		return false, err
	}
	o.Calls = &calls
	if objects, err = manifests.Objects(o); err != nil {
		return false, err
	}
	return unfinished, Apply(ctx, c.Host, objects[n:], cluster.DryRunNone, c.Report)
}

// PlanInstall is a server dry run of Install. It makes no keys: the webhook is called as it is today.
func (c *KeyChange) PlanInstall(ctx context.Context, o manifests.Options) error {
	objects, err := objectsAsCalled(ctx, c.Host, o)
	if err != nil {
		return err
	}
	return Apply(ctx, c.Host, objects, cluster.DryRunServer, c.Report)
}

// ensure makes keys for a webhook at a URL, or inside the cluster where that is empty, unless there are such keys. It returns how
// API servers are to call the webhook, and whether Finish is to be called once the manager runs.
func (c *KeyChange) ensure(ctx context.Context, url string) (calls manifests.Calls, unfinished bool, err error) {
	s, err := ReadKeys(ctx, c.Host)
	if err != nil {
		return calls, false, err
	}
	if s.Keys != nil && s.Keys.For(manifests.ServerNames(url)) {
		c.Report(KeysObject(), Unchanged)
	} else if s, err = c.begin(ctx, s, url); err != nil {
		return calls, false, err
	}
	if s.Keys.OldWord == nil || !s.serves(url) {
		return after(s.Keys), s.Keys.OldWord != nil, nil
	}
	return s.during(s.Keys), true, nil
}

// Renew makes new keys, or completes what an earlier run, or GitOps, has left: keys that the webhook configuration does not have,
// or a change that was interrupted. Nothing needs to be installed before.
func (c *KeyChange) Renew(ctx context.Context) error {
	s, err := c.renewable(ctx)
	if err != nil {
		return err
	}
	if err := c.createNamespace(ctx); err != nil {
		return err
	}
	unfinished := s.Judge() == KeysDiffer || s.Keys != nil && s.Keys.OldWord != nil
	if !unfinished {
		if _, err := c.begin(ctx, s, s.URL); err != nil {
			return c.interrupted(err)
		}
	}
	return c.Finish(ctx)
}

// createNamespace creates the namespace of the Secret, as shipped, where it does not exist.
func (c *KeyChange) createNamespace(ctx context.Context) error {
	objects, err := manifests.Objects(manifests.Options{Version: plugin.Version})
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() != cluster.Namespaces.Kind || object.GetName() != KeysSecret.Namespace {
			continue
		}
		found, err := c.Host.Find(ctx, refOf(object))
		if err != nil || found != nil {
			return err
		}
		return Apply(ctx, c.Host, []*unstructured.Unstructured{object}, cluster.DryRunNone, c.Report)
	}
	return nil
}

// renewable reads the keys, and refuses where there can be none.
func (c *KeyChange) renewable(ctx context.Context) (*KeyState, error) {
	s, err := ReadKeys(ctx, c.Host)
	if err == nil && s.CertManager {
		err = errCertManager
	}
	return s, err
}

// Plan is a server dry run of Renew. It sends no keys.
func (c *KeyChange) Plan(ctx context.Context) error {
	s, err := c.renewable(ctx)
	if err != nil {
		return err
	}
	objects := ChangedWithKeys()
	if s.configuration == nil {
		objects = objects[:1]
	}
	for _, object := range objects {
		ref, outcome := refOf(object), Configured
		found, err := c.Host.Find(ctx, ref)
		if err == nil && found == nil {
			outcome = Created
			if _, err = c.Host.Create(ctx, ref.Resource, object, cluster.DryRunServer); apierrors.IsNotFound(err) {
				outcome, err = Planned, nil // its namespace does not exist yet
			}
		} else if err == nil {
			_, err = c.Host.MergePatch(ctx, ref, map[string]any{"metadata": map[string]any{"labels": map[string]any{manifests.LabelPartOf: manifests.Name}}}, cluster.DryRunServer)
		}
		if err != nil {
			return err
		}
		c.Report(object, outcome)
	}
	return nil
}

// begin stores new keys. Where API servers call a manager today, they know the new CA before, and the former word stays valid.
func (c *KeyChange) begin(ctx context.Context, s *KeyState, url string) (*KeyState, error) {
	next, err := keys.New(manifests.ServerNames(url), time.Now())
	if err != nil {
		return nil, err
	}
	if s.serves(url) {
		word := s.word
		next.OldWord = &word
		if err := c.announce(ctx, s, s.during(next)); err != nil {
			return nil, err
		}
	}
	if err := c.store(ctx, s, next); err != nil {
		return nil, err
	}
	return ReadKeys(ctx, c.Host)
}

// Finish ends a change of keys, and writes them into the webhook configuration where it has others.
func (c *KeyChange) Finish(ctx context.Context) error {
	s, err := ReadKeys(ctx, c.Host)
	if err != nil || s.Keys == nil || s.configuration == nil {
		return err
	}
	k := s.Keys
	if k.OldWord != nil {
		if s.Judge() == KeysDiffer {
			if err := c.announce(ctx, s, s.during(k)); err != nil {
				return c.interrupted(err)
			}
		}
		if err := c.served(ctx, s); err != nil {
			return c.interrupted(err)
		}
	}
	if s, err = ReadKeys(ctx, c.Host); err != nil {
		return err
	}
	if s.Keys == nil || s.Keys.Word != k.Word || !s.Keys.CA.Equal(k.CA) {
		return c.interrupted(errors.New("another run has changed the keys meanwhile"))
	}
	if final := after(k); s.Judge() == KeysDiffer || s.word != final.Word || len(s.bundle) > 1 {
		if err := c.call(ctx, s, final); err != nil {
			return c.interrupted(err)
		}
	}
	if k.OldWord == nil {
		return nil
	}
	if err := c.settle(ctx); err != nil {
		return c.interrupted(err)
	}
	if err := c.removeFormer(ctx); err != nil {
		return c.interrupted(err)
	}
	k.OldWord = nil
	if err := c.store(ctx, s, k); err != nil {
		return c.interrupted(err)
	}
	return nil
}

// interrupted is an error that leaves a change unfinished.
func (c *KeyChange) interrupted(err error) error {
	return fmt.Errorf("the change of the webhook's keys is not finished, and both are valid meanwhile: %w; %s", err, c.Host.Commands.To("finish it", command.Init{Only: "keys"}))
}

// announce changes how API servers call the webhook, and waits until all of them know.
func (c *KeyChange) announce(ctx context.Context, s *KeyState, calls manifests.Calls) error {
	if err := c.call(ctx, s, calls); err != nil {
		return err
	}
	return c.settle(ctx)
}

func (c *KeyChange) settle(ctx context.Context) error {
	d := c.Settle
	if d == 0 {
		d = settleTime
	}
	c.Progress(fmt.Sprintf("waiting %s, until every API server has read the webhook configuration", d))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// call writes into the configuration how API servers call the webhook.
func (c *KeyChange) call(ctx context.Context, s *KeyState, calls manifests.Calls) error {
	operations, err := manifests.PatchCalls(s.configuration, calls)
	if err != nil {
		return fmt.Errorf("host: %s: %w", Configuration, err)
	}
	changed, err := c.Host.JSONPatch(ctx, Configuration, operations)
	if err != nil {
		return err
	}
	c.Report(changed, Configured)
	return nil
}

// store writes keys into the Secret, unless it has changed since s was read.
func (c *KeyChange) store(ctx context.Context, s *KeyState, k *keys.Keys) error {
	data, err := k.Data()
	if err != nil {
		return err
	}
	content := map[string]any{keys.FileOldPath: nil}
	for name, value := range data {
		content[name] = base64.StdEncoding.EncodeToString(value)
	}
	if s.version != "" {
		patch := map[string]any{"metadata": map[string]any{"resourceVersion": s.version}, "data": content}
		if _, err := c.Host.MergePatch(ctx, KeysSecret, patch, cluster.DryRunNone); err != nil {
			return err
		}
		c.Report(KeysObject(), Configured)
		return nil
	}
	secret := KeysObject()
	if content[keys.FileOldPath] == nil {
		delete(content, keys.FileOldPath)
	}
	secret.Object["data"] = content
	if _, err := c.Host.Create(ctx, cluster.Secrets, secret, cluster.DryRunNone); err != nil {
		return err
	}
	c.Report(KeysObject(), Created)
	return nil
}

// removeFormer deletes the Secret in which former releases kept the keys that their manager had made.
func (c *KeyChange) removeFormer(ctx context.Context) error {
	former, err := c.Host.Find(ctx, formerSecret)
	if err != nil || former == nil {
		return err
	}
	if err := c.Host.Delete(ctx, formerSecret, cluster.Preconditions{UID: former.GetUID()}, cluster.DryRunNone); err != nil {
		return err
	}
	c.Report(former, Deleted)
	return nil
}

// ChangedWithKeys are the objects that a change of keys changes, by name alone.
func ChangedWithKeys() []*unstructured.Unstructured {
	return []*unstructured.Unstructured{KeysObject(), Configuration.Resource.New("", Configuration.Name)}
}

// KeysObjects are the Secrets that hold keys, by name alone: that of today and that of former releases.
func KeysObjects() []*unstructured.Unstructured {
	return []*unstructured.Unstructured{KeysObject(), cluster.Secrets.New(formerSecret.Namespace, formerSecret.Name)}
}

// KeysObject is the Secret without its keys, to be named and deleted by.
func KeysObject() *unstructured.Unstructured {
	o := cluster.Secrets.New(KeysSecret.Namespace, KeysSecret.Name)
	o.SetLabels(map[string]string{manifests.LabelName: manifests.Name, manifests.LabelPartOf: manifests.Name})
	o.Object["type"] = "Opaque"
	return o
}

// served waits until every replica serves from the new keys. A pod that cannot be reached from here serves from them when its
// kubelet has had time to read them; of a manager outside the cluster that cannot be assumed.
func (c *KeyChange) served(ctx context.Context, s *KeyState) error {
	d := c.Serve
	if d == 0 {
		d = serveTime
	}
	c.Progress(fmt.Sprintf("waiting up to %s, until every replica of the manager serves from the new keys", d))
	var former, unknown string
	err := wait.PollUntilContextTimeout(ctx, serveInterval, d, true, func(context.Context) (bool, error) {
		replicas, err := c.replicas(ctx, s.URL)
		if err != nil {
			return false, err
		}
		former, unknown = "", ""
		for _, address := range replicas {
			if former != "" || unknown != "" {
				break
			}
			switch s.serving(ctx, address) {
			case servesFormer:
				former = address
			case servesUnknown:
				unknown = address
			}
		}
		return former == "" && unknown == "", nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !wait.Interrupted(err):
		return err
	case former != "":
		return fmt.Errorf("the manager at %s still serves from the former keys", former)
	case unknown != "" && s.URL != "":
		return fmt.Errorf("the manager at %s could not be seen to serve from the new keys", unknown)
	}
	return nil
}
