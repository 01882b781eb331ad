//go:build unix

package bench

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// refusalRate is how many creates a second are sent that a limit refuses, for refusalTime.
	refusalRate = 200
	refusalTime = 10 * time.Second
	// maxListRate bounds the lists of members that the manager begins in a second, whatever is refused.
	maxListRate = 1
	// membersPerPage is how many members such a list asks for in one request.
	membersPerPage = 1000
)

// refusals sends creates that a limit refuses, many at once, and counts the lists of members that the API server answered
// meanwhile: only the manager lists members here.
func (s *stage) refusals(b *testing.B) {
	var mu sync.Mutex
	var took []time.Duration
	refuse := func() {
		m := object(product, created(s.number.Add(1)))
		label(m, "full", "yes")
		start := time.Now()
		if _, err := s.of(product).Create(b.Context(), m, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "takes at most") {
			b.Errorf("create: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Since(start))
	}
	for b.Loop() {
		if len(took) > 0 {
			continue // one round is many refusals
		}
		ctx, cancel := context.WithTimeout(b.Context(), refusalTime)
		before, began := s.listRequests(b), time.Now()
		limiter := flowcontrol.NewTokenBucketRateLimiter(refusalRate, 1)
		var wg sync.WaitGroup
		for limiter.Wait(ctx) == nil {
			wg.Go(refuse)
		}
		wg.Wait()
		cancel()
		elapsed := time.Since(began).Seconds()
		lists := (s.listRequests(b) - before) / float64((s.filled+membersPerPage-1)/membersPerPage)
		b.ReportMetric(float64(len(took))/elapsed, "refusals/s")
		b.ReportMetric(lists/elapsed, "lists/s")
		// The first list may begin at once.
		if lists > elapsed*maxListRate+1 {
			b.Errorf("%.0f lists of members in %.1f s, more than %d a second", lists, elapsed, maxListRate)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took).Seconds()*1000, "refusal-ms")
}

// listRequests is how many requests that list members the API server has answered.
func (s *stage) listRequests(b *testing.B) float64 {
	b.Helper()
	text, err := s.metrics.Get().AbsPath("/metrics").DoRaw(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	requests := 0.0
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["group"] == product.group() && labels["resource"] == "memberclusters" && labels["verb"] == "LIST" {
			requests += m.GetCounter().GetValue()
		}
	}
	if requests == 0 {
		b.Fatal("the API server has counted no list of members")
	}
	return requests
}
