package wiring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/sns"
	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/local/aws/access"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// The tests of this file do everything that a service can do at its ports, with the adapters
// and the role that it has in production. So they show which permission each thing needs,
// whether the role lacks one, and whether it has one too many.

// roles are the roles of the services, and the parts that have their ports.
var roles = map[string][]any{
	estate.BridgeRole:  {bridge.Drain{}, bridge.Webhook{}},
	estate.ThawRole:    {thaw.Planner{}, thaw.Requester{}, reconcile.Sweeper{}},
	estate.RestoreRole: {restore.Restorer{}},
	estate.WebRole:     {web.Deps{}},
}

// elsewhere are the ports behind which is no AWS.
var elsewhere = []string{
	"kv.Store", "bridge.Publisher", "bridge.Verifier", "thaw.Tasks", "thaw.Completions", "reconcile.Streams",
	"web.Statuses", "web.Letters", "web.SessionStore", "web.Store",
}

// methods returns the methods of the ports to AWS that the service's parts have.
func methods(parts []any) (all []string) {
	add := func(port reflect.Type) {
		for m := range port.Methods() {
			all = append(all, port.String()+"."+m.Name)
		}
	}
	for _, part := range parts {
		of := reflect.TypeOf(part)
		for i := range of.NumField() {
			port := of.Field(i).Type
			if port.Kind() == reflect.Interface && !slices.Contains(elsewhere, port.String()) {
				add(port)
			}
		}
		if of == reflect.TypeFor[restore.Restorer]() {
			add(reflect.TypeFor[archive.Upload]()) // restore.Uploads hands them out
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deed is something that a service does at a port.
type deed struct {
	role, method string
	// when is a situation in which the method makes other calls than usual.
	when string
	do   func(context.Context, *scene) error
	// want is the kind of the error; nil if there is none.
	want *fault.Kind
}

func (d deed) String() string {
	if d.when != "" {
		return d.role + ": " + d.method + " " + d.when
	}
	return d.role + ": " + d.method
}

func wants(k fault.Kind) *fault.Kind { return &k }

// scene is an account of AWS with everything that the pipeline needs, and the adapters of a
// service in its role.
type scene struct {
	*testenv.AWS
	t     *testing.T
	place estate.Place
	n     int // makes the names of each deed

	catalog  *dynamodb.Catalog
	store    cold.Store
	bucket   *s3.Bucket
	topics   *sns.Topics
	premium  *sqs.Queue
	restored *sqs.Queue
	// busy makes DynamoDB read nothing of the next batch, as if the tables were throttled.
	busy bool
}

func newScene(t *testing.T) *scene {
	a := testenv.NewAWS(t)
	s := &scene{AWS: a, t: t, place: estate.Place{
		Partition: "aws", Region: a.Region(), Account: a.World.Account,
		Tables:  estate.Names{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans},
		Results: testenv.BucketID, Archives: testenv.ColdID, Vault: testenv.VaultID,
		PremiumTopic: "gas-premium", PremiumQueue: "gas-premium", RestoreTopic: "gas-restore", RestoreQueue: "gas-restore",
	}}
	if err := awsestate.New(a.Config).Make(t.Context(), a.Catalog, s.place); err != nil {
		t.Fatal(err)
	}
	return s
}

// as gives the scene the adapters of a service with these permits.
func (s *scene) as(role string, permits []estate.Permit) (key string) {
	key, secret, err := s.SetRole(role, estate.Document(permits))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err := awsclient.Load(s.t.Context(), awsclient.Options{Region: s.Region(), Endpoint: s.Endpoint(), AccessKey: key, SecretKey: secret, Transport: s})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	c := config.Config{
		Vault: s.place.Vault, ArchiveBucket: s.place.Archives, ArchiveDays: 1, RestoreTopic: s.place.ARN(estate.RestoreTopic), PremiumTopic: s.place.ARN(estate.PremiumTopic),
		JobTable: s.place.Tables.Jobs, AccountTable: s.place.Tables.Accounts, PlanTable: s.place.Tables.Plans,
	}
	s.catalog, s.store, s.bucket, s.topics = dynamodb.New(cfg, wiring.Tables(c)), wiring.Store(c, cfg), s3.New(cfg), sns.New(cfg, c.PremiumTopic)
	s.premium, s.restored = sqs.New(cfg, s.SQS.QueueURL(s.place.PremiumQueue)), sqs.New(cfg, s.SQS.QueueURL(s.place.RestoreQueue))
	return key
}

// RoundTrip implements [http.RoundTripper].
func (s *scene) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.busy || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".BatchGetItem") {
		return s.Transport().RoundTrip(r)
	}
	s.busy = false
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(asked))
	resp, err := s.Transport().RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	resp.Body.Close()
	var in struct{ RequestItems json.RawMessage }
	if err := json.Unmarshal(asked, &in); err != nil {
		return nil, err
	}
	answer := []byte(`{"Responses":{},"UnprocessedKeys":` + string(in.RequestItems) + `}`)
	resp.Header.Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(answer)))
	resp.Header.Set("Content-Length", fmt.Sprint(len(answer)))
	resp.ContentLength, resp.Body = int64(len(answer)), io.NopCloser(bytes.NewReader(answer))
	return resp, nil
}

// name returns a name that no deed had before.
func (s *scene) name(what string) string {
	s.n++
	return fmt.Sprintf("%s-%d", what, s.n)
}

const body = "a result that was archived"

func sumOf() crc64nvme.Sum { return crc64nvme.Update(0, []byte(body)) }

// user makes an account, and returns it as the catalog has it.
func (s *scene) user(role archive.Role) archive.Account {
	id := events.UserID(s.name("user"))
	s.Account(id, role)
	a, err := s.Catalog.Account(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// plan returns a plan that may be opened.
func (s *scene) plan() archive.Plan {
	return archive.Plan{ID: s.name("plan"), Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: time.Now(), Due: time.Now()}
}

// inVault archives a result in the vault.
func (s *scene) inVault() archive.Job {
	return s.Archive("fern", events.JobID(s.name("job")), []byte(body))
}

// inBucket archives a result in S3's class GLACIER.
func (s *scene) inBucket() archive.Job {
	return s.ArchiveIn(archive.Glacier, "fern", events.JobID(s.name("job")), []byte(body))
}

// plainly is the job as the catalog has it if the bucket kept no versions.
func plainly(job archive.Job) archive.Job {
	job.Copy.Version = ""
	return job
}

// lost is the job when its archive is gone.
func (s *scene) lost(job archive.Job) archive.Job {
	job.Copy.Key = archive.KeyOf("cold/", job.ID, "gone")
	job.Copy.Version = ""
	return job
}

// intended writes an intent for the job.
func (s *scene) intended(job archive.Job) archive.Job {
	intent := archive.Intent{Token: s.name("token"), At: time.Now(), Due: time.Now()}
	if err := s.Catalog.SaveIntent(s.t.Context(), job, intent); err != nil {
		s.t.Fatal(err)
	}
	return s.Job(job.ID)
}

// retrieved has the job's archive retrieved.
func (s *scene) retrieved(job archive.Job) archive.Job {
	job = s.intended(job)
	ctx := s.t.Context()
	root := wiring.Store(config.Config{Vault: s.place.Vault, ArchiveBucket: s.place.Archives, ArchiveDays: 1, RestoreTopic: s.place.ARN(estate.RestoreTopic)}, s.Config)
	r, err := root.Retrieve(ctx, job, archive.Expedited)
	if err == nil {
		err = s.Catalog.SaveRetrieval(ctx, job, *job.Intent, r)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.World.Clock.Advance(10 * time.Minute)
	return s.Job(job.ID)
}

// unknown is the job with a retrieval that Glacier does not know.
func unknown(job archive.Job) archive.Job {
	job.RetrievalID = "no-such-retrieval"
	return job
}

// read reads the output of the job's retrieval with the role.
func (s *scene) read(ctx context.Context, job archive.Job) error {
	out, err := s.store.Output(ctx, job, 0, -1)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != body {
		return fmt.Errorf("got %q, %v", got, err)
	}
	return nil
}

// proven proves that the job's archive is at its key.
func (s *scene) proven(job archive.Job) archive.Verified {
	sum := sumOf().String()
	content := archive.Content{Size: int64(len(body)), TreeHash: treehash.Of([]byte(body))}
	v, err := archive.Verify(job.Source(), content, content, archive.Stored{Object: job.Result, Size: content.Size, Checksum: sum, Sent: sum})
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// result puts a result at a key of its own.
func (s *scene) result() archive.Object {
	o := s.nowhere()
	if _, err := s.Objects.PutObject(s.t.Context(), &awss3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader(body), ChecksumAlgorithm: s3types.ChecksumAlgorithmCrc64nvme}); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// nowhere is a key at which there is nothing.
func (s *scene) nowhere() archive.Object {
	return archive.Object{Bucket: s.place.Results, Key: s.name("gas/fern/result")}
}

// upload begins an upload in parts, without the role.
func (s *scene) upload() (archive.Object, string) {
	o := s.nowhere()
	out, err := s3.New(s.Config).Begin(s.t.Context(), o, archive.Mark{Archive: "a"})
	if err != nil {
		s.t.Fatal(err)
	}
	return o, out.ID()
}

// mine returns that upload as the role sees it. To find uploads needs a permission of its own.
func (s *scene) mine(ctx context.Context) (archive.Upload, error) {
	o, id := s.upload()
	all, err := s.bucket.Unfinished(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || all[0].ID() != id {
		return nil, fmt.Errorf("%d uploads to %s, want the one", len(all), o)
	}
	return all[0], nil
}

// message sends a message to a queue, and receives it. It returns the receipt.
func (s *scene) message(ctx context.Context, q *sqs.Queue) []string {
	url := s.SQS.QueueURL(q.Name())
	if _, err := awssqs.NewFromConfig(s.Config).SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("{}")}); err != nil {
		s.t.Fatal(err)
	}
	out, err := awssqs.NewFromConfig(s.Config).ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 1})
	if err != nil || len(out.Messages) != 1 {
		s.t.Fatalf("%v, %v", out, err)
	}
	return []string{*out.Messages[0].ReceiptHandle}
}

// odd makes an attribute of an item a form that other programs write, so that the catalog has to tidy it.
func (s *scene) odd(table, key, id, attribute string) {
	_, err := ddb.NewFromConfig(s.Config).UpdateItem(s.t.Context(), &ddb.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{key: &types.AttributeValueMemberS{Value: id}},
		UpdateExpression: aws.String("SET " + attribute + " = :v"), ExpressionAttributeValues: map[string]types.AttributeValue{":v": &types.AttributeValueMemberNULL{Value: true}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// first returns the first error of a sequence.
func first[T any](seq func(func(T, error) bool)) (err error) {
	for _, err = range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// deeds are everything that the services do at their ports to AWS, in each situation in which
// an adapter makes other calls.
func deeds() (all []deed) {
	add := func(role, method, when string, want *fault.Kind, do func(context.Context, *scene) error) {
		all = append(all, deed{role, method, when, do, want})
	}
	gone, conflict := wants(fault.NotFound), wants(fault.Conflict)

	bridgeDeeds(func(method, when string, want *fault.Kind, do func(context.Context, *scene) error) {
		add(estate.BridgeRole, method, when, want, do)
	})

	// Every service but the bridge reads the catalog.
	type do = func(context.Context, *scene) error
	account := func(c context.Context, s *scene) error { return second(s.catalog.Account(c, s.user(archive.Free).ID)) }
	openPlan := func(c context.Context, s *scene) error { return s.catalog.OpenPlan(c, s.user(archive.Free), s.plan()) }
	page := func(c context.Context, s *scene) error {
		_, _, err := s.catalog.ArchivedPage(c, "fern", "")
		return err
	}
	job := func(c context.Context, s *scene) error { return second(s.catalog.Job(c, s.inVault().ID)) }
	read := func(c context.Context, s *scene) error {
		o := s.result()
		found, err := s3.New(s.Config).Stat(c, o)
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := s.bucket.Read(c, found, 1)
		if err == nil {
			r.Close()
		}
		return err
	}
	switches := func(c context.Context, s *scene) error { return second(s.catalog.Switches(c)) }

	for method, do := range map[string]do{
		"thaw.Accounts.Account": account,
		"thaw.Plans.OpenPlan":   openPlan,
		"thaw.Plans.HoldPlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.HoldPlan(c, a.ID, a.Plan.ID, "it would cost too much", time.Now())
		},
		"thaw.Plans.ResumePlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.ResumePlan(c, a.ID, a.Plan.ID, 1, time.Now())
		},
		"thaw.Budgets.Spent": func(c context.Context, s *scene) error {
			_, _, err := s.catalog.Spent(c, "2026-11-27", "fern")
			return err
		},
		"thaw.Budgets.Spend": func(c context.Context, s *scene) error {
			return second(s.catalog.Spend(c, archive.Spending{Amount: 1, Day: "2026-11-27", User: "fern", DayLimit: archive.Dollar, UserLimit: archive.Dollar}))
		},
		"thaw.Budgets.Return": func(c context.Context, s *scene) error {
			return s.catalog.Return(c, archive.Spending{Amount: 1, Day: "2026-11-27", User: "fern"})
		},
		"thaw.Switches.Switches":         switches,
		"thaw.ArchivedJobs.ArchivedPage": page,
		"thaw.Catalog.Job":               job,
		"thaw.Catalog.SaveIntent": func(c context.Context, s *scene) error {
			return s.catalog.SaveIntent(c, s.inVault(), archive.Intent{Token: s.name("token"), At: time.Now(), Due: time.Now()})
		},
		"thaw.Catalog.DropIntent": func(c context.Context, s *scene) error {
			j := s.intended(s.inVault())
			return s.catalog.DropIntent(c, j, *j.Intent)
		},
		"thaw.Catalog.SaveRetrieval": func(c context.Context, s *scene) error {
			j := s.intended(s.inVault())
			return s.catalog.SaveRetrieval(c, j, *j.Intent, archive.Retrieval{ID: "r", Tier: archive.Standard, RequestedAt: time.Now()})
		},
		"thaw.Vault.Retrieve": func(c context.Context, s *scene) error {
			return second(s.store.Retrieve(c, s.intended(s.inVault()), archive.Standard))
		},
		"thaw.Vault.Retrievals": func(c context.Context, s *scene) error {
			return first(s.store.Retrievals(c, []archive.Job{s.inVault()}, nil))
		},
		"thaw.Vault.Describe":        func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"reconcile.Catalog.DueJobs":  func(c context.Context, s *scene) error { return first(s.catalog.DueJobs(c, time.Now())) },
		"reconcile.Catalog.DuePlans": func(c context.Context, s *scene) error { return first(s.catalog.DuePlans(c, time.Now())) },
		"reconcile.Catalog.JobsOf": func(c context.Context, s *scene) error {
			return second(s.catalog.JobsOf(c, []events.JobID{s.inVault().ID}))
		},
		"reconcile.Catalog.AccountsOf": func(c context.Context, s *scene) error {
			return second(s.catalog.AccountsOf(c, []events.UserID{s.user(archive.Free).ID}))
		},
		"reconcile.Catalog.ArchivedPage": page,
		"reconcile.Catalog.ArchivedScan": func(c context.Context, s *scene) error { _, _, err := s.catalog.ArchivedScan(c, ""); return err },
		"reconcile.Catalog.Nudged": func(c context.Context, s *scene) error {
			return s.catalog.Nudged(c, s.intended(s.inVault()), time.Now(), false)
		},
		"reconcile.Catalog.OpenPlan": openPlan,
		"reconcile.Catalog.PlanLooked": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.PlanLooked(c, a.ID, a.Plan.ID, time.Now(), time.Now())
		},
		"reconcile.Catalog.ClosePlan": func(c context.Context, s *scene) error {
			a := s.user(archive.Premium)
			return s.catalog.ClosePlan(c, a.ID, *a.Plan, time.Now())
		},
		"reconcile.Vault.Describe": func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"reconcile.Vault.Retrievals": func(c context.Context, s *scene) error {
			return first(s.store.Retrievals(c, []archive.Job{s.inVault()}, nil))
		},
	} {
		add(estate.ThawRole, method, "", nil, do)
	}
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of an archive that is gone", gone, func(c context.Context, s *scene) error {
		j := s.intended(s.inVault())
		if _, err := s.Vaults.DeleteArchive(c, &glacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: &s.place.Vault, ArchiveId: aws.String(string(j.ArchiveID))}); err != nil {
			s.t.Fatal(err)
		}
		return second(s.store.Retrieve(c, j, archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of a version in S3", nil, func(c context.Context, s *scene) error {
		return second(s.store.Retrieve(c, s.intended(s.inBucket()), archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Retrieve", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return second(s.store.Retrieve(c, plainly(s.intended(s.inBucket())), archive.Standard))
	})
	add(estate.ThawRole, "thaw.Vault.Describe", "of an object that is gone", gone, func(c context.Context, s *scene) error {
		return second(s.store.Describe(c, s.lost(s.retrieved(s.inBucket()))))
	})
	add(estate.ThawRole, "thaw.Vault.Retrievals", "in S3", nil, func(c context.Context, s *scene) error {
		return first(s.store.Retrievals(c, []archive.Job{s.inBucket()}, nil))
	})
	add(estate.ThawRole, "thaw.Catalog.SaveIntent", "on a job that boto3 wrote", nil, func(c context.Context, s *scene) error {
		j := s.inVault()
		s.odd(testenv.Jobs, "job_id", string(j.ID), "retrieval_request_id")
		return s.catalog.SaveIntent(c, j, archive.Intent{Token: s.name("token"), At: time.Now(), Due: time.Now()})
	})

	for method, do := range map[string]do{
		"restore.Catalog.Job": job,
		"restore.Catalog.ClearArchive": func(c context.Context, s *scene) error {
			j := s.retrieved(s.inVault())
			j.RestoredBy = j.RetrievalID
			return s.catalog.ClearArchive(c, j)
		},
		"restore.Catalog.ClearRetrieval": func(c context.Context, s *scene) error {
			return s.catalog.ClearRetrieval(c, s.retrieved(s.inVault()), archive.GlacierFailed, time.Now())
		},
		"restore.Vault.Output":   func(c context.Context, s *scene) error { return s.read(c, s.retrieved(s.inVault())) },
		"restore.Vault.Describe": func(c context.Context, s *scene) error { return second(s.store.Describe(c, s.retrieved(s.inVault()))) },
		"restore.Vault.Delete":   func(c context.Context, s *scene) error { return s.store.Delete(c, s.proven(s.inVault())) },
		"restore.Bucket.Stat":    func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.result())) },
		"restore.Bucket.Read":    read,
		"restore.Bucket.Put": func(c context.Context, s *scene) error {
			return second(s.bucket.Put(c, s.nowhere(), archive.Mark{Archive: "a"}, []byte(body), sumOf()))
		},
		"restore.Uploads.Begin": func(c context.Context, s *scene) error {
			return second(s.bucket.Begin(c, s.nowhere(), archive.Mark{Archive: "a"}))
		},
		"restore.Uploads.Unfinished": func(c context.Context, s *scene) error { return second(s.mine(c)) },
		"archive.Upload.ID":          func(c context.Context, s *scene) error { return second(s.mine(c)) },
		"archive.Upload.Parts": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return second(u.Parts(c))
		},
		"archive.Upload.Put": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return second(u.Put(c, 1, strings.NewReader(body), int64(len(body)), nil))
		},
		"archive.Upload.Complete": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			p, err := u.Put(c, 1, strings.NewReader(body), int64(len(body)), nil)
			if err != nil {
				return err
			}
			return second(u.Complete(c, []archive.Part{p}, p.Sum))
		},
		"archive.Upload.Abort": func(c context.Context, s *scene) error {
			u, err := s.mine(c)
			if err != nil {
				return err
			}
			return u.Abort(c)
		},
	} {
		add(estate.RestoreRole, method, "", nil, do)
	}
	add(estate.RestoreRole, "restore.Vault.Output", "of a retrieval that is gone", gone, func(c context.Context, s *scene) error {
		return s.read(c, unknown(s.retrieved(s.inVault())))
	})
	add(estate.RestoreRole, "restore.Vault.Output", "of a version in S3", nil, func(c context.Context, s *scene) error { return s.read(c, s.retrieved(s.inBucket())) })
	add(estate.RestoreRole, "restore.Vault.Output", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return s.read(c, plainly(s.retrieved(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Vault.Output", "of an object that is gone", gone, func(c context.Context, s *scene) error {
		return s.read(c, s.lost(s.retrieved(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Vault.Delete", "of a version in S3", nil, func(c context.Context, s *scene) error { return s.store.Delete(c, s.proven(s.inBucket())) })
	add(estate.RestoreRole, "restore.Vault.Delete", "of an object in S3 without versions", nil, func(c context.Context, s *scene) error {
		return s.store.Delete(c, s.proven(plainly(s.inBucket())))
	})
	add(estate.RestoreRole, "restore.Bucket.Stat", "of nothing", gone, func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.nowhere())) })
	add(estate.RestoreRole, "restore.Bucket.Put", "over another object", conflict, func(c context.Context, s *scene) error {
		return second(s.bucket.Put(c, s.result(), archive.Mark{Archive: "a"}, []byte(body), sumOf()))
	})

	for method, do := range map[string]do{
		"web.Accounts.Account": account,
		"web.Accounts.AccountAndJob": func(c context.Context, s *scene) error {
			_, _, err := s.catalog.AccountAndJob(c, s.user(archive.Free).ID, s.inVault().ID)
			return err
		},
		"web.Accounts.SignIn": func(c context.Context, s *scene) error {
			return s.catalog.SignIn(c, archive.Account{ID: events.UserID(s.name("new")), Role: archive.Free, Issuer: "https://idp.test"}, nil)
		},
		"web.Accounts.SetRole": func(c context.Context, s *scene) error {
			return second(s.catalog.SetRole(c, s.user(archive.Free).ID, archive.Premium, time.Now()))
		},
		"web.Accounts.OpenPlan": openPlan,
		"web.Accounts.Announced": func(c context.Context, s *scene) error {
			a := s.user(archive.Free)
			if _, err := s.Catalog.SetRole(c, a.ID, archive.Premium, time.Now()); err != nil {
				s.t.Fatal(err)
			}
			due, err := s.Catalog.Account(c, a.ID)
			if err != nil {
				s.t.Fatal(err)
			}
			return s.catalog.Announced(c, a.ID, due.AnnounceDue)
		},
		"web.Accounts.Unannounced": func(c context.Context, s *scene) error { return first(s.catalog.Unannounced(c)) },
		"web.Jobs.Select": func(c context.Context, s *scene) error {
			return second(s.catalog.Select(c, "fern", archive.Selection{Limit: 10}))
		},
		"web.Jobs.ArchivedPage": page,
		"web.Jobs.HasArchived":  func(c context.Context, s *scene) error { return second(s.catalog.HasArchived(c, "fern")) },
		"web.Announcer.AnnounceUpgrade": func(c context.Context, s *scene) error {
			return s.topics.AnnounceUpgrade(c, events.UpgradeMessage{UserID: "fern"})
		},
		"web.Downloads.Stat": func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.result())) },
		"web.Downloads.Read": read,
		"web.Downloads.PresignGet": func(c context.Context, s *scene) error {
			url, err := s.bucket.PresignGet(c, s.result(), "result.vcf", 24*time.Hour)
			if err != nil {
				return err
			}
			resp, err := (&http.Client{Transport: s.Transport()}).Get(url) // as a browser does
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
				return fault.Errorf(fault.Denied, "download: %d: %s: %v", resp.StatusCode, got, err)
			}
			return nil
		},
		"web.Switches.Switches": switches,
	} {
		add(estate.WebRole, method, "", nil, do)
	}
	add(estate.WebRole, "web.Accounts.SignIn", "of somebody with another name", nil, func(c context.Context, s *scene) error {
		a := s.user(archive.Free)
		a.Name = "another"
		return s.catalog.SignIn(c, a, nil)
	})
	add(estate.WebRole, "web.Accounts.AccountAndJob", "while a table is throttled", nil, func(c context.Context, s *scene) error {
		user, job := s.user(archive.Free).ID, s.inVault().ID
		s.busy = true
		_, _, err := s.catalog.AccountAndJob(c, user, job)
		return err
	})
	add(estate.WebRole, "web.Downloads.Stat", "of a file that is not there", gone, func(c context.Context, s *scene) error { return second(s.bucket.Stat(c, s.nowhere())) })
	slices.SortStableFunc(all, func(a, b deed) int { return strings.Compare(a.String(), b.String()) })
	return all
}

func bridgeDeeds(add func(method, when string, want *fault.Kind, do func(context.Context, *scene) error)) {
	for _, name := range []string{estate.Premium, estate.Restore} {
		queue := func(s *scene) *sqs.Queue {
			if name == estate.Premium {
				return s.premium
			}
			return s.restored
		}
		on := func(f func(context.Context, *sqs.Queue, []string) []error) func(context.Context, *scene) error {
			return func(c context.Context, s *scene) error { return f(c, queue(s), s.message(c, queue(s)))[0] }
		}
		when := "of the " + name + " queue"
		add("bridge.Queue.Name", when, nil, func(_ context.Context, s *scene) error {
			if got := queue(s).Name(); got != "gas-"+name {
				return fmt.Errorf("the queue is %q", got)
			}
			return nil
		})
		add("bridge.Queue.Receive", when, nil, func(c context.Context, s *scene) error { return second(queue(s).Receive(c, 0, time.Minute)) })
		add("bridge.Queue.Delete", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Delete(c, r) }))
		add("bridge.Queue.Return", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Return(c, r, time.Second) }))
		add("bridge.Queue.Extend", when, nil, on(func(c context.Context, q *sqs.Queue, r []string) []error { return q.Extend(c, r, time.Minute) }))
	}
	for _, topic := range []estate.Thing{estate.PremiumTopic, estate.RestoreTopic} {
		// The token is nobody's: whether the call is allowed, SNS decides before.
		add("bridge.Confirmer.ConfirmSubscription", "of the "+string(topic), wants(fault.Denied), func(c context.Context, s *scene) error {
			return s.topics.ConfirmSubscription(c, s.place.ARN(topic), "no-such-token")
		})
	}
}

// did makes the deed in the role with the permits, and returns what of them it used and what
// it was refused.
func (s *scene) did(d deed, permits []estate.Permit) (used, refused []access.Need, err error) {
	key := s.as(d.role, permits)
	before := s.Role(key)
	err = d.do(s.t.Context(), s)
	s.busy = false
	after := s.Role(key)
	for need, n := range after.Used {
		if n > before.Used[need] {
			used = append(used, need)
		}
	}
	for need, n := range after.Refused {
		if n > before.Refused[need] {
			refused = append(refused, need)
		}
	}
	return used, refused, err
}

// covers reports whether the permit, which has one action, allows the need.
func covers(p estate.Permit, n access.Need) bool {
	of, all := strings.CutSuffix(p.Resource, "*")
	return p.Actions[0] == n.Action && (p.Resource == n.Resource || all && strings.HasPrefix(n.Resource, of))
}

// singles returns the permits of the role, one action each.
func (s *scene) singles(name string) (all []estate.Permit) {
	role, ok := estate.RoleOf(name)
	if !ok {
		s.t.Fatalf("there is no role %s", name)
	}
	for _, p := range role.Permits(s.place) {
		for _, action := range p.Actions {
			all = append(all, estate.Permit{Actions: []string{action}, Resource: p.Resource})
		}
	}
	return all
}

// TestARoleAllowsWhatItsServiceDoesAndNothingElse makes all deeds of the services in their
// roles: none is refused, and no permission is left over. A port or a method that the list of
// deeds lacks fails it too.
func TestARoleAllowsWhatItsServiceDoesAndNothingElse(t *testing.T) {
	s := newScene(t)
	all := deeds()
	for role, parts := range roles {
		for _, method := range methods(parts) {
			if !slices.ContainsFunc(all, func(d deed) bool { return d.role == role && d.method == method }) {
				t.Errorf("%s: no deed calls %s", role, method)
			}
		}
	}
	unused := map[string][]estate.Permit{}
	for role := range roles {
		unused[role] = s.singles(role)
	}
	for _, d := range all {
		if !slices.Contains(methods(roles[d.role]), d.method) {
			t.Errorf("%s: the service has no such port", d)
		}
		used, refused, err := s.did(d, s.singles(d.role))
		if len(refused) > 0 {
			t.Errorf("%s: the role lacks %s", d, refused)
		} else if d.want == nil && err != nil || d.want != nil && (err == nil || !fault.Is(err, *d.want)) {
			t.Errorf("%s: got %v, want kind %v", d, err, d.want)
		}
		unused[d.role] = slices.DeleteFunc(unused[d.role], func(p estate.Permit) bool {
			return slices.ContainsFunc(used, func(n access.Need) bool { return covers(p, n) })
		})
	}
	for role, permits := range unused {
		for _, p := range permits {
			t.Errorf("%s: nothing that the service does needs %s on %s", role, p.Actions[0], p.Resource)
		}
	}
}

// TestAServiceWithoutAPermissionSaysWhichOne takes each permission of each service away: a
// deed that needs it ends with an error of kind Denied, which names the action and the resource.
func TestAServiceWithoutAPermissionSaysWhichOne(t *testing.T) {
	s := newScene(t)
	type needed struct {
		deed
		used []access.Need
	}
	var all []needed
	for _, d := range deeds() {
		used, _, _ := s.did(d, s.singles(d.role))
		all = append(all, needed{d, used})
	}
	taken := 0
	for role := range roles {
		permits := s.singles(role)
		for i, without := range permits {
			left := slices.Delete(slices.Clone(permits), i, i+1)
			of := slices.IndexFunc(all, func(n needed) bool {
				return n.role == role && slices.ContainsFunc(n.used, func(u access.Need) bool { return covers(without, u) })
			})
			if of < 0 {
				continue // the test above says so
			}
			taken++
			d := all[of].deed
			_, refused, err := s.did(d, left)
			if len(refused) == 0 || !covers(without, refused[0]) {
				t.Errorf("%s without %s on %s: AWS refused %v", d, without.Actions[0], without.Resource, refused)
				continue
			}
			says := strings.ToLower(fmt.Sprint(err))
			if !fault.Is(err, fault.Denied) || !strings.Contains(says, strings.ToLower(without.Actions[0])) || !strings.Contains(says, strings.ToLower(name(refused[0].Resource))) {
				t.Errorf("%s without %s on %s: the error does not say so: %v", d, without.Actions[0], without.Resource, err)
			}
		}
	}
	t.Logf("%d permissions were taken away, one at a time", taken)
}

// name is the part of an ARN that a person knows it by.
func name(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	return strings.TrimPrefix(parts[5], "table/")
}
