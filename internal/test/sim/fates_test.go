package sim

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	glaciertypes "github.com/aws/aws-sdk-go-v2/service/glacier/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// The actions of people, operators and other systems beside the pipeline.

// asking records a request to Glacier.
func (w *world) asking() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = append(w.asks, time.Now())
}

// sizeOf is how large the archive of a retrieval is. The caller holds w.mu.
func (w *world) sizeOf(j glacier.Job) int64 { return int64(len(w.bodies[events.JobID(j.Description)])) }

// publish is an operator's `aws sns publish`: a user, and nothing else.
func (w *world) publish(user events.UserID) {
	message, err := events.UpgradeMessage{UserID: user}.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.tries(func() error {
		_, err := sns.NewFromConfig(w.Config).Publish(w.t.Context(), &sns.PublishInput{TopicArn: &w.cfg.PremiumTopic, Message: &message})
		return err
	})
}

// redrive gives a queue a dead-letter queue, which takes what was received three times, and returns
// what counts the messages there.
func (w *world) redrive(queue string) func() int {
	w.t.Helper()
	ctx, queues := w.t.Context(), sqs.NewFromConfig(w.Config)
	dead, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(path.Base(queue) + "-dead")})
	if err != nil {
		w.t.Fatal(err)
	}
	attributes := func(names ...sqstypes.QueueAttributeName) map[string]string {
		out, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: dead.QueueUrl, AttributeNames: names})
		if err != nil {
			w.t.Fatal(err)
		}
		return out.Attributes
	}
	arn := attributes("QueueArn")["QueueArn"]
	if _, err := queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"3"}`, arn),
	}}); err != nil {
		w.t.Fatal(err)
	}
	return func() int {
		n, err := strconv.Atoi(attributes("ApproximateNumberOfMessages")["ApproximateNumberOfMessages"])
		if err != nil {
			w.t.Fatal(err)
		}
		return n
	}
}

// makePremium is another system that writes the role itself, and loses its message.
func (w *world) makePremium(user events.UserID) {
	w.tries(func() error {
		_, err := awsdynamodb.NewFromConfig(w.Config).UpdateItem(w.t.Context(), &awsdynamodb.UpdateItemInput{
			TableName: aws.String(testenv.Accounts), Key: map[string]types.AttributeValue{"user_id": &types.AttributeValueMemberS{Value: string(user)}},
			UpdateExpression:          aws.String("SET #r = :role"),
			ExpressionAttributeNames:  map[string]string{"#r": "role"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":role": &types.AttributeValueMemberS{Value: string(archive.Premium)}},
		})
		return err
	})
}

// tries does something that AWS or the server may refuse for a moment.
func (w *world) tries(do func() error) {
	w.t.Helper()
	for try := 1; ; try++ {
		err := do()
		if err == nil {
			return
		}
		if try == 40 {
			w.t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

// switches is what an operator stops, and lets go on.
func (w *world) switches(change func(*archive.Switches)) {
	w.tries(func() error {
		_, err := w.Catalog.ChangeSwitches(w.t.Context(), change)
		return err
	})
}

// obeyed is the time after which every worker obeys a pause, with the call in flight.
const obeyed = 30 * time.Second

// stopAll pauses everything during do, and checks that nothing is requested meanwhile.
func (w *world) stopAll(do func()) {
	w.trouble(stopped, 1)
	w.switches(func(s *archive.Switches) { s.All = &archive.Hold{Reason: "somebody looks", At: time.Now()} })
	from := time.Now().Add(obeyed)
	do()
	to := time.Now()
	w.switches(func(s *archive.Switches) { s.All = nil })
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.asks {
		if at.After(from) && at.Before(to) {
			w.t.Errorf("Glacier was asked at %s, and an operator had stopped everything from %s to %s", at, from.Add(-obeyed), to)
		}
	}
}

// order is `gas thaw --job --again`.
func (w *world) order(id events.JobID) {
	job := w.job(id)
	w.tries(func() error { return w.Catalog.Order(w.t.Context(), job, 1, time.Now()) })
	w.emit(events.ThawRequested{ID: "operator-" + string(id) + fmt.Sprint(time.Now().Unix()), JobID: id, UserID: job.UserID, ArchiveID: job.ArchiveID})
}

// approve is `gas thaw USER --approve`.
func (w *world) approve(user events.UserID, upTo archive.MicroUSD) {
	plan := w.account(user).Plan
	if plan == nil {
		w.t.Errorf("no plan of %s stands, which could be approved", user)
		return
	}
	w.tries(func() error {
		return w.Catalog.ResumePlan(w.t.Context(), user, plan.ID, upTo, time.Now())
	})
	w.emit(events.UserUpgraded{ID: "operator-" + plan.ID, UserID: user, UpgradedAt: time.Now().UTC(), Via: events.ViaOperator, Plan: plan.ID})
}

func (w *world) emit(e events.Event) {
	w.tries(func() error {
		_, err := w.operator.Publish(w.t.Context(), e)
		return err
	})
}

// letter is a dead letter, by what makes two of them one.
type letter struct {
	subject, cause string
	replayed       bool
}

// standing returns the letters that stand now.
func (w *world) standing() (all []letter) {
	w.eachLetter(func(l deadletter.Letter) error {
		all = append(all, letter{l.DeadLetter.Subject(), string(l.Kind) + " " + l.Cause, len(l.ReplayOf) > 0})
		return nil
	})
	return all
}

// replay is `gas dead replay`, of all letters.
func (w *world) replay() {
	w.distinct()
	dead := deadletter.Open(w.operator)
	w.eachLetter(func(l deadletter.Letter) error {
		_, err := dead.Replay(w.t.Context(), l)
		return err
	})
}

// drop is `gas dead drop`, of all letters.
func (w *world) drop() {
	w.distinct()
	dead := deadletter.Open(w.operator)
	w.eachLetter(func(l deadletter.Letter) error { return dead.Drop(w.t.Context(), l) })
}

func (w *world) eachLetter(do func(deadletter.Letter) error) {
	if err := deadletter.Open(w.operator).ForEach(w.t.Context(), deadletter.Filter{}, do); err != nil {
		w.t.Errorf("dead letters: %v", err)
	}
}

// distinct sees that no two letters say the same of the same work.
func (w *world) distinct() {
	seen := map[letter]bool{}
	for _, l := range w.standing() {
		if seen[l] && !l.replayed {
			w.t.Errorf("two dead letters under %s say %q", l.subject, l.cause)
		}
		seen[l] = true
	}
}

// loseStreams is streams of the server that are lost, and made anew.
func (w *world) loseStreams(names ...string) {
	w.trouble(streamsAnew, 1)
	for _, name := range names {
		w.tries(func() error { return w.operator.JS.DeleteStream(w.t.Context(), name) })
	}
	w.tries(func() error { return bus.Provision(w.t.Context(), w.operator.JS, bus.Settings{}) })
	if slices.Contains(names, events.StreamStatus) {
		w.trouble(statusLost, 1)
	}
}

// notificationsOfVault has the vault tell of each retrieval too, beside the retrieval itself.
func (w *world) notificationsOfVault() {
	w.trouble(notificationsOfTwo, 1)
	_, err := w.Vaults.SetVaultNotifications(w.t.Context(), &awsglacier.SetVaultNotificationsInput{
		AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID),
		VaultNotificationConfig: &glaciertypes.VaultNotificationConfig{Events: []string{"ArchiveRetrievalCompleted"}, SNSTopic: &w.cfg.RestoreTopic},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// archiveAgain archives files of a user who is Free again: the jobs are the same, and
// their archives are others.
func (w *world) archiveAgain(ids ...events.JobID) {
	for _, id := range ids {
		job := w.job(id)
		body := append([]byte("again "), w.bodies[id]...)
		w.mu.Lock()
		w.bodies[id] = body
		w.mu.Unlock()
		w.again(job, body)
	}
}

// unheard loses all reports of Glacier.
func (w *world) unheard() {
	w.SNS.SetDelivery(func(arn string) []time.Duration {
		if arn == w.cfg.RestoreTopic {
			return nil
		}
		return []time.Duration{0}
	})
}

// broughtBack is another program that brings a file back.
func (w *world) broughtBack(id events.JobID) {
	w.t.Helper()
	w.mu.Lock()
	body := w.bodies[id]
	w.mu.Unlock()
	w.BroughtBack(id, body)
}

// archivedByAnother is another program that brings a file back, and archives another file in its
// place. It leaves what it does not know: the id of our retrieval.
func (w *world) archivedByAnother(id events.JobID) {
	w.t.Helper()
	job, body := w.job(id), append([]byte("another "), w.bodies[id]...)
	vault := aws.String(testenv.VaultID)
	out, err := w.Vaults.UploadArchive(w.t.Context(), &awsglacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: vault, Body: bytes.NewReader(body)})
	if err == nil {
		_, err = w.Vaults.DeleteArchive(w.t.Context(), &awsglacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: vault, ArchiveId: aws.String(string(job.ArchiveID))})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.SetAttribute(id, "archive_id", &types.AttributeValueMemberS{Value: *out.ArchiveId})
	for _, of := range []string{"archive_size", "tree_hash"} {
		w.SetAttribute(id, of, &types.AttributeValueMemberNULL{Value: true})
	}
	w.mu.Lock()
	w.bodies[id] = body
	w.mu.Unlock()
}

// changeOfMind lets a user who became Premium a moment ago go back to Free, and perhaps
// become Premium once more.
func (w *world) changeOfMind(user events.UserID, after, then time.Duration) {
	time.Sleep(after)
	w.undo(user)
	w.stays[user], w.fickle[user] = false, true
	w.trouble(changedMind, 1)
	if then > 0 {
		time.Sleep(then)
		w.upgrade(user, true)
		w.fickle[user] = false
	}
}

// again moves the job's file into the vault once more.
func (w *world) again(job archive.Job, body []byte) {
	ctx := w.t.Context()
	out, err := w.Vaults.UploadArchive(ctx, &awsglacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(testenv.VaultID), Body: bytes.NewReader(body)})
	if err == nil {
		_, err = w.Objects.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key})
	}
	if err == nil {
		_, err = awsdynamodb.NewFromConfig(w.Config).UpdateItem(ctx, &awsdynamodb.UpdateItemInput{
			TableName: aws.String(testenv.Jobs), Key: map[string]types.AttributeValue{"job_id": &types.AttributeValueMemberS{Value: string(job.ID)}},
			UpdateExpression:    aws.String("SET archive_id = :archive, archive_size = :size, tree_hash = :hash"),
			ConditionExpression: aws.String("attribute_not_exists(archive_id)"),
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":archive": &types.AttributeValueMemberS{Value: *out.ArchiveId}, ":size": &types.AttributeValueMemberN{Value: fmt.Sprint(len(body))},
				":hash": &types.AttributeValueMemberS{Value: treehash.Of(body).String()},
			},
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
