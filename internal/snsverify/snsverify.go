// Package snsverify decides whether an SNS message that came in over HTTP is
// genuine: sent by Amazon SNS, from a topic that is expected, now, and with
// every field as it was signed. It depends on
// nothing of this project.
//
// See https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
package snsverify

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The types of message.
const (
	Notification             = "Notification"
	SubscriptionConfirmation = "SubscriptionConfirmation"
	UnsubscribeConfirmation  = "UnsubscribeConfirmation"
)

// Message is a message with a verified signature.
type Message struct {
	Type      string
	ID        string
	TopicARN  string
	Subject   string
	Message   string
	Timestamp time.Time
	// Token confirms a subscription; set in the two confirmations.
	Token string
}

// Reason says why a message was refused. It is fit for a metric's label.
type Reason string

// The reasons.
const (
	Malformed  Reason = "malformed"   // not JSON, or a field missing, doubled or out of shape
	Topic      Reason = "topic"       // from a topic that is not on the list
	Version    Reason = "version"     // a signature version that is unknown
	CertURL    Reason = "cert-url"    // the certificate is not where SNS keeps its own
	CertFetch  Reason = "cert-fetch"  // the certificate could not be fetched: our trouble
	CertTrust  Reason = "cert-trust"  // the certificate is not one to trust now
	Signature  Reason = "signature"   // the signature does not fit
	Stale      Reason = "stale"       // older than a retry can be, or of the future
	TypeHeader Reason = "type-header" // the header and the signed type differ
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{Malformed, Topic, Version, CertURL, CertFetch, CertTrust, Signature, Stale, TypeHeader}
}

// Refusal is the error of a message that was refused.
type Refusal struct {
	Reason Reason
	Err    error
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("sns message refused (%s): %v", r.Reason, r.Err) }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Temporary reports whether the refusal is our trouble and not the sender's: the
// same message may be accepted later.
func (r *Refusal) Temporary() bool { return r.Reason == CertFetch }

func refuse(reason Reason, format string, args ...any) error {
	return &Refusal{reason, fmt.Errorf(format, args...)}
}

// Config says what to trust.
type Config struct {
	// Topics are the ARNs of the topics that messages may come from.
	Topics []string
	// Roots are the certificate authorities; nil for the system's.
	Roots *x509.CertPool
	// Intermediates are certificates between SNS's and the roots. SNS sends only its own
	// certificate. If its issuer is not here, the chain is completed from
	// crt.*.amazontrust.com, over plain HTTP.
	Intermediates []*x509.Certificate
	// Client fetches certificates. It must not follow redirects: New sets that.
	Client *http.Client
	// CertEndpoint, if set, is the http(s)://host:port that certificates are
	// fetched from in place of the host in their URL, which is checked all the
	// same. For a stand-in.
	CertEndpoint string
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// The replay window: SNS tries a webhook for an hour at most; clocks may differ
// by a few minutes.
const (
	maxAge  = time.Hour
	maxSkew = 5 * time.Minute
)

// MaxBody is the largest message: 256 KiB of payload, which JSON escaping may
// double, and the envelope.
const MaxBody = 2*256<<10 + 16<<10

// Verifier verifies messages. It may be used from many goroutines.
type Verifier struct {
	topics map[string]bool
	roots  *x509.CertPool
	now    func() time.Time
	certs  *certs
}

// New returns a Verifier.
func New(cfg Config) *Verifier {
	v := &Verifier{topics: map[string]bool{}, roots: cfg.Roots, now: cfg.Now}
	for _, t := range cfg.Topics {
		v.topics[t] = true
	}
	if v.now == nil {
		v.now = time.Now
	}
	v.certs = newCerts(cfg, v.now)
	return v
}

// Chain returns why the chain of SNS's certificate could not be completed when that was
// tried last; nil if it could, or was not tried yet. Until it can, every message is
// refused for a while.
func (v *Verifier) Chain() error {
	v.certs.mu.Lock()
	defer v.certs.mu.Unlock()
	return v.certs.trouble
}

// Verify returns the message in body if it is genuine. typeHeader is the
// request's x-amz-sns-message-type. The error is a [*Refusal].
func (v *Verifier) Verify(ctx context.Context, typeHeader string, body []byte) (Message, error) {
	f, err := parse(body)
	if err != nil {
		return Message{}, &Refusal{Malformed, err}
	}
	if typeHeader != f.typ {
		return Message{}, refuse(TypeHeader, "header x-amz-sns-message-type is %q, the signed Type %q", typeHeader, f.typ)
	}
	// The topic before anything is fetched: a stranger's message costs us nothing.
	if !v.topics[f.topicARN] {
		return Message{}, refuse(Topic, "TopicArn %q is not expected here", f.topicARN)
	}
	if age := v.now().Sub(f.at); age > maxAge+maxSkew || age < -maxSkew {
		return Message{}, refuse(Stale, "Timestamp is %s, %s ago", f.timestamp, age.Round(time.Second))
	}
	var hash crypto.Hash
	var digest []byte
	switch signed := f.stringToSign(); f.version {
	case "1":
		sum := sha1.Sum([]byte(signed))
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(signed))
		hash, digest = crypto.SHA256, sum[:]
	default:
		return Message{}, refuse(Version, "SignatureVersion is %q, want 1 or 2", f.version)
	}
	if err := checkCertURL(f.certURL, f.topicARN); err != nil {
		return Message{}, &Refusal{CertURL, err}
	}
	key, err := v.certs.key(ctx, f.certURL, f.topicARN)
	if err != nil {
		return Message{}, err
	}
	if err := rsa.VerifyPKCS1v15(key, hash, digest, f.signature); err != nil {
		return Message{}, &Refusal{Signature, errors.New("the signature does not fit the message")}
	}
	return Message{
		Type:      f.typ,
		ID:        f.id,
		TopicARN:  f.topicARN,
		Subject:   f.subject,
		Message:   f.message,
		Timestamp: f.at,
		Token:     f.token,
	}, nil
}

// stringToSign returns what SNS signed: names and decoded values, a line each,
// in the byte order of the names; Subject only if there is one.
func (f *fields) stringToSign() string {
	var b strings.Builder
	line := func(name, value string) {
		b.WriteString(name)
		b.WriteByte('\n')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	line("Message", f.message)
	line("MessageId", f.id)
	if f.typ == Notification {
		if f.hasSubject {
			line("Subject", f.subject)
		}
	} else {
		line("SubscribeURL", f.subscribeURL)
	}
	line("Timestamp", f.timestamp)
	if f.typ != Notification {
		line("Token", f.token)
	}
	line("TopicArn", f.topicARN)
	line("Type", f.typ)
	return b.String()
}

func decodeSignature(s string) ([]byte, error) {
	sig, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("field Signature is not base64")
	}
	if len(sig) < 128 || len(sig) > 1024 {
		return nil, fmt.Errorf("field Signature has %d bytes", len(sig))
	}
	return sig, nil
}
