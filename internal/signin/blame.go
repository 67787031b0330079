package signin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// Blame says who is at fault if somebody cannot sign in. It decides which words the person
// reads, which status they get, and how loud the log is. If we are at fault, there is no
// Blame: the request fails like any other.
type Blame int

const (
	// BlameNobody is the zero value.
	BlameNobody Blame = iota
	// BlamePerson passes when the person begins anew, or it is what the person wanted.
	BlamePerson
	// BlameProvider passes when the provider is well again.
	BlameProvider
	// BlameSetUp keeps everybody out until an operator fixes it.
	BlameSetUp
)

// String returns the name that the log uses.
func (b Blame) String() string { return [...]string{"us", "person", "provider", "set-up"}[b] }

// Refusal is an error of sign-in or sign-out. It says who is at fault.
type Refusal struct {
	Blame Blame
	// Status is the HTTP status that fits.
	Status int
	// After is for how long the provider wants to be left alone; zero if it does not say.
	After time.Duration
	Err   error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Stale refuses something that was good once, or that belongs to another browser.
func Stale(err error) error {
	return &Refusal{Blame: BlamePerson, Status: http.StatusBadRequest, Err: err}
}

// WrongSetUp says that we and the provider are set up for different things.
func WrongSetUp(err error) error {
	return &Refusal{Blame: BlameSetUp, Status: http.StatusInternalServerError, Err: err}
}

// away says that the provider does not answer now.
func away(err error, after time.Duration) error {
	return &Refusal{Blame: BlameProvider, Status: http.StatusServiceUnavailable, After: after, Err: err}
}

// nonsense says that nobody can use the provider's answer.
func nonsense(err error) error {
	return &Refusal{Blame: BlameProvider, Status: http.StatusBadGateway, Err: err}
}

// whoseFault returns the error of a call to the provider as a Refusal. doing says what the
// call was for.
func whoseFault(err error, doing string) error {
	doingIt := fmt.Errorf("%s: %w", doing, err)
	if r, ok := errors.AsType[*Refusal](err); ok {
		again := *r
		again.Err = doingIt
		return &again
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return ofTokenEndpoint(refused, doingIt)
	}
	if answered, ok := errors.AsType[*statusError](err); ok {
		if busy(answered.status) {
			return away(doingIt, answered.after)
		}
		// The issuer's address leads to something else.
		return WrongSetUp(doingIt)
	}
	if untrusted(err) {
		return WrongSetUp(doingIt)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return away(doingIt, 0)
	}
	return nonsense(doingIt)
}

// untrusted reports whether the address is wrong, or has a certificate that we have no
// reason to trust. This does not pass until somebody acts.
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
		return WrongSetUp(err)
	}
	return nonsense(err)
}

// ofCode returns err with the blame of an error code of OAuth 2.0 (RFC 6749 4.1.2.1 and
// 5.2, RFC 8707) or OpenID Connect Core (3.1.2.6), from either endpoint.
func ofCode(code string, err error) error {
	switch code {
	case "invalid_grant":
		return Stale(err)
	case "access_denied", "login_required", "consent_required", "interaction_required",
		"account_selection_required", "unmet_authentication_requirements":
		return &Refusal{Blame: BlamePerson, Status: http.StatusForbidden, Err: err}
	case "server_error", "temporarily_unavailable":
		return away(err, 0)
	case "invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type",
		"unsupported_response_type", "invalid_scope", "invalid_target", "invalid_request_uri",
		"invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported":
		return WrongSetUp(err)
	}
	return nonsense(err)
}

// longestRetry is the longest pause of the provider that is passed on.
const longestRetry = 10 * time.Minute

// retryAfter returns the header's pause, which is in seconds or a date. It is zero if the
// header names no time to come.
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
