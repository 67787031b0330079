package testenv

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/wait"
)

// serveEnv names the configuration that a test's binary is to serve, in place of
// its tests.
const serveEnv = "GAS_TEST_NATS_CONF"

// ServeNATS makes this process a NATS server if [Cluster] started it, and then does not
// return. A package with tests that start a cluster calls it first in TestMain.
func ServeNATS() {
	conf := os.Getenv(serveEnv)
	if conf == "" {
		return
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		fail(err)
	}
	opts.NoSigs = true
	ns, err := server.NewServer(opts)
	if err != nil {
		fail(err)
	}
	ns.ConfigureLogger()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ns.Start()
	<-stop
	ns.Shutdown()
	ns.WaitForShutdown()
	os.Exit(0)
}

// Cluster is three servers of one configuration, each a process, with a cable
// between each two that can be cut.
type Cluster struct {
	// CAFile has the authority of the servers' certificates, and URL the addresses
	// of all of them, as GAS_NATS_CA_FILE and GAS_NATS_URL take them.
	CAFile, URL string

	t     testing.TB
	conf  string
	nodes [3]*node
	// cables[i][j] is what server i reaches server j by.
	cables [3][3]*cable
}

type node struct {
	name, client, store string
	env                 []string
	process             *exec.Cmd
	log                 *os.File
}

// clusterUsers are the users with passwords in the servers; each password is "secret-"
// and the name.
var clusterUsers = []string{"sys", "bridge", "thaw", "restore", "sweep", "web", "operator"}

// StartCluster starts three servers from conf, the file deploy/nats/nats.conf, provisioned
// with three replicas of everything. They stop with the test.
func StartCluster(t testing.TB, conf string) *Cluster {
	t.Helper()
	dir := t.TempDir()
	c := &Cluster{t: t, conf: conf, CAFile: filepath.Join(dir, "ca.pem")}
	cert, key := Certificate(t, dir)
	ports := FreeAddrs(t, 6)
	var urls []string
	for i := range c.nodes {
		for j := range c.nodes {
			if i != j {
				c.cables[i][j] = newCable(t, ports[3+j])
			}
		}
	}
	for i := range c.nodes {
		n := &node{name: fmt.Sprint("gas-", i+1), client: ports[i], store: filepath.Join(dir, fmt.Sprint("store-", i+1))}
		var routes []string
		for _, cable := range c.cables[i] {
			if cable != nil {
				routes = append(routes, fmt.Sprintf("%q", "nats-route://"+cable.addr()))
			}
		}
		n.env = append(os.Environ(),
			serveEnv+"="+conf, "GAS_NATS_SERVER_NAME="+n.name, "GAS_NATS_LISTEN="+n.client, "GAS_NATS_MONITOR=127.0.0.1:0",
			"GAS_NATS_STORE="+n.store, "GAS_NATS_CLUSTER_LISTEN="+ports[3+i],
			// Nothing is there, so that servers know of no way to each other but the cables.
			"GAS_NATS_CLUSTER_ADVERTISE=127.0.0.1:9", "GAS_NATS_ROUTES=["+strings.Join(routes, ", ")+"]",
			"GAS_NATS_CERT="+cert, "GAS_NATS_KEY="+key, "GAS_NATS_CLUSTER_CA="+c.CAFile)
		for _, u := range clusterUsers {
			n.env = append(n.env, "GAS_NATS_"+strings.ToUpper(u)+"_PASSWORD=secret-"+u)
		}
		urls = append(urls, "tls://"+n.client)
		c.nodes[i] = n
	}
	c.URL = strings.Join(urls, ",")
	for i := range c.nodes {
		c.Start(i)
		t.Cleanup(func() {
			if p := c.nodes[i].process; p != nil {
				p.Process.Kill()
				p.Wait()
			}
			if t.Failed() && c.nodes[i].log != nil {
				if b, err := os.ReadFile(c.nodes[i].log.Name()); err == nil && len(b) > 0 {
					t.Logf("server %s wrote, at the end:\n%s", c.nodes[i].name, b[max(0, len(b)-4000):])
				}
			}
		})
	}
	op := c.Bus("operator")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		// A request that comes before there is a leader is not answered at all.
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := bus.Provision(try, op.JS, bus.Settings{Replicas: 3})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("provision the cluster: %v", err)
		}
		wait.For(ctx, 200*time.Millisecond)
	}
	return c
}

// Start starts server i, 0 to 2, which is not running.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	n := c.nodes[i]
	if n.log == nil {
		f, err := os.CreateTemp(c.t.TempDir(), n.name)
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { f.Close() })
		n.log = f
	}
	n.process = exec.Command(os.Args[0])
	n.process.Env, n.process.Stdout, n.process.Stderr = n.env, n.log, n.log
	if err := n.process.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// Kill ends server i with SIGKILL.
func (c *Cluster) Kill(i int) { c.end(i, syscall.SIGKILL) }

// Stop ends server i with SIGTERM.
func (c *Cluster) Stop(i int) { c.end(i, syscall.SIGTERM) }

func (c *Cluster) end(i int, s syscall.Signal) {
	c.t.Helper()
	p := c.nodes[i].process
	if err := p.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
	p.Wait() // its error is the signal
	c.nodes[i].process = nil
}

// Wipe removes all that server i stored; it is not running.
func (c *Cluster) Wipe(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.nodes[i].store); err != nil {
		c.t.Fatal(err)
	}
}

// Isolate cuts the cables between server i and the others; its clients still reach it.
// Join connects them again.
func (c *Cluster) Isolate(i int) { c.cut(i, true) }

// Join connects server i to the others again.
func (c *Cluster) Join(i int) { c.cut(i, false) }

func (c *Cluster) cut(i int, broken bool) {
	for j := range c.nodes {
		if j != i {
			c.cables[i][j].cut(broken)
			c.cables[j][i].cut(broken)
		}
	}
}

// Bus connects to the cluster as one of its users, over TLS. It is closed with the
// test.
func (c *Cluster) Bus(user string) *bus.Bus {
	c.t.Helper()
	return c.connect(c.URL, user)
}

// BusOf is Bus over a connection to server i alone.
func (c *Cluster) BusOf(i int, user string) *bus.Bus {
	c.t.Helper()
	return c.connect("tls://"+c.nodes[i].client, user)
}

func (c *Cluster) connect(url, user string) *bus.Bus {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	for {
		b, err := bus.Connect(ctx, bus.Config{URL: url, User: user, Password: "secret-" + user, CAFile: c.CAFile, Name: c.t.Name()})
		if err == nil {
			c.t.Cleanup(b.Close)
			return b
		}
		if ctx.Err() != nil {
			c.t.Fatal(err)
		}
		wait.For(ctx, 100*time.Millisecond)
	}
}

// Client returns the address that clients reach server i by.
func (c *Cluster) Client(i int) string { return c.nodes[i].client }

// Leader returns which server leads the stream, -1 if none does now.
func (c *Cluster) Leader(ctx context.Context, js jetstream.JetStream, stream string) int {
	info := c.info(ctx, js, stream)
	if info == nil || info.Cluster == nil {
		return -1
	}
	for i, n := range c.nodes {
		if n.name == info.Cluster.Leader {
			return i
		}
	}
	return -1
}

func (c *Cluster) info(ctx context.Context, js jetstream.JetStream, stream string) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	return st.CachedInfo()
}

// Whole says whether every stream and bucket has a leader and two followers that
// have all that it has.
func (c *Cluster) Whole(ctx context.Context, js jetstream.JetStream) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	names := js.StreamNames(ctx)
	n := 0
	for name := range names.Name() {
		n++
		info := c.info(ctx, js, name)
		if info == nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if r.Offline || !r.Current || r.Lag > 0 {
				return false
			}
		}
	}
	return names.Err() == nil && n > 0
}

// cable forwards TCP connections to an address until it is cut.
type cable struct {
	to string
	l  net.Listener

	mu     sync.Mutex // guards what follows
	broken bool
	conns  map[net.Conn]bool
}

func newCable(t testing.TB, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &cable{to: to, l: l, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { k.carry(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		k.cut(true)
		all.Wait()
	})
	return k
}

func (k *cable) addr() string { return k.l.Addr().String() }

func (k *cable) cut(broken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = broken
	if broken {
		for c := range k.conns {
			c.Close()
		}
	}
}

// hold keeps c to be closed when the cable is cut; false if it is cut already.
func (k *cable) hold(c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.broken {
		k.conns[c] = true
	}
	return !k.broken
}

func (k *cable) carry(in net.Conn) {
	defer in.Close()
	if !k.hold(in) {
		return
	}
	out, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer out.Close()
	if !k.hold(out) {
		return
	}
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.conns, in)
		delete(k.conns, out)
	}()
	var both sync.WaitGroup
	pipe := func(to, from net.Conn) {
		// TCPConn's ReadFrom splices; either end closes both.
		to.(*net.TCPConn).ReadFrom(from)
		to.Close()
		from.Close()
	}
	both.Go(func() { pipe(out, in) })
	pipe(in, out)
	both.Wait()
}

// FreeAddrs returns n addresses on this machine with ports that nobody had a moment ago. The
// ports are below those that systems give to outgoing connections (32768 to 60999 on Linux), so
// that none of those takes one before the test does.
func FreeAddrs(t testing.TB, n int) []string {
	t.Helper()
	const lowest, count = 20_000, 12_000
	var addrs []string
	var last error
	for range 100 * n {
		if len(addrs) == n {
			return addrs
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+mathrand.IntN(count)))
		if err != nil {
			last = err
			continue
		}
		defer l.Close() // when all are found, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	t.Fatalf("%d free ports, want %d: %v", len(addrs), n, last)
	return nil
}

// Certificate makes an authority, dir/ca.pem, and a certificate from it for this machine,
// good for servers and clients.
func Certificate(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gas test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	write("ca.pem", "CERTIFICATE", caDER)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "gas-nats"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	return write("server.pem", "CERTIFICATE", der), write("server.key", "PRIVATE KEY", keyDER)
}
