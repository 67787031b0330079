package awsclient

import (
	"context"
	"errors"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/trace"
)

// Call is the outcome of one call of AWS, with all its tries.
type Call struct {
	// Service and Operation are the SDK's names: "DynamoDB" and "GetItem" for example.
	Service, Operation string
	// Failed is true if the call returned an error. Then Kind is the error's kind, and Code
	// AWS's code for it, empty if there was no answer.
	Failed bool
	Kind   fault.Kind
	Code   string
	Took   time.Duration
}

// observed returns an option that reports each call to observe. A presigned link is no call:
// it has no such step. A call that its caller gave up says nothing about AWS.
func observed(observe func(Call)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("gas.Observe", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			began := time.Now()
			ctx, step := trace.Child(ctx, "aws", awsmiddleware.GetServiceID(ctx)+" "+awsmiddleware.GetOperationName(ctx))
			out, meta, err := next.HandleFinalize(ctx, in)
			step.Done(err)
			if err != nil && errors.Is(ctx.Err(), context.Canceled) {
				return out, meta, err
			}
			c := Call{Service: awsmiddleware.GetServiceID(ctx), Operation: awsmiddleware.GetOperationName(ctx), Failed: err != nil, Took: time.Since(began)}
			if err != nil {
				c.Kind, c.Code = awsfault.Of(c.Service, err)
			}
			observe(c)
			return out, meta, err
		}), middleware.Before)
	}
}
