package container

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../helm/penname"

// values are what an operator gives.
func values(side string) map[string]any {
	digest := "@sha256:" + strings.Repeat("a", 64)
	return map[string]any{
		"image": "registry.example/penname" + digest, "copier": "debian" + digest, "side": side, "metricsPort": 9464, "imagePullSecrets": []any{"registry"},
		"network": map[string]any{
			"from": []any{map[string]any{"podSelector": map[string]any{"matchLabels": map[string]any{"app": "haproxy"}}}},
			"to":   []any{map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/24"}}},
		},
		"storage": map[string]any{"className": "fast"},
		"migrate": map[string]any{"secret": map[string]string{"keep": "penname-owner"}[side]},
	}
}

// render is `helm template`.
func render(v map[string]any) (map[string]string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: "penname-issue", Namespace: "issue", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	manifests := map[string]string{}
	for _, text := range files {
		for _, one := range releaseutil.SplitManifests(text) {
			var head releaseutil.SimpleHead
			if err := yaml.Unmarshal([]byte(one), &head); err != nil {
				return nil, err
			}
			if head.Kind != "" {
				manifests[head.Kind+" "+head.Metadata.Name] = one
			}
		}
	}
	return manifests, err
}

// decode decodes a manifest as the type that Kubernetes has for it: a field that it does not
// know is an error.
func decode[T any](t *testing.T, manifest string) (v T) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(manifest), &v); err != nil {
		t.Fatalf("%v:\n%s", err, manifest)
	}
	return v
}

// TestChart: `helm lint` finds nothing, and each manifest of each side is what Kubernetes'
// own types say, and confined. No cluster ran it.
func TestChart(t *testing.T) {
	for side, name := range map[string]string{"issue": "issuing", "disclose": "disclosing", "keep": "keeping"} {
		for _, m := range lint.AllWithKubeVersion(chart, values(side), "issue", nil).Messages {
			if m.Severity > support.InfoSev {
				t.Error(m)
			}
		}
		all, err := render(values(side))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"NetworkPolicy penname-" + name, "PodDisruptionBudget penname-" + name, "Service penname-" + name, "Service penname-" + name + "-replicas", "StatefulSet penname-" + name}
		if side == "keep" {
			want = append([]string{"Job penname-migrate"}, want...)
		}
		if have := slices.Sorted(maps.Keys(all)); !slices.Equal(have, want) {
			t.Fatal(have)
		}
		set := decode[appsv1.StatefulSet](t, all["StatefulSet penname-"+name])
		decode[policyv1.PodDisruptionBudget](t, all["PodDisruptionBudget penname-"+name])
		confined(t, set.Spec.Template.Spec)
		var job batchv1.Job
		if side == "keep" {
			job = decode[batchv1.Job](t, all["Job penname-migrate"])
			confined(t, job.Spec.Template.Spec)
		} else {
			owner := values(side)
			owner["migrate"] = map[string]any{"secret": "penname-owner"}
			if _, err := render(owner); err == nil || !strings.Contains(err.Error(), "migrate.secret is for the release of the side keep alone") {
				t.Errorf("the owner of the database beside %s: %v", side, err)
			}
		}
		if *set.Spec.Replicas != 2 || !slices.Equal(set.Spec.Template.Spec.Containers[0].Args, []string{"serve", "--config", "/etc/penname/escrowd.toml"}) {
			t.Error(set.Spec)
		}
		service := decode[corev1.Service](t, all["Service penname-"+name])
		headless := decode[corev1.Service](t, all["Service penname-"+name+"-replicas"])
		if headless.Spec.ClusterIP != corev1.ClusterIPNone || headless.Name != set.Spec.ServiceName {
			t.Error(headless)
		}
		for key, value := range service.Spec.Selector {
			if set.Spec.Template.Labels[key] != value || set.Spec.Selector.MatchLabels[key] != value {
				t.Errorf("%s of the service is %s", key, value)
			}
			if job.Spec.Template.Labels[key] == value && key == "app.kubernetes.io/component" {
				t.Error("the migration is served")
			}
		}
		network := decode[networkingv1.NetworkPolicy](t, all["NetworkPolicy penname-"+name]).Spec
		if len(network.PolicyTypes) != 2 || len(network.Ingress) != 1 || len(network.Ingress[0].From) != 1 || len(network.Egress) != 2 || len(network.Egress[1].To) != 1 {
			t.Errorf("%+v", network)
		}
	}
	alone := values("issue")
	delete(alone, "network")
	delete(alone, "migrate")
	all, err := render(alone)
	if err != nil {
		t.Fatal(err)
	}
	if network := decode[networkingv1.NetworkPolicy](t, all["NetworkPolicy penname-issuing"]).Spec; len(network.Ingress) != 0 || len(all) != 5 {
		t.Errorf("nobody is named, and somebody may come: %+v", network)
	}
}

// confined: a pod has no right beyond its work, and no image that can become another one.
func confined(t *testing.T, p corev1.PodSpec) {
	t.Helper()
	s := p.SecurityContext
	if *s.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch || *p.AutomountServiceAccountToken || !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || p.HostNetwork || p.HostPID {
		t.Errorf("%+v", p)
	}
	mounted := map[string]bool{}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		s := c.SecurityContext
		if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || !strings.Contains(c.Image, "@sha256:") {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s takes what there is: %+v", c.Name, c.Resources)
		}
		for _, m := range c.VolumeMounts {
			mounted[m.Name] = true
		}
	}
	for _, v := range p.Volumes {
		if !mounted[v.Name] || v.HostPath != nil {
			t.Errorf("volume %s", v.Name)
		}
	}
}

// TestSecretIDsOfAReplica runs the line that copies them, as often as a pod is made again. What
// a side reads is its user's alone, whatever a mount did to it; what it renewed stays, and what
// is given anew is taken, once.
func TestSecretIDsOfAReplica(t *testing.T) {
	all, err := render(values("issue"))
	if err != nil {
		t.Fatal(err)
	}
	line := decode[appsv1.StatefulSet](t, all["StatefulSet penname-issuing"]).Spec.Template.Spec.InitContainers[0]
	root := t.TempDir()
	for _, dir := range []string{"files", "secret-ids", "etc/penname", "var/lib/penname"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := regexp.MustCompile(`/(files|secret-ids|etc/penname|var/lib/penname)/`).ReplaceAllString(line.Args[0], root+"/$1/")
	own := filepath.Join(root, "var/lib/penname/secret-id")
	put := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o640), os.Chmod(name, 0o660)); err != nil { // as kubelet
			t.Fatal(err)
		}
	}
	start := func(what, want string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), line.Command[0], append(line.Command[1:], script)...)
		cmd.Env = append(os.Environ(), "HOSTNAME=penname-issuing-1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(what, err, string(out))
		}
		for name, text := range map[string]string{own: want, filepath.Join(root, "var/lib/penname/renewer.secret-id"): "renewer's", filepath.Join(root, "etc/penname/tls.key"): "key"} {
			b, err := os.ReadFile(name)
			if err != nil || string(b) != text {
				t.Errorf("%s: %s has %q, %v", what, name, b, err)
			}
			if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %v, %v", what, info.Mode(), err)
			}
		}
	}
	given := filepath.Join(root, "secret-ids/1.secret-id")
	put(filepath.Join(root, "files/tls.key"), "key")
	put(filepath.Join(root, "secret-ids/1.renewer.secret-id"), "renewer's")
	put(filepath.Join(root, "secret-ids/0.secret-id"), "another replica's")
	put(given, "first")
	start("first", "first")
	put(own, "renewed")
	start("made again", "renewed")
	put(given, "second")
	start("given anew", "second")
	put(own, "renewed again")
	start("made again", "renewed again")
	if err := os.Remove(own + ".given"); err != nil {
		t.Fatal(err)
	}
	start("of a chart that did not write down what was given", "renewed again")
	if err := os.Remove(given); err != nil {
		t.Fatal(err)
	}
	start("nothing is given any more", "renewed again")
}

// TestHelmWaits: the lines of the handbook have Helm wait for longer than a migration waits for
// a lock.
func TestHelmWaits(t *testing.T) {
	handbook, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^    helm (?:install|upgrade) .*$`).FindAllString(string(handbook), -1)
	if len(lines) == 0 {
		t.Fatal("the handbook installs nothing")
	}
	for _, line := range lines {
		if !strings.Contains(line, " --timeout 15m") {
			t.Error(line)
		}
	}
}

// TestChartRefuses: what is left out or can change is said before anything is installed.
func TestChartRefuses(t *testing.T) {
	for _, row := range []struct {
		key   string
		value any
		says  string
	}{
		{"side", "", "side has to be issue, disclose or keep"},
		{"side", "issuing", "side has to be issue, disclose or keep"},
		{"image", "", "image has to be an image by its digest"},
		{"image", "registry.example/penname:latest", "image has to be an image by its digest"},
		{"copier", "debian:bookworm", "copier has to be an image by its digest"},
		{"secrets", map[string]any{"files": ""}, "secrets.files is needed"},
	} {
		v := values("issue")
		v[row.key] = row.value
		if _, err := render(v); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s = %v: %v", row.key, row.value, err)
		}
	}
}
