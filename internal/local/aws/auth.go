package localaws

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxSignedBody bounds the bodies that are read to check their signature: those
// of the JSON and query services, DynamoDB's being the largest.
const maxSignedBody = 17 << 20

// scope is what a request says about who signed it for what.
type scope struct {
	accessKey string
	date      string
	region    string
	service   string
	signed    []string
	signature string
	presigned bool
}

// scopeOf reads the credential scope of r; ok is false if r is not signed.
func scopeOf(r *http.Request) (s scope, ok bool) {
	credential := ""
	if auth := r.Header.Get("Authorization"); auth != "" {
		rest, found := strings.CutPrefix(auth, "AWS4-HMAC-SHA256 ")
		if !found {
			return scope{}, false
		}
		for part := range strings.SplitSeq(rest, ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch key {
			case "Credential":
				credential = value
			case "SignedHeaders":
				s.signed = strings.Split(value, ";")
			case "Signature":
				s.signature = value
			}
		}
	} else if q := r.URL.Query(); q.Get("X-Amz-Algorithm") == "AWS4-HMAC-SHA256" {
		s.presigned = true
		credential = q.Get("X-Amz-Credential")
		s.signed = strings.Split(q.Get("X-Amz-SignedHeaders"), ";")
		s.signature = q.Get("X-Amz-Signature")
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" {
		return scope{}, false
	}
	s.accessKey, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	return s, true
}

// authenticate checks r's signature version 4 by making it again with the
// SDK's own signer.
func (s *Server) authenticate(r *http.Request, sc scope) *world.Error {
	isS3 := sc.service == "s3"
	secret, known := s.secretOf(sc.accessKey)
	if !known {
		if isS3 {
			return world.Errorf(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
		}
		return world.Errorf(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	mismatch := func(why string) *world.Error {
		if isS3 || sc.service == "sns" {
			return world.Errorf(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided (%s).", why)
		}
		return world.Errorf(403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided (%s).", why)
	}
	date := r.Header.Get("X-Amz-Date")
	if sc.presigned {
		date = r.URL.Query().Get("X-Amz-Date")
	}
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || !strings.HasPrefix(date, sc.date) {
		return mismatch("X-Amz-Date is missing, malformed or not of the credential's day")
	}
	if !slices.Contains(sc.signed, "host") {
		return mismatch("the host header is not signed")
	}

	again := (&http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}}).WithContext(context.Background())
	u := *r.URL
	again.URL = &u
	for _, name := range sc.signed {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			if values := r.Header.Values(name); len(values) > 0 {
				again.Header[http.CanonicalHeaderKey(name)] = values
			}
		}
	}
	creds := aws.Credentials{AccessKeyID: sc.accessKey, SecretAccessKey: secret}
	options := func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = isS3 // S3 alone signs the path as it is on the wire
		o.DisableHeaderHoisting = true
	}

	if sc.presigned {
		seconds, err := strconv.Atoi(r.URL.Query().Get("X-Amz-Expires"))
		if err != nil || seconds < 1 || seconds > 7*24*3600 {
			return world.Errorf(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds")
		}
		if s.World.Clock.Now().After(at.Add(time.Duration(seconds) * time.Second)) {
			return world.Errorf(403, "AccessDenied", "Request has expired")
		}
		q := u.Query()
		for _, name := range []string{"X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders"} {
			q.Del(name)
		}
		again.URL.RawQuery = q.Encode()
		hash := "UNSIGNED-PAYLOAD"
		if v := r.Header.Get("X-Amz-Content-Sha256"); v != "" {
			hash = v
		}
		signed, _, err := s.signer.PresignHTTP(context.Background(), creds, again, hash, sc.service, sc.region, at, options)
		if err != nil {
			return mismatch(err.Error())
		}
		su, err := url.Parse(signed)
		if err != nil || !equal(su.Query().Get("X-Amz-Signature"), sc.signature) {
			return mismatch("presigned URL")
		}
		return nil
	}

	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		body, err := world.ReadBody(r, maxSignedBody)
		if err != nil {
			return world.Errorf(413, "RequestEntityTooLarge", "read the body: %v", err)
		}
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	if err := s.signer.SignHTTP(context.Background(), creds, again, hash, sc.service, sc.region, at, options); err != nil {
		return mismatch(err.Error())
	}
	_, signature, _ := strings.Cut(again.Header.Get("Authorization"), "Signature=")
	if !equal(signature, sc.signature) {
		return mismatch("header")
	}
	return nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
