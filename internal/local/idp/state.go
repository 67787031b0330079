package localidp

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

const (
	// requestLifetime is how long the sign-in page waits for a person.
	requestLifetime = 10 * time.Minute
	// codeLifetime is how long an application has to redeem its code.
	codeLifetime = time.Minute
	// tokenLifetime is the lifetime of access and ID tokens.
	tokenLifetime = time.Hour
	// maxEntries bounds each kind of state; the oldest goes first.
	maxEntries = 10_000
)

var (
	errUnknown = errors.New("unknown, used or expired")
	errNobody  = errors.New("no such person")
)

// state is everything that the provider remembers. It is in memory. A restart signs nobody
// out of the applications: it only ends the sign-ins under way.
type state struct {
	now     func() time.Time
	clients map[string]*client
	persons map[string]Person

	// mu guards the fields below and the requests in them.
	mu sync.Mutex
	// keys are the published keys. The last one signs.
	keys     []signing
	requests *expiring[*request]
	codes    *expiring[string]
	tokens   *expiring[token]
}

// token is an access token that was handed out.
type token struct {
	subject string
	client  string
	scopes  []string
	expires time.Time
}

// request is an authorization request, and its answer as soon as somebody signed in. It
// does not change, except for the fields that state guards. Callers of state get copies.
type request struct {
	oidc.AuthRequest
	audience []string
	id       string
	subject  string
	signedIn time.Time
	coded    bool
}

func newState(cfg Config, key signing) *state {
	s := &state{
		now:      cfg.Now,
		clients:  make(map[string]*client),
		persons:  make(map[string]Person),
		keys:     []signing{key},
		requests: newExpiring[*request](maxEntries),
		codes:    newExpiring[string](maxEntries),
		tokens:   newExpiring[token](maxEntries),
	}
	for _, c := range cfg.Clients {
		s.clients[c.ID] = &client{Client: c}
	}
	for _, p := range cfg.People {
		s.persons[p.Subject] = p
	}
	return s
}

// request returns a copy of a request that nobody has answered yet. The error is errUnknown
// if there is no such request.
func (s *state) request(id string) (*request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests.get(id, s.now())
	if !ok || r.coded {
		return nil, errUnknown
	}
	copied := *r
	return &copied, nil
}

// signIn answers the request in the name of subject.
func (s *state) signIn(id, subject string) error {
	if _, ok := s.persons[subject]; !ok {
		return errNobody
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests.get(id, s.now())
	if !ok || r.coded {
		return errUnknown
	}
	r.subject, r.signedIn = subject, s.now()
	return nil
}

// saveCode stores the code for the request's tokens. A request has one code: a reload of
// the last redirect must not make a second.
func (s *state) saveCode(id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests.get(id, s.now())
	if !ok || r.coded {
		return errUnknown
	}
	r.coded = true
	s.codes.put(code, id, s.now().Add(codeLifetime))
	return nil
}

// redeem returns the request of code, and forgets both: the code is spent even if the
// exchange fails.
func (s *state) redeem(code string) (*request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.codes.get(code, s.now())
	if !ok {
		return nil, errUnknown
	}
	s.codes.remove(code)
	r, ok := s.requests.get(id, s.now())
	if !ok {
		return nil, errUnknown
	}
	s.requests.remove(id)
	return r, nil
}

// expiring is a map with a bounded size. Its entries expire. When it is full, the oldest
// entry makes room. The caller locks.
type expiring[V any] struct {
	max     int
	entries map[string]*list.Element
	order   *list.List
}

type entry[V any] struct {
	key     string
	value   V
	expires time.Time
}

func newExpiring[V any](limit int) *expiring[V] {
	return &expiring[V]{max: limit, entries: make(map[string]*list.Element), order: list.New()}
}

func (e *expiring[V]) put(key string, v V, expires time.Time) {
	e.remove(key)
	for e.order.Len() >= e.max {
		e.remove(e.order.Front().Value.(entry[V]).key)
	}
	e.entries[key] = e.order.PushBack(entry[V]{key, v, expires})
}

func (e *expiring[V]) get(key string, now time.Time) (v V, ok bool) {
	el, ok := e.entries[key]
	if !ok {
		return v, false
	}
	en := el.Value.(entry[V])
	if now.After(en.expires) {
		e.remove(key)
		return v, false
	}
	return en.value, true
}

func (e *expiring[V]) remove(key string) {
	if el, ok := e.entries[key]; ok {
		e.order.Remove(el)
		delete(e.entries, key)
	}
}
