package checkup

import (
	"context"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
)

// Options say what to check.
type Options struct {
	// For are the services to check for. Without any, everything is checked for all
	// services and for an operator.
	For []config.Service
	// Timeout is how long to wait for each answer.
	Timeout time.Duration
	// Environ is the environment, in the form of [os.Environ], from which Config was
	// read. ConfigErr is the error of that reading.
	Environ   []string
	Config    config.Config
	ConfigErr error
	// AWS replaces AWS's settings of the environment.
	AWS awsclient.Options
}

// look is a check in progress.
type look struct {
	report
	cfg      config.Config
	needs    []config.Service
	operator bool
	timeout  time.Duration
	// bad are the variables with a wrong value. The things that they name are not tried.
	bad map[string]bool
}

// Services returns the services that can be checked.
func Services() []config.Service {
	return []config.Service{config.Bridge, config.Thaw, config.Restore, config.Web}
}

// Run checks everything. It returns a finding for each thing, in the order of the checks.
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

// has reports whether one of the services is checked.
func (l *look) has(which ...config.Service) bool {
	return slices.ContainsFunc(which, func(n config.Service) bool { return slices.Contains(l.needs, n) })
}

// try calls f with the time limit.
func (l *look) try(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return f(ctx)
}

// limits adds the things that the checks cannot prove, because a try would have an effect.
func (l *look) limits() {
	for _, limit := range []struct {
		who         config.Service
		what, words string
	}{
		{config.Bridge, "sqs:ReceiveMessage", "each call counts as a receive; DeleteMessage and ChangeMessageVisibility are not proven either"},
		{config.Bridge, "sns:ConfirmSubscription", "it needs a token that SNS sent"},
		{config.Thaw, "glacier:InitiateJob", "a retrieval costs money"},
		{config.Thaw, "dynamodb:UpdateItem", "it writes; PutItem and TransactWriteItems are not proven either"},
		{config.Restore, "glacier:GetJobOutput", "it needs a finished retrieval"},
		{config.Restore, "glacier:DeleteArchive", "it deletes; if a vault lock forbids it, files are still restored"},
		{config.Restore, "s3:PutObject", "it writes; the parts of a multipart upload are not proven either"},
		{config.Web, "sns:Publish", "it would announce an upgrade"},
	} {
		if l.has(limit.who) {
			l.unproven(limit.what, limit.words, "")
		}
	}
}
