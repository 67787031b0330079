package wiring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
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
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

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

// leftBehind is a job with an intent, from which another program removed the archive.
func (s *scene) leftBehind() archive.Job {
	job := s.intended(s.inVault())
	s.RemoveAttribute(job.ID, "archive_id")
	return archive.Job{ID: job.ID}
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
