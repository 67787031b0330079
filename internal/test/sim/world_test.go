package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/valyala/fasthttp"

	gas "github.com/gas-restore/gas"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

func TestMain(m *testing.M) {
	// The server's clock of access times is one for the whole process; born in a
	// bubble it would wait for something outside, and the bubble's time would stop.
	ats.Register()
	// So with fasthttp's clock of the Date header.
	new(fasthttp.ResponseHeader).Header()
	os.Exit(m.Run())
}

// The services, as the commands build them.
var services = map[string]func(context.Context, wiring.Env) (daemon.Part, error){
	"web": wiring.Web, "bridge": wiring.Bridge, "thaw": wiring.Thaw, "restore": wiring.Restore,
}

// decider says how the nth effect at a point of a service breaks.
type decider func(service, point string, n int) mode

// world is all there is in a bubble.
type world struct {
	*testenv.AWS
	t        *testing.T
	dir      string
	cfg      config.Config
	door     http.RoundTripper // to the stand-in
	idp      http.RoundTripper // to the sign-in provider
	operator *bus.Bus
	bodies   map[events.JobID][]byte
	ctx      context.Context
	cancel   context.CancelFunc
	drain    chan struct{}
	running  sync.WaitGroup
	log      *slog.Logger
	began    time.Time
	prices   cost.Prices
	// config changes what a service's processes are told, and apart says how far the
	// clock of the nth process of a service is ahead; nil leaves both as they are.
	config map[string]func(*config.Config)
	apart  func(service string, n int) time.Duration
	// indexLag is how late the indexes of DynamoDB are.
	indexLag time.Duration
	// fails says which retrievals Glacier fails, beside those that chance does.
	fails func(glacier.Job) bool
	// class says in which class the nth archive of a user is; nil for a vault.
	class   func(user events.UserID, n int) archive.Class
	instant map[events.JobID]bool // the archives in GLACIER_IR
	hands   map[events.JobID]bool // the archives that an operator requested by hand; mu guards it
	// letters is how many dead letters there may have been.
	letters uint64
	// allowed is how many tries more than the bounds say an operator allowed.
	allowed int

	mu       sync.Mutex // guards what follows
	ns       *server.Server
	how      decider
	seen     map[string]int // effects by "service point"
	fired    map[string]int // faults by "service point/mode"
	troubles map[string]int // what else went wrong, by its name
	ended    []retrieval    // as Glacier ended them
	asks     []time.Time    // the times of requests to Glacier
	lives    map[string]int // processes so far, by their service
	stays    map[events.UserID]bool
	fickle   map[events.UserID]bool // Free in the end; their requested archives are back
	keys     map[string]key         // the access keys of the services' roles
	lost     int                    // files that are not whole in the end
	doubled  int                    // archives that were retrieved again for no reason
	untold   int                    // files that are back, and nobody was told so
	unmet    bool                   // all was well, but the effect that should break did not come
	// since is when the trouble of a lasting scene ended, ready when all was as it should
	// be, deadEver how many dead letters there were, came what all that came to.
	since, ready time.Time
	deadEver     uint64
	came         *came
	alive        map[*process]bool
	webs, hooks  door      // of the webs and of the bridges' webhooks that live
	dark         time.Time // until when nothing is started
}

// retrieval is one that Glacier ended.
type retrieval struct {
	archive, tier string // of an S3 class, archive is the object's URL
	class         archive.Class
	job           events.JobID
	size          int64
	asked, ended  time.Time
	failed        bool
}

// newWorld makes a world without any process.
func newWorld(t *testing.T, how decider) *world {
	t.Helper()
	dir := testenv.Memory(t)
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, cfg: cfg, bodies: map[events.JobID][]byte{}, instant: map[events.JobID]bool{}, hands: map[events.JobID]bool{}, drain: make(chan struct{}),
		config: map[string]func(*config.Config){}, began: time.Now(), how: how, seen: map[string]int{}, fired: map[string]int{}, troubles: map[string]int{},
		lives: map[string]int{}, stays: map[events.UserID]bool{}, fickle: map[events.UserID]bool{}, alive: map[*process]bool{}, keys: map[string]key{}}
	w.AWS = testenv.NewAWSFor(t, &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: w.dialHook, DisableKeepAlives: true}})
	w.prices = cost.Public().In(w.Region())
	w.log = slog.New(slog.DiscardHandler)
	if level := new(slog.Level); level.UnmarshalText([]byte(os.Getenv("GAS_SIM_LOG"))) == nil {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	w.door = w.Transport()
	w.openProvider()
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.startServer()
	w.operator, err = bus.Connect(t.Context(), bus.Config{User: "operator", Password: "dev-operator", Name: "sim", InProcess: conns{w}})
	if err == nil {
		err = bus.Provision(t.Context(), w.operator.JS, bus.Settings{})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.WebhookListen = ""
	w.cfg.PremiumTopic, w.cfg.PremiumQueue = w.channel("gas-premium")
	w.cfg.RestoreTopic, w.cfg.RestoreQueue = w.channel("gas-restore")
	w.cfg.ArchiveBucket = testenv.ColdID
	w.eventsOfS3()
	// Twelve simulated hours show no more than two, and cost more time.
	w.S3.SetRestoreDelay(string(archive.DeepArchive), s3.Standard, time.Hour, 2*time.Hour)
	return w
}

// eventsOfS3 has the archive bucket tell the restore topic about temporary copies.
func (w *world) eventsOfS3() {
	w.t.Helper()
	if err := awsestate.New(w.Config).MakeArchiveBucket(w.t.Context(), testenv.ColdID, w.cfg.RestoreTopic); err != nil {
		w.t.Fatal(err)
	}
}

// key is the access key of a role.
type key struct{ access, secret string }

// makeRole gives the service its role, so that every world shows whether the roles are
// enough. cfg is the configuration of one of the service's processes, which may be wrong: the
// role then allows what that names too.
func (w *world) makeRole(service string, cfg config.Config) key {
	w.t.Helper()
	role, ok := estate.RoleOf(service)
	if !ok {
		w.t.Fatalf("there is no role %s", service)
	}
	permits := append(role.Permits(wiring.Place(w.cfg)), role.Permits(wiring.Place(cfg))...)
	access, secret, err := w.SetRole(service, estate.Document(permits))
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[service] = key{access, secret}
	return w.keys[service]
}

// access returns how often the services used what their roles allow, by "service action
// resource", and what the roles refused.
func (w *world) access() (used, refused map[string]int) {
	used, refused = map[string]int{}, map[string]int{}
	place := wiring.Place(w.cfg)
	for service, key := range w.keys {
		role, _ := estate.RoleOf(service)
		record := w.Role(key.access)
		for _, p := range role.Permits(place) {
			for _, action := range p.Actions {
				used[service+" "+action+" "+p.Resource] += 0
			}
		}
		for need, n := range record.Used {
			for _, p := range role.Permits(place) {
				of, all := strings.CutSuffix(p.Resource, "*")
				if slices.Contains(p.Actions, need.Action) && (p.Resource == need.Resource || all && strings.HasPrefix(need.Resource, of)) {
					used[service+" "+need.Action+" "+p.Resource] += n
				}
			}
		}
		for need, n := range record.Refused {
			refused[service+" "+need.Action+" "+need.Resource] += n
		}
	}
	return used, refused
}

// conns connects the operator. The operator's effects belong to no service.
type conns struct{ w *world }

func (c conns) InProcessConn() (net.Conn, error) { return c.w.server().InProcessConn() }

func (w *world) server() *server.Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ns
}

// reload has the server go on with nats.conf in which some words are others.
func (w *world) reload(replace ...string) {
	w.t.Helper()
	if err := w.server().ReloadOptions(w.serverOptions(replace...)); err != nil {
		w.t.Fatal(err)
	}
}

// serverOptions are those of nats.conf in which some words are others, without a socket, on
// which a bubble's time can't wait.
func (w *world) serverOptions(replace ...string) *server.Options {
	w.t.Helper()
	conf := strings.NewReplacer(replace...).Replace(gas.NATSConf)
	if len(replace) > 0 && conf == gas.NATSConf {
		w.t.Fatalf("nats.conf has no %q", replace[0])
	}
	opts := &server.Options{}
	if err := opts.ProcessConfigString(conf); err != nil {
		w.t.Fatal(err)
	}
	opts.DontListen, opts.HTTPPort, opts.StoreDir, opts.SyncAlways = true, 0, w.dir, false
	// Nothing is synced: what the folder is in does not outlive the test.
	opts.NoSigs, opts.NoLog, opts.SyncInterval = true, true, never
	return opts
}

// startServer starts NATS.
func (w *world) startServer() {
	ns, err := server.NewServer(w.serverOptions())
	if err != nil {
		w.t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		w.t.Fatal("nats is not ready after 10 s")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ns = ns
}

// channel makes a topic and the queue behind it.
func (w *world) channel(name string) (topic, queue string) {
	ctx, topics, queues := w.t.Context(), sns.NewFromConfig(w.Config), sqs.NewFromConfig(w.Config)
	t, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	attrs, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		w.t.Fatal(err)
	}
	arn := attrs.Attributes["QueueArn"]
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []map[string]any{{
		"Effect": "Allow", "Principal": map[string]string{"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
	}}})
	if err == nil {
		_, err = queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: q.QueueUrl, Attributes: map[string]string{"Policy": string(policy), "VisibilityTimeout": "30"}})
	}
	if err == nil {
		_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: t.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return *t.TopicArn, *q.QueueUrl
}

// decide counts an effect and says how it breaks.
func (w *world) decide(service, point string) mode {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := service + " " + point
	m := w.how(service, point, w.seen[key])
	w.seen[key]++
	if m != pass {
		w.fired[key+"/"+m.String()]++
		w.log.Info("breaks", "point", key, "mode", m.String())
	}
	return m
}

// trouble counts something that went wrong beside the effects.
func (w *world) trouble(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.troubles[what] += n
}

// runAll runs one replica of each service.
func (w *world) runAll() {
	for _, service := range slices.Sorted(maps.Keys(services)) {
		w.run(service)
	}
}

// run keeps a replica of a service alive until the world ends.
func (w *world) run(service string) {
	w.running.Go(func() {
		for w.ctx.Err() == nil {
			p := &process{w: w, service: service, broken: map[string]bool{}}
			p.ctx, p.cancel = context.WithCancel(w.ctx)
			if left := w.started(p); left <= 0 {
				p.live()
				w.mu.Lock()
				delete(w.alive, p)
				w.mu.Unlock()
			} else {
				wait.For(w.ctx, left)
			}
			p.cancel()
			select {
			case <-w.drain:
				return
			case <-w.ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
	})
}

// started notes that p lives, or says how long nothing lives.
func (w *world) started(p *process) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wait := time.Until(w.dark); wait > 0 {
		return wait
	}
	w.alive[p] = true
	if w.apart != nil {
		p.ahead = w.apart(p.service, w.lives[p.service])
	}
	w.lives[p.service]++
	return 0
}

// darken kills all processes and starts none for d; the server is away too, or not.
func (w *world) darken(d time.Duration, server bool) {
	w.mu.Lock()
	w.dark = time.Now().Add(d)
	alive := slices.Collect(maps.Keys(w.alive))
	w.mu.Unlock()
	for _, p := range alive {
		p.kill()
	}
	if server {
		w.stopServer(d)
		return
	}
	time.Sleep(d)
}

// live runs the process until it dies or the world is over.
func (p *process) live() {
	defer p.kill()
	cfg := p.w.cfg
	if change := p.w.config[p.service]; change != nil {
		change(&cfg)
	}
	key := p.w.makeRole(p.service, cfg)
	env := wiring.Env{
		Config:   cfg,
		Now:      p.now,
		Log:      p.w.log.With("process", p.service),
		AWS:      awsclient.Options{Region: p.w.Region(), Endpoint: p.w.Endpoint(), AccessKey: key.access, SecretKey: key.secret, Transport: p},
		NATS:     p,
		Provider: &http.Client{Transport: provider{p}, Timeout: 10 * time.Second},
	}
	switch {
	case p.service == "web":
		s := p.listen(&p.w.webs)
		defer s.Close()
		env.Web = s
	case p.service == "bridge" && p.w.cfg.SNSCAFile != "":
		s := p.listen(&p.w.hooks)
		defer s.Close()
		env.Webhook, env.Certificates = s, &http.Client{Transport: certificates{p}}
	}
	part, err := services[p.service](p.ctx, env)
	if err != nil {
		return // its supervisor starts it again
	}
	defer part.Close()
	defer p.kill()
	part.Run(p.ctx, p.w.drain)
}

// now is the time by the process's clock.
func (p *process) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.ahead)
}

// archived puts files of a user into cold storage, who has no account yet.
func (w *world) archived(user events.UserID, sizes ...int) {
	for i, size := range sizes {
		id := events.JobID(fmt.Sprintf("%s-%02d", user, i))
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i), byte(size), byte(len(user))}).Read(body)
		w.bodies[id] = body
		class := archive.Vault
		if w.class != nil {
			class = w.class(user, i)
		}
		if class == archive.Vault {
			w.Archive(user, id, body)
		} else {
			w.ArchiveIn(class, user, id, body)
			w.instant[id] = class == archive.Instant
		}
	}
}

// dice are repeatable: the same seed, point and count give the same numbers, in
// whichever order effects come.
func dice(seed uint64, key string, n int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, key, n)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// quick makes Standard take minutes: most of what there is to see is seen then
// too, and simulated hours cost time as well.
func (w *world) quick() {
	w.Glacier.SetDelay(glacier.Standard, 5*time.Minute, 10*time.Minute)
	for _, class := range []archive.Class{archive.Glacier, archive.DeepArchive} {
		w.S3.SetRestoreDelay(string(class), s3.Standard, 5*time.Minute, 10*time.Minute)
	}
}
