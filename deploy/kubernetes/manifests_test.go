// Package kubernetes checks the example manifests against the types of Kubernetes and KEDA.
package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// types are those that the manifests may use.
var types = map[string]func() any{
	"v1 ConfigMap":                       func() any { return &core.ConfigMap{} },
	"v1 Service":                         func() any { return &core.Service{} },
	"apps/v1 Deployment":                 func() any { return &apps.Deployment{} },
	"networking.k8s.io/v1 NetworkPolicy": func() any { return &networking.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":      func() any { return &policy.PodDisruptionBudget{} },
	"keda.sh/v1alpha1 ScaledObject":      func() any { return &keda.ScaledObject{} },
}

// read decodes every document of the files strictly: an unknown or repeated field, or a value of a wrong type, fails.
func read(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	objects := map[string]any{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(content)))
		for buffer := make([]byte, 1<<20); ; {
			n, err := documents.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			var kind struct{ APIVersion, Kind string }
			if err := strict.Unmarshal(buffer[:n], &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			name := kind.APIVersion + " " + kind.Kind
			make, known := types[name]
			if !known {
				t.Fatalf("%s: a %s is not checked yet", file, name)
			}
			object := make()
			if err := strict.UnmarshalStrict(buffer[:n], object); err != nil {
				t.Errorf("%s: %s: %v", file, name, err)
			}
			objects[name] = object
		}
	}
	return objects
}

// TestManifests holds the parts of the manifests against each other and against the observer.
func TestManifests(t *testing.T) {
	objects := read(t)
	deployment := objects["apps/v1 Deployment"].(*apps.Deployment)
	budget := objects["policy/v1 PodDisruptionBudget"].(*policy.PodDisruptionBudget)
	service := objects["v1 Service"].(*core.Service)
	settings := objects["v1 ConfigMap"].(*core.ConfigMap)
	guard, _ := objects["networking.k8s.io/v1 NetworkPolicy"].(*networking.NetworkPolicy)
	if guard == nil || len(guard.Spec.PodSelector.MatchLabels) == 0 {
		t.Fatal("no NetworkPolicy says who may reach the pods")
	}
	scaled := objects["keda.sh/v1alpha1 ScaledObject"].(*keda.ScaledObject)

	labels := deployment.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"Deployment": deployment.Spec.Selector.MatchLabels, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels, "Service": service.Spec.Selector,
		"NetworkPolicy": guard.Spec.PodSelector.MatchLabels,
	} {
		for name, value := range selector {
			if labels[name] != value {
				t.Errorf("the %s selects %s=%s, the pods have %q", what, name, value, labels[name])
			}
		}
	}
	if scaled.Spec.ScaleTargetRef.Name != deployment.Name {
		t.Errorf("KEDA scales %q, the Deployment is %q", scaled.Spec.ScaleTargetRef.Name, deployment.Name)
	}
	for _, trigger := range scaled.Spec.Triggers {
		if strings.Contains(trigger.Metadata["query"], "pending") {
			t.Errorf("trigger %s scales on pending entries: waiting is no backlog", trigger.Name)
		}
	}

	pod := deployment.Spec.Template.Spec
	for _, rule := range guard.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) != 1 || rule.Ports[0].Port.StrVal != pod.Containers[0].Ports[0].Name {
			t.Errorf("the NetworkPolicy lets everybody in, or not to the port of the observer: %+v", rule)
		}
	}
	if len(guard.Spec.Ingress) == 0 || len(deployment.Spec.Template.Annotations) > 0 {
		t.Error("Prometheus reaches no pod, or annotations have it scrape under the name of another job")
	}
	drain, preStop := int64(10), pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
	if settings.Data["P28_DRAIN_TIMEOUT_SEC"] != "10" {
		t.Fatal("the drain takes another time; change this test with it")
	}
	if grace := *pod.TerminationGracePeriodSeconds; grace <= drain+preStop {
		t.Errorf("the pod is killed after %d s, while preStop and drain may take %d s", grace, drain+preStop)
	}
	contract, err := os.ReadFile("../../docs/wire-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range settings.Data {
		if !bytes.Contains(contract, []byte(name)) {
			t.Errorf("%s is no setting of the contract", name)
		}
	}
}
