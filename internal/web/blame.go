package web

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// blame is whose fault it is that somebody is not signed in. It decides what the person
// reads, the status, and how loud the log is. What is our own fault has no blame: it
// fails as every request does.
type blame int

const (
	noBlame blame = iota
	// byPerson is what passes when the person begins anew, or what they wanted so.
	byPerson
	// byProvider is what passes when the provider is well again.
	byProvider
	// bySetUp is what nobody can sign in before an operator has mended it.
	bySetUp
)

// String is the blame's name in the log.
func (b blame) String() string { return [...]string{"us", "person", "provider", "set-up"}[b] }

func (b blame) level() slog.Level {
	return [...]slog.Level{slog.LevelError, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[b]
}

// refusal is an error of sign-in with whose fault it is.
type refusal struct {
	blame  blame
	status int
	// after is for how long the provider wants to be left alone; zero if it does not say.
	after time.Duration
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// stale refuses what was good once, or is another browser's.
func stale(err error) error {
	return &refusal{blame: byPerson, status: http.StatusBadRequest, err: err}
}

// away says that the provider does not answer, or not now.
func away(err error, after time.Duration) error {
	return &refusal{blame: byProvider, status: http.StatusServiceUnavailable, after: after, err: err}
}

// nonsense says that the provider answered what cannot be used.
func nonsense(err error) error {
	return &refusal{blame: byProvider, status: http.StatusBadGateway, err: err}
}

// wrongSetUp says that we and the provider do not agree on what was agreed upon.
func wrongSetUp(err error) error {
	return &refusal{blame: bySetUp, status: http.StatusInternalServerError, err: err}
}

// whoseFault returns err, what a call to the provider ended with, with whose fault it is.
// doing says what the call was for.
func whoseFault(err error, doing string) error {
	doingIt := fmt.Errorf("%s: %w", doing, err)
	if r, ok := errors.AsType[*refusal](err); ok {
		again := *r
		again.err = doingIt
		return &again
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return ofTokenEndpoint(refused, doingIt)
	}
	if answered, ok := errors.AsType[*statusError](err); ok {
		if busy(answered.status) {
			return away(doingIt, answered.after)
		}
		// What the issuer's address leads to is not what is to be there.
		return wrongSetUp(doingIt)
	}
	if untrusted(err) {
		return wrongSetUp(doingIt)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return away(doingIt, 0)
	}
	return nonsense(doingIt)
}

// untrusted reports whether err is of an address that is wrong, or whose certificate we
// have no reason to trust: it does not pass by itself.
func untrusted(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, other := errors.AsType[x509.HostnameError](err)
	return unknown || other
}

// busy reports whether the status says that the same request may succeed later.
func busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

func ofTokenEndpoint(refused *oauth2.RetrieveError, err error) error {
	status := refused.Response.StatusCode
	switch {
	case busy(status):
		return away(err, retryAfter(refused.Response.Header))
	case refused.ErrorCode != "":
		return ofCode(refused.ErrorCode, err)
	case status == http.StatusUnauthorized:
		return wrongSetUp(err)
	}
	return nonsense(err)
}

// ofCode returns err with the blame of an error code of OAuth 2.0 (RFC 6749 4.1.2.1 and
// 5.2, RFC 8707) or OpenID Connect Core (3.1.2.6), from either endpoint.
func ofCode(code string, err error) error {
	switch code {
	case "invalid_grant":
		return stale(err)
	case "access_denied", "login_required", "consent_required", "interaction_required",
		"account_selection_required", "unmet_authentication_requirements":
		return &refusal{blame: byPerson, status: http.StatusForbidden, err: err}
	case "server_error", "temporarily_unavailable":
		return away(err, 0)
	case "invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type",
		"unsupported_response_type", "invalid_scope", "invalid_target", "invalid_request_uri",
		"invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported":
		return wrongSetUp(err)
	}
	return nonsense(err)
}

const (
	// usualRetry is when to try again if the provider does not say, and longestRetry the
	// most of what it says that is passed on.
	usualRetry, longestRetry = 5 * time.Second, 10 * time.Minute
)

// retryAfter returns what the header says, in seconds or as a date; zero if it says nothing
// that is to come.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil {
		return min(max(time.Duration(n), 0), longestRetry/time.Second) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at).Round(time.Second), 0), longestRetry)
}

// problem returns the words for r, with again as the address of another try.
func (r *refusal) problem(again string) *problem {
	p := &problem{status: r.status, blame: r.blame, err: r}
	switch {
	case r.blame == bySetUp:
		p.title, p.link, p.linkText = "Sign-in is not set up right", "/", "Go to the start page"
		p.sentence = "It is not your fault, and trying again does not help. Those who run this site find in their log what is wrong: tell them the request id below."
	case r.blame == byProvider:
		p.title, p.link, p.linkText = "Sign-in is not available", again, "Try again"
		p.sentence = "The sign-in service does not answer as it should at the moment. Please try again in a minute."
		p.retry = int(cmp.Or(r.after, usualRetry) / time.Second)
	case r.status == http.StatusForbidden:
		p.title, p.link, p.linkText = "You are not signed in", again, "Sign in again"
		p.sentence = "The sign-in service did not let you in, or you changed your mind."
	default:
		p.title, p.link, p.linkText = "Sign-in stopped", again, "Sign in again"
		p.sentence = "This sign-in has expired, was used already, or began in another browser. Please sign in again."
	}
	return p
}

// refuse returns the words for err if it is a refusal, else err itself.
func refuse(err error, again string) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.problem(again)
	}
	return err
}
