package stack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	glaciertypes "github.com/aws/aws-sdk-go-v2/service/glacier/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// original is the genuine service: its scripts, its topic and its queue. It keeps nothing in
// the catalog while a file is on its way, and checks no bytes.
type original struct {
	*stack.Stack
	t            *testing.T
	tables       *ddb.Client
	vaults       *glacier.Client
	objects      *s3.Client
	queues       *sqs.Client
	topic, queue string
	bodies       map[string][]byte
	// failed counts the original's retrievals that came to nothing.
	failed int
}

// gone reports that Glacier does not know the archive or the retrieval.
func gone(err error) bool {
	_, none := errors.AsType[*glaciertypes.ResourceNotFoundException](err)
	return none
}

const originalUser = "thyme"

// newOriginal makes the original's topic and queue, and archived results of a Free user.
func newOriginal(t *testing.T, s *stack.Stack, files int) *original {
	o := &original{
		Stack: s, t: t, tables: ddb.NewFromConfig(s.AWSConfig), vaults: glacier.NewFromConfig(s.AWSConfig), queues: sqs.NewFromConfig(s.AWSConfig),
		objects: s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true }), bodies: map[string][]byte{},
	}
	ctx, topics := t.Context(), sns.NewFromConfig(s.AWSConfig)
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("original-restore")})
	o.must(err)
	o.topic = *topic.TopicArn
	policy := func(service, action, resource string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":%q,"Resource":%q}]}`, service, action, resource)
	}
	_, err = topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &o.topic, AttributeName: aws.String("Policy"), AttributeValue: aws.String(policy("glacier.amazonaws.com", "sns:Publish", o.topic))})
	o.must(err)
	arn := s.AWS.SQS.QueueARN("original-restore")
	queue, err := o.queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("original-restore"), Attributes: map[string]string{"Policy": policy("sns.amazonaws.com", "sqs:SendMessage", arn)}})
	o.must(err)
	o.queue = *queue.QueueUrl
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &o.topic, Protocol: aws.String("sqs"), Endpoint: &arn})
	o.must(err)

	_, err = o.tables.PutItem(ctx, &ddb.PutItemInput{TableName: &s.Config.AccountTable, Item: item{"user_id": text(originalUser), "role": text("free_user")}})
	o.must(err)
	for n := range files {
		id := fmt.Sprintf("job-%d", n)
		o.bodies[id] = []byte(strings.Repeat(id+"\n", 5000))
		o.archive(id)
	}
	return o
}

func (o *original) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func resultKey(id string) string { return "gas/" + originalUser + "/" + id + "~panel.annot.vcf" }

// archive is the original's archive script for one job.
func (o *original) archive(id string) {
	up, err := o.vaults.UploadArchive(o.t.Context(), &glacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault, Body: bytes.NewReader(o.bodies[id])})
	o.must(err)
	_, err = o.tables.PutItem(o.t.Context(), &ddb.PutItemInput{TableName: &o.Config.JobTable, Item: item{
		"job_id": text(id), "user_id": text(originalUser), "input_file_name": text("panel.vcf"), "s3_inputs_bucket": text("gas-inputs"), "s3_key_input_file": text("gas/thyme/" + id + "~panel.vcf"),
		"submit_time": num("1790000000"), "job_status": text("COMPLETED"), "complete_time": num("1790000100"), "s3_results_bucket": text(o.Config.Bucket),
		"s3_key_result_file": text(resultKey(id)), "s3_key_log_file": text("gas/thyme/" + id + "~panel.vcf.count.log"), "results_file_archive_id": text(*up.ArchiveId),
	}})
	o.must(err)
}

// thaw is the original's thaw script: it asks Glacier for each archive of the user, whoever has
// asked already.
func (o *original) thaw() {
	jobs, err := o.tables.Query(o.t.Context(), &ddb.QueryInput{
		TableName: &o.Config.JobTable, IndexName: aws.String("user_id_index"), KeyConditionExpression: aws.String("user_id = :u"), ExpressionAttributeValues: item{":u": text(originalUser)},
	})
	o.must(err)
	for _, job := range jobs.Items {
		of, archived := job["results_file_archive_id"].(*types.AttributeValueMemberS)
		if !archived {
			continue
		}
		_, err := o.vaults.InitiateJob(o.t.Context(), &glacier.InitiateJobInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault, JobParameters: &glaciertypes.JobParameters{
			Type: aws.String("archive-retrieval"), ArchiveId: &of.Value, SNSTopic: &o.topic, Tier: aws.String("Standard"), Description: aws.String(job["job_id"].(*types.AttributeValueMemberS).Value),
		}})
		if gone(err) {
			continue // it is back already
		}
		o.must(err)
	}
}

// restore is the original's restore script, for n notifications.
func (o *original) restore(n int) {
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	for n > 0 {
		got, err := o.queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &o.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5})
		o.must(err)
		for _, m := range got.Messages {
			var envelope struct{ Message string }
			var done struct {
				JobID     string `json:"JobId"`
				JobOf     string `json:"JobDescription"`
				ArchiveID string `json:"ArchiveId"`
			}
			o.must(json.Unmarshal([]byte(*m.Body), &envelope))
			o.must(json.Unmarshal([]byte(envelope.Message), &done))
			n--
			_, err = o.queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &o.queue, ReceiptHandle: m.ReceiptHandle})
			o.must(err)
			out, err := o.vaults.GetJobOutput(ctx, &glacier.GetJobOutputInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault, JobId: &done.JobID})
			if gone(err) {
				o.failed++ // the other pipeline deleted the archive before this retrieval was ready
				continue
			}
			o.must(err)
			body, err := io.ReadAll(out.Body)
			out.Body.Close()
			o.must(err)
			_, err = o.objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.Config.Bucket, Key: aws.String(resultKey(done.JobOf)), Body: bytes.NewReader(body)})
			o.must(err)
			_, err = o.vaults.DeleteArchive(ctx, &glacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault, ArchiveId: &done.ArchiveID})
			o.must(err)
			_, err = o.tables.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &o.Config.JobTable, Key: item{"job_id": text(done.JobOf)}, UpdateExpression: aws.String("REMOVE results_file_archive_id")})
			o.must(err)
		}
	}
}

// announce has the site tell both services that the user upgraded.
func (o *original) announce() {
	_, err := sns.NewFromConfig(o.AWSConfig).Publish(o.t.Context(), &sns.PublishInput{TopicArn: &o.Config.PremiumTopic, Message: aws.String(`{"user_id": "` + originalUser + `"}`)})
	o.must(err)
}

// settled waits until no archive is left in the catalog and no message in the pipeline. Then it
// checks that each file is at its key. Dead letters may be there only of the kinds that are
// named.
func (o *original) settled(letters ...events.DeadKind) {
	o.t.Helper()
	limit := time.After(time.Minute)
	ctx := o.t.Context()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for left := []string{""}; len(left) > 0; {
		left = left[:0]
		for _, a := range o.AWS.Glacier.Archives(o.Config.Vault) {
			left = append(left, "archive "+fmt.Sprint(a))
		}
		for id := range o.bodies {
			row, err := o.tables.GetItem(ctx, &ddb.GetItemInput{TableName: &o.Config.JobTable, Key: item{"job_id": text(id)}, ConsistentRead: aws.Bool(true)})
			o.must(err)
			for _, attribute := range []string{"results_file_archive_id", "retrieval_request_id", "retrieval_intent", "due_at"} {
				if _, there := row.Item[attribute]; there {
					left = append(left, attribute+" of "+id)
				}
			}
		}
		for _, stream := range []string{"PREMIUM", "THAW", "RESTORE"} {
			st, err := o.Bus.JS.Stream(ctx, stream)
			o.must(err)
			info, err := st.Info(ctx)
			o.must(err)
			if info.State.Msgs > 0 {
				left = append(left, fmt.Sprintf("%d messages in %s", info.State.Msgs, stream))
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			o.t.Fatalf("left: %s", strings.Join(left, ", "))
		}
	}
	for id, body := range o.bodies {
		out, err := o.objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Config.Bucket, Key: aws.String(resultKey(id))})
		o.must(err)
		got, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			o.t.Errorf("%s: %d bytes are at the key, %v, want the %d that were archived", id, len(got), err, len(body))
		}
	}
	n := o.letters()
	for _, letter := range dead(o.t, o.Stack, int(n)) {
		// Glacier refuses a request for an archive that the other has deleted.
		deleted := len(letters) > 0 && strings.Contains(letter.Reason, "The archive ID was not found")
		if !slices.Contains(letters, letter.Kind) && !deleted {
			o.t.Errorf("dead letter: %s: %s", letter.Kind, letter.Reason)
		}
	}
}

func (o *original) letters() uint64 {
	st, err := o.Bus.JS.Stream(o.t.Context(), "DEAD")
	o.must(err)
	info, err := st.Info(o.t.Context())
	o.must(err)
	return info.State.Msgs
}

// retrievals counts the requested retrievals.
func (o *original) retrievals() (n int) {
	jobs, err := o.vaults.ListJobs(o.t.Context(), &glacier.ListJobsInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault})
	o.must(err)
	return len(jobs.JobList)
}

func beside(t *testing.T) *original {
	t.Setenv("GAS_JOB_ATTRIBUTES", "archive_id=results_file_archive_id")
	s, _ := up(t, testenv.Memory(t), []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free}})
	return newOriginal(t, s, 6)
}

// TestACutoverInTheRightOrderPaysOnce stops the original's thaw, lets its restore finish what is on its
// way, and only then lets our pipeline have the messages: nothing is requested twice.
func TestACutoverInTheRightOrderPaysOnce(t *testing.T) {
	o := beside(t)
	o.thaw()
	o.restore(6)
	o.announce() // the message that waited in our queue
	o.settled()
	if n := o.retrievals(); n != 6 {
		t.Errorf("%d retrievals, want 6", n)
	}
	// The next upgrade is ours.
	for id := range o.bodies {
		o.archive(id)
	}
	o.announce()
	o.settled()
	if n := o.retrievals(); n != 12 {
		t.Errorf("%d retrievals, want 12", n)
	}
}

// TestBothServicesMayRunAtOnce gives both the same upgrade. An archive may be paid for twice,
// and every file is back and right.
func TestBothServicesMayRunAtOnce(t *testing.T) {
	o := beside(t)
	o.thaw()
	o.announce()
	o.restore(o.originals())
	o.settled(events.DeadKindNotFound) // of an archive that the other had deleted meanwhile
	if n := o.retrievals(); n < 6 || n > 12 {
		t.Errorf("%d retrievals, want 6 to 12: both may ask", n)
	}
	t.Logf("%d retrievals for 6 archives, %d of the original came to nothing, and %d dead letters", o.retrievals(), o.failed, o.letters())
}

// originals counts the retrievals that report to the original's topic.
func (o *original) originals() (n int) {
	jobs, err := o.vaults.ListJobs(o.t.Context(), &glacier.ListJobsInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault})
	o.must(err)
	for _, job := range jobs.JobList {
		if aws.ToString(job.SNSTopic) == o.topic {
			n++
		}
	}
	return n
}

// TestARetrievalOfAnEarlierArchiveIsNeverTakenForTheNewOne has jobs with archives that our
// pipeline had requested when somebody went back to the original. The original brought the files
// back and left retrieval_request_id. Then other files of the jobs were archived. The output of
// the earlier retrieval is still there, but it must not come back, and no archive may be deleted.
func TestARetrievalOfAnEarlierArchiveIsNeverTakenForTheNewOne(t *testing.T) {
	t.Setenv("GAS_SWEEP_EVERY", "1s")
	t.Setenv("GAS_SWEEP_SLACK", "1s")
	o := beside(t)
	o.thaw()
	jobs, err := o.vaults.ListJobs(t.Context(), &glacier.ListJobsInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault})
	o.must(err)
	old := map[string]string{}
	for _, job := range jobs.JobList {
		old[*job.JobDescription] = *job.JobId
	}
	o.restore(6)
	at := num(fmt.Sprint(time.Now().Add(-48 * time.Hour).UnixMilli()))
	for id := range o.bodies {
		o.bodies[id] = []byte("made anew: " + id)
		up, err := o.vaults.UploadArchive(t.Context(), &glacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: &o.Config.Vault, Body: bytes.NewReader(o.bodies[id])})
		o.must(err)
		_, err = o.objects.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &o.Config.Bucket, Key: aws.String(resultKey(id))})
		o.must(err)
		_, err = o.tables.UpdateItem(t.Context(), &ddb.UpdateItemInput{
			TableName: &o.Config.JobTable, Key: item{"job_id": text(id)},
			UpdateExpression:          aws.String("SET results_file_archive_id = :a, retrieval_request_id = :r, retrieval_tier = :t, retrieval_requested_at = :at, due_shard = :one, due_at = :at, retrieval_tries = :one"),
			ExpressionAttributeValues: item{":a": text(*up.ArchiveId), ":r": text(old[id]), ":t": text("Standard"), ":at": at, ":one": num("1")},
		})
		o.must(err)
	}
	o.announce()
	// The retrievals are taken back. After a pause the archives are requested, see
	// internal/restore and the scene "archived-by-another" of internal/test/sim.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id := range o.bodies {
		for left := true; left; {
			row, err := o.tables.GetItem(ctx, &ddb.GetItemInput{TableName: &o.Config.JobTable, Key: item{"job_id": text(id)}, ConsistentRead: aws.Bool(true)})
			o.must(err)
			of, _ := row.Item["retrieval_request_id"].(*types.AttributeValueMemberS)
			left = of != nil && of.Value == old[id]
			if _, archived := row.Item["results_file_archive_id"]; !archived {
				t.Fatalf("%s: the catalog forgot the archive", id)
			}
			<-tick.C
		}
		out, err := o.objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Config.Bucket, Key: aws.String(resultKey(id))})
		if err == nil {
			out.Body.Close()
			t.Errorf("%s: something is at the key", id)
		}
	}
	if n := len(o.AWS.Glacier.Archives(o.Config.Vault)); n != 6 {
		t.Errorf("%d archives are there, want 6", n)
	}
	if n := o.letters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
