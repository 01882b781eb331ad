package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/equality"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// contextChange is what became of a context in the words of kubectl config.
type contextChange struct{ name, done string }

// foreignContext is an entry of the caller's file that has the name of one to be added, and that this command did not make.
type foreignContext struct {
	name, file string
	remedy     command.Host
}

func (e *foreignContext) Error() string {
	return e.remedy.To(fmt.Sprintf("context %q, or a cluster or user of that name, is there already and was not made for this member of this host; if it is not needed, remove it", e.name),
		command.DeleteContext{Name: e.name, Kubeconfig: e.file})
}

// mergeKubeconfig adds the entries of a kubeconfig to another, which it takes as text: comments, fields that this release does not know
// and the order of everything stay. Merged is nil where nothing changes.
func mergeKubeconfig(old []byte, added *clientcmdv1.Config) (merged []byte, changes []contextChange, err error) {
	var have clientcmdv1.Config
	if err := kyaml.Unmarshal(old, &have); err != nil {
		return nil, nil, fmt.Errorf("it is not a kubeconfig: %w", err)
	}
	root, document, err := rootOf(old)
	if err != nil {
		return nil, nil, err
	}
	changed := false
	for i, c := range added.Contexts {
		done, err := judgeMerge(&have, c, added.Clusters[i], added.AuthInfos[i])
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, contextChange{c.Name, done})
		if done == mergeUnchanged {
			continue
		}
		changed = true
		err = cmp.Or(set(root, "clusters", c.Name, added.Clusters[i]), set(root, "users", c.Name, added.AuthInfos[i]))
		if err == nil && done == mergeCreated { // one that is there may have got a namespace
			err = set(root, "contexts", c.Name, c)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if !changed {
		return nil, changes, nil
	}
	merged, err = encode(document)
	if err == nil {
		err = onlyAdds(old, merged, added)
	}
	return merged, changes, err
}

const (
	mergeCreated   = "created"
	mergeModified  = "modified"
	mergeUnchanged = "unchanged"
)

// judgeMerge says what adding an entry does to a kubeconfig. It refuses what would replace an entry of others.
func judgeMerge(have *clientcmdv1.Config, context clientcmdv1.NamedContext, in clientcmdv1.NamedCluster, user clientcmdv1.NamedAuthInfo) (done string, err error) {
	name := context.Name
	atContext := slices.IndexFunc(have.Contexts, func(c clientcmdv1.NamedContext) bool { return c.Name == name })
	atCluster := slices.IndexFunc(have.Clusters, func(c clientcmdv1.NamedCluster) bool { return c.Name == name })
	atUser := slices.IndexFunc(have.AuthInfos, func(u clientcmdv1.NamedAuthInfo) bool { return u.Name == name })
	switch {
	case atContext < 0 && atCluster < 0 && atUser < 0:
		return mergeCreated, nil
	case atContext < 0 || atCluster < 0 || atUser < 0,
		have.Contexts[atContext].Context.Cluster != name, have.Contexts[atContext].Context.AuthInfo != name,
		!sameMember(have.AuthInfos[atUser].AuthInfo.Exec, user.AuthInfo.Exec):
		return "", &foreignContext{name: name}
	case equality.Semantic.DeepEqual(have.Clusters[atCluster], in) && equality.Semantic.DeepEqual(have.AuthInfos[atUser], user):
		return mergeUnchanged, nil
	}
	return mergeModified, nil
}

// sameMember says whether two commands give the credential of one member of one host.
func sameMember(a, b *clientcmdv1.ExecConfig) bool {
	return a != nil && b != nil && filepath.Base(a.Command) == filepath.Base(b.Command) && slices.Equal(memberOf(a.Args), memberOf(b.Args)) &&
		slices.Equal(a.Env, b.Env) // contexts in other files may have the same names
}

// memberOf is what of the arguments of `credential` names the member and the host: all but as whom the member is reached.
func memberOf(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return strings.HasPrefix(arg, "--member-") || strings.HasPrefix(arg, "--user-from-context=") || strings.HasPrefix(arg, "--request-timeout=")
	})
}

// rootOf is the mapping that a kubeconfig is, and the document that holds it.
func rootOf(data []byte) (root, document *yaml.Node, err error) {
	document = &yaml.Node{}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(document); {
	case errors.Is(err, io.EOF): // it is empty
		root = &yaml.Node{Kind: yaml.MappingNode}
		document.Kind, document.Content = yaml.DocumentNode, []*yaml.Node{root}
		return root, document, cmp.Or(set(root, "apiVersion", "", "v1"), set(root, "kind", "", "Config"))
	case err != nil:
		return nil, nil, fmt.Errorf("it is not YAML: %w", err)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("it has several documents")
	}
	if root = document.Content[0]; root.Kind != yaml.MappingNode {
		return nil, nil, errors.New("it is not a kubeconfig")
	}
	return root, document, nil
}

// set sets a field of a kubeconfig, or, where name is not empty, the entry of that name in the list that the field is.
func set(root *yaml.Node, field, name string, value any) error {
	data, err := kyaml.Marshal(value)
	if err != nil {
		return err
	}
	var made yaml.Node
	if err := yaml.Unmarshal(data, &made); err != nil {
		return err
	}
	entry := made.Content[0]
	at := valueOf(root, field)
	switch {
	case at == nil:
		at = &yaml.Node{}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field}, at)
	case at.Kind == yaml.AliasNode:
		return fmt.Errorf("its %s are an alias of YAML", field)
	}
	if name == "" {
		*at = *entry
		return nil
	}
	if at.Kind != yaml.SequenceNode { // null, as kubectl writes it, or new
		*at = yaml.Node{Kind: yaml.SequenceNode, HeadComment: at.HeadComment, LineComment: at.LineComment, FootComment: at.FootComment}
	}
	if len(at.Content) == 0 {
		at.Style &^= yaml.FlowStyle
	}
	for i, old := range at.Content {
		if n := valueOf(old, "name"); n != nil && n.Value == name {
			entry.HeadComment, entry.FootComment = old.HeadComment, old.FootComment
			at.Content[i] = entry
			return nil
		}
	}
	at.Content = append(at.Content, entry)
	return nil
}

// valueOf is the value of a field of a mapping; nil where it has none.
func valueOf(n *yaml.Node, field string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return n.Content[i+1]
		}
	}
	return nil
}

func encode(document *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	err := cmp.Or(encoder.Encode(document), encoder.Close())
	return out.Bytes(), err
}

// onlyAdds is an error unless a merged kubeconfig has everything that the old one has, except the entries that were added.
func onlyAdds(old, merged []byte, added *clientcmdv1.Config) error {
	names := map[any]bool{}
	for _, c := range added.Contexts {
		names[c.Name] = true
	}
	rest := func(data []byte) (map[string]any, error) {
		var config map[string]any
		err := yaml.Unmarshal(data, &config)
		for _, field := range []string{"clusters", "users", "contexts"} {
			entries, _ := config[field].([]any)
			entries = slices.DeleteFunc(entries, func(entry any) bool {
				fields, _ := entry.(map[string]any)
				return names[fields["name"]]
			})
			if len(entries) == 0 {
				delete(config, field)
			} else {
				config[field] = entries
			}
		}
		return config, err
	}
	before, err := rest(old)
	if err != nil {
		return fmt.Errorf("it is not YAML: %w", err)
	}
	after, err := rest(merged)
	if err != nil {
		return fmt.Errorf("it would not be YAML any more: %w", err)
	}
	if before == nil { // it was empty
		before = map[string]any{"apiVersion": "v1", "kind": "Config"}
	}
	if !reflect.DeepEqual(before, after) {
		return errors.New("something else in it would change")
	}
	return nil
}

// rewrite replaces a file, as a whole or not at all, by what change makes of it; nil leaves it as it is. Commands of kubectl that write
// it wait meanwhile: the lock is theirs.
func rewrite(path string, timeout time.Duration, change func(old []byte) ([]byte, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// kubectl locks the name that it was given.
	unlock, err := lock(path+".lock", timeout)
	if err != nil {
		return err
	}
	defer unlock()
	// What a link leads to is replaced, and not the link.
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("it is a link that leads to no file: %w", err)
		}
		unlock, err := lock(path+".lock", timeout)
		if err != nil {
			return err
		}
		defer unlock()
	}
	mode := fs.FileMode(0o600)
	old, err := os.ReadFile(path)
	switch info, statErr := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case statErr != nil:
		return statErr
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	default:
		// A file that its owner has made read-only stays as it is.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_ = f.Close()
		mode = info.Mode().Perm()
	}
	changed, err := change(old)
	if err != nil || changed == nil {
		return err
	}
	return replace(path, mode, changed)
}

// replace writes a file beside another and moves it there.
func replace(path string, mode fs.FileMode, content []byte) error {
	return beside(path, func(f *os.File) error {
		_, err := f.Write(content)
		return cmp.Or(err, f.Chmod(mode))
	}, func(made string) error { return os.Rename(made, path) })
}

// beside writes a file in the folder of path, which only its owner can read, and has put take it when it is whole. It is gone then.
func beside(path string, write func(*os.File) error, put func(made string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = cmp.Or(write(f), f.Sync())
	if err = cmp.Or(err, f.Close()); err != nil {
		return err
	}
	return put(f.Name())
}

// lock makes the file that kubectl config makes while it writes a kubeconfig.
func lock(path string, timeout time.Duration) (unlock func(), err error) {
	for begin := time.Now(); ; <-time.After(50 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(path) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if time.Since(begin) > timeout {
			return nil, fmt.Errorf("another command is writing it; if none is, remove %q", path)
		}
	}
}
