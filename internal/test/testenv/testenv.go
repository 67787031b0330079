// Package testenv gives tests the real parts: a NATS server from nats.conf and
// the AWS stand-in behind the AWS SDK, both in the test's process.
package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"

	"github.com/gas-restore/gas"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	localnats "github.com/gas-restore/gas/internal/local/nats"
	"github.com/gas-restore/gas/pkg/events"
)

// NATS starts a server that is provisioned; it stops with the test.
func NATS(t testing.TB) *server.Server {
	t.Helper()
	ns, err := localnats.Start(Memory(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { localnats.Stop(ns) })
	if err := bus.Provision(t.Context(), Bus(t, ns, "operator").JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// NATSWithout starts a server with nats.conf, but without some of its words, such as a
// permission.
func NATSWithout(t testing.TB, words string) *server.Server {
	t.Helper()
	conf := strings.ReplaceAll(gas.NATSConf, words, "")
	if conf == gas.NATSConf {
		t.Fatalf("nats.conf has no %s", words)
	}
	opts := &server.Options{}
	if err := opts.ProcessConfigString(conf); err != nil {
		t.Fatal(err)
	}
	opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs, opts.NoLog = server.RANDOM_PORT, 0, Memory(t), true, true
	return provisioned(t, opts)
}

// provisioned starts a server and makes its streams. The server stops with the test.
func provisioned(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	ns := started(t, opts)
	if err := bus.Provision(t.Context(), Bus(t, ns, "operator").JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	return ns
}

func started(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats is not ready after 10 s")
	}
	t.Cleanup(func() { localnats.Stop(ns) })
	return ns
}

// InBubble runs f in a [testing/synctest] bubble with a server that is provisioned. The
// server has no socket, on which a bubble's time cannot wait, and never syncs. Go uses one
// processor meanwhile: that is a quarter cheaper, because in a bubble most goroutines wait for
// each other. The flag -cpu sets another number, as `make stress` does. A test that calls
// InBubble must not run in parallel with others.
func InBubble(t *testing.T, f func(*testing.T, *server.Server)) {
	// The servers of a process share a clock, which begins with the first one and would be in
	// its bubble, waiting for a channel that is not.
	ats.Register()
	defer ats.Unregister()
	if cpu := flag.Lookup("test.cpu"); cpu == nil || cpu.Value.String() == "" {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) { f(t, bubbleNATS(t)) })
}

// emptyPools empties each [sync.Pool] of the process. The NATS client keeps its timers in
// one: a timer of a bubble must not be used outside, and a timer from outside stops a bubble's
// time.
func emptyPools() {
	runtime.GC() // each pool keeps what it has for one more cycle
	runtime.GC()
}

func bubbleNATS(t testing.TB) *server.Server {
	t.Helper()
	return provisioned(t, bubbleOptions(t, gas.NATSConf, Memory(t)))
}

// bubbleOptions returns the options of conf for a server in a bubble with its store in dir.
func bubbleOptions(t testing.TB, conf, dir string) *server.Options {
	t.Helper()
	opts := &server.Options{}
	if err := opts.ProcessConfigString(conf); err != nil {
		t.Fatal(err)
	}
	opts.DontListen, opts.HTTPPort, opts.StoreDir, opts.SyncAlways = true, 0, dir, false
	opts.NoSigs, opts.NoLog, opts.SyncInterval = true, true, 365*24*time.Hour
	return opts
}

// storeOf returns the folder that a server got for its store.
func storeOf(ns *server.Server) string { return filepath.Dir(ns.StoreDir()) } // JetStream has its own in it

// Restart stops ns, a server in a bubble, calls meanwhile, and starts a server with what ns
// stored.
func Restart(t testing.TB, ns *server.Server, meanwhile func()) *server.Server {
	t.Helper()
	dir := storeOf(ns)
	localnats.Stop(ns)
	meanwhile()
	return started(t, bubbleOptions(t, gas.NATSConf, dir))
}

// Reload makes ns, a server in a bubble, use nats.conf with some words replaced: each first
// string by the second. Without words it uses nats.conf again.
func Reload(t testing.TB, ns *server.Server, words ...string) {
	t.Helper()
	conf := gas.NATSConf
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(conf, words[i]) {
			t.Fatalf("nats.conf has no %q", words[i])
		}
		conf = strings.ReplaceAll(conf, words[i], words[i+1])
	}
	if err := ns.ReloadOptions(bubbleOptions(t, conf, storeOf(ns))); err != nil {
		t.Fatal(err)
	}
}

// Memory returns a folder that is gone after the test. It is in memory where the
// system offers that: nats.conf syncs each message to the disk, and no power fails
// in a test.
func Memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gas-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Bus connects to ns as one of the users of nats.conf.
func Bus(t testing.TB, ns *server.Server, user string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), bus.Config{
		URL: ns.ClientURL(), User: user, Password: "dev-" + user, Name: t.Name(), InProcess: ns,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// The names of what [NewAWS] makes.
const (
	Jobs     = "gas-annotations"
	Accounts = "gas-accounts"
	Plans    = "gas-plans"
	VaultID  = "gas-archive"
	BucketID = "gas-results"
	ColdID   = "gas-cold"
)

// AWS is a stand-in in memory, with tables, a vault and a bucket.
type AWS struct {
	*localaws.Server
	Config  aws.Config
	Catalog *dynamodb.Catalog
	Objects *s3.Client
	Vaults  *glacier.Client
	t       testing.TB
}

// NewAWS starts a stand-in; it stops with the test.
func NewAWS(t testing.TB) *AWS {
	t.Helper()
	return NewAWSFor(t, nil)
}

// NewAWSFor is NewAWS with a client that delivers SNS's messages to webhooks; nil for one that
// connects to this machine.
func NewAWSFor(t testing.TB, webhooks *http.Client) *AWS {
	t.Helper()
	srv, err := localaws.New(localaws.Config{Endpoint: "http://aws.test", AllowEmptyArchives: true, HTTPClient: webhooks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	key, secret := srv.Credentials()
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{
		Region: srv.Region(), Endpoint: srv.Endpoint(), AccessKey: key, SecretKey: secret, Transport: srv.Transport(),
	})
	if err != nil {
		t.Fatal(err)
	}
	// The SDK's own tries, without its breath in between.
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 3
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return time.Millisecond, nil })
		})
	}
	a := &AWS{Server: srv, Config: cfg, t: t,
		Catalog: dynamodb.New(cfg, dynamodb.Tables{Jobs: Jobs, Accounts: Accounts, Plans: Plans}),
		Objects: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		Vaults:  glacier.NewFromConfig(cfg),
	}
	if err := a.Catalog.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Vaults.CreateVault(t.Context(), &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: aws.String(VaultID)}); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{BucketID, ColdID} {
		if _, err := a.Objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// SetAttribute writes an attribute of a job as another system might.
func (a *AWS) SetAttribute(id events.JobID, name string, v types.AttributeValue) {
	a.t.Helper()
	_, err := ddb.NewFromConfig(a.Config).UpdateItem(a.t.Context(), &ddb.UpdateItemInput{
		TableName: aws.String(Jobs), Key: map[string]types.AttributeValue{"job_id": &types.AttributeValueMemberS{Value: string(id)}},
		UpdateExpression: aws.String("SET #n = :v"), ExpressionAttributeNames: map[string]string{"#n": name}, ExpressionAttributeValues: map[string]types.AttributeValue{":v": v},
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// BroughtBack brings a job's file back like another program, which knows nothing of our
// attributes: it puts body at the key, deletes the archive and removes archive_id.
func (a *AWS) BroughtBack(id events.JobID, body []byte) {
	a.t.Helper()
	job, ctx := a.Job(id), a.t.Context()
	_, err := a.Objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: bytes.NewReader(body)})
	if err == nil {
		_, err = a.Vaults.DeleteArchive(ctx, &glacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(VaultID), ArchiveId: aws.String(string(job.ArchiveID))})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.RemoveAttribute(id, "archive_id")
}

// RemoveAttribute removes an attribute of a job as another system might.
func (a *AWS) RemoveAttribute(id events.JobID, name string) {
	a.t.Helper()
	_, err := ddb.NewFromConfig(a.Config).UpdateItem(a.t.Context(), &ddb.UpdateItemInput{
		TableName: aws.String(Jobs), Key: map[string]types.AttributeValue{"job_id": &types.AttributeValueMemberS{Value: string(id)}},
		UpdateExpression: aws.String("REMOVE #n"), ExpressionAttributeNames: map[string]string{"#n": name},
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// Account makes an account. On that of a Premium user stands an open plan, [PlanOf].
func (a *AWS) Account(user events.UserID, role archive.Role) {
	a.t.Helper()
	account := archive.Account{ID: user, Name: string(user), Role: role}
	if err := a.Catalog.EnsureAccount(a.t.Context(), account); err != nil {
		a.t.Fatal(err)
	}
	if now, err := a.Catalog.Account(a.t.Context(), user); err != nil {
		a.t.Fatal(err)
	} else if role == archive.Premium && now.Plan == nil {
		a.OpenPlan(user)
	}
}

// PlanOf is the plan that [AWS.Account] opens.
func PlanOf(user events.UserID) string { return "plan-of-" + string(user) }

// OpenPlan opens a plan on the user's account, which has none.
func (a *AWS) OpenPlan(user events.UserID) {
	a.t.Helper()
	now := a.World.Clock.Now()
	account, err := a.Catalog.Account(a.t.Context(), user)
	if err == nil {
		err = a.Catalog.OpenPlan(a.t.Context(), account, archive.Plan{
			ID: PlanOf(user), Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: now, Due: now,
		})
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// Archive puts body into the vault as the result of a job of user, and returns
// the job as the catalog has it.
func (a *AWS) Archive(user events.UserID, id events.JobID, body []byte) archive.Job {
	a.t.Helper()
	out, err := a.Vaults.UploadArchive(a.t.Context(), &glacier.UploadArchiveInput{
		AccountId: aws.String("-"), VaultName: aws.String(VaultID), Body: bytes.NewReader(body),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.archived(user, id, body, events.ArchiveID(*out.ArchiveId), archive.Copy{})
}

// ArchiveIn puts body into the archive bucket, in an S3 class, as the result of a job of user,
// and returns the job as the catalog has it.
func (a *AWS) ArchiveIn(class archive.Class, user events.UserID, id events.JobID, body []byte) archive.Job {
	a.t.Helper()
	at := archive.Copy{Class: class, Bucket: ColdID, Key: archive.KeyOf("cold/", id, "in.annot.vcf")}
	out, err := a.Objects.PutObject(a.t.Context(), &s3.PutObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, Body: bytes.NewReader(body), StorageClass: s3types.StorageClass(class), ChecksumAlgorithm: s3types.ChecksumAlgorithmCrc64nvme,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	at.Version, at.ETag = aws.ToString(out.VersionId), strings.Trim(aws.ToString(out.ETag), `"`)
	return a.archived(user, id, body, events.ArchiveID("s3-"+rand.Text()), at)
}

func (a *AWS) archived(user events.UserID, id events.JobID, body []byte, archiveID events.ArchiveID, at archive.Copy) archive.Job {
	a.t.Helper()
	err := a.Catalog.AddJob(a.t.Context(), archive.Job{
		ID: id, UserID: user, SubmittedAt: time.Now(), InputFileName: "in.vcf", Status: "COMPLETED", CompletedAt: time.Now(),
		Result:      archive.Object{Bucket: BucketID, Key: "gas/" + string(user) + "/" + string(id) + "~in.annot.vcf"},
		ArchiveID:   archiveID,
		Copy:        at,
		ArchiveSize: int64(len(body)), TreeHash: treehash.Of(body).String(),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.Job(id)
}

// Job returns the job as the catalog has it now.
func (a *AWS) Job(id events.JobID) archive.Job {
	a.t.Helper()
	job, err := a.Catalog.Job(a.t.Context(), id)
	if err != nil {
		a.t.Fatal(err)
	}
	return job
}

// Emitted collects what a handler emits.
type Emitted struct {
	mu     sync.Mutex // guards events
	events []events.Event
}

// Emit is the handler's emit function.
func (e *Emitted) Emit(_ context.Context, ev events.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, ev)
	return nil
}

// Publish takes many at once, as a planner's Tasks.
func (e *Emitted) Publish(ctx context.Context, es []events.Event) error {
	for _, ev := range es {
		e.Emit(ctx, ev)
	}
	return nil
}

// Outstanding says that every task is done at once.
func (e *Emitted) Outstanding(context.Context, events.UserID, int) (int, error) { return 0, nil }

// All returns what was emitted, in order.
func (e *Emitted) All() []events.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]events.Event(nil), e.events...)
}

// States returns the states of the status changes that were emitted.
func (e *Emitted) States() []string {
	var states []string
	for _, ev := range e.All() {
		if s, ok := ev.(events.StatusChanged); ok {
			states = append(states, string(s.State))
		}
	}
	return states
}

// Log returns a logger that writes to the test's log.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
