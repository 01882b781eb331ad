// Package env starts real Kubernetes control planes on this machine, for tests, for the demo and for a
// playground.
//
// A Fleet is one etcd and, per cluster, a kube-apiserver with a certificate authority, an RBAC and an
// identity (the UID of kube-system) of its own, and where asked a kube-controller-manager. There is no
// kubelet: Nodes are objects that AddNode writes. Nothing is faked but that.
//
//	fleet, err := env.Start(ctx, env.Options{Clusters: []env.Spec{
//		{Name: "host", ControllerManager: true}, {Name: "east"},
//	}})
//	defer fleet.Stop()
//	east := fleet.Cluster("east")
//	client := kubernetes.NewForConfigOrDie(east.Config())
//	alice := kubernetes.NewForConfigOrDie(east.User("alice", "platform-team"))
//
// The programs are built from Go modules on first use (Assets), because the project needs neither a
// registry nor a download site. Every server listens on loopback only, and none outlives the process that
// started it, whatever ends that process (process.go).
package env
