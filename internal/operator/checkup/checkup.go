package checkup

import (
	"context"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
)

// Options say what to look at.
type Options struct {
	// For are the services whose needs are looked at; none is all of them, and then also
	// at what only an operator can see.
	For []config.Service
	// Timeout is how long to wait for each answer.
	Timeout time.Duration
	// Environ is the environment, as [os.Environ] has it, with which Config was read, and
	// ConfigErr the error of that.
	Environ   []string
	Config    config.Config
	ConfigErr error
	// AWS overrides what the environment says of AWS.
	AWS awsclient.Options
}

// look is a checkup under way.
type look struct {
	report
	cfg      config.Config
	needs    []config.Service
	operator bool
	timeout  time.Duration
	// bad are the variables that are wrong by themselves: what they name is not tried.
	bad map[string]bool
}

// Services returns those that can be looked at.
func Services() []config.Service {
	return []config.Service{config.Bridge, config.Thaw, config.Restore, config.Web}
}

// Run looks at everything, and returns a finding for each thing, in the order in which
// they were looked at.
func Run(ctx context.Context, o Options) []Finding {
	l := &look{cfg: o.Config, needs: o.For, timeout: o.Timeout, bad: map[string]bool{}}
	if len(l.needs) == 0 {
		l.needs, l.operator = Services(), true
	}
	l.settings(o.Environ, o.ConfigErr)
	l.files()
	l.addresses()
	l.certs(ctx)
	l.nats(ctx)
	l.aws(ctx, o.AWS)
	if l.has(config.Web) {
		l.provider(ctx)
	}
	l.limits()
	return l.all
}

// has reports whether one of the services is looked at.
func (l *look) has(which ...config.Service) bool {
	return slices.ContainsFunc(which, func(n config.Service) bool { return slices.Contains(l.needs, n) })
}

// try calls f with the time limit.
func (l *look) try(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return f(ctx)
}

// limits tells what none of the looks can prove: to try it would have an effect.
func (l *look) limits() {
	for _, limit := range []struct {
		who         config.Service
		what, words string
	}{
		{config.Bridge, "sqs:ReceiveMessage", "to receive counts as a receive; nor DeleteMessage and ChangeMessageVisibility"},
		{config.Bridge, "sns:ConfirmSubscription", "it takes a token that SNS sent"},
		{config.Thaw, "glacier:InitiateJob", "a retrieval costs money"},
		{config.Thaw, "dynamodb:UpdateItem", "it writes; nor PutItem and TransactWriteItems"},
		{config.Restore, "glacier:GetJobOutput", "it takes a retrieval that is finished"},
		{config.Restore, "glacier:DeleteArchive", "it deletes; a vault lock may forbid it, and files are restored all the same"},
		{config.Restore, "s3:PutObject", "it writes; nor the parts of a multipart upload"},
		{config.Web, "sns:Publish", "it would announce an upgrade"},
	} {
		if l.has(limit.who) {
			l.unproven(limit.what, limit.words, "")
		}
	}
}
