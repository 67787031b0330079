package awsestate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	glaciertypes "github.com/aws/aws-sdk-go-v2/service/glacier/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
)

// Change is a difference between the things in AWS and those that the pipeline needs.
type Change struct {
	// On names the thing, and Do says what must be done with it.
	On string `json:"on"`
	Do string `json:"do"`
	// Existing: the thing exists, and is changed.
	Existing bool `json:"changes_existing"`

	run func(context.Context) error
}

// Run makes the change. Changes of a plan must run in their order.
func (c Change) Run(ctx context.Context) error { return c.run(ctx) }

// Plan says what must be done.
type Plan struct {
	Changes []Change
	// Faults are differences that nothing here repairs: they take a decision, or a deletion.
	Faults []estate.Fault
}

// Tables makes and describes tables.
type Tables interface {
	Look(ctx context.Context, table string) (*estate.FoundTable, error)
	Make(ctx context.Context, table estate.Table) error
	Recoverable(ctx context.Context, table string) (bool, error)
	MakeRecoverable(ctx context.Context, table string) error
}

// Identity returns the partition and the account of the credentials.
func (a *Account) Identity(ctx context.Context) (partition, account string, err error) {
	out, err := sts.NewFromConfig(a.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", awsfault.Wrap(err, "find out the account of the credentials")
	}
	parts := strings.Split(aws.ToString(out.Arn), ":")
	if len(parts) < 6 {
		return "", "", fmt.Errorf("find out the account of the credentials: AWS answered %q", aws.ToString(out.Arn))
	}
	return parts[1], aws.ToString(out.Account), nil
}

// planner collects changes.
type planner struct {
	*Account
	Plan
}

func (p *planner) add(existing bool, on, do string, run func(context.Context) error) {
	p.Changes = append(p.Changes, Change{on, do, existing, run})
}

// Plan compares all things at the place with those that the pipeline needs.
func (a *Account) Plan(ctx context.Context, tables Tables, at estate.Place) (Plan, error) {
	p := &planner{Account: a}
	for _, t := range estate.Tables(at.Tables) {
		if err := p.table(ctx, tables, t); err != nil {
			return Plan{}, err
		}
	}
	if at.Vault != "" {
		if err := p.vault(ctx, at.Vault); err != nil {
			return Plan{}, err
		}
	}
	if err := p.results(ctx, at.Results); err != nil {
		return Plan{}, err
	}
	names := map[string][2]string{estate.Premium: {at.PremiumTopic, at.PremiumQueue}, estate.Restore: {at.RestoreTopic, at.RestoreQueue}}
	topics := map[string]string{estate.Premium: at.ARN(estate.PremiumTopic), estate.Restore: at.ARN(estate.RestoreTopic)}
	queues := map[string]string{estate.Premium: at.ARN(estate.PremiumQueue), estate.Restore: at.ARN(estate.RestoreQueue)}
	for _, c := range estate.Channels() {
		if c.Name == estate.Restore && at.Archives != "" {
			c.Topic.Publishers = append(slices.Clone(c.Topic.Publishers), estate.S3)
		}
		if err := p.topic(ctx, c, names[c.Name][0], topics[c.Name]); err != nil {
			return Plan{}, err
		}
		if err := p.queue(ctx, c, names[c.Name][1], queues[c.Name], topics[c.Name]); err != nil {
			return Plan{}, err
		}
	}
	if at.Archives != "" {
		if err := p.archives(ctx, at.Archives, topics[estate.Restore]); err != nil {
			return Plan{}, err
		}
	}
	return p.Plan, nil
}

func (p *planner) table(ctx context.Context, tables Tables, t estate.Table) error {
	found, err := tables.Look(ctx, t.Name)
	if err != nil {
		return err
	}
	on := "table " + t.Name
	protect := func(ctx context.Context) error { return tables.MakeRecoverable(ctx, t.Name) }
	const recovery = "turn on point-in-time recovery"
	if found == nil {
		p.add(false, on, "make it"+with(t.Indexes), func(ctx context.Context) error { return tables.Make(ctx, t) })
		p.add(false, on, recovery, protect)
		return nil
	}
	lacks := t.Lacks(found)
	for _, ix := range lacks {
		p.add(true, on, fmt.Sprintf("add index %s, which DynamoDB fills while the table is in use", ix.Name), func(ctx context.Context) error {
			one := t
			one.Indexes = []estate.Index{ix}
			return tables.Make(ctx, one)
		})
	}
	for _, f := range t.Compare(found) {
		if !slices.ContainsFunc(lacks, func(ix estate.Index) bool { return strings.Contains(f.Problem, "has no index "+ix.Name) }) {
			p.Faults = append(p.Faults, f)
		}
	}
	on2, err := tables.Recoverable(ctx, t.Name)
	if err == nil && !on2 {
		p.add(true, on, recovery, protect)
	}
	return err
}

func with(indexes []estate.Index) string {
	var names []string
	for _, ix := range indexes {
		names = append(names, ix.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return ", with " + strings.Join(names, ", ")
}

func (p *planner) vault(ctx context.Context, name string) error {
	_, err := glacier.NewFromConfig(p.cfg).DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: aws.String("-"), VaultName: &name})
	if _, none := errors.AsType[*glaciertypes.ResourceNotFoundException](err); none {
		p.add(false, "vault "+name, "make it", func(ctx context.Context) error { return p.MakeVault(ctx, name) })
		return nil
	}
	return awsfault.Wrap(err, "look at vault %s", name)
}

// exists reports whether the bucket is there, and plans to make it otherwise.
func (p *planner) exists(ctx context.Context, bucket string) (bool, error) {
	_, err := p.objects().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	switch err = awsfault.Wrap(err, "look at bucket %s", bucket); {
	case err == nil:
		return true, nil
	case fault.Is(err, fault.NotFound):
		p.add(false, "bucket "+bucket, "make it", func(ctx context.Context) error { return p.MakeBucket(ctx, bucket) })
		return false, nil
	}
	return false, err
}

func (p *planner) results(ctx context.Context, bucket string) error {
	there, err := p.exists(ctx, bucket)
	if err != nil {
		return err
	}
	rules, err := p.lifecycle(ctx, bucket, there)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rules, endsUploads) {
		return nil
	}
	p.add(there, "bucket "+bucket, fmt.Sprintf("add lifecycle rule %s: uploads that nobody completed end after %d days", estate.UnfinishedRule, estate.UnfinishedDays), func(ctx context.Context) error {
		// The rules of this moment, so that none is lost that somebody added meanwhile.
		now, err := p.lifecycle(ctx, bucket, true)
		if err != nil {
			return err
		}
		_, err = p.objects().PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
			Bucket: &bucket, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: append(now, s3types.LifecycleRule{
				ID: aws.String(estate.UnfinishedRule), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
				AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(estate.UnfinishedDays)},
			})},
		})
		return awsfault.Wrap(err, "set the lifecycle rules of bucket %s", bucket)
	})
	return nil
}

func (p *planner) lifecycle(ctx context.Context, bucket string, there bool) ([]s3types.LifecycleRule, error) {
	if !there {
		return nil, nil
	}
	out, err := p.objects().GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "NoSuchLifecycleConfiguration" {
		return nil, nil
	}
	if err != nil {
		return nil, awsfault.Wrap(err, "read the lifecycle rules of bucket %s", bucket)
	}
	return out.Rules, nil
}

// endsUploads reports whether the rule ends all unfinished uploads of a bucket.
func endsUploads(r s3types.LifecycleRule) bool {
	f := r.Filter
	//lint:ignore SA1019 older rules have their prefix there
	whole := aws.ToString(r.Prefix) == ""
	whole = whole && (f == nil || f.And == nil && f.Tag == nil && aws.ToString(f.Prefix) == "" && f.ObjectSizeGreaterThan == nil && f.ObjectSizeLessThan == nil)
	return whole && r.Status == s3types.ExpirationStatusEnabled && r.AbortIncompleteMultipartUpload != nil
}

func (p *planner) topic(ctx context.Context, c estate.Channel, name, arn string) error {
	found, err := p.Topic(ctx, arn)
	if err != nil {
		return err
	}
	on := "topic " + name
	if found == nil {
		p.add(false, on, "make it", func(ctx context.Context) error {
			if _, err := p.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name}); err != nil {
				return awsfault.Wrap(err, "create topic %s", name)
			}
			// Version 2 signs with SHA-256. At a topic with subscribers, they may depend on the
			// present version.
			return p.setTopic(ctx, arn, "SignatureVersion", "2")
		})
	}
	for _, publisher := range c.Topic.Publishers {
		if found != nil && found.LetsPublish(publisher) {
			continue
		}
		p.add(found != nil, on, "let "+publisher+" publish, for this account", func(ctx context.Context) error {
			now, err := p.Topic(ctx, arn)
			if err != nil || now == nil {
				return errors.Join(err, fmt.Errorf("topic %s is not there", arn))
			}
			policy, err := estate.LetPublish(now.Policy, arn, publisher)
			if err != nil {
				return fmt.Errorf("topic %s: %w", arn, err)
			}
			return p.setTopic(ctx, arn, "Policy", policy)
		})
	}
	return nil
}

func (a *Account) setTopic(ctx context.Context, arn, name, value string) error {
	_, err := a.topics.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &name, AttributeValue: &value})
	return awsfault.Wrap(err, "set attribute %s of topic %s", name, arn)
}

// find returns the URL of the queue and the queue; nil if there is none.
func (p *planner) find(ctx context.Context, name string) (string, *estate.FoundQueue, error) {
	out, err := p.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if _, none := errors.AsType[*types.QueueDoesNotExist](err); none {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, awsfault.Wrap(err, "look for queue %s", name)
	}
	found, err := p.Queue(ctx, *out.QueueUrl)
	return *out.QueueUrl, found, err
}

func (p *planner) queue(ctx context.Context, c estate.Channel, name, arn, topic string) error {
	_, found, err := p.find(ctx, name)
	if err != nil {
		return err
	}
	dead := estate.DeadQueue(name)
	deadARN := strings.TrimSuffix(arn, name) + dead
	retention := strconv.Itoa(int(c.Queue.Retention.Seconds()))
	create := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"MessageRetentionPeriod": retention}})
			return awsfault.Wrap(err, "create queue %s", name)
		}
	}
	set := func(attribute string, value func(*estate.FoundQueue) (string, error)) func(context.Context) error {
		return func(ctx context.Context) error {
			url, now, err := p.find(ctx, name)
			if err != nil || now == nil {
				return errors.Join(err, fmt.Errorf("queue %s is not there", name))
			}
			v, err := value(now)
			if err != nil {
				return fmt.Errorf("queue %s: %w", name, err)
			}
			_, err = p.queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{attribute: v}})
			return awsfault.Wrap(err, "set attribute %s of queue %s", attribute, name)
		}
	}
	fixed := func(v string) func(*estate.FoundQueue) (string, error) {
		return func(*estate.FoundQueue) (string, error) { return v, nil }
	}
	there := found != nil
	on := "queue " + name
	if !there {
		p.add(false, on, "make it", create(name))
		found = &estate.FoundQueue{ARN: arn, Retention: c.Queue.Retention, MaxMessage: c.Queue.MinMessage}
	}
	if found.Redrive == "" { // a redrive policy of somebody else stays
		_, have, err := p.find(ctx, dead)
		if err != nil {
			return err
		}
		if have == nil {
			p.add(false, "queue "+dead, "make it", create(dead))
		}
		p.add(there, on, fmt.Sprintf("move a message to %s after %d receives", dead, c.Queue.Receives),
			set("RedrivePolicy", fixed(fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, deadARN, c.Queue.Receives))))
	}
	if !found.LetsIn(topic) {
		p.add(there, on, "let topic "+estate.LastOf(topic)+" send to it", set("Policy", func(now *estate.FoundQueue) (string, error) { return estate.LetTopicSend(now.Policy, arn, topic) }))
	}
	if found.Retention < c.Queue.MinRetention {
		p.add(there, on, "keep messages for 14 days", set("MessageRetentionPeriod", fixed(retention)))
	}
	if found.MaxMessage < c.Queue.MinMessage {
		p.add(there, on, fmt.Sprintf("take messages of up to %d bytes", c.Queue.MinMessage), set("MaximumMessageSize", fixed(strconv.Itoa(c.Queue.MinMessage))))
	}
	if there && found.Key == "" && !found.Encrypted {
		p.add(true, on, "encrypt messages with SQS's own key", set("SqsManagedSseEnabled", fixed("true")))
	}
	t, err := p.Topic(ctx, topic)
	if err != nil {
		return err
	}
	if _, fed := t.Feeds(found); !fed {
		p.add(t != nil, "topic "+estate.LastOf(topic), "subscribe queue "+name, func(ctx context.Context) error { return p.Subscribe(ctx, topic, "sqs", arn) })
	}
	if there {
		p.Faults = append(p.Faults, unrepaired(c, found, name, t)...)
	}
	return nil
}

// unrepaired returns the faults of a queue that the plan does not repair.
func unrepaired(c estate.Channel, found *estate.FoundQueue, name string, topic *estate.FoundTopic) []estate.Fault {
	right := *found
	right.Retention, right.MaxMessage = max(right.Retention, c.Queue.MinRetention), max(right.MaxMessage, c.Queue.MinMessage)
	var left []estate.Fault
	for _, f := range c.CompareQueue(&right, name, topic, nil) {
		if strings.Contains(f.Problem, "is not subscribed to topic") || strings.Contains(f.Problem, "does not let topic") || f.Unsure {
			continue
		}
		left = append(left, f)
	}
	return left
}

func (p *planner) archives(ctx context.Context, bucket, topic string) error {
	there, err := p.exists(ctx, bucket)
	if err != nil {
		return err
	}
	on := "bucket " + bucket
	versions, told := false, false
	if there {
		if versions, told, err = p.Archives(ctx, bucket, topic); err != nil {
			return err
		}
	}
	if !versions {
		p.add(there, on, "keep versions", func(ctx context.Context) error { return p.keepVersions(ctx, bucket) })
	}
	if !told {
		p.add(there, on, "tell topic "+estate.LastOf(topic)+" about temporary copies", func(ctx context.Context) error { return p.tell(ctx, bucket, topic) })
	}
	return nil
}

// Archives reports whether a bucket of archives keeps versions, and whether it tells the topic
// about all temporary copies.
func (a *Account) Archives(ctx context.Context, bucket, topic string) (versions, told bool, err error) {
	v, err := a.objects().GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil {
		return false, false, awsfault.Wrap(err, "look at the versions of bucket %s", bucket)
	}
	n, err := a.objects().GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &bucket})
	if err != nil {
		return false, false, awsfault.Wrap(err, "read the notifications of bucket %s", bucket)
	}
	return v.Status == s3types.BucketVersioningStatusEnabled, tells(n, topic), nil
}

// tells reports whether the bucket tells the topic about all temporary copies.
func tells(n *s3.GetBucketNotificationConfigurationOutput, topic string) bool {
	return slices.ContainsFunc(n.TopicConfigurations, func(t s3types.TopicConfiguration) bool {
		all := slices.Contains(t.Events, "s3:ObjectRestore:*")
		return aws.ToString(t.TopicArn) == topic && (t.Filter == nil || t.Filter.Key == nil || len(t.Filter.Key.FilterRules) == 0) &&
			(all || slices.Contains(t.Events, s3types.Event("s3:ObjectRestore:Completed")) && slices.Contains(t.Events, s3types.Event("s3:ObjectRestore:Delete")))
	})
}
