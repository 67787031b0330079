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

// Wrap returns err with its kind and with what was being done. It returns nil
// for nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf(format+": %w", append(args, err)...)
	if headDenied(err) {
		wrapped = fmt.Errorf("%w; S3 does not say what the role lacks: it is s3:GetObject on the object, s3:GetObjectVersion on its version, or s3:ListBucket on the bucket", wrapped)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == noLongerSupported {
		return fault.Because(fault.Denied, NoVaults, wrapped)
	}
	return fault.New(kindOf(err), wrapped)
}

// headDenied reports whether S3 denied a HEAD request. Its answer has no body, so it does not
// name the permission that is missing.
func headDenied(err error) bool {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok || !strings.HasPrefix(op.OperationName, "Head") {
		return false
	}
	resp, ok := errors.AsType[*smithyhttp.ResponseError](err)
	return ok && resp.HTTPStatusCode() == 403
}

// Code returns the error code of AWS's answer; empty if err has none. An adapter asks for it
// only where a code means something else in each operation.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// NoVaults is the cause of each error of an account that may not use Glacier vaults.
const NoVaults = "no vaults for this account"

// Credentials returns an error of getting credentials with its kind. A missing role or a
// missing permission concerns the credentials, and not the object of the call: an
// operator must fix it. It returns nil for nil.
func Credentials(err error) error {
	if err == nil {
		return nil
	}
	kind := kindOf(err)
	if status, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok && kind == fault.Unknown {
		kind = ofStatus(status.HTTPStatusCode())
	}
	if kind != fault.Transient && kind != fault.Throttled {
		kind = fault.Denied
	}
	return fault.New(kind, err)
}

// FromCode returns the error of one entry of an SQS batch: AWS gives only a code for it,
// and no whole response.
func FromCode(code, format string, args ...any) error {
	kind, _ := ofCode(sqs, code, "")
	return fault.New(kind, fmt.Errorf(format+": %s", append(args, code)...))
}

// ofCode returns the kind of a service's error code; false if the code is unknown.
// DynamoDB reports a missing index under a general code, so its text decides.
func ofCode(service, code, message string) (fault.Kind, bool) {
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	if kind, ok := byService[service][code]; ok {
		return kind, true
	}
	if kind, ok := codes[code]; ok {
		return kind, true
	}
	if strings.HasPrefix(code, "KMS.") {
		return fault.Denied, true // S3 and DynamoDB pass on what KMS says
	}
	if service == dynamodb && code == "ValidationException" {
		for _, words := range setUp {
			if strings.Contains(message, words) {
				return fault.Denied, true
			}
		}
	}
	return fault.Unknown, false
}

// Of returns the kind of an error of a service's call, and AWS's code for it. The code is
// empty if AWS did not answer, and [Other] if no table here has it: so there is a bounded
// number of codes. The SDK does not name the service in an error that a middleware sees.
func Of(service string, err error) (fault.Kind, string) {
	kind, code := kindIn(service, err), Code(err)
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	_, general := codes[code]
	_, own := byService[service][code]
	if code != "" && !general && !own {
		code = Other
	}
	return kind, code
}

// Other is the code of an error with a code that no table here has.
const Other = "other"

func kindOf(err error) fault.Kind {
	var service string
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		service = op.ServiceID
	}
	return kindIn(service, err)
}

func kindIn(service string, err error) fault.Kind {
	if classified, ok := errors.AsType[*fault.Error](err); ok {
		return classified.Kind
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if kind, ok := ofCode(service, api.ErrorCode(), api.ErrorMessage()); ok {
			return kind
		}
	}
	// A request that was not answered has both errors, and the status 0.
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return fault.Transient
	}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.HTTPStatusCode() != 0 {
		return ofStatus(resp.HTTPStatusCode())
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return fault.Transient
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Transient
	}
	return fault.Unknown
}

// ofStatus returns the kind of an answer with nothing but an HTTP status.
func ofStatus(status int) fault.Kind {
	switch {
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
	case status >= 300:
		return fault.Denied // the wrong region or endpoint
	}
	return fault.Unknown
}
