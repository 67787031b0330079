// Command bridge measures how fast the bridge moves messages from SQS into
// JetStream, beside the two things that bound it: draining the queue without
// forwarding, and publishing alone. The stand-in for AWS and the NATS server are
// processes of their own, so that the memory shown is the bridge's.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/bus"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	localnats "github.com/gas-restore/gas/internal/local/nats"
	"github.com/gas-restore/gas/pkg/events"
)

// profileOf is where profiles go, if anywhere.
var profileOf string

const topic = "arn:aws:sns:us-east-1:000000000000:premium"

func main() {
	messages := flag.Int("n", 60_000, "messages for each row")
	backlog := flag.Int("backlog", 0, "also drain a backlog of that many, for the memory it takes")
	profile := flag.String("cpuprofile", "", "write a CPU profile of each process to this file and .aws")
	role := flag.String("role", "", "run as one of the bench's own processes: aws or nats")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
		profileOf = *profile
	}
	var err error
	switch *role {
	case "aws":
		err = serveAWS()
	case "nats":
		err = serveNATS()
	default:
		err = measure(*messages, *backlog)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-bridge:", err)
		os.Exit(1)
	}
}

// child is another process of this program, told what to do line by line.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(role string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(exe, "-role", role)}
	if profileOf != "" {
		c.cmd.Args = append(c.cmd.Args, "-cpuprofile", profileOf+"."+role)
	}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	return c, c.cmd.Start()
}

func (c *child) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return "", err
	}
	if !c.out.Scan() {
		return "", errors.New("the process ended")
	}
	return c.out.Text(), nil
}

// stop ends the process: it reads its input's end.
func (c *child) stop() {
	c.in.Close()
	_ = c.cmd.Wait()
}

// serveNATS runs a server as nats.conf says, and answers with its URL.
func serveNATS() error {
	dir, err := os.MkdirTemp("", "gas-bench-nats-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ns, err := localnats.Start(dir, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer localnats.Stop(ns)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(ns.ClientURL())
	}
	return nil
}

// serveAWS runs the stand-in. "url" answers with its endpoint; "fill N LATENCY"
// with the URL of a new queue of N messages, all others being gone.
func serveAWS() error {
	srv, err := localaws.New(localaws.Config{})
	if err != nil {
		return err
	}
	defer srv.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv.SetEndpoint("http://" + ln.Addr().String())
	go http.Serve(ln, srv)
	key, secret := srv.Credentials()
	cfg, err := awsclient.Load(context.Background(), awsclient.Options{
		Region: srv.Region(), Endpoint: srv.Endpoint(), AccessKey: key, SecretKey: secret, Transport: srv.Transport(),
	})
	if err != nil {
		return err
	}
	client := awssqs.NewFromConfig(cfg)
	url, queues := "", 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var n int
		var latency string
		if _, err := fmt.Sscanf(lines.Text(), "fill %d %s", &n, &latency); err != nil {
			fmt.Println(srv.Endpoint())
			continue
		}
		wait, err := time.ParseDuration(latency)
		if err != nil {
			return err
		}
		srv.SetLatency(0)
		if url != "" {
			if _, err := client.DeleteQueue(context.Background(), &awssqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
				return err
			}
		}
		queues++
		if url, err = fill(client, "bench-"+strconv.Itoa(queues), queues, n); err != nil {
			return err
		}
		srv.SetLatency(wait)
		fmt.Println(url)
	}
	return nil
}

func fill(client *awssqs.Client, name string, round, n int) (string, error) {
	ctx := context.Background()
	out, err := client.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		return "", err
	}
	for i := 0; i < n; i += 10 {
		var batch []types.SendMessageBatchRequestEntry
		for j := i; j < min(i+10, n); j++ {
			batch = append(batch, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(j)), MessageBody: aws.String(envelope(round, j))})
		}
		if _, err := client.SendMessageBatch(ctx, &awssqs.SendMessageBatchInput{QueueUrl: out.QueueUrl, Entries: batch}); err != nil {
			return "", err
		}
	}
	return *out.QueueUrl, nil
}

// envelope is as long as what SNS sends: the signature is there and the queue's
// policy vouches for it.
func envelope(round, i int) string {
	return fmt.Sprintf(`{"Type":"Notification","MessageId":"%08x-0000-4000-8000-%012x","TopicArn":%q,"Message":"{\"user_id\":\"user-%d\"}",`+
		`"Timestamp":"2026-11-23T10:00:00.000Z","SignatureVersion":"1","Signature":%q,"SigningCertURL":"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-00000000000000000000000000000000.pem"}`,
		round, i, topic, i, strings.Repeat("A", 344))
}

// bench has the processes and the clients to them.
type bench struct {
	aws, nats *child
	cfg       aws.Config
	operator  *bus.Bus
	bridge    *bus.Bus
	round     int
}

func measure(n, backlog int) error {
	ctx := context.Background()
	b := &bench{}
	for role, c := range map[string]**child{"aws": &b.aws, "nats": &b.nats} {
		p, err := start(role)
		if err != nil {
			return err
		}
		defer p.stop()
		*c = p
	}
	endpoint, err := b.aws.ask("url")
	if err != nil {
		return err
	}
	url, err := b.nats.ask("url")
	if err != nil {
		return err
	}
	if b.cfg, err = awsclient.Load(ctx, awsclient.Options{Region: localaws.DefaultRegion, Endpoint: endpoint,
		AccessKey: localaws.DefaultAccessKey, SecretKey: localaws.DefaultSecretKey}); err != nil {
		return err
	}
	for user, to := range map[string]**bus.Bus{"operator": &b.operator, "bridge": &b.bridge} {
		if *to, err = bus.Connect(ctx, bus.Config{URL: url, User: user, Password: "dev-" + user, Name: "bench-" + user}); err != nil {
			return err
		}
		defer (*to).Close()
	}
	if err := bus.Provision(ctx, b.operator.JS, bus.Settings{}); err != nil {
		return err
	}
	speed, err := b.speed(ctx, n)
	if err != nil {
		return err
	}
	ways, err := b.ways(ctx, min(n, 10_000))
	if err != nil {
		return err
	}
	tables := []*benchtab.Table{speed, ways}
	if backlog > 0 {
		memory, err := b.memory(ctx, backlog)
		if err != nil {
			return err
		}
		tables = append(tables, memory)
	}
	for _, t := range tables {
		if err := t.Print(os.Stdout); err != nil {
			return err
		}
	}
	return benchtab.Save("bridge", tables...)
}

// discard is a publisher that stores nothing.
type discard struct{}

func (discard) Publish(_ context.Context, es []events.Event) ([]bool, []error) {
	return make([]bool, len(es)), make([]error, len(es))
}

func (discard) Look(context.Context) error { return nil }

// forward publishes as the bridge does.
type forward struct{ bus *bus.Bus }

func (f forward) Look(ctx context.Context) error {
	return bus.NewProbe(f.bus, events.SubjectPremium).Err(ctx)
}

func (f forward) Publish(ctx context.Context, es []events.Event) ([]bool, []error) {
	acks, errs := f.bus.PublishAll(ctx, es)
	duplicates := make([]bool, len(acks))
	for i, a := range acks {
		duplicates[i] = a.Duplicate
	}
	return duplicates, errs
}

// drain empties a new queue of n messages and returns the time it took until the
// last was deleted.
func (b *bench) drain(ctx context.Context, n int, latency time.Duration, p bridge.Publisher) (time.Duration, *bridge.Tally, error) {
	url, err := b.aws.ask(fmt.Sprintf("fill %d %s", n, latency))
	if err != nil {
		return 0, nil, err
	}
	if err := b.purge(ctx); err != nil {
		return 0, nil, err
	}
	d := &bridge.Drain{Source: bridge.PremiumSource(topic), Queue: sqs.New(b.cfg, url), Publish: p, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	benchtab.ResetPeak()
	stop := make(chan struct{})
	began := time.Now()
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for d.Tally.Published.Load()+d.Tally.Duplicate.Load() < int64(n) {
			<-tick.C
		}
		close(stop)
	}()
	d.Run(ctx, stop)
	took := time.Since(began)
	if d.Tally.Published.Load() != int64(n) || d.Tally.InHand() != 0 {
		return 0, nil, fmt.Errorf("%d of %d published, %d in flight", d.Tally.Published.Load(), n, d.Tally.InHand())
	}
	return took, &d.Tally, nil
}

func (b *bench) purge(ctx context.Context) error {
	s, err := b.operator.JS.Stream(ctx, events.StreamPremium)
	if err != nil {
		return err
	}
	return s.Purge(ctx)
}

// publish publishes n events, as many at a time as the bridge does.
func (b *bench) publish(ctx context.Context, n, at, publishers int, publish func([]events.Event) error) (time.Duration, error) {
	if err := b.purge(ctx); err != nil {
		return 0, err
	}
	b.round++
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	began := time.Now()
	for range publishers {
		all.Go(func() {
			for failed.Load() == nil {
				from := int(next.Add(int64(at))) - at
				if from >= n {
					return
				}
				var es []events.Event
				for i := from; i < min(from+at, n); i++ {
					es = append(es, events.UserUpgraded{ID: fmt.Sprintf("b%d-%d", b.round, i), UserID: events.UserID(fmt.Sprintf("user-%d", i)), UpgradedAt: began.UTC(), Via: events.ViaSNS})
				}
				if err := publish(es); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return time.Since(began), nil
}

func (b *bench) speed(ctx context.Context, n int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("From SQS to PubAck and deletion: %d messages of %d bytes, R1, sync_interval: always", n, len(envelope(1, 1))),
		Columns: []string{"API latency", "queue alone/s", "publishing alone/s", "bridge/s", "of the smaller", "of both on these cores", "peak RSS MiB", "receives"},
		Notes: []string{"queue alone: the same receives and deletions, and nothing published. publishing alone: the same batches, no queue.",
			"The stand-in, the NATS server and the bridge share this machine's processors: of both on these cores compares with",
			"1/(1/queue + 1/publishing), what one after the other would give, which is the limit when the processors are busy."},
	}
	rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	for _, latency := range []time.Duration{0, 10 * time.Millisecond} {
		alone, _, err := b.drain(ctx, n, latency, discard{})
		if err != nil {
			return nil, err
		}
		publishing, err := b.publish(ctx, n, 500, 2, func(es []events.Event) error {
			_, errs := b.bridge.PublishAll(ctx, es)
			return errors.Join(errs...)
		})
		if err != nil {
			return nil, err
		}
		whole, tally, err := b.drain(ctx, n, latency, forward{b.bridge})
		if err != nil {
			return nil, err
		}
		peak := benchtab.PeakRSS()
		limit := min(rate(n, alone), rate(n, publishing))
		t.Add(latency, fmt.Sprintf("%.0f", rate(n, alone)), fmt.Sprintf("%.0f", rate(n, publishing)), fmt.Sprintf("%.0f", rate(n, whole)),
			fmt.Sprintf("%.2f", rate(n, whole)/limit), fmt.Sprintf("%.2f", (alone+publishing).Seconds()/whole.Seconds()), fmt.Sprintf("%.0f", float64(peak)/(1<<20)), tally.Receives.Load())
	}
	return t, nil
}

// ways compares the ways to publish that keep every promise.
func (b *bench) ways(ctx context.Context, n int) (*benchtab.Table, error) {
	t := &benchtab.Table{Title: fmt.Sprintf("Ways to publish %d events to a work queue, R1, sync_interval: always", n),
		Columns: []string{"way", "events/s", "times async"}}
	s, err := b.operator.JS.Stream(ctx, events.StreamPremium)
	if err != nil {
		return nil, err
	}
	config := s.CachedInfo().Config
	config.AllowBatchPublish = true
	if _, err := b.operator.JS.UpdateStream(ctx, config); err != nil {
		return nil, err
	}
	encode := func(es []events.Event) ([]*nats.Msg, error) {
		msgs := make([]*nats.Msg, len(es))
		for i, e := range es {
			m, err := events.Encode(e)
			if err != nil {
				return nil, err
			}
			msgs[i] = &nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Data}
		}
		return msgs, nil
	}
	js := b.operator.JS
	async := func(es []events.Event) error {
		msgs, err := encode(es)
		if err != nil {
			return err
		}
		futures := make([]jetstream.PubAckFuture, len(msgs))
		for i, m := range msgs {
			if futures[i], err = js.PublishMsgAsync(m); err != nil {
				return err
			}
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				return err
			}
		}
		return nil
	}
	fast := func(es []events.Event) error {
		msgs, err := encode(es)
		if err != nil {
			return err
		}
		p, err := jetstreamext.NewFastPublisher(js)
		if err != nil {
			return err
		}
		for _, m := range msgs[:len(msgs)-1] {
			if _, err := p.AddMsg(m); err != nil {
				return err
			}
		}
		_, err = p.CommitMsg(ctx, msgs[len(msgs)-1])
		return err
	}
	atomically := func(es []events.Event) error {
		msgs, err := encode(es)
		if err != nil {
			return err
		}
		_, err = jetstreamext.PublishMsgBatch(ctx, js, msgs)
		return err
	}
	var base float64
	for _, way := range []struct {
		name    string
		at, by  int
		publish func([]events.Event) error
	}{
		{"async, message by message, 500 at a time", 500, 1, async},
		{"async, two publishers", 500, 2, async},
		{"fast ingest, 500 at a time", 500, 1, fast},
		{"atomic batches of 10", 10, 1, atomically},
		{"atomic batches of 100", 100, 1, atomically},
		{"atomic batches of 500", 500, 1, atomically},
		{"atomic batches of 500, two publishers", 500, 2, atomically},
	} {
		took, err := b.publish(ctx, n, way.at, way.by, way.publish)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		rate := float64(n) / took.Seconds()
		if base == 0 {
			base = rate
		}
		t.Add(way.name, fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.1f", rate/base))
	}
	return t, nil
}

// memory drains a large backlog. The stand-in holds it; the bridge must not.
func (b *bench) memory(ctx context.Context, n int) (*benchtab.Table, error) {
	took, tally, err := b.drain(ctx, n, 0, forward{b.bridge})
	if err != nil {
		return nil, err
	}
	t := &benchtab.Table{Title: "A large backlog", Columns: []string{"messages", "s", "messages/s", "peak RSS MiB", "leases renewed", "not deleted at first"}}
	t.Add(n, fmt.Sprintf("%.0f", took.Seconds()), fmt.Sprintf("%.0f", float64(n)/took.Seconds()), fmt.Sprintf("%.0f", float64(benchtab.PeakRSS())/(1<<20)),
		tally.Extended.Load(), tally.Undeleted.Load())
	return t, nil
}
