// Package awsfault turns what the AWS SDK returns into the pipeline's fault
// kinds: the one place where AWS's error codes are known.
package awsfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/fault"
)

// codes maps AWS's error codes to kinds. A code that is not here is judged by
// its HTTP status.
var codes = map[string]fault.Kind{
	// Glacier
	"InsufficientCapacityException": fault.Capacity,
	"PolicyEnforcedException":       fault.Policy,
	"LimitExceededException":        fault.Throttled,
	"ResourceNotFoundException":     fault.NotFound,
	"RequestTimeoutException":       fault.Transient,
	"ServiceUnavailableException":   fault.Transient,
	// SQS: the message is not lent to us any more.
	"ReceiptHandleIsInvalid":                    fault.NotFound,
	"MessageNotInflight":                        fault.NotFound,
	"AWS.SimpleQueueService.MessageNotInflight": fault.NotFound,
	// everywhere
	"ThrottlingException":                    fault.Throttled,
	"Throttling":                             fault.Throttled,
	"TooManyRequestsException":               fault.Throttled,
	"RequestLimitExceeded":                   fault.Throttled,
	"ProvisionedThroughputExceededException": fault.Throttled,
	"SlowDown":                               fault.Throttled,
	"RequestThrottled":                       fault.Throttled,
	"RequestTimeout":                         fault.Transient,
	"RequestTimeTooSkewed":                   fault.Transient,
	"InternalServerError":                    fault.Transient,
	"InternalFailure":                        fault.Transient,
	"InternalError":                          fault.Transient,
	"ServiceUnavailable":                     fault.Transient,
	"AccessDenied":                           fault.Denied,
	"AccessDeniedException":                  fault.Denied,
	"AuthorizationError":                     fault.Denied,
	"ExpiredToken":                           fault.Denied,
	"ExpiredTokenException":                  fault.Denied,
	"InvalidAccessKeyId":                     fault.Denied,
	"InvalidSignatureException":              fault.Denied,
	"MissingAuthenticationTokenException":    fault.Denied,
	"SignatureDoesNotMatch":                  fault.Denied,
	"UnrecognizedClientException":            fault.Denied,
	// DynamoDB
	"ConditionalCheckFailedException": fault.Conflict,
	"TransactionConflictException":    fault.Transient,
	// S3
	"NoSuchKey":                  fault.NotFound,
	"NotFound":                   fault.NotFound,
	"PreconditionFailed":         fault.Conflict,
	"ConditionalRequestConflict": fault.Transient,
	"BadDigest":                  fault.Corrupt,
	"XAmzContentSHA256Mismatch":  fault.Corrupt,
	"IncompleteBody":             fault.Transient,
	"NoSuchUpload":               fault.Transient, // somebody aborted it: begin anew
	// A bucket, topic or queue that is missing is a mistake of set-up, which an
	// operator mends: the work waits for it.
	"NoSuchBucket":      fault.Denied,
	"QueueDoesNotExist": fault.Denied,
	"AWS.SimpleQueueService.NonExistentQueue": fault.Denied,
}

// Wrap returns err with its kind and with what was being done. It returns nil
// for nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fault.New(kindOf(err), fmt.Errorf(format+": %w", append(args, err)...))
}

// FromCode returns the error of one entry of a batch, of which AWS gives the code
// and not a whole response.
func FromCode(code, format string, args ...any) error {
	return fault.New(codes[code], fmt.Errorf(format+": %s", append(args, code)...))
}

func kindOf(err error) fault.Kind {
	if classified, ok := errors.AsType[*fault.Error](err); ok {
		return classified.Kind
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code := api.ErrorCode()
		if i := strings.LastIndexByte(code, '#'); i >= 0 {
			code = code[i+1:]
		}
		if kind, ok := codes[code]; ok {
			return kind
		}
	}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		switch status := resp.HTTPStatusCode(); {
		case status == 404:
			return fault.NotFound
		case status == 412:
			return fault.Conflict
		case status == 403 || status == 401:
			return fault.Denied
		case status == 429:
			return fault.Throttled
		case status >= 500:
			return fault.Transient
		case status >= 400:
			return fault.Unknown
		}
	}
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return fault.Transient
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return fault.Transient
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Transient
	}
	return fault.Unknown
}
