package host

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// RecordEvent creates an Event about a member.
func (c *Cluster) RecordEvent(ctx context.Context, m *v1alpha1.MemberCluster, reason, message string) error {
	now := metav1.Now().UTC().Format(time.RFC3339)
	o := cluster.Events.New(metav1.NamespaceDefault, "")
	o.SetGenerateName(m.Name + ".")
	o.Object["involvedObject"] = map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": cluster.MemberClusters.Kind, "name": m.Name, "uid": string(m.UID),
	}
	o.Object["reason"] = reason
	o.Object["message"] = message
	o.Object["type"] = "Normal"
	o.Object["source"] = map[string]any{"component": v1alpha1.FieldOwner}
	o.Object["firstTimestamp"] = now
	o.Object["lastTimestamp"] = now
	o.Object["count"] = int64(1)
	_, err := c.Create(ctx, cluster.Events, o, cluster.DryRunNone)
	return err
}

// EventQuery selects the Events of members and federations, which have no namespace.
var EventQuery = cluster.ListOptions{Namespace: metav1.NamespaceDefault, Fields: "involvedObject.apiVersion=" + v1alpha1.GroupVersion.String()}

// Events reads the Events of members or federations, by UID. API servers keep Events for an hour by default.
func (c *Cluster) Events(ctx context.Context, kind cluster.Resource, objects []types.UID) (map[types.UID][]corev1.Event, error) {
	o := EventQuery
	o.Fields += ",involvedObject.kind=" + kind.Kind
	if len(objects) == 1 {
		o.Fields += ",involvedObject.uid=" + string(objects[0])
	}
	events, _, err := cluster.List[corev1.Event](ctx, c.Conn, cluster.Events, o)
	of := map[types.UID][]corev1.Event{}
	for _, e := range events {
		of[e.InvolvedObject.UID] = append(of[e.InvolvedObject.UID], e)
	}
	return of, err
}
