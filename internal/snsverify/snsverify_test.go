package snsverify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/sns"
	"github.com/gas-restore/gas/internal/snsverify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic   = "arn:aws:sns:us-west-2:123456789012:restore"
	certURL = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	id      = "165545c9-2a5c-472c-8df2-7ff2be2b3b1b"
	token   = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92"
)

var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// identity is a key with its certificate and whoever issued it.
type identity struct {
	cert   *x509.Certificate
	key    crypto.Signer
	issuer *identity
}

func (i *identity) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// issue makes a certificate; issuer nil makes it self-signed.
func issue(issuer *identity, key crypto.Signer, edit func(*x509.Certificate)) *identity {
	c := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		NotBefore:    at.Add(-24 * time.Hour),
		NotAfter:     at.Add(30 * 24 * time.Hour),
	}
	edit(c)
	i := &identity{key: key, issuer: issuer}
	parent, signer := c, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	i.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer))))
	return i
}

func authority(issuer *identity, name string) *identity {
	return issue(issuer, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.BasicConstraintsValid = true, true
		c.KeyUsage = x509.KeyUsageCertSign
	})
}

func forSNS(c *x509.Certificate) {
	c.Subject = pkix.Name{CommonName: "sns.amazonaws.com"}
	c.DNSNames = []string{"sns.amazonaws.com"}
}

// rsaKey is slow to make, so all tests share it.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

// fixture is a Verifier with a CA and a place for certificates of its own.
type fixture struct {
	*snsverify.Verifier
	root, leaf *identity
	fetches    atomic.Int64
	now        atomic.Pointer[time.Time]
	serve      http.HandlerFunc // answers a fetch; if nil, the leaf is the answer
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	b := &fixture{root: authority(nil, "a test's root")}
	b.leaf = issue(b.root, rsaKey(), forSNS)
	b.setNow(at)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.fetches.Add(1)
		if b.serve != nil {
			b.serve(w, r)
			return
		}
		w.Write(b.leaf.pem())
	}))
	t.Cleanup(srv.Close)
	b.Verifier = snsverify.New(snsverify.Config{
		Topics: []string{topic}, Roots: b.roots(), Client: srv.Client(), CertEndpoint: srv.URL,
		Now: func() time.Time { return *b.now.Load() },
	})
	return b
}

func (b *fixture) setNow(t time.Time) { b.now.Store(&t) }

func (b *fixture) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(b.root.cert)
	return pool
}

// message is an SNS message's members.
type message map[string]string

func notification() message {
	return message{
		"Type": "Notification", "MessageId": id, "TopicArn": topic, "Subject": "My First Message", "Message": "Hello, wörld! 日本\nsecond line",
		"Timestamp": "2026-11-23T09:59:58.123Z", "SignatureVersion": "2", "SigningCertURL": certURL,
		"UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
	}
}

func confirmation(typ string) message {
	m := notification()
	delete(m, "Subject")
	delete(m, "UnsubscribeURL")
	m["Type"], m["Token"] = typ, token
	m["SubscribeURL"] = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=" + token
	return m
}

// signed returns a copy with the signature that SNS would give it.
func (m message) signed() message {
	m = maps.Clone(m)
	names := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	if m["Type"] == "Notification" {
		names = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	}
	var b strings.Builder
	for _, n := range names {
		if v, ok := m[n]; ok {
			b.WriteString(n + "\n" + v + "\n")
		}
	}
	hash, sum256 := crypto.SHA256, sha256.Sum256([]byte(b.String()))
	digest := sum256[:]
	if m["SignatureVersion"] == "1" {
		sum := sha1.Sum([]byte(b.String()))
		hash, digest = crypto.SHA1, sum[:]
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(must(rsa.SignPKCS1v15(nil, rsaKey(), hash, digest)))
	return m
}

func (m message) json() []byte { return must(json.Marshal(m)) }

func reasonOf(t testing.TB, err error) snsverify.Reason {
	t.Helper()
	r, ok := errors.AsType[*snsverify.Refusal](err)
	if !ok {
		t.Fatalf("error is %T (%v), want a *Refusal", err, err)
	}
	return r.Reason
}

func TestGenuineMessagesAreAccepted(t *testing.T) {
	b := newFixture(t)
	for _, version := range []string{"1", "2"} {
		for _, typ := range []string{snsverify.Notification, snsverify.SubscriptionConfirmation, snsverify.UnsubscribeConfirmation} {
			for _, text := range []string{"plain", "", "ünï→ “quotes” \"\\ <&> 日本語 🧬", "two\nlines\r\nthree", `{"user_id":"u"}`, "Message\nx\nMessageId\ny"} {
				for _, subject := range []string{"-", "A subject", "Grüße"} {
					if typ != snsverify.Notification && subject != "-" {
						continue
					}
					m := confirmation(typ)
					if typ == snsverify.Notification {
						m = notification()
						delete(m, "Subject")
						if subject != "-" {
							m["Subject"] = subject
						}
					}
					m["SignatureVersion"], m["Message"] = version, text
					got, err := b.Verify(t.Context(), typ, m.signed().json())
					if err != nil {
						t.Errorf("v%s %s %q subject %q: %v", version, typ, text, subject, err)
						continue
					}
					want := snsverify.Message{Type: typ, ID: id, TopicARN: topic, Subject: m["Subject"], Message: text,
						Timestamp: time.Date(2026, 11, 23, 9, 59, 58, 123e6, time.UTC), Token: m["Token"]}
					if got != want {
						t.Errorf("v%s %s: got %+v, want %+v", version, typ, got, want)
					}
				}
			}
		}
	}
	if n := b.fetches.Load(); n != 1 {
		t.Errorf("%d fetches of one certificate, want 1", n)
	}
}

func TestTheStandInsMessagesAreAccepted(t *testing.T) {
	aws := must(localaws.New(localaws.Config{}))
	defer aws.Close()
	srv := httptest.NewServer(aws)
	defer srv.Close()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(aws.SNS.CACertPEM()) {
		t.Fatal("no root")
	}
	arn := "arn:aws:sns:us-east-1:000000000000:premium"
	v := snsverify.New(snsverify.Config{Topics: []string{arn}, Roots: roots, Client: srv.Client(), CertEndpoint: srv.URL})
	for _, version := range []string{"1", "2"} {
		for _, typ := range []string{snsverify.Notification, snsverify.SubscriptionConfirmation, snsverify.UnsubscribeConfirmation} {
			m := sns.Message{Type: typ, TopicARN: arn, Message: "é\n日本", SignatureVersion: version}
			if typ == snsverify.Notification {
				m.Subject = "Grüße"
			} else {
				m.Token = token
			}
			got, err := v.Verify(t.Context(), typ, aws.SNS.Envelope(m))
			if err != nil || got.Message != m.Message || got.Subject != m.Subject || got.Token != m.Token {
				t.Errorf("v%s %s: got %+v, %v", version, typ, got, err)
			}
		}
	}
}

func TestHostileMessagesAreRefusedWithTheirReason(t *testing.T) {
	set := func(name, value string) func(message) { return func(m message) { m[name] = value } }
	drop := func(name string) func(message) { return func(m message) { delete(m, name) } }
	insert := func(members string) func([]byte) []byte {
		return func(b []byte) []byte { return append([]byte("{"+members+","), b[1:]...) }
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	const hexes = "0123456789abcdef0123456789abcdef"
	type hostile struct {
		name   string
		typ    string              // SubscriptionConfirmation for example; Notification if empty
		before func(message)       // done, then signed: even a true signature does not help
		after  func(message)       // done to the signed message
		raw    func([]byte) []byte // done to its JSON
		header string              // "-" for none; the type if empty
		want   snsverify.Reason
	}
	cases := []hostile{
		{name: "another topic", before: set("TopicArn", topic+"x"), want: snsverify.Topic},
		{name: "another account's topic", before: set("TopicArn", strings.Replace(topic, "1234", "4321", 1)), want: snsverify.Topic},
		{name: "another region's topic", before: set("TopicArn", strings.Replace(topic, "us-west-2", "us-east-1", 1)), want: snsverify.Topic},
		{name: "topic in capitals", before: set("TopicArn", strings.ToUpper(topic)), want: snsverify.Malformed},
		{name: "topic with a space", before: set("TopicArn", topic+" "), want: snsverify.Malformed},
		{name: "no ARN", before: set("TopicArn", "restore"), want: snsverify.Malformed},

		{name: "version 3", before: set("SignatureVersion", "3"), want: snsverify.Version},
		{name: "version 0", before: set("SignatureVersion", "0"), want: snsverify.Version},
		{name: "version 02", before: set("SignatureVersion", "02"), want: snsverify.Version},
		{name: "version missing", before: drop("SignatureVersion"), want: snsverify.Version},
		{name: "version 2 told as 1", after: set("SignatureVersion", "1"), want: snsverify.Signature},
		{name: "version 1 told as 2", before: set("SignatureVersion", "1"), after: set("SignatureVersion", "2"), want: snsverify.Signature},

		{name: "sent 66 minutes ago", before: set("Timestamp", "2026-11-23T08:54:00.000Z"), want: snsverify.Stale},
		{name: "sent a year ago", before: set("Timestamp", "2025-11-23T10:00:00.000Z"), want: snsverify.Stale},
		{name: "sent 6 minutes from now", before: set("Timestamp", "2026-11-23T10:06:00.000Z"), want: snsverify.Stale},
		{name: "old, with a zone that hides it", before: set("Timestamp", "2026-11-23T10:00:00+09:00"), want: snsverify.Stale},
		{name: "timestamp in another format", before: set("Timestamp", "Mon, 23 Nov 2026 10:00:00 GMT"), want: snsverify.Malformed},
		{name: "timestamp without zone", before: set("Timestamp", "2026-11-23T10:00:00"), want: snsverify.Malformed},

		{name: "type header of another type", header: snsverify.SubscriptionConfirmation, want: snsverify.TypeHeader},
		{name: "type header missing", header: "-", want: snsverify.TypeHeader},
		{name: "type header in lower case", header: "notification", want: snsverify.TypeHeader},
		{name: "unknown type", before: set("Type", "Notice"), header: "Notice", want: snsverify.Malformed},
		{name: "notification told as confirmation", after: func(m message) {
			delete(m, "Subject")
			m["Type"], m["Token"], m["SubscribeURL"] = snsverify.SubscriptionConfirmation, token, "https://sns.us-west-2.amazonaws.com/"
		}, header: snsverify.SubscriptionConfirmation, want: snsverify.Signature},
		{name: "subscription told as unsubscription", typ: snsverify.SubscriptionConfirmation, after: set("Type", snsverify.UnsubscribeConfirmation),
			header: snsverify.UnsubscribeConfirmation, want: snsverify.Signature},

		{name: "message twice", raw: insert(`"Message":"other"`), want: snsverify.Malformed},
		{name: "message twice, the second escaped", raw: insert(`"M\u0065ssage":"other"`), want: snsverify.Malformed},
		{name: "message in lower case beside", raw: insert(`"message":"other"`), want: snsverify.Malformed},
		{name: "message in lower case alone", raw: replace(`"Message":`, `"message":`), want: snsverify.Malformed},
		{name: "topic in another case", raw: replace(`"TopicArn"`, `"TopicARN"`), want: snsverify.Malformed},
		{name: "a name that folds to ours", raw: insert(`"Me` + "\u017f" + `sage":"other"`), want: snsverify.Malformed},
		{name: "unknown name twice", raw: insert(`"X":1,"x":2`), want: snsverify.Malformed},
		{name: "subject in another case where there is none", before: drop("Subject"), raw: insert(`"SUBJECT":"x"`), want: snsverify.Malformed},

		{name: "line break in MessageId", before: set("MessageId", id+"\n"), want: snsverify.Malformed},
		{name: "line break in Subject", before: set("Subject", "a\nb"), want: snsverify.Malformed},
		{name: "carriage return in Subject", before: set("Subject", "a\rb"), want: snsverify.Malformed},
		{name: "line break in Timestamp", before: set("Timestamp", "2026-11-23T10:00:00Z\n"), want: snsverify.Malformed},
		{name: "line break in TopicArn", before: set("TopicArn", topic+"\n"), want: snsverify.Malformed},
		{name: "line break in Type", before: set("Type", "Notification\n"), header: "Notification", want: snsverify.Malformed},
		{name: "line break in Token", typ: snsverify.SubscriptionConfirmation, before: set("Token", token+"\nx"), want: snsverify.Malformed},
		{name: "line break in SubscribeURL", typ: snsverify.SubscriptionConfirmation, before: set("SubscribeURL", "https://a\nb"), want: snsverify.Malformed},
		{name: "line break in SigningCertURL", before: set("SigningCertURL", certURL+"\n"), want: snsverify.Malformed},

		{name: "id no UUID", before: set("MessageId", "42"), want: snsverify.Malformed},
		{name: "id a UUID and more", before: set("MessageId", id+"0"), want: snsverify.Malformed},
		{name: "id in braces", before: set("MessageId", "{"+id+"}"), want: snsverify.Malformed},
		{name: "message null", raw: func(b []byte) []byte {
			return bytes.Replace(b, must(json.Marshal(notification()["Message"])), []byte("null"), 1)
		}, want: snsverify.Malformed},
		{name: "topic a number", raw: replace(`"`+topic+`"`, "1"), want: snsverify.Malformed},
		{name: "topic a list", raw: replace(`"`+topic+`"`, `["`+topic+`"]`), want: snsverify.Malformed},
		{name: "too large", before: set("Message", strings.Repeat("x", snsverify.MaxBody)), want: snsverify.Malformed},
		{name: "not UTF-8", raw: replace("Hello", "Hell\xff"), want: snsverify.Malformed},
		{name: "two values", raw: func(b []byte) []byte { return append(b, b...) }, want: snsverify.Malformed},
		{name: "cut short", raw: func(b []byte) []byte { return b[:len(b)-1] }, want: snsverify.Malformed},
		{name: "a list", raw: func(b []byte) []byte { return append(append([]byte("["), b...), ']') }, want: snsverify.Malformed},
		{name: "empty", raw: func([]byte) []byte { return nil }, want: snsverify.Malformed},
		{name: "notification with a Token", before: set("Token", token), want: snsverify.Malformed},
		{name: "notification with an empty SubscribeURL", before: set("SubscribeURL", ""), want: snsverify.Malformed},
		{name: "confirmation with a Subject", typ: snsverify.SubscriptionConfirmation, before: set("Subject", "x"), want: snsverify.Malformed},
		{name: "confirmation with a short Token", typ: snsverify.SubscriptionConfirmation, before: set("Token", "abc"), want: snsverify.Malformed},
		{name: "confirmation with a Token of other signs", typ: snsverify.SubscriptionConfirmation, before: set("Token", token+"&Action=x"), want: snsverify.Malformed},
		{name: "confirmation with SubscribeURL by http", typ: snsverify.SubscriptionConfirmation, before: set("SubscribeURL", "http://x/"), want: snsverify.Malformed},

		{name: "Message tampered", after: set("Message", "Hello, world?"), want: snsverify.Signature},
		{name: "Message emptied", after: set("Message", ""), want: snsverify.Signature},
		{name: "Message with a space more", after: func(m message) { m["Message"] += " " }, want: snsverify.Signature},
		{name: "Subject tampered", after: set("Subject", "My Second Message"), want: snsverify.Signature},
		{name: "Subject removed", after: drop("Subject"), want: snsverify.Signature},
		{name: "Subject added", before: drop("Subject"), after: set("Subject", "x"), want: snsverify.Signature},
		{name: "empty Subject added", before: drop("Subject"), after: set("Subject", ""), want: snsverify.Signature},
		{name: "id tampered", after: set("MessageId", strings.Replace(id, "1", "2", 1)), want: snsverify.Signature},
		{name: "time refreshed", before: set("Timestamp", "2026-11-23T08:00:00.000Z"), after: set("Timestamp", "2026-11-23T10:00:00.000Z"), want: snsverify.Signature},
		{name: "same time, other spelling", before: set("Timestamp", "2026-11-23T10:00:00.000Z"), after: set("Timestamp", "2026-11-23T10:00:00Z"), want: snsverify.Signature},
		{name: "Token tampered", typ: snsverify.SubscriptionConfirmation, after: set("Token", token+"0"), want: snsverify.Signature},
		{name: "SubscribeURL tampered", typ: snsverify.SubscriptionConfirmation, after: set("SubscribeURL", "https://evil.example/"), want: snsverify.Signature},

		// The signed string stays the same in these: only the shapes tell.
		{name: "Subject moved into MessageId", after: func(m message) {
			m["MessageId"] += "\nSubject\n" + m["Subject"]
			delete(m, "Subject")
		}, want: snsverify.Malformed},
		{name: "MessageId and Subject moved into Message", before: set("Message", "x\nMessageId\n"+id+"\nSubject\nboo"), after: func(m message) {
			m["Message"], m["Subject"] = "x", "boo\nMessageId\n"+id+"\nSubject\n"+m["Subject"]
		}, want: snsverify.Malformed},
		{name: "Message moved into MessageId", before: func(m message) { m["Message"] = "a\nMessageId\nb"; delete(m, "Subject") }, after: func(m message) {
			m["Message"], m["MessageId"] = "a", "b\nMessageId\n"+id
		}, want: snsverify.Malformed},
		{name: "Timestamp moved into Subject", after: func(m message) {
			m["Subject"] += "\nTimestamp\n" + m["Timestamp"]
			delete(m, "Timestamp")
		}, want: snsverify.Malformed},
		{name: "Token moved into Timestamp", typ: snsverify.SubscriptionConfirmation, after: func(m message) {
			m["Timestamp"] += "\nToken\n" + m["Token"]
			delete(m, "Token")
		}, want: snsverify.Malformed},

		{name: "signature missing", after: drop("Signature"), want: snsverify.Malformed},
		{name: "signature no base64", after: set("Signature", "!!!"), want: snsverify.Malformed},
		{name: "signature short", after: set("Signature", "AAAA"), want: snsverify.Malformed},
		{name: "signature of zeros", after: set("Signature", base64.StdEncoding.EncodeToString(make([]byte, 256))), want: snsverify.Signature},
		{name: "signature of another size", after: set("Signature", base64.StdEncoding.EncodeToString(make([]byte, 512))), want: snsverify.Signature},
		{name: "signature URL-safe", after: set("Signature", strings.Repeat("-_", 171)+"=="), want: snsverify.Malformed},
	}
	for _, name := range []string{"Type", "MessageId", "TopicArn", "Message", "Timestamp"} {
		cases = append(cases, hostile{name: name + " missing", before: drop(name), header: "Notification", want: snsverify.Malformed})
	}
	for _, name := range []string{"Token", "SubscribeURL"} {
		cases = append(cases, hostile{name: name + " missing", typ: snsverify.SubscriptionConfirmation, before: drop(name), want: snsverify.Malformed})
	}
	path := "/SimpleNotificationService-" + hexes + ".pem"
	for _, url := range []string{
		"", "::", "https://evil.example" + path,
		"https://sns.s3-us-west-2.amazonaws.com" + path, "https://sns.s3.us-west-2.amazonaws.com" + path, "https://sns.us-east-1.amazonaws.com" + path,
		"https://sns.us-west-2.amazonaws.com.cn" + path, "https://sns.us-west-2.amazonaws.com.evil.example" + path,
		"https://sns.us-west-2.amazonaws.com." + path, "https://SNS.us-west-2.amazonaws.com" + path, "https://xsns.us-west-2.amazonaws.com" + path,
		"http" + strings.TrimPrefix(certURL, "https"), "HTTPS" + strings.TrimPrefix(certURL, "https"), "//sns.us-west-2.amazonaws.com" + path,
		"https://sns.us-west-2.amazonaws.com:443" + path, "https://sns.us-west-2.amazonaws.com:8443" + path, "https://sns.us-west-2.amazonaws.com:" + path,
		"https://user@sns.us-west-2.amazonaws.com" + path, "https://sns.us-west-2.amazonaws.com@evil.example" + path,
		`https://evil.example\@sns.us-west-2.amazonaws.com` + path,
		certURL + "?", certURL + "?x=y", certURL + "#", certURL + "#x", certURL + "/", certURL + " ", " " + certURL, certURL + "\t", certURL + "%00",
		"https://sns.us-west-2.amazonaws.com/x" + path, "https://sns.us-west-2.amazonaws.com/" + path, "https://sns.us-west-2.amazonaws.com/../" + path,
		"https://sns.us-west-2.amazonaws.com/SimpleNotificationService-" + hexes, "https://sns.us-west-2.amazonaws.com/other.pem",
		"https://sns.us-west-2.amazonaws.com/SimpleNotificationService-" + hexes + "0.pem",
		"https://sns.us-west-2.amazonaws.com/SimpleNotificationService-" + hexes[1:] + ".pem",
		"https://sns.us-west-2.amazonaws.com/SimpleNotificationService-" + strings.ToUpper(hexes) + ".pem",
		"https://sns.us-west-2.amazonaws.com/SimpleNotificationService-" + hexes[3:] + "%61.pem",
		"https://sns.us-west-2.amazonaws.com",
	} {
		cases = append(cases, hostile{name: fmt.Sprintf("certificate at %q", url), after: set("SigningCertURL", url), want: snsverify.CertURL})
	}

	warm := newFixture(t) // has the certificate already
	if _, err := warm.Verify(t.Context(), "Notification", notification().signed().json()); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := notification()
			if c.typ != "" {
				m = confirmation(c.typ)
			}
			header := m["Type"]
			if c.header != "" {
				header = strings.TrimPrefix(c.header, "-")
			}
			if c.before != nil {
				c.before(m)
			}
			m = m.signed()
			if c.after != nil {
				c.after(m)
			}
			body := m.json()
			if c.raw != nil {
				body = c.raw(body)
			}
			before := warm.fetches.Load()
			got, err := warm.Verify(t.Context(), header, body)
			if err == nil {
				t.Fatalf("accepted: %+v", got)
			}
			if r := reasonOf(t, err); r != c.want {
				t.Errorf("reason is %s (%v), want %s", r, err, c.want)
			}
			if got != (snsverify.Message{}) {
				t.Errorf("a refused message is given out: %+v", got)
			}
			if n := warm.fetches.Load() - before; n != 0 {
				t.Errorf("%d fetches, want none", n)
			}
			if c.want == snsverify.Signature {
				return
			}
			cold := newFixture(t) // a stranger's message costs no fetch, even at first
			if _, err := cold.Verify(t.Context(), header, body); err == nil || reasonOf(t, err) != c.want {
				t.Errorf("at first: got %v, want %s", err, c.want)
			}
			if n := cold.fetches.Load(); n != 0 {
				t.Errorf("%d fetches at first, want none", n)
			}
		})
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases", len(cases))
	}
}

func TestAMessageIsAcceptedUpToTheEndsOfTheReplayWindow(t *testing.T) {
	b := newFixture(t)
	body := notification().signed().json()
	sent := time.Date(2026, 11, 23, 9, 59, 58, 123e6, time.UTC)
	for _, c := range []struct {
		now time.Time
		ok  bool
	}{
		{sent.Add(65 * time.Minute), true}, {sent.Add(65*time.Minute + 1), false},
		{sent.Add(-5 * time.Minute), true}, {sent.Add(-5*time.Minute - 1), false},
	} {
		b.setNow(c.now)
		if _, err := b.Verify(t.Context(), "Notification", body); (err == nil) != c.ok {
			t.Errorf("at %s: %v, want accepted %t", c.now, err, c.ok)
		}
	}
}

func TestNoBitOfWhatIsSignedCanBeFlipped(t *testing.T) {
	b := newFixture(t)
	for _, m := range []message{notification(), confirmation(snsverify.SubscriptionConfirmation)} {
		m = m.signed()
		if _, err := b.Verify(t.Context(), m["Type"], m.json()); err != nil {
			t.Fatal(err)
		}
		flips := 0
		for name, value := range m {
			if name == "UnsubscribeURL" || name == "SigningCertURL" { // not signed
				continue
			}
			if m["Type"] != snsverify.Notification && name != "Token" && name != "SubscribeURL" && name != "Type" {
				continue // flipped with the notification
			}
			for i := range len(value) * 8 {
				if name == "Signature" && i%8 > 1 {
					continue // its value is flipped below
				}
				raw := []byte(value)
				raw[i/8] ^= 1 << (i % 8)
				bad := maps.Clone(m)
				bad[name] = string(raw)
				if _, err := b.Verify(t.Context(), bad["Type"], bad.json()); err == nil {
					t.Errorf("%s: bit %d flipped, accepted: %q", name, i, raw)
				}
				flips++
			}
		}
		sig := must(base64.StdEncoding.DecodeString(m["Signature"]))
		step := 5
		if m["Type"] != snsverify.Notification {
			step = 101
		}
		for i := 0; i < len(sig)*8; i += step {
			raw := bytes.Clone(sig)
			raw[i/8] ^= 1 << (i % 8)
			bad := maps.Clone(m)
			bad["Signature"] = base64.StdEncoding.EncodeToString(raw)
			if _, err := b.Verify(t.Context(), bad["Type"], bad.json()); err == nil || reasonOf(t, err) != snsverify.Signature {
				t.Errorf("signature's bit %d flipped: %v", i, err)
			}
			flips++
		}
		t.Logf("%s: %d flips refused", m["Type"], flips)
	}
}

func TestWhatIsNotSignedDoesNotMatter(t *testing.T) {
	b := newFixture(t)
	m := notification().signed()
	plain, err := b.Verify(t.Context(), "Notification", m.json())
	if err != nil {
		t.Fatal(err)
	}
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, m.json(), " ", "\t"); err != nil {
		t.Fatal(err)
	}
	var escaped strings.Builder
	for _, r := range string(m.json()) {
		if r < 0x80 {
			escaped.WriteRune(r)
		} else {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		}
	}
	unsigned := func(value any) []byte {
		all := map[string]any{}
		for k, v := range m {
			all[k] = v
		}
		all["MessageAttributes"], all["Later"] = value, value
		return must(json.Marshal(all))
	}
	bodies := map[string][]byte{
		"spaces":                    spaced.Bytes(),
		"escapes":                   []byte(escaped.String()),
		"attributes and later ones": unsigned(map[string]any{"a": map[string]any{"Type": "String", "Message": "x", "a": []int{1}}}),
		"a null":                    unsigned(nil),
	}
	url := m["UnsubscribeURL"]
	for i := 0; i < len(url)*7; i += 5 {
		raw := []byte(url)
		raw[i/7] ^= 1 << (i % 7)
		if raw[i/7] == '\n' || raw[i/7] == '\r' {
			continue
		}
		bad := maps.Clone(m)
		bad["UnsubscribeURL"] = string(raw)
		bodies[fmt.Sprintf("UnsubscribeURL's bit %d", i)] = bad.json()
	}
	for name, body := range bodies {
		if got, err := b.Verify(t.Context(), "Notification", body); err != nil || got != plain {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, plain)
		}
	}
}

func FuzzVerifyAcceptsOnlyWhatWasSigned(f *testing.F) {
	root := authority(nil, "root")
	leaf := issue(root, rsaKey(), forSNS)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	v := snsverify.New(snsverify.Config{Topics: []string{topic}, Roots: roots, Now: func() time.Time { return at },
		Client: &http.Client{Transport: wire(func(r *http.Request) []byte {
			if r.URL.String() == certURL {
				return leaf.pem()
			}
			return nil
		})}})
	genuine := map[snsverify.Message]bool{}
	for _, m := range []message{notification(), confirmation(snsverify.SubscriptionConfirmation), confirmation(snsverify.UnsubscribeConfirmation)} {
		body := m.signed().json()
		got, err := v.Verify(f.Context(), m["Type"], body)
		if err != nil {
			f.Fatal(err)
		}
		genuine[got] = true
		f.Add(m["Type"], body)
		f.Add(m["Type"], bytes.Replace(body, []byte(`"Message"`), []byte(`"message"`), 1))
		f.Add(m["Type"], body[:len(body)/2])
	}
	f.Add("", []byte("{}"))
	f.Add("Notification", []byte(`{"Type":"Notification","Message":"\ud800"}`))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		got, err := v.Verify(t.Context(), header, body)
		if err == nil && !genuine[got] {
			t.Errorf("accepted, and never signed: %+v", got)
		}
		if err != nil {
			reasonOf(t, err)
		}
	})
}
