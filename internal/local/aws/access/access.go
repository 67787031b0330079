// Package access knows what AWS checks before it carries a request out: which actions on
// which resources the caller must be allowed. It evaluates the policies of roles with that.
//
// It is written from AWS's service authorization reference and the pages of the
// operations. Some operations need an action of another name, and some need several. For a
// role, the stand-in refuses an operation that is not in the lists here, so that no role
// can do more here than at AWS.
package access

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/gas-restore/gas/internal/local/aws/policy"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Need is an action on a resource that the caller must be allowed.
type Need struct{ Action, Resource string }

// Request is a request to one of the services.
type Request struct {
	Service, Operation string
	HTTP               *http.Request
}

// needs are the needs of a request. The needs in absent decide how S3 answers when the
// object does not exist: 404 if they are allowed, otherwise 403.
type needs struct{ always, absent []Need }

// of returns the needs of the request; false if they are not known.
func of(w *world.World, r Request) (needs, bool) {
	switch r.Service {
	case "s3":
		return s3Needs(w, r)
	case "dynamodb":
		return dynamoNeeds(w, r)
	case "sqs":
		return sqsNeeds(w, r)
	case "sns":
		return snsNeeds(w, r)
	case "glacier":
		return glacierNeeds(w, r)
	case "sts":
		return needs{}, r.Operation == "GetCallerIdentity" // everybody may ask who they are
	}
	return needs{}, false
}

// Role is a role with its policy. Its methods may be called at any time.
type Role struct {
	name string

	mu      sync.Mutex // guards what follows
	policy  *policy.Policy
	calls   map[string]int
	used    map[Need]int
	refused map[Need]int
}

// Parse reads the policy of a role. The error says what is wrong with it.
func Parse(role, text string) (*policy.Policy, error) {
	p, err := policy.ParseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", role, err)
	}
	return p, nil
}

// New returns a role with the policy.
func New(name string, p *policy.Policy) *Role {
	return &Role{name: name, policy: p, calls: map[string]int{}, used: map[Need]int{}, refused: map[Need]int{}}
}

// Name returns the role's name.
func (r *Role) Name() string { return r.name }

// SetPolicy gives the role another policy.
func (r *Role) SetPolicy(p *policy.Policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy = p
}

// Record says what a role did.
type Record struct {
	// Calls counts the calls by "service.Operation".
	Calls map[string]int `json:"calls"`
	// Used counts the needs that were allowed, and Refused those that were not.
	Used    map[Need]int `json:"used"`
	Refused map[Need]int `json:"refused"`
}

// MarshalText implements [encoding.TextMarshaler]: the action, a space and the resource.
func (n Need) MarshalText() ([]byte, error) { return []byte(n.Action + " " + n.Resource), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Need) UnmarshalText(text []byte) error {
	n.Action, n.Resource, _ = strings.Cut(string(text), " ")
	return nil
}

// Record returns what the role did so far.
func (r *Role) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Record{Calls: map[string]int{}, Used: map[Need]int{}, Refused: map[Need]int{}}
	for k, n := range r.calls {
		out.Calls[k] = n
	}
	for k, n := range r.used {
		out.Used[k] = n
	}
	for k, n := range r.refused {
		out.Refused[k] = n
	}
	return out
}

// Admit decides whether the role may make the request. The error is AWS's answer if it may
// not. Otherwise, absent is nil, or the error with which S3 answers a request for an object
// that does not exist; that function must be called at that moment.
func (r *Role) Admit(w *world.World, q Request) (absent func() *world.Error, e *world.Error) {
	all, known := of(w, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[q.Service+"."+q.Operation]++
	if !known {
		return nil, r.refusal(w, q.Service, Need{q.Service + ":" + q.Operation, "*"})
	}
	for _, n := range all.always {
		if e := r.need(w, q.Service, n); e != nil {
			return nil, e
		}
	}
	if len(all.absent) == 0 {
		return nil, nil
	}
	return func() *world.Error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range all.absent {
			if e := r.need(w, q.Service, n); e != nil {
				return e
			}
		}
		return nil
	}, nil
}

// need counts a need; the error says that it is refused. The caller holds r.mu.
func (r *Role) need(w *world.World, service string, n Need) *world.Error {
	if r.policy.Allows(policy.Request{Account: w.Account, Action: n.Action, Resource: n.Resource}) {
		r.used[n]++
		return nil
	}
	return r.refusal(w, service, n)
}

// refusal is how AWS refuses a need.
func (r *Role) refusal(w *world.World, service string, n Need) *world.Error {
	r.refused[n]++
	action := n.Action
	switch service {
	case "sqs":
		action = strings.ToLower(action) // as SQS writes it
	case "sns":
		action = "SNS:" + strings.TrimPrefix(action, "sns:")
	}
	message := fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/%s/local is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		w.Account, r.name, action, n.Resource, action)
	switch service {
	case "s3":
		return world.Errorf(http.StatusForbidden, "AccessDenied", "%s", message)
	case "sns":
		return world.Errorf(http.StatusForbidden, "AuthorizationError", "%s", message)
	case "glacier":
		return world.Errorf(http.StatusForbidden, "AccessDeniedException", "%s", message)
	}
	return world.Errorf(http.StatusBadRequest, "AccessDeniedException", "%s", message)
}
