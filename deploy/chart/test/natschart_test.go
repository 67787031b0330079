//go:build natschart

package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/deploy/chart/test/render"
)

// TestTheOfficialChartTakesTheValues renders the official chart, in the folder GAS_NATS_CHART,
// with nats-values.yaml, and lets a server read the configuration that comes out.
func TestTheOfficialChartTakesTheValues(t *testing.T) {
	dir := os.Getenv("GAS_NATS_CHART")
	if dir == "" {
		t.Fatal("set GAS_NATS_CHART to the folder of the chart nats")
	}
	docs, err := render.Folder(dir, "nats", values(t).AsMap())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := render.Objects(docs, decoder(t))
	if err != nil {
		t.Fatal(err)
	}
	var conf string
	for _, o := range objects {
		if c, ok := o.(*corev1.ConfigMap); ok && c.Data["nats.conf"] != "" {
			conf = c.Data["nats.conf"]
		}
	}
	want := ofCluster(t)
	certificates := t.TempDir()
	cmd := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
		"-subj", "/CN=nats", "-keyout", filepath.Join(certificates, "tls.key"), "-out", filepath.Join(certificates, "tls.crt"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	if err := os.Link(filepath.Join(certificates, "tls.crt"), filepath.Join(certificates, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	for _, mount := range []string{"/etc/nats-certs/nats", "/etc/nats-certs/cluster", "/etc/nats-ca-cert"} {
		if !strings.Contains(conf, mount) {
			t.Errorf("the configuration does not name %s", mount)
		}
		conf = strings.ReplaceAll(conf, mount, certificates)
	}
	t.Setenv("SERVER_NAME", "nats-0")
	got := &server.Options{}
	if err := got.ProcessConfigString(conf); err != nil {
		t.Fatalf("%v in\n%s", err, conf)
	}
	same(t, got, want)
	if got.ServerName != "nats-0" || got.Routes[0].Hostname() != "nats-0.nats-headless" {
		t.Errorf("the server is called %s, its route %s", got.ServerName, got.Routes[0])
	}
	if got.TLSConfig == nil || got.Cluster.TLSConfig == nil || got.Cluster.TLSConfig.ClientAuth == 0 {
		t.Error("clients or routes are not encrypted, or routes not verified")
	}
}
