package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	kjson "sigs.k8s.io/json"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// FuzzReview holds that everything that is sent to either webhook gets a well-formed response, with the UID of the review:
// admitted, or refused with a code and a message; and that nothing panics.
func FuzzReview(f *testing.F) {
	hosts := &server{
		federations: []v1alpha1.Federation{federation("f", v1alpha1.Limit{Max: 1}), federation("g")},
		members:     []v1alpha1.MemberCluster{cluster("m", "f", "x")},
	}
	hosts.federations[1].Spec = v1alpha1.FederationSpec{
		Enforcement: v1alpha1.EnforceWarn, KubernetesVersions: ">=1.33",
		Labels: []v1alpha1.LabelRule{{Key: "example.com/team", Required: true, Pattern: "[a-z]+", Immutable: true}},
	}
	member, other := &hosts.members[0], cluster("n", "g", "y")
	bad := other.DeepCopy()
	bad.Labels["kubefederate.io/fed"] = "x"
	bad.Spec = v1alpha1.MemberClusterSpec{
		ClusterID: "x", Server: "https://u@h:0?q", ProxyURL: "ftp://", CABundle: []byte("garbage"), InsecureSkipTLSVerify: true,
		JoinedWith: &v1alpha1.JoinFacts{KubernetesVersion: "latest", Regions: []string{"r"}},
	}
	tight := hosts.federations[0].DeepCopy()
	tight.Spec.Limits[0].Max = 0
	tight.Spec.Labels = []v1alpha1.LabelRule{{Key: "a b", Pattern: "["}, {Key: "a b", Values: []string{"!"}}}
	tight.Spec.Access = &v1alpha1.Access{ClusterRole: "a/b"}
	for _, seed := range []struct {
		federations bool
		operation   admissionv1.Operation
		before, now runtime.Object
	}{
		{false, admissionv1.Create, nil, &other},
		{false, admissionv1.Create, nil, bad},
		{false, admissionv1.Update, member, bad},
		{false, admissionv1.Delete, member, nil},
		{true, admissionv1.Create, nil, tight},
		{true, admissionv1.Update, &hosts.federations[0], tight},
		{true, admissionv1.Delete, &hosts.federations[0], nil},
		{true, admissionv1.Connect, nil, nil},
	} {
		f.Add(seed.federations, reviewOf(f, seed.operation, seed.before, seed.now))
	}
	for _, text := range []string{
		``, `{`, `null`, `[]`, `{"request":null}`, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","operation":"UPDATE","object":{},"oldObject":null}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","operation":"DELETE","object":null,"oldObject":{"metadata":{"labels":[]}}}}`,
	} {
		f.Add(false, []byte(text))
		f.Add(true, []byte(text))
	}

	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ofFederations bool, body []byte) {
		g := serverOf(t, hosts, hosts)
		webhook := admission.WithValidator[*v1alpha1.MemberCluster](scheme, members{g})
		if ofFederations {
			webhook = admission.WithValidator[*v1alpha1.Federation](scheme, federations{g})
		}
		// A panic is to be seen here, not answered.
		webhook.RecoverPanic = new(false)
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		webhook.ServeHTTP(recorder, request)

		var asked, got admissionv1.AdmissionReview
		decoder := json.NewDecoder(recorder.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil || decoder.More() {
			t.Fatalf("no review: %v", err)
		}
		answer := got.Response
		switch {
		case recorder.Code != http.StatusOK:
			t.Errorf("HTTP %d", recorder.Code)
		case answer == nil || answer.Result == nil:
			t.Errorf("no answer: %+v", got)
		case answer.Allowed && answer.Result.Code != http.StatusOK:
			t.Errorf("admitted with %d", answer.Result.Code)
		case !answer.Allowed && (answer.Result.Code < http.StatusBadRequest || answer.Result.Message == ""):
			t.Errorf("refused with %d and %q", answer.Result.Code, answer.Result.Message)
		// As API servers write it: encoding/json would take "requeSt" for the request.
		case kjson.UnmarshalCaseSensitivePreserveInts(body, &asked) == nil && got.Kind == "AdmissionReview" && asked.Request != nil && answer.UID != asked.Request.UID:
			t.Errorf("asked about %q, answered about %q", asked.Request.UID, answer.UID)
		}
		if answer != nil {
			for _, warning := range answer.Warnings {
				if len(warning) > 120 {
					t.Errorf("a warning of %d bytes: %s", len(warning), warning)
				}
			}
		}
	})
}

func reviewOf(t testing.TB, operation admissionv1.Operation, before, now runtime.Object) []byte {
	t.Helper()
	raw := func(o runtime.Object) (e runtime.RawExtension) {
		if o != nil {
			var err error
			if e.Raw, err = json.Marshal(o); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &admissionv1.AdmissionRequest{UID: "1", Operation: operation, Object: raw(now), OldObject: raw(before)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}
