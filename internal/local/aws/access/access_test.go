package access

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// theWorld is an account and a region, and no more.
func theWorld() *world.World { return &world.World{Region: "us-east-1", Account: "111122223333"} }

// request is a request to a service.
func request(service, operation, target, body string, header ...string) Request {
	method := http.MethodPost
	if service == "s3" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, "http://aws.test"+target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return Request{service, operation, r}
}

// TestARequestNeedsWhatAWSAsksFor is written from AWS's service authorization reference, not
// from the code: the needs of each request, and those without which S3 hides that an object
// does not exist.
func TestARequestNeedsWhatAWSAsksFor(t *testing.T) {
	const (
		table = "arn:aws:dynamodb:us-east-1:111122223333:table/"
		queue = "arn:aws:sqs:us-east-1:111122223333:"
		topic = "arn:aws:sns:us-east-1:111122223333:"
		vault = "arn:aws:glacier:us-east-1:111122223333:vaults/"
	)
	for _, c := range []struct {
		name   string
		of     Request
		always []string
		absent string
	}{
		{"a list of buckets", request("s3", "ListBuckets", "/", ""), []string{"s3:ListAllMyBuckets *"}, ""},
		{"HEAD of a bucket", request("s3", "HeadBucket", "/b", ""), []string{"s3:ListBucket arn:aws:s3:::b"}, ""},
		{"a list of objects", request("s3", "ListObjectsV2", "/b?list-type=2", ""), []string{"s3:ListBucket arn:aws:s3:::b"}, ""},
		{"a list of versions", request("s3", "ListObjectVersions", "/b?versions", ""), []string{"s3:ListBucketVersions arn:aws:s3:::b"}, ""},
		{"a list of uploads", request("s3", "ListMultipartUploads", "/b?uploads", ""), []string{"s3:ListBucketMultipartUploads arn:aws:s3:::b"}, ""},
		{"lifecycle rules", request("s3", "GetBucketLifecycleConfiguration", "/b?lifecycle", ""), []string{"s3:GetLifecycleConfiguration arn:aws:s3:::b"}, ""},
		{"other lifecycle rules", request("s3", "PutBucketLifecycleConfiguration", "/b?lifecycle", ""), []string{"s3:PutLifecycleConfiguration arn:aws:s3:::b"}, ""},
		{"no lifecycle rules", request("s3", "DeleteBucketLifecycle", "/b?lifecycle", ""), []string{"s3:PutLifecycleConfiguration arn:aws:s3:::b"}, ""},
		{"notifications", request("s3", "PutBucketNotificationConfiguration", "/b?notification", ""), []string{"s3:PutBucketNotification arn:aws:s3:::b"}, ""},
		{"an object", request("s3", "GetObject", "/b/a/key", ""), []string{"s3:GetObject arn:aws:s3:::b/a/key"}, "s3:ListBucket arn:aws:s3:::b"},
		{"HEAD of an object", request("s3", "HeadObject", "/b/k", ""), []string{"s3:GetObject arn:aws:s3:::b/k"}, "s3:ListBucket arn:aws:s3:::b"},
		{"an object by the name of the host", request("s3", "GetObject", "/a/key", "", "Host", "x"), []string{"s3:GetObject arn:aws:s3:::bucket/a/key"}, "s3:ListBucket arn:aws:s3:::bucket"},
		{"a version", request("s3", "GetObject", "/b/k?versionId=1", ""), []string{"s3:GetObjectVersion arn:aws:s3:::b/k"}, "s3:ListBucket arn:aws:s3:::b"},
		{"HEAD of a version", request("s3", "HeadObject", "/b/k?versionId=1", ""), []string{"s3:GetObjectVersion arn:aws:s3:::b/k"}, "s3:ListBucket arn:aws:s3:::b"},
		{"a deletion", request("s3", "DeleteObject", "/b/k", ""), []string{"s3:DeleteObject arn:aws:s3:::b/k"}, ""},
		{"the deletion of a version", request("s3", "DeleteObject", "/b/k?versionId=1", ""), []string{"s3:DeleteObjectVersion arn:aws:s3:::b/k"}, ""},
		{"a deletion if it is still the same", request("s3", "DeleteObject", "/b/k", "", "If-Match", `"e"`), []string{"s3:DeleteObject arn:aws:s3:::b/k", "s3:GetObject arn:aws:s3:::b/k"}, ""},
		{"a deletion if it is there", request("s3", "DeleteObject", "/b/k", "", "If-Match", "*"), []string{"s3:DeleteObject arn:aws:s3:::b/k"}, ""},
		{"a new object", request("s3", "PutObject", "/b/k", "", "If-None-Match", "*"), []string{"s3:PutObject arn:aws:s3:::b/k"}, ""},
		{"a new object in place of another", request("s3", "PutObject", "/b/k", "", "If-Match", `"e"`), []string{"s3:GetObject arn:aws:s3:::b/k", "s3:PutObject arn:aws:s3:::b/k"}, ""},
		{"an upload", request("s3", "CreateMultipartUpload", "/b/k?uploads", ""), []string{"s3:PutObject arn:aws:s3:::b/k"}, ""},
		{"a part", request("s3", "UploadPart", "/b/k?partNumber=1&uploadId=u", ""), []string{"s3:PutObject arn:aws:s3:::b/k"}, ""},
		{"the end of an upload", request("s3", "CompleteMultipartUpload", "/b/k?uploadId=u", ""), []string{"s3:PutObject arn:aws:s3:::b/k"}, ""},
		{"the parts", request("s3", "ListParts", "/b/k?uploadId=u", ""), []string{"s3:ListMultipartUploadParts arn:aws:s3:::b/k"}, ""},
		{"no upload after all", request("s3", "AbortMultipartUpload", "/b/k?uploadId=u", ""), []string{"s3:AbortMultipartUpload arn:aws:s3:::b/k"}, ""},
		{"a retrieval from S3", request("s3", "RestoreObject", "/b/k?restore", ""), []string{"s3:RestoreObject arn:aws:s3:::b/k"}, ""},
		{"a retrieval of a version", request("s3", "RestoreObject", "/b/k?restore&versionId=1", ""), []string{"s3:RestoreObject arn:aws:s3:::b/k"}, ""},

		{"an item", request("dynamodb", "GetItem", "/", `{"TableName":"t"}`), []string{"dynamodb:GetItem " + table + "t"}, ""},
		{"an item of a table by its ARN", request("dynamodb", "GetItem", "/", `{"TableName":"`+table+`t"}`), []string{"dynamodb:GetItem " + table + "t"}, ""},
		{"a query of a table", request("dynamodb", "Query", "/", `{"TableName":"t"}`), []string{"dynamodb:Query " + table + "t"}, ""},
		{"a query of an index", request("dynamodb", "Query", "/", `{"TableName":"t","IndexName":"i"}`), []string{"dynamodb:Query " + table + "t/index/i"}, ""},
		{"a scan of an index", request("dynamodb", "Scan", "/", `{"TableName":"t","IndexName":"i"}`), []string{"dynamodb:Scan " + table + "t/index/i"}, ""},
		{"items of two tables", request("dynamodb", "BatchGetItem", "/", `{"RequestItems":{"t":{},"u":{}}}`), []string{"dynamodb:BatchGetItem " + table + "t", "dynamodb:BatchGetItem " + table + "u"}, ""},
		{"a transaction", request("dynamodb", "TransactWriteItems", "/", `{"TransactItems":[{"Put":{"TableName":"t"}},{"Update":{"TableName":"t"}},{"Delete":{"TableName":"u"}},{"ConditionCheck":{"TableName":"u"}}]}`),
			[]string{"dynamodb:ConditionCheckItem " + table + "u", "dynamodb:DeleteItem " + table + "u", "dynamodb:PutItem " + table + "t", "dynamodb:UpdateItem " + table + "t"}, ""},
		{"the tags of a table", request("dynamodb", "TagResource", "/", `{"ResourceArn":"`+table+`t"}`), []string{"dynamodb:TagResource " + table + "t"}, ""},
		{"all tables", request("dynamodb", "ListTables", "/", `{}`), []string{"dynamodb:ListTables *"}, ""},

		{"messages", request("sqs", "ReceiveMessage", "/", `{"QueueUrl":"http://aws.test/111122223333/q"}`), []string{"sqs:ReceiveMessage " + queue + "q"}, ""},
		{"many messages", request("sqs", "SendMessageBatch", "/", `{"QueueUrl":"http://aws.test/111122223333/q"}`), []string{"sqs:SendMessage " + queue + "q"}, ""},
		{"many deletions", request("sqs", "DeleteMessageBatch", "/", `{"QueueUrl":"http://aws.test/111122223333/q"}`), []string{"sqs:DeleteMessage " + queue + "q"}, ""},
		{"many leases", request("sqs", "ChangeMessageVisibilityBatch", "/", `{"QueueUrl":"http://aws.test/111122223333/q"}`), []string{"sqs:ChangeMessageVisibility " + queue + "q"}, ""},
		{"the URL of a queue", request("sqs", "GetQueueUrl", "/", `{"QueueName":"q"}`), []string{"sqs:GetQueueUrl " + queue + "q"}, ""},
		{"a queue with tags", request("sqs", "CreateQueue", "/", `{"QueueName":"q","tags":{"a":"b"}}`), []string{"sqs:CreateQueue " + queue + "q", "sqs:TagQueue " + queue + "q"}, ""},

		{"a message for all", request("sns", "Publish", "/", "TopicArn="+topic+"t"), []string{"sns:Publish " + topic + "t"}, ""},
		{"a message for one", request("sns", "Publish", "/", "TargetArn="+topic+"t"), []string{"sns:Publish " + topic + "t"}, ""},
		{"a topic with tags", request("sns", "CreateTopic", "/", "Name=t&Tags.member.1.Key=a"), []string{"sns:CreateTopic " + topic + "t", "sns:TagResource " + topic + "t"}, ""},
		{"a confirmation", request("sns", "ConfirmSubscription", "/", "TopicArn="+topic+"t&Token=x"), []string{"sns:ConfirmSubscription " + topic + "t"}, ""},
		{"a subscription's attributes", request("sns", "GetSubscriptionAttributes", "/", "SubscriptionArn="+topic+"t:id"), []string{"sns:GetSubscriptionAttributes *"}, ""},

		{"a retrieval from Glacier", request("glacier", "InitiateJob", "/-/vaults/v/jobs", ""), []string{"glacier:InitiateJob " + vault + "v"}, ""},
		{"the output", request("glacier", "GetJobOutput", "/-/vaults/v/jobs/j/output", ""), []string{"glacier:GetJobOutput " + vault + "v"}, ""},
		{"the archive's end", request("glacier", "DeleteArchive", "/111122223333/vaults/v/archives/a", ""), []string{"glacier:DeleteArchive " + vault + "v"}, ""},
		{"the account's policy", request("glacier", "GetDataRetrievalPolicy", "/-/policies/data-retrieval", ""), []string{"glacier:GetDataRetrievalPolicy *"}, ""},
		{"all vaults", request("glacier", "ListVaults", "/-/vaults", ""), []string{"glacier:ListVaults *"}, ""},

		{"who am I", request("sts", "GetCallerIdentity", "/", ""), nil, ""},
	} {
		if strings.HasSuffix(c.name, "name of the host") {
			c.of.HTTP.Host = "bucket.s3.aws.test"
		}
		got, known := of(theWorld(), c.of)
		var always []string
		for _, n := range got.always {
			always = append(always, n.Action+" "+n.Resource)
		}
		slices.Sort(always)
		absent := ""
		for _, n := range got.absent {
			absent += n.Action + " " + n.Resource
		}
		if !known || !slices.Equal(always, c.always) || absent != c.absent {
			t.Errorf("%s: got %q, and %q if it is absent; want %q and %q", c.name, always, absent, c.always, c.absent)
		}
	}
}

// TestARoleMayDoNothingThatIsNotKnown has requests for which nobody wrote down what they need,
// or that cannot be read. A role that may do everything is refused them too.
func TestARoleMayDoNothingThatIsNotKnown(t *testing.T) {
	everything, err := Parse("all", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"},{"Effect":"Allow","Action":"sqs:*","Resource":"*"},{"Effect":"Allow","Action":"sns:*","Resource":"*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []Request{
		request("s3", "SelectObjectContent", "/b/k?select", ""),
		request("dynamodb", "ExecuteStatement", "/", `{"Statement":"SELECT"}`),
		request("dynamodb", "GetItem", "/", `{`),
		request("dynamodb", "TransactWriteItems", "/", `{"TransactItems":[]}`),
		request("dynamodb", "BatchGetItem", "/", `{}`),
		request("sqs", "AddPermission", "/", `{"QueueUrl":"http://aws.test/1/q"}`),
		request("sqs", "SendMessage", "/", `no JSON`),
		request("sns", "PublishBatch", "/", "TopicArn=t"),
		request("sns", "Publish", "/", "%zz"),
		request("sts", "AssumeRole", "/", ""),
		request("kms", "Decrypt", "/", ""),
	} {
		role := New("all", everything)
		if _, e := role.Admit(theWorld(), q); e == nil || len(role.Record().Refused) != 1 || len(role.Record().Used) != 0 {
			t.Errorf("%s %s: got %v, and %v", q.Service, q.Operation, e, role.Record())
		}
	}
}

// TestARefusalIsThatOfTheService has the code, the status and the words with which each
// service refuses.
func TestARefusalIsThatOfTheService(t *testing.T) {
	nothing, err := Parse("reader", `{"Version":"2012-10-17","Statement":[]}`)
	if err != nil {
		t.Fatal(err)
	}
	const who = "User: arn:aws:sts::111122223333:assumed-role/reader/local is not authorized to perform: "
	for _, c := range []struct {
		of     Request
		status int
		code   string
		says   string
	}{
		{request("s3", "PutObject", "/b/k", ""), 403, "AccessDenied", "s3:PutObject on resource: arn:aws:s3:::b/k because no identity-based policy allows the s3:PutObject action"},
		{request("dynamodb", "GetItem", "/", `{"TableName":"t"}`), 400, "AccessDeniedException", "dynamodb:GetItem on resource: arn:aws:dynamodb:us-east-1:111122223333:table/t because"},
		{request("sqs", "ReceiveMessage", "/", `{"QueueUrl":"http://aws.test/1/q"}`), 400, "AccessDeniedException", "sqs:receivemessage on resource: arn:aws:sqs:us-east-1:111122223333:q because"},
		{request("sns", "Publish", "/", "TopicArn=arn:aws:sns:us-east-1:111122223333:t"), 403, "AuthorizationError", "SNS:Publish on resource: arn:aws:sns:us-east-1:111122223333:t because"},
		{request("glacier", "InitiateJob", "/-/vaults/v/jobs", ""), 403, "AccessDeniedException", "glacier:InitiateJob on resource: arn:aws:glacier:us-east-1:111122223333:vaults/v because"},
	} {
		_, e := New("reader", nothing).Admit(theWorld(), c.of)
		if e == nil || e.Status != c.status || e.Code != c.code || !strings.HasPrefix(e.Message, who+c.says) {
			t.Errorf("%s: got %+v, want %d %s: %s", c.of.Service, e, c.status, c.code, c.says)
		}
	}
}

// TestARoleRecordsWhatItDid counts calls, and what they needed, by whether it was allowed.
func TestARoleRecordsWhatItDid(t *testing.T) {
	reads, err := Parse("reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	role, w := New("reader", reads), theWorld()
	get := request("s3", "GetObject", "/b/k", "")
	absent, e := role.Admit(w, get)
	if e != nil || absent == nil {
		t.Fatalf("got %v", e)
	}
	if e := absent(); e == nil || e.Code != "AccessDenied" {
		t.Errorf("a role that may not list the bucket learns that nothing is there: %v", e)
	}
	if _, e := role.Admit(w, request("s3", "PutObject", "/b/k", "")); e == nil {
		t.Error("a reader may write")
	}
	lists, err := Parse("reader", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	role.SetPolicy(lists) // the record goes on
	if absent, e = role.Admit(w, get); e != nil || absent() != nil {
		t.Errorf("a role that may list the bucket does not learn that nothing is there: %v", e)
	}
	const object, bucket = "arn:aws:s3:::b/k", "arn:aws:s3:::b"
	got := role.Record()
	want := Record{
		Calls:   map[string]int{"s3.GetObject": 2, "s3.PutObject": 1},
		Used:    map[Need]int{{"s3:GetObject", object}: 2, {"s3:ListBucket", bucket}: 1},
		Refused: map[Need]int{{"s3:ListBucket", bucket}: 1, {"s3:PutObject", object}: 1},
	}
	if !maps.Equal(got.Calls, want.Calls) || !maps.Equal(got.Used, want.Used) || !maps.Equal(got.Refused, want.Refused) {
		t.Errorf("got %v, want %v", got, want)
	}
	got.Used[Need{"s3:GetObject", object}] = 100
	if role.Record().Used[Need{"s3:GetObject", object}] != 2 {
		t.Error("the record that was handed out is the role's own")
	}
	if role.Name() != "reader" {
		t.Errorf("the role is called %q", role.Name())
	}
	text, _ := Need{"s3:GetObject", object}.MarshalText()
	var back Need
	if err := back.UnmarshalText(text); err != nil || fmt.Sprint(back) != fmt.Sprint(Need{"s3:GetObject", object}) {
		t.Errorf("%s is read as %v, %v", text, back, err)
	}
}

// TestAPolicyThatCannotBeEvaluatedIsRefused names the role in the error.
func TestAPolicyThatCannotBeEvaluatedIsRefused(t *testing.T) {
	for _, text := range []string{
		`{`, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`,
	} {
		if _, err := Parse("thaw", text); err == nil || !strings.Contains(err.Error(), "role thaw") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
