package erase_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awserase"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/cost"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/operator/acts"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/operator/erase"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

var at = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// fixture is an AWS and a NATS with users that have something of everything.
type fixture struct {
	*testenv.AWS
	t   *testing.T
	ns  *server.Server
	bus *bus.Bus
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{AWS: testenv.NewAWS(t), t: t, ns: testenv.NATS(t)}
	f.bus = testenv.Bus(t, f.ns, "operator")
	_, err := f.Objects.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(testenv.BucketID), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	f.must(err)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) put(bucket, key, body string) {
	f.t.Helper()
	_, err := f.Objects.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	f.must(err)
}

// sessions are those of the site in the bucket of the bus.
type sessions struct{ bus *bus.Bus }

func (s sessions) Count(ctx context.Context, user events.UserID) (int, error) {
	store, err := s.bus.OpenTTLStore(ctx, bus.BucketSessions)
	if err != nil {
		return 0, err
	}
	return web.Sessions(ctx, store, user)
}

func (s sessions) End(ctx context.Context, user events.UserID) error {
	store, err := s.bus.OpenTTLStore(ctx, bus.BucketSessions)
	if err != nil {
		return err
	}
	return web.EndSessions(ctx, store, user)
}

// eraser returns an eraser that uses the configuration of AWS.
func (f *fixture) eraser(cfg aws.Config) *erase.Eraser {
	return &erase.Eraser{
		Catalog: dynamodb.New(cfg, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans}),
		Bus:     f.bus, Dead: deadletter.Open(f.bus), Acts: acts.Open(f.bus, "operator"), Store: awserase.New(cfg, testenv.VaultID),
		Sessions: sessions{f.bus}, Results: testenv.BucketID, Archives: testenv.ColdID, Prices: cost.Public().In("us-east-1"), AssumedSize: 1 << 20,
	}
}

// fill gives the user an account, jobs and everything that can follow from them.
func (f *fixture) fill(user events.UserID) {
	t, ctx := f.t, f.t.Context()
	t.Helper()
	job := func(n int) events.JobID { return events.JobID(fmt.Sprintf("%s-job-%d", user, n)) }
	f.Account(user, archive.Premium)
	f.Archive(user, job(0), []byte("in the vault"))
	f.ArchiveIn(archive.Glacier, user, job(1), []byte("in GLACIER"))
	// One archive is on its way.
	asked := f.Archive(user, job(2), []byte("on its way"))
	intent := archive.Intent{Token: "t-" + string(user), At: at, Plan: testenv.PlanOf(user), Due: at}
	f.must(f.Catalog.SaveIntent(ctx, asked, intent))
	asked.Intent = &intent
	f.must(f.Catalog.SaveRetrieval(ctx, asked, intent, archive.Retrieval{ID: "r-" + events.RetrievalID(user), Tier: archive.Standard, RequestedAt: at}))
	// One is back, over an older version that was deleted, and with a log and an input.
	key := "gas/" + string(user) + "/" + string(job(3)) + "~in.annot.vcf"
	f.must(f.Catalog.AddJob(ctx, archive.Job{
		ID: job(3), UserID: user, SubmittedAt: at, Status: "COMPLETED", CompletedAt: at, ArchiveSize: -1,
		Result: archive.Object{Bucket: testenv.BucketID, Key: key}, Log: archive.Object{Bucket: testenv.BucketID, Key: key + ".log"},
	}))
	f.put(testenv.BucketID, key, "old")
	_, err := f.Objects.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(testenv.BucketID), Key: &key})
	f.must(err)
	f.put(testenv.BucketID, key, "back")
	f.put(testenv.BucketID, key+".log", "log")
	input := "in/" + string(user) + "/" + string(job(3)) + "~in.vcf"
	f.put(testenv.BucketID, input, "input")
	f.SetAttribute(job(3), "s3_inputs_bucket", &types.AttributeValueMemberS{Value: testenv.BucketID})
	f.SetAttribute(job(3), "s3_key_input_file", &types.AttributeValueMemberS{Value: input})
	upload, err := f.Objects.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String(testenv.BucketID), Key: &asked.Result.Key})
	f.must(err)
	_, err = f.Objects.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String(testenv.BucketID), Key: &asked.Result.Key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("part"))})
	f.must(err)
	// Money, a pause, and an earlier plan.
	if _, err := f.Catalog.Spend(ctx, archive.Spending{Day: "2026-11-27", User: user, Plan: testenv.PlanOf(user), Amount: 7, DayLimit: 1 << 40, UserLimit: 1 << 40, Approved: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	_, err = f.Catalog.ChangeSwitches(ctx, func(s *archive.Switches) {
		if s.Users == nil {
			s.Users = map[events.UserID]archive.Hold{}
		}
		s.Users[user] = archive.Hold{Reason: "r", At: at}
	})
	f.must(err)
	// Messages, one of them put aside, and the notes of plan and sweep.
	task := events.ThawRequested{ID: "m", JobID: job(0), UserID: user, ArchiveID: "a"}
	for _, e := range []events.Event{
		events.UserUpgraded{ID: "m-" + string(user), UserID: user, UpgradedAt: at}, task,
		events.RetrievalCompleted{ID: "r-" + string(user), JobID: job(2), ArchiveID: "a", RetrievalID: "r", Status: archive.Succeeded, CompletedAt: at},
		events.StatusChanged{JobID: job(0), UserID: user, State: archive.Planned, At: at, Step: "s"},
		events.DeadLetter{ID: "d-" + string(user), Stream: events.StreamThaw, Consumer: bus.ConsumerRequest, SourceSubject: task.Subject(), Kind: events.DeadKindInvalid, LastAt: at},
		events.DeadLetter{ID: "e-" + string(user), Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, SourceSubject: "restore.completed." + events.Token(string(job(2))), Kind: events.DeadKindInvalid, LastAt: at},
	} {
		_, err := f.bus.Publish(ctx, e)
		f.must(err)
	}
	for _, subject := range []string{
		"aside.1h." + task.Subject(), "$KV.PLANS.plan." + events.Token(string(user)) + ".p", "$KV.SWEEP.sweep.plan." + events.Token(string(user)), "$KV.SWEEP.sweep.job." + events.Token(string(job(1))),
	} {
		_, err := f.bus.JS.Publish(ctx, subject, []byte("x"))
		f.must(err)
	}
	f.must(acts.Open(f.bus, "operator").Do(ctx, acts.Act{Kind: events.ActThaw, By: "ada", User: user}, func(context.Context) (string, error) { return "", nil }))
}

func (f *fixture) look(user events.UserID) erase.Inventory {
	f.t.Helper()
	v, err := f.eraser(f.Config).Look(f.t.Context(), user)
	f.must(err)
	return v
}

// everything counts all objects, uploads, archives and messages, whoever they are of.
func (f *fixture) everything() string {
	f.t.Helper()
	ctx, objects, uploads := f.t.Context(), 0, 0
	for _, bucket := range []string{testenv.BucketID, testenv.ColdID} {
		out, err := f.Objects.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket})
		f.must(err)
		ups, err := f.Objects.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
		f.must(err)
		objects, uploads = objects+len(out.Versions)+len(out.DeleteMarkers), uploads+len(ups.Uploads)
	}
	vault, err := f.Vaults.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID)})
	f.must(err)
	messages := uint64(0)
	for _, stream := range []string{"PREMIUM", "THAW", "RESTORE", "STATUS", "DEAD", "KV_PLANS", "KV_SWEEP"} {
		messages += bustest.Messages(f.t, f.ns, stream)
	}
	return fmt.Sprintf("%d objects, %d uploads, %d archives, %d messages", objects, uploads, vault.NumberOfArchives, messages)
}

func TestEverythingOfAUserGoesAndNothingOfAnybodyElse(t *testing.T) {
	f := newFixture(t)
	// The ids and keys of the others contain the user's, and the user's theirs.
	others := []events.UserID{"mos", "moss.2", "moss-job-1"}
	for _, user := range others {
		f.fill(user)
	}
	before, all := map[events.UserID]string{}, f.everything()
	for _, user := range others {
		before[user] = fmt.Sprintf("%+v", f.look(user))
	}
	f.fill("moss")
	v := f.look("moss")
	if got, want := v.String(), "4 jobs, 3 archives, 5 objects, 1 uploads, 2 plans and entries of spending, 8 messages, 2 dead letters, 0 sessions"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if v.Plan != testenv.PlanOf("moss") || v.UnderWay != 1 || !v.Paused || v.Records != 1 || v.Early == 0 || v.Archives[archive.Vault] != 2 || v.Archives[archive.Glacier] != 1 || len(v.Left) != 0 {
		t.Errorf("got %+v", v)
	}
	f.must(f.eraser(f.Config).Erase(t.Context(), v))
	if v := f.look("moss"); !v.Empty() || v.Records != 1 {
		t.Errorf("left: %+v", v)
	}
	for _, user := range others {
		if now := fmt.Sprintf("%+v", f.look(user)); now != before[user] {
			t.Errorf("of %s: now %s, before %s", user, now, before[user])
		}
	}
	if now := f.everything(); now != all {
		t.Errorf("now %s, before there was a user moss %s", now, all)
	}
}

// cut fails each call of AWS from a number on.
func cut(cfg aws.Config, from int64) (aws.Config, *atomic.Int64) {
	n := new(atomic.Int64)
	cfg = cfg.Copy()
	cfg.APIOptions = append(cfg.APIOptions, func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("cut", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			if n.Add(1) >= from {
				return middleware.InitializeOutput{}, middleware.Metadata{}, errors.New("killed")
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.Before)
	})
	return cfg, n
}

func TestASecondRunFinishesOneThatWasCutShortAnywhere(t *testing.T) {
	f := newFixture(t)
	f.fill("other")
	all, other := f.everything(), fmt.Sprintf("%+v", f.look("other"))
	for from, step := int64(1), int64(3); ; from += step {
		user := events.UserID(fmt.Sprint("user", from))
		f.fill(user)
		v := f.look(user)
		cfg, calls := cut(f.Config, from)
		err := f.eraser(cfg).Erase(t.Context(), v)
		if again := f.look(user); err != nil && again.Empty() {
			t.Errorf("cut at call %d: it failed with %v, and nothing was left to erase", from, err)
		}
		f.must(f.eraser(f.Config).Erase(t.Context(), f.look(user)))
		if v := f.look(user); !v.Empty() {
			t.Errorf("cut at call %d: left %+v", from, v)
		}
		if err == nil {
			if from < 30 {
				t.Errorf("an erasure has only %d calls", calls.Load())
			}
			break
		}
	}
	if now := f.everything(); now != all {
		t.Errorf("now %s, before %s", now, all)
	}
	if now := fmt.Sprintf("%+v", f.look("other")); now != other {
		t.Errorf("now %s, before %s", now, other)
	}
}

// late is a store in which a worker puts an object after the eraser has looked there.
type late struct {
	erase.Store
	once sync.Once
	put  func()
	key  string
}

func (l *late) Versions(ctx context.Context, o archive.Object) ([]string, error) {
	ids, err := l.Store.Versions(ctx, o)
	if o.Key == l.key {
		l.once.Do(l.put)
	}
	return ids, err
}

func TestWhatAWorkerPutsInTheMeantimeGoesToo(t *testing.T) {
	f := newFixture(t)
	f.fill("moss")
	v := f.look("moss")
	e := f.eraser(f.Config)
	key := f.Job("moss-job-2").Result.Key
	e.Store = &late{Store: e.Store, key: key, put: func() { f.put(testenv.BucketID, key, "a copy that was on its way") }}
	f.must(e.Erase(t.Context(), v))
	if ids, err := awserase.New(f.Config, "").Versions(t.Context(), archive.Object{Bucket: testenv.BucketID, Key: key}); err != nil || len(ids) != 0 {
		t.Errorf("the copy is there: %v, %v", ids, err)
	}
}

func TestWhatMayBeSomebodyElsesStaysAndIsTold(t *testing.T) {
	f := newFixture(t)
	f.Account("moss", archive.Free)
	const theirs = "gas/fern/fern-1~in.annot.vcf"
	f.put(testenv.BucketID, theirs, "of fern")
	_, err := f.Objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("inputs")})
	f.must(err)
	const input = "in/moss-2~in.vcf"
	f.put("inputs", input, "input")
	job := func(id events.JobID, o archive.Object) {
		f.must(f.Catalog.AddJob(t.Context(), archive.Job{ID: id, UserID: "moss", SubmittedAt: at, Status: "COMPLETED", ArchiveSize: -1, Result: o}))
	}
	job("moss-1", archive.Object{Bucket: testenv.BucketID, Key: theirs})
	job("moss-2", archive.Object{})
	f.SetAttribute("moss-2", "s3_inputs_bucket", &types.AttributeValueMemberS{Value: "inputs"})
	f.SetAttribute("moss-2", "s3_key_input_file", &types.AttributeValueMemberS{Value: input})
	cold := f.ArchiveIn(archive.Glacier, "moss", "moss-3", []byte("x"))
	f.SetAttribute("moss-3", "archive_locator", &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
		"kind": &types.AttributeValueMemberS{Value: "object"}, "class": &types.AttributeValueMemberS{Value: "GLACIER"}, "bucket": &types.AttributeValueMemberS{Value: testenv.ColdID},
		"key": &types.AttributeValueMemberS{Value: "cold/fern-1/in.annot.vcf"}, "etag": &types.AttributeValueMemberS{Value: cold.Copy.ETag},
	}})
	f.put(testenv.ColdID, "cold/fern-1/in.annot.vcf", "of fern")
	all := f.everything()
	v := f.look("moss")
	if got := strings.Join(v.Left, "\n"); len(v.Left) != 3 || !strings.Contains(got, theirs+" of job moss-1: its key does not name the job") ||
		!strings.Contains(got, "s3://inputs/"+input) || !strings.Contains(got, "--bucket inputs") || !strings.Contains(got, "of job moss-3") {
		t.Errorf("left:\n%s", got)
	}
	if err := f.eraser(f.Config).Erase(t.Context(), v); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "3 jobs stay") {
		t.Errorf("got %v", err)
	}
	if now := f.everything(); now != all {
		t.Errorf("now %s, before %s", now, all)
	}
	// The operator lets the inputs go, and the rest stay.
	e := f.eraser(f.Config)
	e.Others, e.Leave = []string{"inputs"}, true
	if v, err = e.Look(t.Context(), "moss"); err != nil || len(v.Left) != 2 || v.Objects != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	f.must(e.Erase(t.Context(), v))
	if v := f.look("moss"); !v.Empty() {
		t.Errorf("left: %+v", v)
	}
	if now := f.everything(); now != all {
		t.Errorf("now %s, before %s", now, all)
	}
	if ids, err := e.Store.Versions(t.Context(), archive.Object{Bucket: "inputs", Key: input}); err != nil || len(ids) != 0 {
		t.Errorf("the input is there: %v, %v", ids, err)
	}
}

func TestALetterOfSQSThatMentionsTheUserIsTold(t *testing.T) {
	f := newFixture(t)
	f.Account("moss", archive.Free)
	for i, payload := range []string{`{"Message":"{\"user_id\": \"moss\"}"}`, `{"user_id":"mossy"}`} {
		_, err := f.bus.Publish(t.Context(), events.DeadLetter{ID: fmt.Sprint(i), Stream: events.SourceSQS, Consumer: "q", Kind: events.DeadKindInvalid, LastAt: at, Payload: events.Payload(payload)})
		f.must(err)
	}
	v := f.look("moss")
	if v.Letters != 0 || len(v.Left) != 1 || !strings.HasPrefix(v.Left[0], "1 dead letters of SQS") {
		t.Errorf("got %+v", v)
	}
}

func TestAJobThatIsArchivedAnewDuringTheErasureStays(t *testing.T) {
	f := newFixture(t)
	f.Account("moss", archive.Free)
	f.Archive("moss", "moss-1", []byte("x"))
	v := f.look("moss")
	e := f.eraser(f.Config)
	f.SetAttribute("moss-1", "archive_id", &types.AttributeValueMemberS{Value: "anew"})
	if err := e.Erase(t.Context(), v); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := f.Job("moss-1").ArchiveID; got != "anew" {
		t.Errorf("the job has archive %q", got)
	}
}
