//go:build linux && e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// pauseImage is the image of the first process of each pod.
const pauseImage = "kubefederate.test/pause:1"

// node is a kubelet with a containerd, as a machine has them.
type node struct {
	name                string
	dir                 string
	containerd, kubelet *env.Process
}

// Files of a node, by their name. Index is the node's number, which its addresses and ports come from.
var files = map[string]*template.Template{
	"containerd.toml": template.Must(template.New("").Parse(`version = 2
root = "{{.Dir}}/containerd"
state = "{{.Dir}}/containerd-state"
[grpc]
  address = "{{.Dir}}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Dir}}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{{.Dir}}/cni"
`)),
	"cni/10-bridge.conflist": template.Must(template.New("").Parse(`{
  "cniVersion": "0.4.0", "name": "{{.Name}}",
  "plugins": [{
    "type": "bridge", "bridge": "kf{{.Index}}", "isGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.{{.Index}}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`)),
	"kubelet.yaml": template.Must(template.New("").Parse(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: {{.Port}}
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "{{.Dir}}/ca.crt"}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://{{.Dir}}/containerd.sock
podLogsDir: {{.Dir}}/logs
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
evictionHard: {memory.available: 1Mi, nodefs.available: 0.1%, nodefs.inodesFree: 0.1%, imagefs.available: 0.1%}
# One node is drained while another takes its pods: both lie on this machine.
nodeStatusUpdateFrequency: 2s
`)),
}

// startNode starts a node of a cluster and loads the images into it. It returns when the node is ready.
func startNode(ctx context.Context, c *env.Cluster, folder string, index int) (_ *node, err error) {
	programs, err := env.OldestHost.Assets(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	n := &node{name: fmt.Sprintf("node-%d", index)}
	n.dir = filepath.Join(folder, n.name)
	values := map[string]any{"Name": n.name, "Dir": n.dir, "Index": index, "Port": 10250 + index, "Pause": pauseImage}
	for name, content := range files {
		var b bytes.Buffer
		if err := content.Execute(&b, values); err != nil {
			return nil, err
		}
		if err := write(filepath.Join(n.dir, name), b.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := write(filepath.Join(n.dir, "ca.crt"), c.Config().CAData); err != nil {
		return nil, err
	}
	containerd, err := exec.LookPath("containerd")
	if err != nil {
		return nil, err
	}
	if n.containerd, err = env.Run(env.Program{Path: containerd, Log: filepath.Join(n.dir, "containerd.log"),
		Flags: []string{"--config=" + filepath.Join(n.dir, "containerd.toml")}}); err != nil {
		return nil, err
	}
	if err := n.run(ctx, "ctr", "--namespace", "k8s.io", "images", "import", built("pause.tar")); err != nil {
		return nil, err
	}
	if err := n.run(ctx, "make", "-C", "../..", "--old-file=image", "image-load", "RUNTIME=containerd", "VERSION="+version, "DIST="+built("")); err != nil {
		return nil, err
	}
	if n.kubelet, err = env.Run(env.Program{Path: filepath.Join(programs, "kubelet"), Log: filepath.Join(n.dir, "kubelet.log"), Flags: []string{
		"--config=" + filepath.Join(n.dir, "kubelet.yaml"),
		"--kubeconfig=" + c.Kubeconfig,
		"--hostname-override=" + n.name,
		"--node-ip=" + serviceAddress,
		"--root-dir=" + filepath.Join(n.dir, "kubelet"),
		"--cert-dir=" + filepath.Join(n.dir, "certificates"),
	}}); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return nil, err
	}
	return n, env.Poll(ctx, func(ctx context.Context) error {
		live, err := client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range live.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && len(live.Spec.Taints) == 0 {
				return nil
			}
		}
		return fmt.Errorf("%s is not ready: %+v %+v", n.name, live.Spec.Taints, live.Status.Conditions)
	})
}

// run runs a program for the containerd of a node until that listens.
func (n *node) run(ctx context.Context, program string, args ...string) error {
	return env.Poll(ctx, func(ctx context.Context) error {
		command := exec.CommandContext(ctx, program, args...)
		command.Env = append(os.Environ(), "CONTAINERD_ADDRESS="+filepath.Join(n.dir, "containerd.sock"))
		out, err := command.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
		}
		return nil
	})
}

// logs are the ends of what the containers of a node have written.
func (n *node) logs() string {
	var all strings.Builder
	found, _ := filepath.Glob(filepath.Join(n.dir, "logs", "*", "*", "*.log"))
	for _, file := range found {
		content, err := os.ReadFile(file)
		fmt.Fprintf(&all, "%s: %v\n%s\n", file, err, content[max(0, len(content)-4000):])
	}
	return all.String()
}

func write(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// packPause writes an archive of the pause image, as docker save does.
func packPause(ctx context.Context, archive string) error {
	program := filepath.Join(filepath.Dir(archive), "pause")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build pause: %w: %s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	layer := packed(file{"pause", 0o755, content})
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": []string{"/pause"}, "User": "65535:65535"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{pauseImage}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	return write(archive, packed(file{"config.json", 0o644, config}, file{"layer.tar", 0o644, layer}, file{"manifest.json", 0o644, manifest}))
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func packed(all ...file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range all {
		_ = w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}) // a buffer takes everything
		_, _ = w.Write(f.content)
	}
	_ = w.Close()
	return b.Bytes()
}
