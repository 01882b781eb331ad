//go:build unix

package check

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// manyMembers are the facts of 10,000 members, each observed through its stored credential and through a context.
func manyMembers() Facts {
	f := *well()
	f.Host.Members, f.Observations, f.Host.Credentials = nil, nil, map[v1alpha1.MemberName]bool{}
	for i := range 10_000 {
		one := well()
		m := one.member()
		m.Name = fmt.Sprintf("member-%05d", i)
		m.Spec.ClusterID = fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		f.Host.Members = append(f.Host.Members, *m)
		f.Host.Credentials[v1alpha1.MemberName(m.Name)] = true
		one.Observations[0].Credential, one.Observations[1].Context = v1alpha1.MemberName(m.Name), m.Name
		for _, o := range one.Observations {
			o.State.ID, o.State.Membership.Member = v1alpha1.ClusterID(m.Spec.ClusterID), v1alpha1.MemberName(m.Name)
			f.Observations = append(f.Observations, o)
		}
	}
	return f
}

// maxJudge bounds the CPU time in which 10,000 members are judged.
const maxJudge = time.Second

// BenchmarkJudge judges 10,000 members, of which each has one fault. Its bound is CPU time, which does not depend on what
// else the machine does.
func BenchmarkJudge(b *testing.B) {
	f := manyMembers()
	before, rounds := cpuTime(b), 0
	for b.Loop() {
		if found := Judge(f); len(found) != len(f.Host.Members) {
			b.Fatalf("%d findings, the first of which is %+v", len(found), found[0])
		}
		rounds++
	}
	each := (cpuTime(b) - before) / time.Duration(rounds)
	b.ReportMetric(each.Seconds()*1000, "cpu-ms")
	if each > maxJudge {
		b.Errorf("%d members take %s of CPU time, more than %s", len(f.Host.Members), each, maxJudge)
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
