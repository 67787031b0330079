// Package chart_test renders the chart for several sets of values, and holds what comes out to
// the types of Kubernetes, KEDA and Prometheus, to the restricted profile of pods, and to what
// the services read.
package chart_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	kedav1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	psaapi "k8s.io/pod-security-admission/api"
	psapolicy "k8s.io/pod-security-admission/policy"

	"github.com/gas-restore/gas/deploy/chart/test/render"
	"github.com/gas-restore/gas/internal/config"
)

var services = []config.Service{config.Bridge, config.Thaw, config.Restore, config.Web}

// decoder returns a decoder that takes no field that a type does not have.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, kedav1.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}

// release is what the chart makes of one set of values.
type release struct {
	deployments map[string]*appsv1.Deployment
	pods        map[string]*pod // by component; the checks of `helm test` as component-check
	services    map[string]*corev1.Service
	accounts    map[string]*corev1.ServiceAccount
	configs     map[string]*corev1.ConfigMap
	budgets     map[string]*policyv1.PodDisruptionBudget
	policies    map[string]*networkingv1.NetworkPolicy
	ingresses   map[string]*networkingv1.Ingress
	scaled      map[string]*kedav1.ScaledObject
	monitors    []*monitoringv1.ServiceMonitor
	rules       []*monitoringv1.PrometheusRule
	notes       string
	objects     int
}

// pod is a pod and the labels that it has.
type pod struct {
	labels map[string]string
	spec   corev1.PodSpec
}

// install renders the chart with the values of ci/NAME.yaml, after change.
func install(t *testing.T, name string, change func(values map[string]any)) *release {
	t.Helper()
	values, err := render.Values(name)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(values)
	}
	docs, err := render.All(values)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := render.Objects(docs, decoder(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &release{
		map[string]*appsv1.Deployment{}, map[string]*pod{}, map[string]*corev1.Service{}, map[string]*corev1.ServiceAccount{}, map[string]*corev1.ConfigMap{},
		map[string]*policyv1.PodDisruptionBudget{}, map[string]*networkingv1.NetworkPolicy{}, map[string]*networkingv1.Ingress{}, map[string]*kedav1.ScaledObject{}, nil, nil, "", len(objects),
	}
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			r.deployments[o.Name] = o
			r.pods[strings.TrimPrefix(o.Name, "gas-")] = &pod{o.Spec.Template.Labels, o.Spec.Template.Spec}
		case *batchv1.Job:
			r.pods[strings.TrimPrefix(o.Name, "gas-")] = &pod{o.Spec.Template.Labels, o.Spec.Template.Spec}
		case *corev1.Pod:
			r.pods[strings.TrimPrefix(o.Name, "gas-")] = &pod{o.Labels, o.Spec}
		case *corev1.Service:
			r.services[o.Name] = o
		case *corev1.ServiceAccount:
			r.accounts[o.Name] = o
		case *corev1.ConfigMap:
			r.configs[o.Name] = o
		case *policyv1.PodDisruptionBudget:
			r.budgets[o.Name] = o
		case *networkingv1.NetworkPolicy:
			r.policies[o.Name] = o
		case *networkingv1.Ingress:
			r.ingresses[o.Name] = o
		case *kedav1.ScaledObject:
			r.scaled[o.Name] = o
		case *monitoringv1.ServiceMonitor:
			r.monitors = append(r.monitors, o)
		case *monitoringv1.PrometheusRule:
			r.rules = append(r.rules, o)
		default:
			t.Errorf("the chart makes a %T, and no test reads it", o)
		}
	}
	for _, d := range docs {
		if strings.HasSuffix(d.File, "NOTES.txt") {
			r.notes = string(d.YAML)
		}
	}
	return r
}

// each runs f for each set of values.
func each(t *testing.T, f func(t *testing.T, r *release)) {
	sets, err := render.Sets()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sets {
		t.Run(name, func(t *testing.T) { f(t, install(t, name, nil)) })
	}
}

// env returns the environment of a pod's container, in the form of os.Environ.
func (p *pod) env() []string {
	var vars []string
	for _, v := range p.spec.Containers[0].Env {
		vars = append(vars, v.Name+"="+v.Value)
	}
	return vars
}

func (p *pod) variable(name string) string {
	for _, v := range p.spec.Containers[0].Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func TestEveryObjectIsOneThatItsAPIKnows(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		if len(r.deployments) != len(services) || r.notes == "" {
			t.Errorf("got %d deployments and notes %q", len(r.deployments), r.notes)
		}
		t.Logf("%d objects, 0 errors", r.objects)
	})
}

func TestHelmLintFindsNothing(t *testing.T) {
	dir, err := render.Chart()
	if err != nil {
		t.Fatal(err)
	}
	sets, err := render.Sets()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sets {
		values, err := render.Values(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.All(dir, values, render.Namespace, true).Messages {
			// It wants an icon, and says so as an information.
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// TestEveryPodIsOfTheRestrictedProfile asks the code with which Kubernetes admits pods.
func TestEveryPodIsOfTheRestrictedProfile(t *testing.T) {
	evaluator, err := psapolicy.NewEvaluator(psapolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	each(t, func(t *testing.T, r *release) {
		for name, p := range r.pods {
			for _, result := range evaluator.EvaluatePod(restricted, &metav1.ObjectMeta{Labels: p.labels}, &p.spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			c := p.spec.Containers[0]
			if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s can write its root folder", name)
			}
			if p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks {
				t.Errorf("%s gets variables such as GAS_WEB_SERVICE_HOST, which are no settings", name)
			}
			if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
				t.Errorf("%s gets a token of Kubernetes, which it does not use", name)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s has no bound of memory, or no request of processors", name)
			}
		}
	})
}

// loads reads a pod's environment as its service does, and returns the faults. The files of
// secrets are not here: their variables must be right, and that is all.
func loads(p *pod, s ...config.Service) []config.Fault {
	var vars []string
	for _, v := range p.env() {
		if name, file, _ := strings.Cut(v, "="); strings.HasSuffix(name, "_FILE") && strings.HasPrefix(file, "/etc/gas/secrets/") {
			v = strings.TrimSuffix(name, "_FILE") + "=x"
		}
		vars = append(vars, v)
	}
	_, err := config.From(vars, s...)
	return append(config.Faults(err), config.Unknown(p.env())...)
}

func TestEachServiceStartsWithTheSettingsOfItsPod(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		for _, s := range services {
			for _, name := range []string{string(s), string(s) + "-check"} {
				if faults := loads(r.pods[name], s); len(faults) > 0 {
					t.Errorf("%s: %v", name, faults)
				}
			}
			if r.pods[string(s)].variable("AWS_REGION") == "" {
				t.Errorf("%s does not know its region", s)
			}
			for _, v := range r.pods[string(s)].env() {
				name, _, _ := strings.Cut(v, "=")
				if i := slices.IndexFunc(config.Of(s), func(s config.Setting) bool { return s.Name == name }); i < 0 && strings.HasPrefix(name, "GAS_") {
					t.Errorf("%s gets %s, which it does not read", s, name)
				}
				if setting, _ := config.Lookup(name); setting.Secret {
					t.Errorf("%s gets the secret %s as a variable, want a file", s, name)
				}
			}
		}
		if faults := loads(r.pods["provision"]); len(faults) > 0 {
			t.Errorf("provision: %v", faults)
		}
	})
}

// secretFiles are the keys of the Secret by the pod that gets them.
var secretFiles = map[string][]string{
	"bridge": {"bridge"}, "thaw": {"sweep", "thaw"}, "restore": {"restore"}, "web": {"oidc-client-secret", "web"}, "provision": {"operator"},
}

func TestAPodGetsTheSecretsOfItsServiceAndNoOther(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		for name, p := range r.pods {
			volumes, mounted := map[string]corev1.Volume{}, map[string]bool{}
			for _, v := range p.spec.Volumes {
				volumes[v.Name] = v
			}
			var files []string
			for _, m := range p.spec.Containers[0].VolumeMounts {
				v, ok := volumes[m.Name]
				if !ok {
					t.Errorf("%s mounts %s, and has no such volume", name, m.Name)
				}
				if m.SubPath != "" {
					t.Errorf("%s mounts a single file of %s: a change would never reach it", name, m.Name)
				}
				mounted[m.Name] = true
				if v.ConfigMap != nil {
					if c := r.configs[v.ConfigMap.Name]; c == nil {
						t.Errorf("%s mounts the ConfigMap %s, which the chart does not make", name, v.ConfigMap.Name)
					} else {
						for file := range c.Data {
							files = append(files, m.MountPath+"/"+file)
						}
					}
				}
				if v.Secret != nil {
					for _, item := range v.Secret.Items {
						files = append(files, m.MountPath+"/"+item.Path)
					}
				}
			}
			if len(mounted) != len(volumes) {
				t.Errorf("%s has volumes %v, mounts %v", name, slices.Sorted(maps.Keys(volumes)), slices.Sorted(maps.Keys(mounted)))
			}
			var keys []string
			for _, item := range volumes["secrets"].Secret.Items {
				keys = append(keys, item.Key)
			}
			slices.Sort(keys)
			if want := secretFiles[strings.TrimSuffix(name, "-check")]; !slices.Equal(keys, want) {
				t.Errorf("%s gets %v, want %v", name, keys, want)
			}
			for _, v := range p.env() {
				if variable, file, _ := strings.Cut(v, "="); strings.HasPrefix(file, "/etc/gas/") && !slices.Contains(files, file) {
					t.Errorf("%s: %s is %s, and the pod has only %v", name, variable, file, files)
				}
			}
		}
	})
}

func TestAPodOutlivesTheGraceOfItsService(t *testing.T) {
	for _, grace := range []int{25, 300} {
		r := install(t, "ha", func(v map[string]any) { v["stopGraceSeconds"] = grace })
		for _, s := range services {
			p := r.pods[string(s)]
			c, err := config.From([]string{"GAS_STOP_GRACE=" + p.variable("GAS_STOP_GRACE")})
			if err != nil {
				t.Fatal(err)
			}
			before := time.Duration(0)
			if l := p.spec.Containers[0].Lifecycle; l != nil {
				before = time.Duration(l.PreStop.Sleep.Seconds) * time.Second
			}
			if got := time.Duration(*p.spec.TerminationGracePeriodSeconds) * time.Second; c.StopGrace != time.Duration(grace)*time.Second || got < c.StopGrace+before+10*time.Second {
				t.Errorf("%s: the pod ends after %s, %s of them before the signal, and the grace is %s", s, got, before, c.StopGrace)
			}
		}
	}
}

// port returns the number of a named port of a pod's container, 0 if it has none.
func (p *pod) port(name string) int32 {
	for _, port := range p.spec.Containers[0].Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	return 0
}

func TestEachPortIsWhereItsServiceListens(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		for _, s := range services {
			p := r.pods[string(s)]
			for setting, port := range map[string]string{"GAS_HEALTH_LISTEN": "health", "GAS_WEB_LISTEN": "http", "GAS_WEBHOOK_LISTEN": "webhook"} {
				listen, declared := p.variable(setting), p.port(port)
				if want := fmt.Sprintf(":%d", declared); listen != want && (listen != "" || declared != 0) {
					t.Errorf("%s: %s is %q, the port %s is %d", s, setting, listen, port, declared)
				}
			}
			c := p.spec.Containers[0]
			for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
				if probe.HTTPGet.Path != path || probe.HTTPGet.Port != intstr.FromString("health") {
					t.Errorf("%s is asked at %s %s, want %s", s, &probe.HTTPGet.Port, probe.HTTPGet.Path, path)
				}
			}
			// /readyz answers within five seconds, whatever is silent.
			if c.ReadinessProbe.TimeoutSeconds <= 5 {
				t.Errorf("%s has %d s for /readyz", s, c.ReadinessProbe.TimeoutSeconds)
			}
		}
		for _, svc := range r.services {
			to := r.selected(svc.Spec.Selector)
			if len(to) != 1 || r.pods[to[0]].port(svc.Spec.Ports[0].TargetPort.StrVal) == 0 {
				t.Errorf("Service %s leads to %v, port %s", svc.Name, to, svc.Spec.Ports[0].TargetPort.StrVal)
			}
		}
		for _, in := range r.ingresses {
			for _, rule := range in.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					svc := r.services[path.Backend.Service.Name]
					if svc == nil || svc.Spec.Ports[0].Name != path.Backend.Service.Port.Name {
						t.Errorf("Ingress %s leads to %s, which is not there", in.Name, path.Backend.Service.Name)
					}
				}
				if len(in.Spec.TLS) != 1 || !slices.Contains(in.Spec.TLS[0].Hosts, rule.Host) {
					t.Errorf("Ingress %s has no TLS for %s", in.Name, rule.Host)
				}
			}
		}
	})
}

// selected returns the components of the Deployments with pods that have these labels.
func (r *release) selected(want map[string]string) (names []string) {
	for _, d := range r.deployments {
		if labels.SelectorFromSet(want).Matches(labels.Set(d.Spec.Template.Labels)) {
			names = append(names, strings.TrimPrefix(d.Name, "gas-"))
		}
	}
	return names
}

func TestEverySelectorFindsThePodsOfOneService(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		is := func(what, name string, selector map[string]string) {
			t.Helper()
			if got := r.selected(selector); len(got) != 1 || !strings.HasPrefix(strings.TrimPrefix(name, "gas-"), got[0]) {
				t.Errorf("%s %s is for the pods of %v", what, name, got)
			}
		}
		for _, d := range r.deployments {
			is("Deployment", d.Name, d.Spec.Selector.MatchLabels)
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				is("the spread of", d.Name, c.LabelSelector.MatchLabels)
			}
			if r.accounts[d.Spec.Template.Spec.ServiceAccountName] == nil || !strings.HasSuffix(d.Spec.Template.Spec.ServiceAccountName, d.Name) {
				t.Errorf("%s runs as %q", d.Name, d.Spec.Template.Spec.ServiceAccountName)
			}
		}
		for _, b := range r.budgets {
			is("PodDisruptionBudget", b.Name, b.Spec.Selector.MatchLabels)
		}
		for _, s := range r.scaled {
			if d := r.deployments[s.Spec.ScaleTargetRef.Name]; d == nil || d.Spec.Replicas != nil {
				t.Errorf("%s scales %s: it is not there, or an upgrade would undo what KEDA did", s.Name, s.Spec.ScaleTargetRef.Name)
			}
		}
		for _, m := range r.monitors {
			n := 0
			for _, svc := range r.services {
				if labels.SelectorFromSet(m.Spec.Selector.MatchLabels).Matches(labels.Set(svc.Labels)) && svc.Spec.Ports[0].Name == m.Spec.Endpoints[0].Port {
					n++
				}
			}
			if n != len(services) {
				t.Errorf("Prometheus reads the metrics of %d services", n)
			}
		}
	})
}

// TestTheMonitoringOfNATSIsClosedToAllButKEDAAndPrometheus reads who may reach it.
func TestTheMonitoringOfNATSIsClosedToAllButKEDAAndPrometheus(t *testing.T) {
	for name, want := range map[string][]string{"ha": nil, "keda": {"keda"}, "everything": {"keda", "monitoring"}} {
		r := install(t, name, nil)
		p := r.policies["gas-nats"]
		if p == nil {
			t.Fatalf("%s: no policy for NATS", name)
		}
		var got []string
		for _, rule := range p.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("%s: a rule is for everybody, or for every port: %+v", name, rule)
			}
			for _, port := range rule.Ports {
				if port.Port.IntValue() != 8222 {
					continue
				}
				for _, from := range rule.From {
					got = append(got, from.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the monitoring is open to %v, want %v", name, got, want)
		}
	}
}

func TestAPolicyIsForEachPod(t *testing.T) {
	r := install(t, "ha", nil)
	for name, p := range r.pods {
		n := 0
		for _, policy := range r.policies {
			if selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector); err != nil {
				t.Fatal(err)
			} else if selector.Matches(labels.Set(p.labels)) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d policies are for %s, want one", n, name)
		}
	}
	reached := func(component string) (ports []string) {
		for _, rule := range r.policies["gas-"+component].Spec.Ingress {
			for _, p := range rule.Ports {
				ports = append(ports, p.Port.String())
			}
		}
		return ports
	}
	for component, want := range map[string]string{"bridge": "[health webhook]", "thaw": "[health]", "restore": "[health]", "web": "[health http]", "provision": "[]"} {
		if got := fmt.Sprint(reached(component)); got != want {
			t.Errorf("%s can be reached at %s, want %s", component, got, want)
		}
	}
}

func TestTheLiveStreamIsNotBuffered(t *testing.T) {
	a := install(t, "ha", nil).ingresses["gas-web"].Annotations
	if a["nginx.ingress.kubernetes.io/proxy-buffering"] != "off" {
		t.Errorf("the annotations are %v", a)
	}
}

func TestThawKeepsOneAndIsCappedAndRestoreMayGoToZero(t *testing.T) {
	r := install(t, "keda", nil)
	for name, want := range map[string][2]int32{"gas-thaw": {1, 4}, "gas-restore": {0, 10}} {
		s := r.scaled[name].Spec
		if got := [2]int32{*s.MinReplicaCount, *s.MaxReplicaCount}; got != want {
			t.Errorf("%s has from %d to %d replicas, want %v", name, got[0], got[1], want)
		}
		// This is what KEDA's admission webhook checks.
		for _, err := range []error{kedav1.CheckFallbackValid(r.scaled[name]), kedav1.CheckReplicaCountBoundsAreValid(r.scaled[name]), kedav1.ValidateTriggers(s.Triggers)} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if *install(t, "ha", nil).deployments["gas-thaw"].Spec.Replicas != 3 {
		t.Error("without KEDA, the values say how many")
	}
}

func TestTheChartRefusesWhatCannotWork(t *testing.T) {
	at := func(path string, value any) func(map[string]any) {
		return func(v map[string]any) {
			keys := strings.Split(path, "/")
			for _, k := range keys[:len(keys)-1] {
				next, ok := v[k].(map[string]any)
				if !ok {
					next = map[string]any{}
					v[k] = next
				}
				v = next
			}
			v[keys[len(keys)-1]] = value
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"no image":                       {at("image/repository", ""), "repository"},
		"no region":                      {at("aws/region", ""), "region"},
		"no secrets":                     {at("secrets/name", ""), "name"},
		"an address without scheme":      {at("nats/url", "nats:4222"), "url"},
		"two servers for a stream":       {at("nats/replicas", 2), "replicas"},
		"a setting that is a number":     {at("settings/GAS_THAW_SLOTS", 16), "GAS_THAW_SLOTS"},
		"a setting that is none":         {at("settings/GAS_THAW_SLOT", "16"), "GAS_THAW_SLOT is no setting"},
		"a setting of another service":   {at("web/settings/GAS_THAW_SLOTS", "16"), "web does not read it"},
		"a setting that the chart sets":  {at("settings/GAS_HEALTH_LISTEN", ":1"), "the chart sets it"},
		"a value that is none":           {at("restore/replica", 3), "replica"},
		"a site without a name":          {at("ingress/web/host", ""), "host"},
		"a webhook that is off, called":  {at("bridge/webhook/enabled", false), "bridge.webhook.enabled"},
		"no thaw":                        {at("keda/thaw/min", 0), "min"},
		"monitoring for the whole world": {at("networkPolicy/nats/monitorFrom", []any{}), "monitorFrom"},
	} {
		values, err := render.Values("everything")
		if err != nil {
			t.Fatal(err)
		}
		c.change(values)
		if _, err := render.All(values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
