package wiring

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
)

// other is the label of a value that no list has.
const other = "other"

// The services of AWS, as the SDK names them.
const (
	dynamoDB = "DynamoDB"
	glacierA = "Glacier"
	s3A      = "S3"
	snsA     = "SNS"
	sqsA     = "SQS"
)

// callsOf returns the operations that a service calls, by the service of AWS. They are those of
// its role. They bound the labels of the metrics, and each has a series from the start.
func callsOf(service config.Service) map[string][]string {
	out := map[string][]string{}
	role, _ := estate.RoleOf(string(service)) // each service has one
	for _, c := range role.Calls {
		of, operation, _ := strings.Cut(c.Operation, ".")
		operation, _, _ = strings.Cut(operation, " ") // such as "of a version"
		if !slices.Contains(out[of], operation) {
			out[of] = append(out[of], operation)
		}
	}
	return out
}

// outcomeOK is the outcome of a call without an error. The other outcomes are kinds of error.
const outcomeOK = "ok"

// awsCalls measures a service's calls of AWS, and knows whether AWS answers.
type awsCalls struct {
	known map[string][]string
	now   func() time.Time

	seconds *prometheus.HistogramVec
	calls   *prometheus.CounterVec
	errors  *prometheus.CounterVec

	mu   sync.Mutex // guards what follows
	away map[string]silence
}

// silence is the time in which a service of AWS answered no call.
type silence struct {
	since, last time.Time
	err         string
}

func newAWSCalls(service config.Service, now func() time.Time) *awsCalls {
	a := &awsCalls{
		known: callsOf(service),
		now:   now,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gas_aws_call_seconds", Help: "Time of a call of AWS, with all its tries.",
			Buckets: []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30},
		}, []string{"aws_service", "operation"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_aws_calls_total", Help: "Calls of AWS, by outcome: ok, or the kind of the error.",
		}, []string{"aws_service", "operation", "outcome"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gas_aws_errors_total", Help: "Calls of AWS that failed, by AWS's code; none: there was no answer; other: a code that we do not know.",
		}, []string{"aws_service", "code"}),
		away: map[string]silence{},
	}
	for name, operations := range a.known {
		for _, operation := range append([]string{other}, operations...) {
			a.seconds.WithLabelValues(name, operation)
			a.calls.WithLabelValues(name, operation, outcomeOK)
			for _, kind := range fault.Kinds() {
				a.calls.WithLabelValues(name, operation, kind.String())
			}
		}
		for _, code := range []string{noAnswer, other, "AccessDenied", "AccessDeniedException", "InternalError", "InternalServerError", "ServiceUnavailable", "SlowDown", "ThrottlingException"} {
			a.errors.WithLabelValues(name, code)
		}
	}
	return a
}

// noAnswer is the code of a call that AWS did not answer.
const noAnswer = "none"

func (a *awsCalls) all() []prometheus.Collector {
	return []prometheus.Collector{a.seconds, a.calls, a.errors}
}

// observe records a call.
func (a *awsCalls) observe(c awsclient.Call) {
	operation := c.Operation
	if !slices.Contains(a.known[c.Service], operation) {
		operation = other
	}
	outcome := outcomeOK
	if c.Failed {
		outcome = c.Kind.String()
		code := c.Code
		if code == "" {
			code = noAnswer
		}
		a.errors.WithLabelValues(c.Service, code).Inc()
	}
	a.seconds.WithLabelValues(c.Service, operation).Observe(c.Took.Seconds())
	a.calls.WithLabelValues(c.Service, operation, outcome).Inc()

	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.Failed || c.Kind != fault.Transient {
		delete(a.away, c.Service) // AWS answered
		return
	}
	s, now := a.away[c.Service], a.now()
	if s.since.IsZero() || now.Sub(s.last) > forgetAfter {
		s.since = now
	}
	s.last, s.err = now, fmt.Sprintf("%s: %s", c.Operation, cmp.Or(c.Code, "no answer"))
	a.away[c.Service] = s
}

const (
	// silentAfter is how long a service of AWS must answer no call before a service of ours is
	// not ready.
	silentAfter = 15 * time.Second
	// forgetAfter is how long a failure counts. Without new calls, nobody knows whether AWS
	// answers, and the next piece of work finds out.
	forgetAfter = 2 * time.Minute
)

// Err returns an error that names each service of AWS that answers no call. It makes no
// call: an idle service learns that AWS is away when it has work.
func (a *awsCalls) Err(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for _, name := range []string{dynamoDB, glacierA, s3A, snsA, sqsA} {
		s, silent := a.away[name]
		if silent && s.last.Sub(s.since) >= silentAfter && now.Sub(s.last) <= forgetAfter {
			return fmt.Errorf("%s has answered no call for %s: %s", name, now.Sub(s.since).Round(time.Second), s.err)
		}
	}
	return nil
}
