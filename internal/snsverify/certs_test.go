package snsverify_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/snsverify"
)

func TestUntrustworthyCertificatesAreRefused(t *testing.T) {
	ok := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }
	}
	leaf := func(edit func(*x509.Certificate)) func(*fixture) http.HandlerFunc {
		return func(b *fixture) http.HandlerFunc {
			return ok(issue(b.root, rsaKey(), func(c *x509.Certificate) { forSNS(c); edit(c) }).pem())
		}
	}
	for _, c := range []struct {
		name  string
		serve func(*fixture) http.HandlerFunc
		want  snsverify.Reason
	}{
		{"expired", leaf(func(c *x509.Certificate) { c.NotAfter = at.Add(-time.Second) }), snsverify.CertTrust},
		{"not valid yet", leaf(func(c *x509.Certificate) { c.NotBefore = at.Add(time.Hour) }), snsverify.CertTrust},
		{"for another name", leaf(func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} }), snsverify.CertTrust},
		{"for a name below", leaf(func(c *x509.Certificate) { c.DNSNames = []string{"sns.amazonaws.com.evil.example"} }), snsverify.CertTrust},
		{"for another service", leaf(func(c *x509.Certificate) { c.DNSNames = []string{"sqs.amazonaws.com"} }), snsverify.CertTrust},
		{"with the name as common name only", leaf(func(c *x509.Certificate) { c.DNSNames = nil }), snsverify.CertTrust},
		{"of another authority", func(*fixture) http.HandlerFunc {
			return ok(issue(authority(nil, "a test's root"), rsaKey(), forSNS).pem())
		}, snsverify.CertTrust},
		{"self-signed", func(*fixture) http.HandlerFunc { return ok(issue(nil, rsaKey(), forSNS).pem()) }, snsverify.CertTrust},
		{"by a leaf that is no authority", func(b *fixture) http.HandlerFunc {
			return ok(append(issue(b.leaf, rsaKey(), forSNS).pem(), b.leaf.pem()...))
		}, snsverify.CertTrust},
		{"with a key that is not RSA", func(b *fixture) http.HandlerFunc {
			return ok(issue(b.root, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), forSNS).pem())
		}, snsverify.CertTrust},
		{"with a key of 1024 bits", func(b *fixture) http.HandlerFunc {
			return ok(issue(b.root, must(rsa.GenerateKey(rand.Reader, 1024)), forSNS).pem())
		}, snsverify.CertTrust},
		{"with another key", func(b *fixture) http.HandlerFunc {
			return ok(issue(b.root, must(rsa.GenerateKey(rand.Reader, 2048)), forSNS).pem())
		}, snsverify.Signature},
		{"no PEM", func(*fixture) http.HandlerFunc { return ok([]byte("<html>")) }, snsverify.CertTrust},
		{"PEM of rubbish", func(*fixture) http.HandlerFunc {
			return ok(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("rubbish")}))
		}, snsverify.CertTrust},
		{"empty", func(*fixture) http.HandlerFunc { return ok(nil) }, snsverify.CertTrust},
		{"too large", func(b *fixture) http.HandlerFunc { return ok(append(b.leaf.pem(), make([]byte, 64<<10)...)) }, snsverify.CertFetch},
		{"a redirect", func(b *fixture) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					w.Write(b.leaf.pem())
					return
				}
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			}
		}, snsverify.CertFetch},
		{"not found", func(*fixture) http.HandlerFunc { return http.NotFound }, snsverify.CertFetch},
		{"an error with the certificate in it", func(b *fixture) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				w.Write(b.leaf.pem())
			}
		}, snsverify.CertFetch},
		{"cut off", func(*fixture) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, snsverify.CertFetch},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.serve = c.serve(b)
			_, err := b.Verify(t.Context(), "Notification", notification().signed().json())
			if err == nil || reasonOf(t, err) != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			r, _ := errors.AsType[*snsverify.Refusal](err)
			if got, want := r.Temporary(), c.want == snsverify.CertFetch; got != want {
				t.Errorf("Temporary is %t, want %t", got, want)
			}
			if n := b.fetches.Load(); n < 1 || n > 2 || n == 2 && c.name != "cut off" { // the transport may try a cut connection twice
				t.Errorf("%d fetches, want 1", n)
			}
		})
	}
}

func TestTheIssuerIsFetchedOnlyFromAmazonsPlace(t *testing.T) {
	for _, c := range []struct {
		host string
		ok   bool
	}{{"crt.sca1b.amazontrust.com", true}, {"crt.amazontrust.com.evil.example", false}, {"evilamazontrust.com", false}, {"169.254.169.254", false}} {
		root := authority(nil, "root")
		between := authority(root, "between")
		leaf := issue(between, rsaKey(), func(x *x509.Certificate) {
			forSNS(x)
			x.IssuingCertificateURL = []string{"http://" + c.host + "/between.cer"}
		})
		var fetched []string
		roots := x509.NewCertPool()
		roots.AddCert(root.cert)
		v := snsverify.New(snsverify.Config{Topics: []string{topic}, Roots: roots, Now: func() time.Time { return at },
			Client: &http.Client{Transport: wire(func(r *http.Request) []byte {
				fetched = append(fetched, r.URL.String())
				if strings.HasSuffix(r.URL.Path, ".cer") {
					return between.cert.Raw
				}
				return leaf.pem()
			})}})
		_, err := v.Verify(t.Context(), "Notification", notification().signed().json())
		want := []string{certURL}
		if c.ok {
			want = append(want, "http://"+c.host+"/between.cer")
		}
		if (err == nil) != c.ok || !slices.Equal(fetched, want) {
			t.Errorf("%s: got %v after fetching %q, want accepted %t and %q", c.host, err, fetched, c.ok, want)
		}
		if err != nil && reasonOf(t, err) != snsverify.CertTrust {
			t.Errorf("%s: %v, want %s", c.host, err, snsverify.CertTrust)
		}
	}
}

// wire answers requests without a network.
type wire func(*http.Request) []byte

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body := w(r)
	if body == nil {
		return nil, &net.OpError{Op: "dial", Err: errors.New("nobody there")}
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func TestConcurrentMessagesShareOneFetch(t *testing.T) {
	b := newFixture(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	b.serve = func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.Write(b.leaf.pem())
	}
	body := notification().signed().json()
	const n = 50
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := b.Verify(context.WithoutCancel(t.Context()), "Notification", body)
			errs <- err
		}()
	}
	<-arrived
	// One who goes away does not take the fetch from the others.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Verify(gone, "Notification", body); err == nil || reasonOf(t, err) != snsverify.CertFetch {
		t.Errorf("with a context that ended: %v, want %s", err, snsverify.CertFetch)
	}
	close(release)
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := b.fetches.Load(); got != 1 {
		t.Errorf("%d fetches, want 1", got)
	}
}

func TestAFailedFetchIsRememberedButNotUntilSNSTriesAgain(t *testing.T) {
	b := newFixture(t)
	b.serve = func(w http.ResponseWriter, r *http.Request) {
		if b.fetches.Load() == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		w.Write(b.leaf.pem())
	}
	body := notification().signed().json()
	for _, step := range []struct {
		after   time.Duration
		want    snsverify.Reason
		fetches int64
	}{{0, snsverify.CertFetch, 1}, {14 * time.Second, snsverify.CertFetch, 1}, {20 * time.Second, "", 2}, {30 * time.Minute, "", 2}} {
		b.setNow(at.Add(step.after))
		_, err := b.Verify(t.Context(), "Notification", body)
		if step.want == "" && err != nil || step.want != "" && (err == nil || reasonOf(t, err) != step.want) {
			t.Errorf("after %s: %v, want %q", step.after, err, step.want)
		}
		if n := b.fetches.Load(); n != step.fetches {
			t.Errorf("after %s: %d fetches, want %d", step.after, n, step.fetches)
		}
	}
}

func TestAKeptCertificateIsNotTrustedPastItsEnd(t *testing.T) {
	b := newFixture(t)
	b.leaf = issue(b.root, rsaKey(), func(c *x509.Certificate) { forSNS(c); c.NotAfter = at.Add(time.Minute) })
	body := notification().signed().json()
	if _, err := b.Verify(t.Context(), "Notification", body); err != nil {
		t.Fatal(err)
	}
	b.setNow(at.Add(2 * time.Minute))
	if _, err := b.Verify(t.Context(), "Notification", body); err == nil || reasonOf(t, err) != snsverify.CertTrust {
		t.Errorf("got %v, want %s", err, snsverify.CertTrust)
	}
}
