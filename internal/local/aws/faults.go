package localaws

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Fault is a rule by which the stand-in misbehaves. The first rule that
// matches a call and fires is the one that is applied.
type Fault struct {
	// Service and Operation choose the calls, "s3" and "PutObject" for
	// example; empty means all.
	Service   string `json:"service,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Skip lets that many matching calls pass first.
	Skip int `json:"skip,omitempty"`
	// Times is how often the rule fires before it is used up; 0 is for ever.
	Times int `json:"times,omitempty"`
	// Probability is the chance to fire, 0 < p < 1; 0 is always.
	Probability float64 `json:"probability,omitempty"`

	// Delay is waited before anything else.
	Delay time.Duration `json:"delay,omitempty"`
	// Code and Status are the error to answer with, in place of the call, or
	// after it took effect if After is set. Message may be empty.
	Code    string `json:"code,omitempty"`
	Status  int    `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	// After carries the call out first: it took effect but the caller sees an
	// error, a cut connection or a time-out.
	After bool `json:"after,omitempty"`
	// Hang never answers: the caller's time limit must end it.
	Hang bool `json:"hang,omitempty"`
	// Cut ends the connection. Without CutAt no byte is answered.
	Cut bool `json:"cut,omitempty"`
	// CutAt cuts the answer's body after that many bytes.
	CutAt int64 `json:"cut_at,omitempty"`
	// Corrupt flips a bit of the answer's body, at byte CorruptAt.
	Corrupt   bool  `json:"corrupt,omitempty"`
	CorruptAt int64 `json:"corrupt_at,omitempty"`
	// CorruptRequest flips a bit of the request's body, at byte CorruptAt, after
	// its signature was checked.
	CorruptRequest bool `json:"corrupt_request,omitempty"`
}

// Check returns an error if the rule contradicts itself.
func (f Fault) Check() error {
	switch {
	case f.Code != "" && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("fault: status is %d with code %s, want 400 to 599", f.Status, f.Code)
	case f.Code == "" && f.Status != 0:
		return fmt.Errorf("fault: status %d without a code", f.Status)
	case f.Probability < 0 || f.Probability >= 1:
		return fmt.Errorf("fault: probability is %v, want 0 (always) up to but not 1", f.Probability)
	case f.Skip < 0 || f.Times < 0 || f.CutAt < 0 || f.CorruptAt < 0 || f.Delay < 0:
		return fmt.Errorf("fault: a count, offset or delay is negative")
	case f.Code == "" && !f.Hang && !f.Cut && !f.Corrupt && !f.CorruptRequest && f.Delay == 0:
		return fmt.Errorf("fault: it does nothing")
	}
	return nil
}

// Faults is the set of rules in force. Its methods may be called at any time.
type Faults struct {
	mu    sync.Mutex // guards what follows
	rules []*rule
	rand  *rand.Rand
	fired map[string]int
}

type rule struct {
	Fault
	seen, fired int
}

func newFaults(seed uint64) *Faults {
	return &Faults{rand: rand.New(rand.NewPCG(seed, seed)), fired: map[string]int{}}
}

// Add puts rules behind those in force.
func (f *Faults) Add(rules ...Fault) error {
	for _, r := range rules {
		if err := r.Check(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		f.rules = append(f.rules, &rule{Fault: r})
	}
	return nil
}

// Clear drops all rules.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Seed makes the rules with a probability repeatable.
func (f *Faults) Seed(seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rand = rand.New(rand.NewPCG(seed, seed))
}

// Fired returns how often faults were applied, by "service.Operation".
func (f *Faults) Fired() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int, len(f.fired))
	for k, v := range f.fired {
		out[k] = v
	}
	return out
}

func (f *Faults) match(service, operation string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Service != "" && r.Service != service || r.Operation != "" && r.Operation != operation {
			continue
		}
		if r.Times > 0 && r.fired >= r.Times {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || r.Probability > 0 && f.rand.Float64() >= r.Probability {
			continue
		}
		r.fired++
		f.fired[service+"."+operation]++
		return r.Fault, true
	}
	return Fault{}, false
}

// faultyWriter applies a fault to an answer on its way out.
type faultyWriter struct {
	http.ResponseWriter
	fault Fault
	n     int64
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if w.fault.Corrupt && w.fault.CorruptAt >= w.n && w.fault.CorruptAt < w.n+int64(len(p)) {
		p = append([]byte(nil), p...)
		p[w.fault.CorruptAt-w.n] ^= 1
	}
	if w.fault.Cut && w.n+int64(len(p)) >= w.fault.CutAt {
		n, err := w.ResponseWriter.Write(p[:w.fault.CutAt-w.n])
		if err == nil {
			http.NewResponseController(w.ResponseWriter).Flush()
		}
		w.n += int64(n)
		panic(http.ErrAbortHandler)
	}
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

func (w *faultyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// nowhere swallows an answer that the caller is not to see.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(status int)      { w.status = status }

// admin serves what a process beside the stand-in's may do to it: read the
// counters, add and clear faults, make roles and read what they did, set the latency and how often Expedited has no
// capacity, name the queue for EventBridge's form of S3's events, let vaults take empty
// archives, move the clock.
func (s *Server) admin(w http.ResponseWriter, r *http.Request) {
	fail := func(err error) { http.Error(w, err.Error(), http.StatusBadRequest) }
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	switch r.Method + " " + r.URL.Path {
	case "GET /_local/counts":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Counts())
	case "DELETE /_local/counts":
		s.ResetCounts()
	case "GET /_local/fired":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Faults.Fired())
	case "POST /_local/faults":
		var rules []Fault
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&rules); err != nil {
			fail(fmt.Errorf("faults: %w", err))
		} else if err := s.Faults.Add(rules...); err != nil {
			fail(err)
		}
	case "DELETE /_local/faults":
		s.Faults.Clear()
	case "GET /_local/roles":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Roles())
	case "POST /_local/roles":
		name := r.URL.Query().Get("name")
		policy, err := io.ReadAll(r.Body)
		if err == nil && name == "" {
			err = fmt.Errorf("name is empty, want the role's name, and its policy as the body")
		}
		var access, secret string
		if err == nil {
			access, secret, err = s.SetRole(name, string(policy))
		}
		if err != nil {
			fail(err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"access_key": access, "secret_key": secret})
	case "POST /_local/refusal":
		p, err := strconv.ParseFloat(r.URL.Query().Get("p"), 64)
		if err != nil || !(p >= 0 && p <= 1) {
			fail(fmt.Errorf("p is %q, want the chance that Expedited has no capacity, 0 to 1", r.URL.Query().Get("p")))
		} else {
			s.Glacier.SetExpeditedRefusal(p)
			s.S3.SetExpeditedRefusal(p)
		}
	case "POST /_local/eventbridge":
		bucket, queue := r.URL.Query().Get("bucket"), r.URL.Query().Get("queue")
		if bucket == "" {
			fail(fmt.Errorf("bucket is empty, want the bucket with the events, and queue: the ARN of the queue that gets them in EventBridge's form"))
		} else {
			s.S3.SetEventBridgeQueue(bucket, queue)
		}
	case "POST /_local/empty-archives":
		allow, err := strconv.ParseBool(r.URL.Query().Get("allow"))
		if err != nil {
			fail(fmt.Errorf("allow is %q, want whether vaults take archives of 0 bytes: true or false", r.URL.Query().Get("allow")))
		} else {
			s.Glacier.AllowEmptyArchives(allow)
		}
	case "POST /_local/latency", "POST /_local/advance":
		d, err := time.ParseDuration(r.URL.Query().Get("d"))
		switch {
		case err != nil || d < 0:
			fail(fmt.Errorf("d is %q, want a duration such as 20ms", r.URL.Query().Get("d")))
		case r.URL.Path == "/_local/latency":
			s.SetLatency(d)
		default:
			s.World.Clock.Advance(d)
		}
	default:
		http.Error(w, "no such path: want counts, fired, faults, roles, refusal, eventbridge, empty-archives, latency or advance", http.StatusNotFound)
	}
}
