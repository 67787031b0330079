package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/test/contract"
	"github.com/gas-restore/gas/internal/test/testenv"
)

const prefix = "gas-contract-"

// standIn returns a new stand-in as a target.
func standIn(t *testing.T) contract.Target {
	a := testenv.NewAWS(t)
	return contract.Target{
		Name: "stand-in", Config: a.Config, Account: a.World.Account, Prefix: prefix, Archives: true,
		Services: []contract.Service{contract.S3, contract.DynamoDB, contract.SQS, contract.SNS, contract.Glacier},
	}
}

// TestTheStandInAnswersAsTheOthersDid compares the stand-in with each fixture: the answers of
// real AWS, once somebody has stored them, and those of servers that others wrote.
func TestTheStandInAnswersAsTheOthersDid(t *testing.T) {
	mine, err := contract.Run(t.Context(), standIn(t))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("there are %d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		theirs, err := contract.Load(file)
		if err != nil {
			t.Fatal(file, err)
		}
		reasons := contract.Differences(name)
		same := len(theirs)
		for _, step := range mine.Differ(theirs) {
			same--
			if _, known := reasons[step]; !known {
				t.Errorf("%s: %s: it answered %s, and the stand-in %s", name, step, theirs[step], mine[step])
			}
			delete(reasons, step)
		}
		for step := range reasons {
			t.Errorf("%s: %s: there is no difference now: take it from the list", name, step)
		}
		t.Logf("%s: %d answers are the same, %d are not", name, same, len(theirs)-same)
	}
}

// TestAnotherAnswerIsADifference changes each part of an answer.
func TestAnotherAnswerIsADifference(t *testing.T) {
	was := contract.Answer{Status: 200, Fields: map[string]any{"ETag": "e"}}
	for name, now := range map[string]contract.Answer{
		"status": {Status: 202, Fields: was.Fields}, "code": {Status: 200, Code: "Slow", Fields: was.Fields},
		"field": {Status: 200, Fields: map[string]any{"ETag": "f"}}, "no field": {Status: 200}, "one field more": {Status: 200, Fields: map[string]any{"ETag": "e", "Size": 1}},
	} {
		mine := contract.Answers{"a": was, "b": was}
		if got := mine.Differ(contract.Answers{"a": was, "b": now}); fmt.Sprint(got) != "[b]" {
			t.Errorf("another %s: got %v", name, got)
		}
	}
	if got := (contract.Answers{}).Differ(contract.Answers{"a": was}); fmt.Sprint(got) != "[a]" {
		t.Errorf("a step that was not asked: got %v", got)
	}
}

// TestTheAnswersOfTwoRunsAreTheSame has other names and ids in each run, and the fixture has
// none of them.
func TestTheAnswersOfTwoRunsAreTheSame(t *testing.T) {
	target := standIn(t)
	first, err := contract.Run(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	target.Prefix = "gas-another-"
	second, err := contract.Run(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.Differ(second); len(got) > 0 || len(first) != len(second) {
		t.Errorf("the steps %q differ; %d and %d answers", got, len(first), len(second))
	}
	file := filepath.Join(t.TempDir(), "answers.json")
	if err := first.Save(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{target.Account, prefix, "us-east-1"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the fixture has %s", secret)
		}
	}
	again, err := contract.Load(file)
	if err != nil || len(first.Differ(again)) > 0 {
		t.Errorf("the fixture is read as other answers: %v, %v", first.Differ(again), err)
	}
}

// ending ends the run at the nth request.
type ending struct {
	aws.HTTPClient
	left atomic.Int64
	end  context.CancelFunc
}

func (e *ending) Do(r *http.Request) (*http.Response, error) {
	if e.left.Add(-1) == 0 {
		e.end()
		return nil, errors.New("interrupted")
	}
	return e.HTTPClient.Do(r)
}

// TestNothingIsLeftOfARun interrupts runs at many places, and looks for what they left.
func TestNothingIsLeftOfARun(t *testing.T) {
	whole := 0
	for n := int64(1); whole == 0; n += 11 {
		target := standIn(t)
		there := left(t, target.Config)
		root := target.Config
		ctx, end := context.WithCancel(t.Context())
		e := &ending{end: end, HTTPClient: root.HTTPClient}
		e.left.Store(n)
		target.Config = root.Copy()
		target.Config.HTTPClient = e
		_, err := contract.Run(ctx, target)
		end()
		if e.left.Load() > 0 {
			whole++
			if err != nil {
				t.Error(err)
			}
		}
		if got := left(t, root); fmt.Sprint(got) != fmt.Sprint(there) {
			t.Errorf("a run that was interrupted at request %d left %v, want %v; it said %v", n, got, there, err)
		}
	}
}

// left lists everything in the account.
func left(t *testing.T, cfg aws.Config) (all []string) {
	t.Helper()
	ctx := t.Context()
	buckets, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, &s3.ListBucketsInput{})
	must(t, err)
	for _, b := range buckets.Buckets {
		all = append(all, *b.Name)
	}
	tables, err := dynamodb.NewFromConfig(cfg).ListTables(ctx, &dynamodb.ListTablesInput{})
	must(t, err)
	all = append(all, tables.TableNames...)
	queues, err := sqs.NewFromConfig(cfg).ListQueues(ctx, &sqs.ListQueuesInput{})
	must(t, err)
	all = append(all, queues.QueueUrls...)
	topics, err := sns.NewFromConfig(cfg).ListTopics(ctx, &sns.ListTopicsInput{})
	must(t, err)
	for _, topic := range topics.Topics {
		all = append(all, *topic.TopicArn)
	}
	subs, err := sns.NewFromConfig(cfg).ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	must(t, err)
	for _, s := range subs.Subscriptions {
		all = append(all, *s.SubscriptionArn)
	}
	vaults, err := glacier.NewFromConfig(cfg).ListVaults(ctx, &glacier.ListVaultsInput{AccountId: aws.String("-")})
	must(t, err)
	for _, v := range vaults.VaultList {
		all = append(all, *v.VaultName)
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnlyWhatHasThePrefixIsRemoved refuses a prefix that others may have.
func TestOnlyWhatHasThePrefixIsRemoved(t *testing.T) {
	for _, prefix := range []string{"", "g", "prod-"} {
		target := standIn(t)
		target.Prefix = prefix
		if err := contract.Clean(t.Context(), target); err == nil {
			t.Errorf("the prefix %q is taken", prefix)
		}
	}
}
