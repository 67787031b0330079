package access

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxBody bounds the bodies that are read for the names in them.
const maxBody = 17 << 20

// bucketActions and objectActions are the actions on a bucket or an object, by the
// operation.
var (
	bucketActions = map[string]string{
		"HeadBucket": "ListBucket", "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket", "ListObjectVersions": "ListBucketVersions",
		"CreateBucket": "CreateBucket", "DeleteBucket": "DeleteBucket", "GetBucketLocation": "GetBucketLocation",
		"GetBucketVersioning": "GetBucketVersioning", "PutBucketVersioning": "PutBucketVersioning",
		"ListMultipartUploads":            "ListBucketMultipartUploads",
		"GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration", "DeleteBucketLifecycle": "PutLifecycleConfiguration",
		"GetBucketNotificationConfiguration": "GetBucketNotification", "PutBucketNotificationConfiguration": "PutBucketNotification",
		"GetBucketEncryption": "GetEncryptionConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration",
		"GetBucketTagging": "GetBucketTagging", "PutBucketTagging": "PutBucketTagging",
		"GetPublicAccessBlock": "GetBucketPublicAccessBlock", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
	}
	objectActions = map[string]string{
		"GetObject": "GetObject", "HeadObject": "GetObject", "PutObject": "PutObject", "DeleteObject": "DeleteObject", "RestoreObject": "RestoreObject",
		"CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
		"ListParts": "ListMultipartUploadParts", "AbortMultipartUpload": "AbortMultipartUpload",
	}
	// versioned are the actions that have another name for a version.
	versioned = map[string]string{"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}
)

func s3Needs(_ *world.World, r Request) (n needs, ok bool) {
	if r.Operation == "ListBuckets" {
		return needs{always: []Need{{"s3:ListAllMyBuckets", "*"}}}, true
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.HTTP.URL.Path, "/"), "/")
	if host, _, found := strings.Cut(r.HTTP.Host, ".s3."); found {
		bucket, key = host, strings.TrimPrefix(r.HTTP.URL.Path, "/")
	}
	arn := "arn:aws:s3:::" + bucket
	if action, ok := bucketActions[r.Operation]; ok {
		return needs{always: []Need{{"s3:" + action, arn}}}, true
	}
	action, ok := objectActions[r.Operation]
	if !ok {
		return needs{}, false
	}
	object := arn + "/" + key
	if of, has := versioned[action]; has && r.HTTP.URL.Query().Get("versionId") != "" {
		action = of
	}
	n.always = []Need{{"s3:" + action, object}}
	switch r.Operation {
	case "GetObject", "HeadObject":
		n.absent = []Need{{"s3:ListBucket", arn}}
	case "PutObject", "CompleteMultipartUpload", "DeleteObject":
		// The answer to a condition on the ETag tells something about the object.
		if etag := r.HTTP.Header.Get("If-Match"); etag != "" && etag != "*" {
			n.always = append(n.always, Need{"s3:GetObject", object})
		}
	}
	return n, true
}

// dynamoTables are the operations on a table, with actions of the same name.
var dynamoTables = []string{
	"CreateTable", "DescribeTable", "UpdateTable", "DeleteTable", "DescribeTimeToLive", "UpdateTimeToLive", "DescribeContinuousBackups", "UpdateContinuousBackups",
	"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan",
}

func dynamoNeeds(w *world.World, r Request) (n needs, ok bool) {
	type named struct{ TableName string }
	var in struct {
		named
		IndexName    string
		ResourceArn  string
		RequestItems map[string]json.RawMessage
		// Of TransactWriteItems.
		TransactItems []struct{ Put, Update, Delete, ConditionCheck *named }
	}
	if !decode(r, &in) {
		return needs{}, false
	}
	table := func(name string) string {
		if strings.HasPrefix(name, "arn:") {
			return name
		}
		return w.ARN("dynamodb", "table/"+name)
	}
	add := func(action, resource string) { n.always = append(n.always, Need{"dynamodb:" + action, resource}) }
	switch {
	case r.Operation == "ListTables":
		add("ListTables", "*")
	case r.Operation == "TagResource" || r.Operation == "UntagResource" || r.Operation == "ListTagsOfResource":
		add(r.Operation, in.ResourceArn)
	case (r.Operation == "Query" || r.Operation == "Scan") && in.IndexName != "":
		add(r.Operation, table(in.TableName)+"/index/"+in.IndexName)
	case slices.Contains(dynamoTables, r.Operation):
		add(r.Operation, table(in.TableName))
	case r.Operation == "BatchGetItem" || r.Operation == "BatchWriteItem":
		for name := range in.RequestItems {
			add(r.Operation, table(name))
		}
	case r.Operation == "TransactWriteItems":
		for _, item := range in.TransactItems {
			for action, of := range map[string]*named{"PutItem": item.Put, "UpdateItem": item.Update, "DeleteItem": item.Delete, "ConditionCheckItem": item.ConditionCheck} {
				if of != nil {
					add(action, table(of.TableName))
				}
			}
		}
	default:
		return needs{}, false
	}
	return n, len(n.always) > 0
}

// sqsActions are the actions by the operation: a batch needs the action of its parts.
var sqsActions = map[string]string{
	"CreateQueue": "CreateQueue", "GetQueueUrl": "GetQueueUrl", "DeleteQueue": "DeleteQueue", "PurgeQueue": "PurgeQueue",
	"GetQueueAttributes": "GetQueueAttributes", "SetQueueAttributes": "SetQueueAttributes",
	"TagQueue": "TagQueue", "UntagQueue": "UntagQueue", "ListQueueTags": "ListQueueTags",
	"SendMessage": "SendMessage", "SendMessageBatch": "SendMessage", "ReceiveMessage": "ReceiveMessage",
	"DeleteMessage": "DeleteMessage", "DeleteMessageBatch": "DeleteMessage",
	"ChangeMessageVisibility": "ChangeMessageVisibility", "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}

func sqsNeeds(w *world.World, r Request) (needs, bool) {
	action, ok := sqsActions[r.Operation]
	var in struct {
		QueueURL  string `json:"QueueUrl"`
		QueueName string
		Tags      map[string]string `json:"tags"`
	}
	if !ok || !decode(r, &in) {
		return needs{}, false
	}
	name := in.QueueName
	if in.QueueURL != "" {
		name = path.Base(in.QueueURL)
	}
	n := needs{always: []Need{{"sqs:" + action, w.ARN("sqs", name)}}}
	if r.Operation == "CreateQueue" && len(in.Tags) > 0 {
		n.always = append(n.always, Need{"sqs:TagQueue", w.ARN("sqs", name)})
	}
	return n, true
}

var (
	// snsTopics are the operations on a topic, with actions of the same name.
	snsTopics = []string{
		"DeleteTopic", "GetTopicAttributes", "SetTopicAttributes", "ListSubscriptionsByTopic", "Publish", "Subscribe", "ConfirmSubscription",
		"TagResource", "UntagResource", "ListTagsForResource",
	}
	// snsAnything have no resource: a policy must allow them on all.
	snsAnything = []string{"ListTopics", "ListSubscriptions", "GetSubscriptionAttributes", "SetSubscriptionAttributes", "Unsubscribe"}
)

func snsNeeds(w *world.World, r Request) (needs, bool) {
	body, err := world.ReadBody(r.HTTP, maxBody)
	if err != nil {
		return needs{}, false
	}
	in, err := url.ParseQuery(string(body))
	if err != nil {
		return needs{}, false
	}
	one := func(resource string) (needs, bool) {
		return needs{always: []Need{{"sns:" + r.Operation, resource}}}, true
	}
	switch {
	case r.Operation == "CreateTopic":
		n, _ := one(w.ARN("sns", in.Get("Name")))
		if in.Has("Tags.member.1.Key") {
			n.always = append(n.always, Need{"sns:TagResource", w.ARN("sns", in.Get("Name"))})
		}
		return n, true
	case slices.Contains(snsAnything, r.Operation):
		return one("*")
	case !slices.Contains(snsTopics, r.Operation):
		return needs{}, false
	case in.Get("TopicArn") != "":
		return one(in.Get("TopicArn"))
	case in.Get("TargetArn") != "":
		return one(in.Get("TargetArn"))
	}
	return one(in.Get("ResourceArn"))
}

func glacierNeeds(w *world.World, r Request) (needs, bool) {
	elements := strings.Split(strings.TrimPrefix(r.HTTP.URL.Path, "/"), "/")
	if len(elements) < 3 || elements[1] != "vaults" { // of the account
		return needs{always: []Need{{"glacier:" + r.Operation, "*"}}}, true
	}
	return needs{always: []Need{{"glacier:" + r.Operation, w.ARN("glacier", "vaults/"+elements[2])}}}, true
}

// decode reads the request's body, which is JSON, into v.
func decode(r Request, v any) bool {
	body, err := world.ReadBody(r.HTTP, maxBody)
	return err == nil && (len(body) == 0 || json.Unmarshal(body, v) == nil)
}
