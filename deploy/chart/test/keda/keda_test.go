// Package keda_test runs KEDA's own scaler, with the triggers that the chart makes, against a
// cluster of three real servers of deploy/nats/nats.conf.
package keda_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	kedav1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/net/dns/dnsmessage"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gas-restore/gas/deploy/chart/test/render"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // it complains of having none
	os.Exit(m.Run())
}

// domain is what the headless Service of NATS is in a cluster: the servers are NAME.domain.
const domain = "nats-headless.test"

// serveNames makes this process find gas-1.domain, gas-2.domain and gas-3.domain at 127.0.0.1,
// 127.0.0.2 and 127.0.0.3, and domain at all of them. Both KEDA and the servers ask for them.
func serveNames(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := answerTo(b[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	r := net.DefaultResolver
	preferGo, dial := r.PreferGo, r.Dial
	r.PreferGo = true
	r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	t.Cleanup(func() {
		r.PreferGo, r.Dial = preferGo, dial
		conn.Close()
		<-done
	})
}

// answerTo returns the answer to a question for an address, nil if b is none.
func answerTo(b []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	msg := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true}, Questions: []dnsmessage.Question{q}}
	name := strings.TrimSuffix(q.Name.String(), ".")
	for i := range servers {
		if q.Type == dnsmessage.TypeA && (name == domain || name == fmt.Sprintf("gas-%d.%s", i+1, domain)) {
			msg.Answers = append(msg.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, byte(i + 1)}},
			})
		}
	}
	if len(msg.Answers) == 0 && name != domain && !strings.HasSuffix(name, "."+domain) {
		msg.RCode = dnsmessage.RCodeNameError
	}
	out, err := msg.Pack()
	if err != nil {
		return nil
	}
	return out
}

const servers = 3

var (
	variable  = regexp.MustCompile(`\$(GAS_[A-Z_]+)`)
	tlsBlocks = regexp.MustCompile(`(?ms)^ *tls \{.*?^ *\}`)
)

// cluster starts three servers with routes by their names, and returns them and the port at
// which each is monitored. name gives server i its name.
func cluster(t *testing.T, name func(i int) string) ([]*server.Server, int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	// This test is not about who may connect.
	conf := string(tlsBlocks.ReplaceAll(text, nil))
	for _, m := range variable.FindAllStringSubmatch(conf, -1) {
		t.Setenv(m[1], "secret")
	}
	ports := freePorts(t, 3)
	t.Setenv("GAS_NATS_ROUTES", fmt.Sprintf(`["nats-route://gas-1.%[1]s:%[2]d", "nats-route://gas-2.%[1]s:%[2]d", "nats-route://gas-3.%[1]s:%[2]d"]`, domain, ports[1]))
	var all []*server.Server
	for i := range servers {
		address := func(port int) string { return fmt.Sprintf("127.0.0.%d:%d", i+1, port) }
		t.Setenv("GAS_NATS_SERVER_NAME", name(i))
		t.Setenv("GAS_NATS_LISTEN", address(ports[0]))
		t.Setenv("GAS_NATS_CLUSTER_LISTEN", address(ports[1]))
		t.Setenv("GAS_NATS_CLUSTER_ADVERTISE", fmt.Sprintf("gas-%d.%s:%d", i+1, domain, ports[1]))
		t.Setenv("GAS_NATS_MONITOR", address(ports[2]))
		t.Setenv("GAS_NATS_STORE", t.TempDir())
		opts := &server.Options{}
		if err := opts.ProcessConfigString(conf); err != nil {
			t.Fatal(err)
		}
		opts.NoSigs, opts.NoLog, opts.SyncAlways = true, true, false
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	for _, s := range all {
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatal("a server is not ready")
		}
	}
	return all, ports[2]
}

// freePorts returns ports that nobody has on the addresses of the servers.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// operator connects to the servers, and makes the streams of the pipeline in three replicas.
func operator(t *testing.T, s *server.Server) *bus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Config{URL: s.ClientURL(), User: "operator", Password: "secret", Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	for {
		// A request that comes before there is a leader is not answered at all.
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := bus.Provision(try, b.JS, bus.Settings{Replicas: servers})
		cancel()
		if err == nil {
			return b
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// scaledObjects returns what the chart makes for these servers, by the service.
func scaledObjects(t *testing.T, endpoint string) map[string]*kedav1.ScaledObject {
	t.Helper()
	values, err := render.Values("keda")
	if err != nil {
		t.Fatal(err)
	}
	values["keda"].(map[string]any)["endpoint"] = endpoint
	docs, err := render.All(values)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := kedav1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var mine []render.Document
	for _, d := range docs {
		if strings.HasSuffix(d.File, "scaledobjects.yaml") {
			mine = append(mine, d)
		}
	}
	objects, err := render.Objects(mine, serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*kedav1.ScaledObject{}
	for _, o := range objects {
		s := o.(*kedav1.ScaledObject)
		got[strings.TrimPrefix(s.Name, render.Release+"-")] = s
	}
	return got
}

// decision is what KEDA and the autoscaler make of the triggers of one ScaledObject.
type decision struct {
	// lags are the numbers of the triggers for work; aside is the sum of those for messages that
	// were put aside, and for the lane.
	lags  []int64
	aside int64
	// active lets KEDA start the first replica, and keep it. wanted is the number of replicas.
	active bool
	wanted int
	err    error
}

func (d decision) String() string {
	if d.err != nil {
		return "no answer: as many as before, 1 at least"
	}
	return fmt.Sprint(d.wanted)
}

// scalersOf makes the scalers of a ScaledObject as KEDA does, one for each trigger.
func scalersOf(t *testing.T, s *kedav1.ScaledObject) (all []scalers.Scaler) {
	t.Helper()
	for i, trigger := range s.Spec.Triggers {
		scaler, err := scalers.NewNATSJetStreamScaler(&scalersconfig.ScalerConfig{
			ScalableObjectName: s.Name, ScalableObjectNamespace: render.Namespace, ScalableObjectType: "ScaledObject", GlobalHTTPTimeout: 3 * time.Second,
			TriggerType: trigger.Type, TriggerMetadata: trigger.Metadata, TriggerIndex: i, MetricType: trigger.MetricType,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { scaler.Close(context.Background()) })
		all = append(all, scaler)
	}
	return all
}

// ask asks each of the scalers of s.
func ask(t *testing.T, s *kedav1.ScaledObject, of []scalers.Scaler) (d decision) {
	t.Helper()
	for i, trigger := range s.Spec.Triggers {
		scaler := of[i]
		target := scaler.GetMetricSpecForScaling(t.Context())[0].External
		if target.Target.Type != autoscalingv2.AverageValueMetricType {
			t.Fatalf("the target is a %s", target.Target.Type)
		}
		values, active, err := scaler.GetMetricsAndActivity(t.Context(), target.Metric.Name)
		if err != nil {
			d.err = errors.Join(d.err, fmt.Errorf("%s: %w", trigger.Metadata["consumer"], err))
			continue
		}
		lag := values[0].Value.Value()
		if c := trigger.Metadata["consumer"]; strings.Contains(c, "-aside-") || strings.HasSuffix(c, "-first") {
			d.aside += lag
		} else {
			d.lags = append(d.lags, lag)
		}
		d.active = d.active || active
		// The autoscaler divides the lag by the average, and takes the largest of all triggers.
		d.wanted = max(d.wanted, int(math.Ceil(values[0].Value.AsApproximateFloat64()/target.Target.AverageValue.AsApproximateFloat64())))
	}
	if !d.active {
		d.wanted = 0
	}
	least := int(*s.Spec.MinReplicaCount)
	if d.active {
		least = max(least, 1)
	}
	d.wanted = min(max(d.wanted, least), int(*s.Spec.MaxReplicaCount))
	return d
}

// settled asks until the servers tell what they were told: a follower may lag behind its leader.
func settled(t *testing.T, s *kedav1.ScaledObject, of []scalers.Scaler, ok func(decision) bool) decision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		d := ask(t, s, of)
		if ok(d) || ctx.Err() != nil {
			return d
		}
		<-tick.C
	}
}

// TestKEDADecides has the situations of the table that it prints.
func TestKEDADecides(t *testing.T) {
	serveNames(t)
	all, port := cluster(t, func(i int) string { return fmt.Sprintf("gas-%d", i+1) })
	b := operator(t, all[0])
	ctx := t.Context()
	endpoint := fmt.Sprintf("%s:%d", domain, port)
	scaled := scaledObjects(t, endpoint)
	// KEDA keeps the scalers of an object, and each remembers the server that led when it last asked.
	kept := map[string][]scalers.Scaler{"thaw": scalersOf(t, scaled["thaw"]), "restore": scalersOf(t, scaled["restore"])}

	publish := func(n int, subject func(i int) string) {
		t.Helper()
		var acks []jetstream.PubAckFuture
		for i := range n {
			ack, err := b.JS.PublishAsync(subject(i), []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				t.Fatal(err)
			case <-time.After(time.Minute):
				t.Fatal("a message is not stored")
			}
		}
	}
	purge := func() {
		t.Helper()
		for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
			st, err := b.JS.Stream(ctx, name)
			if err == nil {
				err = st.Purge(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	completed := func(i int) string { return fmt.Sprintf("restore.completed.job-%d", i) }
	requested := func(i int) string { return fmt.Sprintf("thaw.requested.fern.job-%d", i) }
	take := func(stream, consumer string, n int) {
		t.Helper()
		c, err := b.JS.Consumer(ctx, stream, consumer)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Fetch(n, jetstream.FetchMaxWait(20*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for range batch.Messages() {
			got++
		}
		if got != n || batch.Error() != nil {
			t.Fatalf("took %d of %d: %v", got, n, batch.Error())
		}
	}

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "situation\tservice\tlag\taside\tactive\treplicas")
	expect := func(situation, service string, lags []int64, aside int64, active bool, wanted int) {
		t.Helper()
		d := settled(t, scaled[service], kept[service], func(d decision) bool {
			return d.err == nil && fmt.Sprint(d.lags) == fmt.Sprint(lags) && d.aside == aside
		})
		fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%v\t%s\n", situation, service, d.lags, d.aside, d.active, d)
		if d.err != nil || fmt.Sprint(d.lags) != fmt.Sprint(lags) || d.aside != aside || d.active != active || d.wanted != wanted {
			t.Errorf("%s: %s: got %+v, want lags %v, aside %d, active %v, %d replicas", situation, service, d, lags, aside, active, wanted)
		}
	}

	expect("empty", "thaw", []int64{0, 0}, 0, false, 1)
	expect("empty", "restore", []int64{0}, 0, false, 0)

	publish(1, completed)
	expect("one message", "restore", []int64{1}, 0, true, 1)
	// With a threshold of activation of 1 nobody would do the only piece of work there is.
	reluctant := scaled["restore"].DeepCopy()
	reluctant.Spec.Triggers[0].Metadata["activationLagThreshold"] = "1"
	if d := ask(t, reluctant, scalersOf(t, reluctant)); d.active {
		t.Errorf("a lag of 1 is above an activation of 1: %+v", d)
	} else {
		fmt.Fprintf(w, "one message, activation 1\trestore\t%v\t%d\t%v\t%s\n", d.lags, d.aside, d.active, d)
	}
	take(events.StreamRestore, bus.ConsumerRestore, 1)
	expect("one message, in flight", "restore", []int64{1}, 0, true, 1)
	purge()

	publish(1000, completed)
	publish(1000, requested)
	expect("lag 1,000", "restore", []int64{1000}, 0, true, 10)
	expect("lag 1,000", "thaw", []int64{0, 1000}, 0, true, 2)
	purge()

	publish(20, completed)
	take(events.StreamRestore, bus.ConsumerRestore, 20)
	expect("20 in flight", "restore", []int64{20}, 0, true, 3)
	purge()

	publish(1000, func(i int) string { return "aside.1h." + requested(i) })
	publish(1000, func(i int) string { return "aside.1h." + completed(i) })
	expect("1,000 wait aside", "thaw", []int64{0, 0}, 0, false, 1)
	expect("1,000 wait aside", "restore", []int64{0}, 1000, true, 1)
	purge()

	// The leader goes elsewhere, and the scalers remember the one before.
	publish(30, completed)
	before := leader(t, b)
	if _, err := b.Conn.RequestWithContext(ctx, "$JS.API.CONSUMER.LEADER.STEPDOWN."+events.StreamRestore+"."+bus.ConsumerRestore, nil); err != nil {
		t.Fatal(err)
	}
	expect("leader elsewhere", "restore", []int64{30}, 0, true, 4)
	if after := leader(t, b); after == before {
		t.Errorf("%s leads as before", after)
	}
	purge()

	failing := func(situation, want string, s *kedav1.ScaledObject) {
		t.Helper()
		d := settled(t, s, scalersOf(t, s), func(d decision) bool { return d.err != nil })
		fmt.Fprintf(w, "%s\trestore\t\t\t\t%s\n", situation, d)
		if d.err == nil || !strings.Contains(d.err.Error(), want) {
			t.Errorf("%s: got %+v, want an error with %q", situation, d, want)
		}
	}
	if err := b.JS.DeleteStream(ctx, events.StreamRestore); err != nil {
		t.Fatal(err)
	}
	failing("the stream is missing", "not found", scaled["restore"])
	failing("the monitoring is closed", "connection refused", scaledObjects(t, fmt.Sprintf("%s:%d", domain, freePorts(t, 1)[0]))["restore"])

	w.Flush()
	t.Logf("\n%s", table.String())
}

// leader returns the server that leads the consumer of restore.
func leader(t *testing.T, b *bus.Bus) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		c, err := b.JS.Consumer(ctx, events.StreamRestore, bus.ConsumerRestore)
		if err == nil && c.CachedInfo().Cluster != nil && c.CachedInfo().Cluster.Leader != "" {
			return c.CachedInfo().Cluster.Leader
		}
	}
	t.Fatal("nobody leads")
	return ""
}

// TestServersWithOtherNamesThanTheirRoutesAreNotFound is why server names and route names must
// agree: KEDA looks for the leader among the names in the routes.
func TestServersWithOtherNamesThanTheirRoutesAreNotFound(t *testing.T) {
	serveNames(t)
	all, port := cluster(t, func(i int) string { return fmt.Sprintf("zone-%c", 'a'+i) })
	operator(t, all[0])
	s := scaledObjects(t, fmt.Sprintf("%s:%d", domain, port))["restore"]
	d := settled(t, s, scalersOf(t, s), func(d decision) bool { return d.err != nil })
	if d.err == nil || !strings.Contains(d.err.Error(), "leader node not found") {
		t.Errorf("got %+v, want an error that no leader was found", d)
	}
}
