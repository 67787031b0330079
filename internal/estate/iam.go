package estate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Call is an operation of AWS's API, as the SDK names it, on a thing.
type Call struct {
	Operation string
	On        Thing
}

// Action is an IAM action on a thing.
type Action struct {
	Name string
	On   Thing
}

// resource is the part of a thing that an action is about.
type resource int

const (
	whole      resource = iota // the thing itself
	objects                    // the objects in the bucket
	everything                 // IAM knows no resource for the action: it must be allowed on all
)

// grant is an IAM action that a call needs.
type grant struct {
	name string
	of   resource
}

// needs maps calls to the IAM actions that they need. Most operations have an action with
// their own name; these are the others and the odd ones:
//
//   - S3 answers that an object does not exist only to who may list the bucket (s3:ListBucket);
//     otherwise it says that access is denied.
//   - A request for a version needs actions of its own (s3:GetObjectVersion,
//     s3:DeleteObjectVersion). The call is then named with "of a version".
//   - A delete, or a write, under the condition that the ETag is still the same also needs
//     s3:GetObject ("if the same").
//   - All calls of a multipart upload that write need s3:PutObject.
//   - A batch of SQS needs the action of its parts.
//   - The actions on a subscription of SNS know no resource.
//   - A query of an index needs the action on the index, not on the table.
var needs = map[string][]grant{
	"S3.HeadBucket":                         {{"s3:ListBucket", whole}},
	"S3.ListObjectsV2":                      {{"s3:ListBucket", whole}},
	"S3.ListObjectVersions":                 {{"s3:ListBucketVersions", whole}},
	"S3.ListMultipartUploads":               {{"s3:ListBucketMultipartUploads", whole}},
	"S3.HeadObject":                         {{"s3:GetObject", objects}, {"s3:ListBucket", whole}},
	"S3.HeadObject of a version":            {{"s3:GetObjectVersion", objects}, {"s3:ListBucket", whole}},
	"S3.GetObject":                          {{"s3:GetObject", objects}},
	"S3.GetObject of a version":             {{"s3:GetObjectVersion", objects}},
	"S3.PutObject":                          {{"s3:PutObject", objects}},
	"S3.CreateMultipartUpload":              {{"s3:PutObject", objects}},
	"S3.UploadPart":                         {{"s3:PutObject", objects}},
	"S3.CompleteMultipartUpload":            {{"s3:PutObject", objects}},
	"S3.ListParts":                          {{"s3:ListMultipartUploadParts", objects}},
	"S3.AbortMultipartUpload":               {{"s3:AbortMultipartUpload", objects}},
	"S3.RestoreObject":                      {{"s3:RestoreObject", objects}},
	"S3.DeleteObject if the same":           {{"s3:DeleteObject", objects}, {"s3:GetObject", objects}},
	"S3.DeleteObject of a version":          {{"s3:DeleteObjectVersion", objects}},
	"S3.CreateBucket":                       {{"s3:CreateBucket", whole}},
	"S3.GetBucketVersioning":                {{"s3:GetBucketVersioning", whole}},
	"S3.PutBucketVersioning":                {{"s3:PutBucketVersioning", whole}},
	"S3.GetBucketNotificationConfiguration": {{"s3:GetBucketNotification", whole}},
	"S3.PutBucketNotificationConfiguration": {{"s3:PutBucketNotification", whole}},
	"S3.GetBucketLifecycleConfiguration":    {{"s3:GetLifecycleConfiguration", whole}},
	"S3.PutBucketLifecycleConfiguration":    {{"s3:PutLifecycleConfiguration", whole}},
	"SQS.DeleteMessageBatch":                {{"sqs:DeleteMessage", whole}},
	"SQS.ChangeMessageVisibilityBatch":      {{"sqs:ChangeMessageVisibility", whole}},
	"SNS.GetSubscriptionAttributes":         {{"sns:GetSubscriptionAttributes", everything}},
}

// plain are the operations that need the action of their own name on the thing.
var plain = []string{
	"DynamoDB.GetItem", "DynamoDB.BatchGetItem", "DynamoDB.PutItem", "DynamoDB.UpdateItem", "DynamoDB.DeleteItem", "DynamoDB.Query", "DynamoDB.Scan",
	"DynamoDB.DescribeTable", "DynamoDB.CreateTable", "DynamoDB.UpdateTable", "DynamoDB.DescribeContinuousBackups", "DynamoDB.UpdateContinuousBackups",
	"SQS.ReceiveMessage", "SQS.SendMessage", "SQS.GetQueueAttributes", "SQS.GetQueueUrl", "SQS.CreateQueue", "SQS.SetQueueAttributes",
	"SNS.Publish", "SNS.ConfirmSubscription", "SNS.GetTopicAttributes", "SNS.ListSubscriptionsByTopic", "SNS.CreateTopic", "SNS.SetTopicAttributes", "SNS.Subscribe",
	"Glacier.UploadArchive", "Glacier.InitiateJob", "Glacier.DescribeJob", "Glacier.ListJobs", "Glacier.GetJobOutput", "Glacier.DeleteArchive", "Glacier.DescribeVault", "Glacier.CreateVault",
}

// grants returns the IAM actions that a call needs.
func (c Call) grants() []grant {
	if slices.Contains(plain, c.Operation) {
		service, operation, _ := strings.Cut(c.Operation, ".")
		return []grant{{strings.ToLower(service) + ":" + operation, whole}}
	}
	return needs[c.Operation]
}

// Role is the role of a service or of a command. It has all calls that the service makes,
// and no other.
type Role struct {
	Name  string
	Calls []Call
}

// May reports whether the role may make the call: what it needs for its own calls covers
// what this call needs.
func (r Role) May(c Call) bool {
	all := r.allowances()
	return !slices.ContainsFunc(c.grants(), func(g grant) bool {
		t := c.On
		if g.of == everything {
			t = ""
		}
		return !slices.ContainsFunc(all, func(a allowance) bool { return a.on == t && a.of == g.of && slices.Contains(a.actions, g.name) })
	})
}

// on returns the calls of the operations on the thing.
func on(t Thing, operations ...string) []Call {
	calls := make([]Call, len(operations))
	for i, operation := range operations {
		calls[i] = Call{operation, t}
	}
	return calls
}

// The roles.
const (
	BridgeRole    = "bridge"
	ThawRole      = "thaw"
	RestoreRole   = "restore"
	WebRole       = "web"
	OperatorRole  = "operator"
	CanaryRole    = "canary"
	ProvisionRole = "provision"
)

// Roles returns the roles of the services, of an operator (`gas` check, status, thaw, pause,
// resume, dead, account and erase), of `gas canary`, and of `gas provision aws`. Tests compare
// the calls with those that the stand-in sees.
func Roles() []Role {
	return []Role{
		{BridgeRole, slices.Concat(
			on(PremiumQueue, "SQS.ReceiveMessage", "SQS.DeleteMessageBatch", "SQS.ChangeMessageVisibilityBatch"),
			on(RestoreQueue, "SQS.ReceiveMessage", "SQS.DeleteMessageBatch", "SQS.ChangeMessageVisibilityBatch"),
			on(PremiumTopic, "SNS.ConfirmSubscription"),
			on(RestoreTopic, "SNS.ConfirmSubscription"),
		)},
		{ThawRole, slices.Concat(
			on(Jobs, "DynamoDB.GetItem", "DynamoDB.BatchGetItem", "DynamoDB.UpdateItem"),
			on(JobsArchived, "DynamoDB.Query", "DynamoDB.Scan"),
			on(JobsDue, "DynamoDB.Query"),
			on(Accounts, "DynamoDB.GetItem", "DynamoDB.BatchGetItem", "DynamoDB.UpdateItem"),
			on(AccountPlans, "DynamoDB.Query"),
			on(Plans, "DynamoDB.GetItem", "DynamoDB.UpdateItem", "DynamoDB.PutItem"),
			on(Vault, "Glacier.InitiateJob", "Glacier.DescribeJob", "Glacier.ListJobs", "Glacier.DescribeVault"),
			on(Archives, "S3.HeadObject", "S3.HeadObject of a version", "S3.RestoreObject", "S3.HeadBucket", "S3.ListObjectsV2"),
		)},
		{RestoreRole, slices.Concat(
			on(Jobs, "DynamoDB.GetItem", "DynamoDB.UpdateItem"),
			on(Vault, "Glacier.DescribeJob", "Glacier.GetJobOutput", "Glacier.DeleteArchive", "Glacier.DescribeVault"),
			on(Archives, "S3.HeadBucket", "S3.HeadObject", "S3.HeadObject of a version", "S3.GetObject", "S3.GetObject of a version", "S3.DeleteObject if the same", "S3.DeleteObject of a version"),
			on(Results, "S3.HeadObject", "S3.GetObject", "S3.PutObject", "S3.CreateMultipartUpload", "S3.UploadPart", "S3.CompleteMultipartUpload",
				"S3.ListParts", "S3.ListMultipartUploads", "S3.AbortMultipartUpload"),
		)},
		{WebRole, slices.Concat(
			on(Jobs, "DynamoDB.GetItem", "DynamoDB.BatchGetItem"),
			on(JobsByUser, "DynamoDB.Query"),
			on(JobsArchived, "DynamoDB.Query"),
			on(Accounts, "DynamoDB.GetItem", "DynamoDB.BatchGetItem", "DynamoDB.PutItem", "DynamoDB.UpdateItem", "DynamoDB.Scan"),
			on(Plans, "DynamoDB.GetItem"),
			on(PremiumTopic, "SNS.Publish"),
			on(Results, "S3.HeadObject", "S3.GetObject"),
		)},
		{OperatorRole, slices.Concat(
			// gas check
			on(Jobs, "DynamoDB.DescribeTable", "DynamoDB.GetItem", "DynamoDB.Scan"),
			on(JobsByUser, "DynamoDB.Query"),
			on(JobsArchived, "DynamoDB.Query", "DynamoDB.Scan"),
			on(JobsDue, "DynamoDB.Query"),
			on(Accounts, "DynamoDB.DescribeTable", "DynamoDB.GetItem", "DynamoDB.Scan"),
			on(AccountPlans, "DynamoDB.Query"),
			on(Plans, "DynamoDB.DescribeTable", "DynamoDB.GetItem"),
			on(Vault, "Glacier.DescribeVault", "Glacier.ListJobs"),
			on(Archives, "S3.HeadBucket", "S3.ListObjectsV2", "S3.GetBucketVersioning", "S3.GetBucketNotificationConfiguration"),
			on(Results, "S3.HeadBucket", "S3.HeadObject", "S3.ListObjectsV2"),
			on(PremiumTopic, "SNS.GetTopicAttributes", "SNS.ListSubscriptionsByTopic", "SNS.GetSubscriptionAttributes"),
			on(RestoreTopic, "SNS.GetTopicAttributes", "SNS.ListSubscriptionsByTopic", "SNS.GetSubscriptionAttributes"),
			// gas status, gas check
			on(PremiumQueue, "SQS.GetQueueAttributes"),
			on(RestoreQueue, "SQS.GetQueueAttributes"),
			on(PremiumDead, "SQS.GetQueueUrl", "SQS.GetQueueAttributes"),
			on(RestoreDead, "SQS.GetQueueUrl", "SQS.GetQueueAttributes"),
			// gas thaw, gas pause, gas resume, gas account
			on(Jobs, "DynamoDB.UpdateItem"),
			on(Accounts, "DynamoDB.BatchGetItem", "DynamoDB.PutItem", "DynamoDB.UpdateItem"),
			on(Plans, "DynamoDB.PutItem"),
			// gas thaw --tier
			on(Plans, "DynamoDB.UpdateItem"),
			on(Archives, "S3.HeadObject", "S3.HeadObject of a version", "S3.RestoreObject"),
			// gas erase
			on(Jobs, "DynamoDB.BatchGetItem", "DynamoDB.DeleteItem"),
			on(Accounts, "DynamoDB.DeleteItem"),
			on(Plans, "DynamoDB.Scan", "DynamoDB.DeleteItem"),
			on(Vault, "Glacier.DeleteArchive"),
			on(Archives, "S3.ListObjectVersions", "S3.DeleteObject of a version", "S3.ListMultipartUploads", "S3.AbortMultipartUpload"),
			on(Results, "S3.ListObjectVersions", "S3.DeleteObject of a version", "S3.ListMultipartUploads", "S3.AbortMultipartUpload"),
			// gas dead
			on(PremiumQueue, "SQS.SendMessage"),
			on(RestoreQueue, "SQS.SendMessage"),
		)},
		{CanaryRole, slices.Concat(
			on(Jobs, "DynamoDB.GetItem", "DynamoDB.PutItem", "DynamoDB.UpdateItem"),
			on(Accounts, "DynamoDB.PutItem"),
			on(Vault, "Glacier.UploadArchive"),
			on(Archives, "S3.PutObject"),
			on(Results, "S3.GetObject"),
		)},
		{ProvisionRole, slices.Concat(
			on(Jobs, tableMade...),
			on(Accounts, tableMade...),
			on(Plans, "DynamoDB.CreateTable", "DynamoDB.DescribeTable", "DynamoDB.DescribeContinuousBackups", "DynamoDB.UpdateContinuousBackups"),
			on(Vault, "Glacier.DescribeVault", "Glacier.CreateVault"),
			on(Results, "S3.HeadBucket", "S3.CreateBucket", "S3.GetBucketLifecycleConfiguration", "S3.PutBucketLifecycleConfiguration"),
			on(Archives, "S3.HeadBucket", "S3.CreateBucket", "S3.GetBucketVersioning", "S3.PutBucketVersioning", "S3.GetBucketNotificationConfiguration", "S3.PutBucketNotificationConfiguration"),
			on(PremiumTopic, topicMade...),
			on(RestoreTopic, topicMade...),
			on(PremiumQueue, queueMade...),
			on(RestoreQueue, queueMade...),
			on(PremiumDead, "SQS.GetQueueUrl", "SQS.CreateQueue", "SQS.GetQueueAttributes"),
			on(RestoreDead, "SQS.GetQueueUrl", "SQS.CreateQueue", "SQS.GetQueueAttributes"),
		)},
	}
}

// tableMade, topicMade and queueMade are the calls with which tables, topics and queues are
// made and changed.
var (
	tableMade = []string{"DynamoDB.CreateTable", "DynamoDB.DescribeTable", "DynamoDB.UpdateTable", "DynamoDB.DescribeContinuousBackups", "DynamoDB.UpdateContinuousBackups"}
	topicMade = []string{"SNS.CreateTopic", "SNS.GetTopicAttributes", "SNS.SetTopicAttributes", "SNS.ListSubscriptionsByTopic", "SNS.GetSubscriptionAttributes", "SNS.Subscribe"}
	queueMade = []string{"SQS.GetQueueUrl", "SQS.CreateQueue", "SQS.GetQueueAttributes", "SQS.SetQueueAttributes"}
)

// RoleOf returns the role with the name; false if there is none.
func RoleOf(name string) (Role, bool) {
	all := Roles()
	i := slices.IndexFunc(all, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return all[i], true
}

// allowance is a statement of a role's policy before its resource has a name.
type allowance struct {
	on      Thing
	of      resource
	actions []string
}

// allowances returns what the role may do, each thing once.
func (r Role) allowances() []allowance {
	var all []allowance
	for _, c := range r.Calls {
		for _, g := range c.grants() {
			t := c.On
			if g.of == everything {
				t = ""
			}
			i := slices.IndexFunc(all, func(a allowance) bool { return a.on == t && a.of == g.of })
			if i < 0 {
				i = len(all)
				all = append(all, allowance{on: t, of: g.of})
			}
			if !slices.Contains(all[i].actions, g.name) {
				all[i].actions = append(all[i].actions, g.name)
			}
		}
	}
	for i := range all {
		slices.Sort(all[i].actions)
	}
	return all
}

// Permit is a statement of a role's policy: actions on a resource.
type Permit struct {
	Actions  []string
	Resource string
}

// Permits returns what the role may do at the place. There are none for things that the place
// does not have.
func (r Role) Permits(p Place) []Permit {
	var out []Permit
	for _, a := range r.allowances() {
		arn := "*"
		if a.of != everything {
			if arn = p.ARN(a.on); arn == "" {
				continue
			}
		}
		if a.of == objects {
			arn += "/*"
		}
		out = append(out, Permit{a.actions, arn})
	}
	if key := r.keyActions(); p.Key != "" && len(key) > 0 {
		out = append(out, Permit{key, p.Key})
	}
	return out
}

// keyNeeds are the actions on a KMS key that an action needs, if the key encrypts the thing.
// All calls of an upload in parts read the upload's data key, and so does a sender.
var keyNeeds = map[string][]string{
	"s3:GetObject":        {"kms:Decrypt"},
	"s3:GetObjectVersion": {"kms:Decrypt"},
	"s3:PutObject":        {"kms:Decrypt", "kms:GenerateDataKey"},
	"sqs:ReceiveMessage":  {"kms:Decrypt"},
	"sqs:SendMessage":     {"kms:Decrypt", "kms:GenerateDataKey"},
	"sns:Publish":         {"kms:Decrypt", "kms:GenerateDataKey"},
}

// keyActions are the actions on the KMS key that the role needs.
func (r Role) keyActions() []string {
	var all []string
	for _, a := range r.allowances() {
		for _, action := range a.actions {
			all = append(all, keyNeeds[action]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Document returns a policy with the permits, as JSON that IAM takes.
func Document(permits []Permit) string {
	type statement struct {
		Effect   string
		Action   []string
		Resource string
	}
	doc := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17", Statement: []statement{}}
	for _, p := range permits {
		doc.Statement = append(doc.Statement, statement{"Allow", p.Actions, p.Resource})
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("estate: a policy that is not JSON: %v", err)) // a programmer's mistake
	}
	return string(out)
}

// Occasion is a permission that a role needs only on an occasion.
type Occasion struct {
	Role   string
	Action string
	On     Thing
	// When is the occasion.
	When string
}

const (
	unversioned = "the archive bucket keeps no versions"
	objectGone  = "an archive is not in its bucket: only who may list a bucket learns that, and whether the bucket is there"
	vaultAsked  = "Glacier does not find an archive or a retrieval: the vault itself may be missing"
	filePage    = "somebody opens the page of a file"
	bridgeWaits = "JetStream stores nothing for a time: messages stay with the bridge, or go back to the queue"
)

// Occasions returns the permissions that are not used in the simulation of the services, or
// in the scripts of the commands, because the occasion does not come there. A role has no
// other permission without use. A test in internal/wiring makes the calls of the services.
func Occasions() []Occasion {
	return []Occasion{
		{BridgeRole, "sqs:ChangeMessageVisibility", PremiumQueue, bridgeWaits},
		{BridgeRole, "sqs:ChangeMessageVisibility", RestoreQueue, bridgeWaits},
		{ThawRole, "glacier:DescribeVault", Vault, vaultAsked},
		{ThawRole, "s3:GetObject", Archives, unversioned},
		{ThawRole, "s3:ListBucket", Archives, objectGone + "; or many archives of the bucket are overdue"},
		{RestoreRole, "glacier:DescribeVault", Vault, vaultAsked},
		{RestoreRole, "s3:GetObject", Archives, unversioned},
		{RestoreRole, "s3:DeleteObject", Archives, unversioned},
		{RestoreRole, "s3:ListBucket", Archives, objectGone},
		{WebRole, "dynamodb:BatchGetItem", Jobs, filePage},
		{WebRole, "dynamodb:BatchGetItem", Accounts, filePage},
		{WebRole, "dynamodb:GetItem", Jobs, filePage + " while DynamoDB throttles"},
		{WebRole, "s3:GetObject", Results, filePage + ", or downloads it: the link has the site's signature"},
		{WebRole, "s3:ListBucket", Results, filePage + " that is not in the bucket"},
		{OperatorRole, "s3:GetObject", Archives, "`gas thaw --tier`, and " + unversioned},
	}
}

// Occasion returns the occasion on which the role uses the action on the resource at the
// place; empty if it uses the action all the time.
func (r Role) Occasion(p Place, action, resource string) string {
	for _, o := range Occasions() {
		if o.Role == r.Name && o.Action == action && strings.TrimSuffix(resource, "/*") == p.ARN(o.On) {
			return o.When
		}
	}
	return ""
}
