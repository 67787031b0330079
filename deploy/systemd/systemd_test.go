//go:build linux

// Package systemd_test compares the units with what the services read, and starts the NATS server
// of an installation.
package systemd_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
)

// installed runs the script into an empty folder, and returns the folder.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	install(t, root)
	return root
}

func install(t *testing.T, root string) {
	t.Helper()
	cmd := exec.Command("./install")
	cmd.Env = append(os.Environ(), "DESTDIR="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install: %v\n%s", err, out)
	}
}

// lines returns the values of each key of a file of KEY=VALUE lines.
func lines(t *testing.T, file string) map[string][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string][]string{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), "="); ok && !strings.HasPrefix(k, "#") {
			got[k] = append(got[k], v)
		}
	}
	return got
}

var services = map[config.Service]string{config.Bridge: "bridge", config.Thaw: "thaw", config.Restore: "restore", config.Web: "web"}

func TestEachServiceStartsWithTheEnvironmentOfItsUnit(t *testing.T) {
	root := installed(t)
	ports := map[string]string{}
	for service, name := range services {
		unit := lines(t, "gas-"+name+".service")
		credentials := filepath.Join(root, "etc", "gas", "credentials")
		var env []string
		for k, v := range lines(t, filepath.Join(root, "etc", "gas", "gas.env")) {
			if v[0] == "" {
				v[0] = "an-id"
			}
			env = append(env, k+"="+v[0])
		}
		if err := os.WriteFile(filepath.Join(credentials, "oidc-client-secret"), []byte("a secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		var loaded []string
		for _, c := range unit["LoadCredential"] {
			id, path, _ := strings.Cut(c, ":")
			if want := "/etc/gas/credentials/" + id; path != want {
				t.Errorf("%s loads %s from %s, want %s", name, id, path, want)
			}
			if _, err := os.Stat(root + path); err != nil {
				t.Errorf("%s loads what install does not make: %v", name, err)
			}
			loaded = append(loaded, "%d/"+id)
		}
		for _, v := range unit["Environment"] {
			_, value, _ := strings.Cut(v, "=")
			if strings.HasPrefix(value, "%d/") && !slices.Contains(loaded, value) {
				t.Errorf("%s: %s is not loaded", name, v)
			}
			env = append(env, strings.ReplaceAll(v, "%d", credentials))
		}
		if unit["ExecStart"][0] != "/usr/local/bin/gas-"+name {
			t.Errorf("%s starts %s", name, unit["ExecStart"])
		}
		c, err := config.From(env, service)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if faults := config.Unknown(env); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
		if other := ports[c.HealthListen]; other != "" {
			t.Errorf("%s and %s have their health at %s", name, other, c.HealthListen)
		}
		ports[c.HealthListen] = name
		if stop, err := time.ParseDuration(unit["TimeoutStopSec"][0]); err != nil || stop < c.StopGrace+10*time.Second {
			t.Errorf("%s is killed after %s, and its grace is %s; %v", name, stop, c.StopGrace, err)
		}
		if unit["RestartPreventExitStatus"][0] != "2" || daemon.ExitUsage != 2 {
			t.Errorf("%s starts again after a wrong configuration", name)
		}
	}
}

// TestTheServerOfAnInstallationGrantsWhatNATSConfGrants: the script makes its configuration from
// nats.conf, with other passwords.
func TestTheServerOfAnInstallationGrantsWhatNATSConfGrants(t *testing.T) {
	root := installed(t)
	etc := filepath.Join(root, "etc", "gas")
	// The unit has both files in one folder.
	conf, err := os.ReadFile(filepath.Join(etc, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(etc, "credentials", "nats.conf")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := server.ProcessConfigFile("../../nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Users) != len(want.Users) || len(want.Users) == 0 {
		t.Fatalf("%d users, want %d", len(got.Users), len(want.Users))
	}
	byName := func(a, b *server.User) int { return strings.Compare(a.Username, b.Username) }
	slices.SortFunc(got.Users, byName)
	slices.SortFunc(want.Users, byName)
	for i, u := range got.Users {
		if w := want.Users[i]; u.Username != w.Username || u.Account.Name != w.Account.Name || !reflect.DeepEqual(u.Permissions, w.Permissions) {
			t.Errorf("got %+v, want %+v", u, w)
		}
		password, err := os.ReadFile(filepath.Join(etc, "credentials", u.Username))
		if err != nil || strings.TrimSpace(string(password)) != u.Password || len(u.Password) < 40 {
			t.Errorf("the password of %s is %q, its file has %q; %v", u.Username, u.Password, password, err)
		}
	}
	if !got.SyncAlways || got.StoreDir != "/var/lib/gas-nats" || got.MaxPayload != want.MaxPayload || got.JetStreamMaxStore != want.JetStreamMaxStore ||
		got.Host != "127.0.0.1" || got.HTTPHost != "127.0.0.1" {
		t.Errorf("got %+v", got)
	}
}

func TestAnotherInstallationKeepsPasswordsAndSettings(t *testing.T) {
	root := installed(t)
	read := func() (all []string) {
		t.Helper()
		for _, name := range []string{"gas.env", "credentials/thaw", "credentials/aws", "credentials/passwords.conf"} {
			file := filepath.Join(root, "etc", "gas", name)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s can be read by others: %v, %v", name, info.Mode(), err)
			}
			all = append(all, string(b))
		}
		return all
	}
	before := read()
	install(t, root)
	if after := read(); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
}
