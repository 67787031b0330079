package awsfault

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/fault"
)

// without has, of the codes of the SDK's models, those that have no kind, and why not.
var without = map[string]string{
	// Glacier: the adapter takes a 4xx without a kind for a mistake of set-up.
	"Glacier InvalidParameterValueException": "the vault's name, the topic or an id is none: judged by the status, and denied by the adapter",
	"Glacier MissingParameterValueException": "every parameter is set: judged by the status, and denied by the adapter",
}

// notCalled has the codes of operations that the adapters do not call, or not so that
// they could fail in that way, and what those are.
var notCalled = map[string]map[string]string{
	"DynamoDB": {
		"BackupInUseException": "backups", "BackupNotFoundException": "backups", "ContinuousBackupsUnavailableException": "backups",
		"InvalidRestoreTimeException": "backups", "PointInTimeRecoveryUnavailableException": "backups", "TableAlreadyExistsException": "backups",
		"TableInUseException": "backups", "TableNotFoundException": "backups and exports",
		"ExportConflictException": "exports", "ExportNotFoundException": "exports", "InvalidExportTimeException": "exports",
		"ImportConflictException": "imports", "ImportNotFoundException": "imports",
		"GlobalTableAlreadyExistsException": "global tables", "GlobalTableNotFoundException": "global tables",
		"ReplicaAlreadyExistsException": "global tables", "ReplicaNotFoundException": "global tables",
		"IndexNotFoundException": "global tables' settings", "PolicyNotFoundException": "resource policies",
		"DuplicateItemException": "PartiQL", "IdempotentParameterMismatchException": "transactions", "TransactionCanceledException": "transactions",
	},
	"S3": {
		"AnnotationLimitExceeded": "annotations", "AnnotationNameTooLong": "annotations", "InvalidAnnotationName": "annotations", "NoSuchAnnotation": "annotations",
		"InvalidPrefix":       "annotations and inventories",
		"BucketAlreadyExists": "CreateBucket", "BucketAlreadyOwnedByYou": "CreateBucket",
		"EncryptionTypeMismatch": "appending to an object", "InvalidWriteOffset": "appending to an object", "TooManyParts": "appending to an object",
		"IdempotencyParameterMismatch": "RenameObject",
		"UnsupportedMediaType":         "annotations",
	},
	"SNS": {
		"BatchEntryIdsNotDistinct": "PublishBatch", "BatchRequestTooLong": "PublishBatch", "EmptyBatchRequest": "PublishBatch",
		"InvalidBatchEntryId": "PublishBatch", "TooManyEntriesInBatchRequest": "PublishBatch",
		"EndpointDisabled": "mobile push", "PlatformApplicationDisabled": "mobile push", "ParameterValueInvalid": "Publish with message attributes: we send none",
		"InvalidState": "subscription filters", "OptedOut": "SMS", "UserError": "SMS", "VerificationException": "SMS",
		"ConcurrentAccess": "tags", "StaleTag": "tags", "TagLimitExceeded": "tags", "TagPolicy": "tags", "ResourceNotFound": "tags",
		"TopicLimitExceeded": "CreateTopic",
	},
	"SQS": {
		"BatchEntryIdsNotDistinct": "the adapter numbers the entries", "EmptyBatchRequest": "the bridge settles one receipt at least",
		"InvalidBatchEntryId": "the adapter numbers the entries", "TooManyEntriesInBatchRequest": "the bridge settles ten receipts at most",
		"BatchRequestTooLong": "SendMessageBatch", "InvalidMessageContents": "SendMessage", "QueueNameExists": "CreateQueue",
		"InvalidAttributeName": "the adapter asks for QueueArn", "InvalidAttributeValue": "SetQueueAttributes",
		"InvalidIdFormat": "a receipt handle of the version of 2009", "PurgeQueueInProgress": "PurgeQueue",
	},
}

// models returns the error codes in the SDK's model of a service.
func models(t *testing.T, module string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+module).Output()
	if err != nil {
		t.Fatalf("where is the SDK's %s? %v", module, err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(out)), "types", "errors.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "ErrorCode" {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				code, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
			return true
		})
	}
	return codes
}

// TestEachErrorOfTheSDKsModelsHasAKindOrAReason fails when the SDK adds an error: give
// it a kind in codes.go, or say here why it needs none.
func TestEachErrorOfTheSDKsModelsHasAKindOrAReason(t *testing.T) {
	for service, module := range map[string]string{"DynamoDB": "dynamodb", "Glacier": "glacier", "S3": "s3", "SNS": "sns", "SQS": "sqs"} {
		all, seen := models(t, module), map[string]bool{}
		if len(all) < 9 {
			t.Errorf("%s: only %d codes are found in its model: %q", service, len(all), all)
		}
		for _, code := range all {
			seen[code] = true
			_, known := ofCode(service, code, "")
			why := notCalled[service][code] + without[service+" "+code]
			switch {
			case code == "":
				// The fallback for a type without a code of its own.
			case !known && why == "":
				t.Errorf("%s: the SDK knows %s, which has neither a kind nor a reason", service, code)
			case known && why != "":
				t.Errorf("%s: %s has a kind and a reason for having none", service, code)
			}
		}
		for code := range notCalled[service] {
			if !seen[code] {
				t.Errorf("%s: %s has a reason, and the SDK does not know it", service, code)
			}
		}
	}
}

func TestWhatTheSDKTriesAgainIsTriedAgain(t *testing.T) {
	for code := range retry.DefaultThrottleErrorCodes {
		if kind, _ := ofCode("", code, ""); kind != fault.Throttled && code != "TransactionInProgressException" {
			t.Errorf("%s is %s, the SDK takes it for a throttle", code, kind)
		}
	}
	for code := range retry.DefaultRetryableErrorCodes {
		if kind, _ := ofCode("", code, ""); kind != fault.Transient {
			t.Errorf("%s is %s, the SDK tries it again", code, kind)
		}
	}
}

func TestAnErrorIsOfTheKindOfItsCode(t *testing.T) {
	answer := func(service string, status int, code, message string) error {
		var err error = &smithy.GenericAPIError{Code: code, Message: message}
		err = &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}
		return &smithy.OperationError{ServiceID: service, OperationName: "Op", Err: err}
	}
	for _, c := range []struct {
		service       string
		status        int
		code, message string
		want          fault.Kind
	}{
		{"S3", 400, "KMS.DisabledException", "the key is disabled", fault.Denied},
		{"S3", 400, "KMS.NotFoundException", "", fault.Denied},
		{"S3", 400, "KMS.SomethingNewException", "", fault.Denied},
		{"S3", 400, "KMS.ThrottlingException", "", fault.Throttled},
		{"S3", 500, "KMS.InternalException", "", fault.Transient},
		{"S3", 301, "PermanentRedirect", "", fault.Denied},
		{"S3", 301, "MovedPermanently", "", fault.Denied},
		{"S3", 307, "", "", fault.Denied},
		{"S3", 307, "TemporaryRedirect", "", fault.Transient},
		{"S3", 400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'", fault.Denied},
		{"S3", 400, "IllegalLocationConstraintException", "", fault.Denied},
		{"S3", 404, "NotFound", "", fault.NotFound},
		{"S3", 404, "NoSuchBucket", "", fault.Denied},
		{"S3", 404, "SomethingNew", "", fault.NotFound},
		{"S3", 503, "SlowDown", "", fault.Throttled},
		{"S3", 503, "SomethingNew", "", fault.Transient},
		{"S3", 400, "SomethingNew", "", fault.Unknown},
		{"S3", 503, "GlacierExpeditedRetrievalNotAvailable", "", fault.Capacity},
		{"S3", 409, "RestoreAlreadyInProgress", "", fault.Conflict},
		{"S3", 403, "ObjectAlreadyInActiveTierError", "", fault.Conflict},
		{"S3", 403, "ObjectNotInActiveTierError", "", fault.Denied},
		{"S3", 403, "InvalidObjectState", "", fault.Denied},
		{"S3", 404, "NoSuchVersion", "", fault.NotFound},
		{"SNS", 404, "NotFound", "", fault.Denied},
		{"SNS", 400, "InvalidParameter", "Invalid parameter: TopicArn", fault.Denied},
		{"SNS", 400, "KMSDisabled", "", fault.Denied},
		{"SNS", 400, "KMSThrottling", "", fault.Throttled},
		{"SQS", 400, "AWS.SimpleQueueService.NonExistentQueue", "", fault.Denied},
		{"SQS", 400, "com.amazonaws.sqs#QueueDoesNotExist", "", fault.Denied},
		{"SQS", 400, "KmsAccessDenied", "", fault.Denied},
		{"SQS", 403, "OverLimit", "", fault.Throttled},
		{"DynamoDB", 400, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "", fault.Denied},
		{"DynamoDB", 400, "com.amazon.coral.validate#ValidationException", "Cannot read from backfilling global secondary index: due_index", fault.Denied},
		{"DynamoDB", 400, "ValidationException", "The table does not have the specified index: due_index", fault.Denied},
		{"DynamoDB", 400, "ValidationException", "Item size has exceeded the maximum allowed size", fault.Unknown},
		{"DynamoDB", 400, "ReplicatedWriteConflictException", "", fault.Transient},
		{"Glacier", 404, "ResourceNotFoundException", "", fault.NotFound},
		{"Glacier", 400, "NoLongerSupportedException", "", fault.Denied},
		{"Glacier", 503, "InsufficientCapacityException", "", fault.Capacity},
		{"STS", 400, "InvalidIdentityToken", "", fault.Denied},
		{"STS", 403, "RegionDisabledException", "", fault.Denied},
	} {
		err := Wrap(answer(c.service, c.status, c.code, c.message), "do it")
		if got := fault.KindOf(err); got != c.want {
			t.Errorf("%s %d %s %q is %s, want %s", c.service, c.status, c.code, c.message, got, c.want)
		}
	}
	for code, want := range map[string]fault.Kind{"ReceiptHandleIsInvalid": fault.NotFound, "InternalError": fault.Transient, "KmsThrottled": fault.Throttled, "New": fault.Unknown} {
		if got := fault.KindOf(FromCode(code, "delete")); got != want {
			t.Errorf("%s of a batch's entry is %s, want %s", code, got, want)
		}
	}
}

func TestAnErrorWithoutACodeIsOfTheKindOfItsCause(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{context.DeadlineExceeded, fault.Transient},
		{&smithyhttp.RequestSendError{Err: errors.New("cut off")}, fault.Transient},
		// The SDK wraps a call without an answer in an answer without a status.
		{&smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{}}, Err: &smithyhttp.RequestSendError{Err: errors.New("cut off")}}, fault.Transient},
		{fmt.Errorf("wrapped: %w", fault.New(fault.Corrupt, errors.New("x"))), fault.Corrupt},
		{errors.New("something"), fault.Unknown},
	} {
		if got := fault.KindOf(Wrap(c.err, "do it")); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
	if Wrap(nil, "do it") != nil {
		t.Error("an error of nothing")
	}
}
