package localaws

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/access"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// ServeHTTP serves one AWS call: find the service from who the request was
// signed for, check the signature, name the operation, count it, and carry it
// out, with the latency and the fault that are in force.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_local/") {
		s.admin(w, r)
		return
	}
	if s.SNS.ServeCert(w, r) {
		return
	}
	id := world.UUID()
	w.Header().Set("X-Amzn-Requestid", id)

	sc, signed := scopeOf(r)
	service := s.services[sc.service]
	switch {
	case !signed && r.Header.Get("Authorization") == "" && (r.URL.Query().Get("Action") == "ConfirmSubscription" || r.URL.Query().Get("Action") == "Unsubscribe"):
		// The links in an SNS message are followed without a signature: the
		// token in them is the credential.
		service = s.SNS
	case !signed:
		s.S3.WriteError(w, r, world.Errorf(403, "AccessDenied", "the request is not signed with AWS Signature Version 4"))
		return
	case service == nil:
		s.S3.WriteError(w, r, world.Errorf(403, "AccessDenied", "the credential scope names service %q, which the stand-in does not have", sc.service))
		return
	case sc.region != s.cfg.Region:
		service.WriteError(w, r, world.Errorf(400, "AuthorizationHeaderMalformed", "the credential scope names region %q, the stand-in is in %q", sc.region, s.cfg.Region))
		return
	}
	if sc.service == "s3" {
		w.Header().Set("X-Amz-Request-Id", id)
	}
	if signed {
		if e := s.authenticate(r, sc); e != nil {
			service.WriteError(w, r, e)
			return
		}
	}
	op, e := service.Operation(r)
	if e != nil {
		service.WriteError(w, r, e)
		return
	}
	s.count(service.Name(), op.Name)
	if role := s.roleOf(sc.accessKey); signed && role != nil {
		absent, e := role.Admit(s.World, access.Request{Service: service.Name(), Operation: op.Name, HTTP: r})
		if e != nil {
			// As for a fault, the body is read, so that the client sees the answer.
			io.Copy(io.Discard, io.LimitReader(r.Body, 1<<30))
			service.WriteError(w, r, e)
			return
		}
		if absent != nil {
			w = &hiding{ResponseWriter: w, absent: absent, refuse: func(w http.ResponseWriter, e *world.Error) { service.WriteError(w, r, e) }}
		}
	}

	fault, faulty := s.Faults.match(service.Name(), op.Name)
	if d := time.Duration(s.latency.Load()) + fault.Delay; d > 0 {
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-r.Context().Done():
			t.Stop()
			panic(http.ErrAbortHandler)
		case <-s.World.Context().Done():
			t.Stop()
			panic(http.ErrAbortHandler)
		}
	}
	if !faulty {
		op.Serve(w, r)
		return
	}
	s.serveFaulty(w, r, service, op, fault)
}

func (s *Server) serveFaulty(w http.ResponseWriter, r *http.Request, service world.Service, op world.Operation, fault Fault) {
	if fault.CorruptRequest {
		r.Body = &flipper{ReadCloser: r.Body, at: fault.CorruptAt}
	}
	instead := fault.Code != "" || fault.Hang || fault.Cut && fault.CutAt == 0
	if !instead {
		op.Serve(&faultyWriter{ResponseWriter: w, fault: fault}, r)
		return
	}
	if fault.After {
		op.Serve(&nowhere{header: http.Header{}}, r)
	}
	switch {
	case fault.Hang:
		select {
		case <-r.Context().Done():
		case <-s.World.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case fault.Cut:
		panic(http.ErrAbortHandler)
	}
	message := fault.Message
	if message == "" {
		message = "injected by a fault rule"
	}
	if !fault.After {
		// The request's body is read, because otherwise the client may see a broken pipe
		// in place of the answer.
		io.Copy(io.Discard, io.LimitReader(r.Body, 1<<30))
	}
	service.WriteError(w, r, &world.Error{Status: fault.Status, Code: fault.Code, Message: message})
}

// flipper flips a bit of a request's body.
type flipper struct {
	io.ReadCloser
	at, n int64
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if f.at >= f.n && f.at < f.n+int64(n) {
		p[f.at-f.n] ^= 1
	}
	f.n += int64(n)
	return n, err
}

func (s *Server) count(service, operation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[service+"."+operation]++
}

// Counts returns how often each operation was called, by "service.Operation",
// since the stand-in started or ResetCounts.
func (s *Server) Counts() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int64, len(s.counts))
	for k, v := range s.counts {
		out[k] = v
	}
	return out
}

// ResetCounts sets the counters to zero.
func (s *Server) ResetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.counts)
}

// SetLatency makes every call take at least d longer.
func (s *Server) SetLatency(d time.Duration) { s.latency.Store(int64(d)) }
