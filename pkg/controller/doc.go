// Package controller holds the reconcilers of the manager. They write the status of MemberClusters and Federations, from
// what is on the host and what members answer, and never a spec.
//
// # What is written, and how often
//
// One reconciler writes the status of a MemberCluster and computes its phase. The prober writes nothing: it keeps its
// observations in memory and wakes the reconciler when one differs from the last, and the reconciler writes when that changes
// the status. So a member that stays as it is costs one write in three hours at most, for lastProbeTime; a change of its nodes costs one in
// five minutes at most, and a member that keeps failing and recovering costs one, and an Event, in an interval.
//
// # What a member is asked
//
// Each probe is a get of the namespace kube-system: it needs the token, a right that every join gives, and etcd, and shows
// which cluster answers. On a new connection the version is read as well, and the nodes when it changed. Nodes are
// counted every five minutes, by a list of one, and all of them are read when their number changed, or an hour has
// passed. The membership record is read as often as nodes are counted, and when a probe is requested. A connection is kept
// between probes, unless the next one comes minutes later.
package controller
