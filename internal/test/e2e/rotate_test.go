package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	gas "github.com/gas-restore/gas"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wait"
)

var natsUsers = []string{"bridge", "thaw", "restore", "sweep", "web", "operator"}

// guarded is a NATS server with nats.conf's users over TLS. Its passwords and certificate
// change while it runs.
type guarded struct {
	t    *testing.T
	dir  string
	addr string
	ns   *server.Server
}

func (g *guarded) path(name string) string { return filepath.Join(g.dir, name) }

func (g *guarded) write(name, content string) {
	g.t.Helper()
	// As Kubernetes does it: nobody reads half of a file.
	if err := os.WriteFile(g.path(name+".new"), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(g.path(name+".new"), g.path(name)); err != nil {
		g.t.Fatal(err)
	}
}

// configure writes the configuration with the passwords of a generation.
func (g *guarded) configure(generation string) {
	g.t.Helper()
	conf := gas.NATSConf
	for _, u := range natsUsers {
		conf = strings.Replace(conf, "password: dev-"+u, "password: "+generation+"-"+u, 1)
	}
	conf = strings.Replace(conf, "listen: 127.0.0.1:4222\nhttp: 127.0.0.1:8222\n", fmt.Sprintf("listen: %q\ntls { cert_file: %q, key_file: %q }\n", g.addr, g.path("server.pem"), g.path("server.key")), 1)
	conf = strings.Replace(conf, `store_dir: "./.gas/nats"`, fmt.Sprintf("store_dir: %q", g.path("store")), 1)
	if !strings.Contains(conf, generation+"-operator") || !strings.Contains(conf, g.addr) || !strings.Contains(conf, g.path("store")) {
		g.t.Fatalf("nats.conf has changed:\n%s", conf)
	}
	g.write("nats.conf", conf)
}

// passwords writes each user's into its file.
func (g *guarded) passwords(generation string) {
	for _, u := range natsUsers {
		g.write(u, generation+"-"+u+"\n")
	}
}

func (g *guarded) start() {
	g.t.Helper()
	opts, err := server.ProcessConfigFile(g.path("nats.conf"))
	if err != nil {
		g.t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	if g.ns, err = server.NewServer(opts); err != nil {
		g.t.Fatal(err)
	}
	g.ns.Start()
	if !g.ns.ReadyForConnections(20 * time.Second) {
		g.t.Fatal("the server does not start")
	}
}

func (g *guarded) stop() {
	g.ns.Shutdown()
	g.ns.WaitForShutdown()
}

func (g *guarded) reload() {
	g.t.Helper()
	if err := g.ns.Reload(); err != nil {
		g.t.Fatal(err)
	}
}

// certify makes a new authority, beside the trusted ones, and a certificate from it.
func (g *guarded) certify() {
	g.t.Helper()
	fresh := g.t.TempDir()
	testenv.Certificate(g.t, fresh)
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			g.t.Fatal(err)
		}
		return b
	}
	g.write("ca.pem", string(bytes.Join([][]byte{read(g.path("ca.pem")), read(filepath.Join(fresh, "ca.pem"))}, nil)))
	for _, name := range []string{"server.pem", "server.key"} {
		g.write(name, string(read(filepath.Join(fresh, name))))
	}
}

func (g *guarded) connect(ctx context.Context, user string) *bus.Bus {
	g.t.Helper()
	b, err := bus.Connect(ctx, bus.Config{
		URL: "tls://" + g.addr, User: user, CAFile: g.path("ca.pem"), Name: "e2e",
		PasswordFrom: func() (string, error) {
			b, err := os.ReadFile(g.path(user))
			return strings.TrimSpace(string(b)), err
		},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(b.Close)
	return b
}

// TestServicesCarryOnWhilePasswordsAndCertificatesChange changes all passwords twice, once at
// the server first and once in the files first, then the certificate with its authority, and
// starts the server again, while files come back: no service is started again, and nothing
// is lost.
func TestServicesCarryOnWhilePasswordsAndCertificatesChange(t *testing.T) {
	t.Parallel()
	const files = 120
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	g := &guarded{t: t, dir: t.TempDir(), addr: testenv.FreeAddrs(t, 1)[0]}
	g.certify()
	g.configure("first")
	g.passwords("first")
	g.start()
	t.Cleanup(func() { g.stop() })
	op := g.connect(ctx, "operator")
	if err := bus.Provision(ctx, op.JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}

	l := up(t, ctx, "aws,idp", "--tier-delay", "2s", "--files", fmt.Sprint(files), "--size", "20KiB", "--webhook-addr", free)
	l.env = append(l.env, "GAS_NATS_URL=tls://"+g.addr, "GAS_NATS_CA_FILE="+g.path("ca.pem"), "GAS_THAW_SLOTS=2", "GAS_RESTORE_SLOTS=1", "GAS_WEBHOOK_LISTEN=")
	for _, u := range natsUsers {
		name := "GAS_NATS_" + strings.ToUpper(u) + "_PASSWORD"
		l.env = append(l.env, name+"=", name+"_FILE="+g.path(u)) // the first undoes what gas up says
	}
	jobs := l.archived("fern")
	var services []*process
	for _, name := range []string{"bridge", "thaw", "thaw", "restore", "restore", "web"} {
		services = append(services, l.start(name))
	}
	ready := func(what string) {
		t.Helper()
		for _, p := range services {
			l.started(p)
			said := ""
			until(t, ctx, fmt.Sprintf("%s to be ready after %s", p.name, what), func() bool { said = p.notReady(ctx); return said == "" })
		}
	}
	ready("the start")
	l.upgrade("fern")

	// The server first: what it refuses for seconds must not end a service.
	g.configure("second")
	g.reload()
	until(t, ctx, "a service to be refused", func() bool {
		said := services[1].notReady(ctx)
		return strings.Contains(strings.ToLower(said), "authorization")
	})
	wait.For(ctx, 4*time.Second)
	g.passwords("second")
	ready("the first change of passwords")

	// The files first.
	g.passwords("third")
	g.configure("third")
	g.reload()
	ready("the second change of passwords")

	g.certify()
	g.reload()
	g.stop()
	g.start()
	ready("a new certificate, and another server")

	until(t, ctx, "the files to be back", func() bool { return l.left("fern") == 0 })
	until(t, ctx, "the streams to be empty", func() bool {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		n, err := pending(try, op)
		return err == nil && n == 0
	})
	for _, p := range services {
		if err := p.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s does not live any more: %v", p.name, err)
		}
		if n := strings.Count(p.log.String(), "msg=started"); n != 1 {
			t.Errorf("%s started %d times", p.name, n)
		}
	}
	got, dead := l.compare(jobs), letters(t, ctx, op)
	summary := fmt.Sprintf("%d files, passwords changed twice, a new certificate, another server: %d wrong, %d retrieved, %d doubles, %d dead letters", len(jobs), got.wrong, got.retrieved, got.doubles, dead)
	t.Log(summary)
	if len(jobs) != files || got != (outcome{retrieved: files}) || dead != 0 {
		t.Error(summary)
	}
}
