package chart_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"helm.sh/helm/v3/pkg/chartutil"
)

var (
	variable  = regexp.MustCompile(`\$(GAS_[A-Z_]+)`)
	tlsBlocks = regexp.MustCompile(`(?ms)^ *tls \{.*?^ *\}`)
	// unquoted is what the official chart writes without quotes: variables, and numbers with units.
	unquoted = regexp.MustCompile(`"<< (.*?) >>"`)
)

// ofCluster returns the options of deploy/nats/nats.conf, without its certificates.
func ofCluster(t *testing.T) *server.Options {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		t.Setenv(m[1], "of-"+m[1])
	}
	t.Setenv("GAS_NATS_ROUTES", `["nats-route://gas-1.example:6222", "nats-route://gas-2.example:6222", "nats-route://gas-3.example:6222"]`)
	for _, l := range []string{"LISTEN", "MONITOR", "CLUSTER_LISTEN", "CLUSTER_ADVERTISE"} {
		t.Setenv("GAS_NATS_"+l, "127.0.0.1:4222")
	}
	o := &server.Options{}
	if err := o.ProcessConfigString(string(tlsBlocks.ReplaceAll(text, nil))); err != nil {
		t.Fatal(err)
	}
	return o
}

// values returns deploy/chart/nats-values.yaml.
func values(t *testing.T) chartutil.Values {
	t.Helper()
	v, err := chartutil.ReadValuesFile(filepath.Join("..", "nats-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// at returns the value at a path of keys.
func at(t *testing.T, v chartutil.Values, path string) any {
	t.Helper()
	var now any = v.AsMap()
	for key := range strings.SplitSeq(path, ".") {
		m, ok := now.(map[string]any)
		if !ok || m[key] == nil {
			t.Fatalf("nats-values.yaml has no %s", path)
		}
		now = m[key]
	}
	return now
}

// same compares what the two configurations must agree on.
func same(t *testing.T, got, want *server.Options) {
	t.Helper()
	byName := func(a, b *server.User) int { return strings.Compare(a.Username, b.Username) }
	slices.SortFunc(got.Users, byName)
	slices.SortFunc(want.Users, byName)
	if len(got.Users) != len(want.Users) || len(want.Users) < 7 {
		t.Fatalf("%d users, want %d", len(got.Users), len(want.Users))
	}
	for i, u := range got.Users {
		w := want.Users[i]
		if u.Username != w.Username || u.Password != w.Password || u.Account.Name != w.Account.Name || !reflect.DeepEqual(u.Permissions, w.Permissions) {
			t.Errorf("the user %s has %+v, want %+v", u.Username, u.Permissions, w.Permissions)
		}
	}
	for what, pair := range map[string][2]any{
		"max_payload": {got.MaxPayload, want.MaxPayload}, "max_control_line": {got.MaxControlLine, want.MaxControlLine},
		"system_account": {got.SystemAccount, want.SystemAccount}, "lame_duck_duration": {got.LameDuckDuration, want.LameDuckDuration},
		"lame_duck_grace_period": {got.LameDuckGracePeriod, want.LameDuckGracePeriod}, "sync_interval: always": {got.SyncAlways, want.SyncAlways},
		"max_file_store": {got.JetStreamMaxStore, want.JetStreamMaxStore}, "max_memory_store": {got.JetStreamMaxMemory, want.JetStreamMaxMemory},
		"no_advertise": {got.Cluster.NoAdvertise, want.Cluster.NoAdvertise}, "routes": {len(got.Routes), len(want.Routes)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v as in deploy/nats/nats.conf", what, pair[0], pair[1])
		}
	}
}

// TestTheValuesOfNATSAreItsConfiguration builds, from the values of the official chart, the
// configuration that this chart makes, and compares it with deploy/nats/nats.conf.
func TestTheValuesOfNATSAreItsConfiguration(t *testing.T) {
	v := values(t)
	conf := map[string]any{}
	for k, value := range at(t, v, "config.merge").(map[string]any) {
		conf[k] = value
	}
	js := map[string]any{
		"store_dir": "/data", "max_file_store": "<< " + at(t, v, "config.jetstream.fileStore.maxSize").(string) + " >>",
		"max_memory_store": "<< " + at(t, v, "config.jetstream.memoryStore.maxSize").(string) + " >>",
	}
	for k, value := range at(t, v, "config.jetstream.merge").(map[string]any) {
		js[k] = value
	}
	conf["jetstream"] = js
	conf["cluster"] = map[string]any{
		"name": "nats", "port": 6222, "no_advertise": at(t, v, "config.cluster.noAdvertise"),
		"routes": []string{"tls://nats-0.nats-headless:6222", "tls://nats-1.nats-headless:6222", "tls://nats-2.nats-headless:6222"},
	}
	text, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(text))
	want := ofCluster(t) // sets the variables too
	got := &server.Options{}
	if err := got.ProcessConfigString(unquoted.ReplaceAllString(plain, "$1")); err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

// TestEachVariableOfTheValuesIsGiven: the servers take the passwords from the Secret of the
// chart gas.
func TestEachVariableOfTheValuesIsGiven(t *testing.T) {
	v := values(t)
	text, err := json.Marshal(at(t, v, "config"))
	if err != nil {
		t.Fatal(err)
	}
	env := at(t, v, "container.env").(map[string]any)
	names := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
		from, ok := env[m[1]].(map[string]any)
		if !ok {
			t.Errorf("nobody gives %s", m[1])
			continue
		}
		ref := from["valueFrom"].(map[string]any)["secretKeyRef"].(map[string]any)
		user := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(m[1], "GAS_NATS_"), "_PASSWORD"))
		if ref["name"] != "gas-secrets" || ref["key"] != user {
			t.Errorf("%s comes from %v, want gas-secrets/%s", m[1], ref, user)
		}
	}
	if len(names) != 7 {
		t.Errorf("the values have the passwords %v", names)
	}
}

// TestTheServersOfTheValuesAreFoundByKEDA: see docs/kubernetes.md.
func TestTheServersOfTheValuesAreFoundByKEDA(t *testing.T) {
	v := values(t)
	if at(t, v, "config.cluster.noAdvertise") != true || at(t, v, "config.monitor.enabled") != true {
		t.Error("KEDA takes the names of the servers from the routes: nothing else may be advertised")
	}
	if prefix := v.AsMap()["config"].(map[string]any)["serverNamePrefix"]; prefix != nil {
		t.Errorf("a server is called %v and its pod, its route is not", prefix)
	}
	scaled := install(t, "keda", nil).scaled["gas-restore"]
	if got := scaled.Spec.Triggers[0].Metadata["natsServerMonitoringEndpoint"]; got != "nats-headless.restore.svc.cluster.local:8222" {
		t.Errorf("KEDA asks at %s", got)
	}
}
