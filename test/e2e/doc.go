// Package e2e runs the product as people install it: the image that `make image` builds and the manifests as shipped, on real
// nodes: kubelet and containerd.
//
// It needs Linux, root and the packages of `make e2e`. Everything runs in namespaces of its own, for processes, mounts and
// networks, and ends with them: see isolate.
package e2e
