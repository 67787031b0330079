package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRetryAfterIsPassedOnWithinReason(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for says, want := range map[string][2]time.Duration{
		"":                    {0, 0},
		"7":                   {7 * time.Second, 7 * time.Second},
		"0":                   {0, 0},
		"-7":                  {0, 0},
		"soon":                {0, 0},
		"99999999999":         {longestRetry, longestRetry},
		in(time.Minute):       {58 * time.Second, time.Minute},
		in(-time.Minute):      {0, 0},
		in(24 * time.Hour):    {longestRetry, longestRetry},
		"9223372036854775807": {longestRetry, longestRetry},
	} {
		if got := retryAfter(http.Header{"Retry-After": {says}}); got < want[0] || got > want[1] {
			t.Errorf("%q is %s, want %s to %s", says, got, want[0], want[1])
		}
	}
}

// TestWhatACallEndsWithIsBlamed covers errors that the local provider cannot produce.
func TestWhatACallEndsWithIsBlamed(t *testing.T) {
	wrapped := func(err error) error { return &url.Error{Op: "Get", URL: "https://idp.example", Err: err} }
	for name, tt := range map[string]struct {
		err    error
		blame  Blame
		status int
	}{
		"nobody listens":             {wrapped(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), BlameProvider, 503},
		"the connection is cut":      {wrapped(io.ErrUnexpectedEOF), BlameProvider, 503},
		"the answer is cut":          {io.ErrUnexpectedEOF, BlameProvider, 503},
		"our time is up":             {context.DeadlineExceeded, BlameProvider, 503},
		"no such host":               {wrapped(&net.DNSError{Err: "no such host", IsNotFound: true}), BlameSetUp, 500},
		"no answer from DNS":         {wrapped(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), BlameProvider, 503},
		"nobody vouches for it":      {wrapped(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), BlameSetUp, 500},
		"its name is another":        {wrapped(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}}), BlameSetUp, 500},
		"its certificate is expired": {wrapped(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}}}), BlameProvider, 503},
		"nothing that is known":      {errors.New("oauth2: cannot parse json"), BlameProvider, 502},
		"what was blamed already":    {fmt.Errorf("x: %w", WrongSetUp(errors.New("y"))), BlameSetUp, 500},
	} {
		err := whoseFault(tt.err, "call the provider")
		r, ok := errors.AsType[*Refusal](err)
		if !ok || r.Blame != tt.blame || r.Status != tt.status || !errors.Is(err, tt.err) || !strings.HasPrefix(err.Error(), "call the provider: ") {
			t.Errorf("%s: got %+v of %v, want %s and %d", name, r, err, tt.blame, tt.status)
		}
	}
}
