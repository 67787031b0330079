package snsverify

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

var certPath = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{32}\.pem$`)

// hostOf returns where SNS keeps the certificates for a topic's region.
// The official validators' pattern lets an S3 bucket pass as well
// (sns.s3-us-west-2.amazonaws.com), so the host is pinned to the region.
func hostOf(topicARN string) (string, error) {
	m := topicShape.FindStringSubmatch(topicARN)
	if m == nil {
		return "", fmt.Errorf("TopicArn is malformed")
	}
	host := "sns." + m[2] + ".amazonaws.com"
	if m[1] == "aws-cn" {
		host += ".cn"
	}
	return host, nil
}

func checkCertURL(raw, topicARN string) error {
	host, err := hostOf(topicARN)
	if err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil || raw == "" {
		return fmt.Errorf("SigningCertURL is missing or no URL")
	}
	// Compared as text: what is not exactly this is not SNS's, and no parser's
	// idea of user, port, escape or fragment gets a say.
	if raw != "https://"+host+u.Path || !certPath.MatchString(u.Path) {
		return fmt.Errorf("SigningCertURL is not https://%s/SimpleNotificationService-<32 hex digits>.pem", host)
	}
	return nil
}

const (
	maxCert   = 64 << 10
	fetchTime = 5 * time.Second
	keepGood  = 24 * time.Hour
	// Less than the 20 s between two tries of SNS, so that the next can succeed.
	keepBad      = 15 * time.Second
	maxKeptCerts = 64
)

// certs fetches, checks and keeps signing certificates.
type certs struct {
	client   *http.Client
	endpoint string
	roots    *x509.CertPool
	now      func() time.Time
	flight   singleflight.Group

	mu   sync.Mutex // guards kept
	kept map[string]kept
}

type kept struct {
	cert  *x509.Certificate
	key   *rsa.PublicKey
	err   error
	until time.Time
}

func newCerts(client *http.Client, endpoint string, roots *x509.CertPool, now func() time.Time) *certs {
	c := &http.Client{}
	if client != nil {
		*c = *client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirected") }
	c.Timeout = fetchTime
	return &certs{client: c, endpoint: strings.TrimSuffix(endpoint, "/"), roots: roots, now: now, kept: map[string]kept{}}
}

// key returns the public key of the certificate at url, which was checked. One
// fetch serves all who ask at the same time; a failure is remembered too.
func (c *certs) key(ctx context.Context, url string) (*rsa.PublicKey, error) {
	now := c.now()
	c.mu.Lock()
	k, ok := c.kept[url]
	c.mu.Unlock()
	if ok && now.Before(k.until) {
		if k.err == nil && (now.Before(k.cert.NotBefore) || now.After(k.cert.NotAfter)) {
			return nil, refuse(CertTrust, "the signing certificate is not valid at %s", now.UTC().Format(time.RFC3339))
		}
		return k.key, k.err
	}
	ch := c.flight.DoChan(url, func() (any, error) {
		// Not the caller's context: the others who wait are not to suffer if that
		// one goes away. The client has a time limit.
		cert, err := c.load(context.WithoutCancel(ctx), url)
		k := kept{cert: cert, err: err, until: c.now().Add(keepGood)}
		if err != nil {
			k.until = c.now().Add(keepBad)
		} else {
			k.key = cert.PublicKey.(*rsa.PublicKey) // load refuses others
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.kept) >= maxKeptCerts {
			clear(c.kept)
		}
		c.kept[url] = k
		return k, nil
	})
	select {
	case r := <-ch:
		k := r.Val.(kept)
		return k.key, k.err
	case <-ctx.Done():
		return nil, refuse(CertFetch, "wait for the signing certificate: %w", ctx.Err())
	}
}

func (c *certs) load(ctx context.Context, url string) (*x509.Certificate, error) {
	from := url
	if c.endpoint != "" {
		from = c.endpoint + url[strings.LastIndexByte(url, '/'):]
	}
	body, err := c.get(ctx, from)
	if err != nil {
		return nil, refuse(CertFetch, "fetch the signing certificate: %w", err)
	}
	var chain []*x509.Certificate
	for rest := body; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse(CertTrust, "parse the signing certificate: %w", err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, refuse(CertTrust, "no certificate in what was fetched")
	}
	leaf := chain[0]
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() < 2048 {
		return nil, refuse(CertTrust, "the signing certificate's key is not RSA of 2048 bits or more")
	}
	if err := c.trust(ctx, leaf, chain[1:], url); err != nil {
		return nil, err
	}
	return leaf, nil
}

// trust checks the chain, the validity and the name. The file may hold the leaf
// alone; then the intermediate is fetched from where the leaf says, if that is
// Amazon's own place for them.
func (c *certs) trust(ctx context.Context, leaf *x509.Certificate, rest []*x509.Certificate, certURL string) error {
	u, err := url.Parse(certURL)
	if err != nil {
		return refuse(CertURL, "%w", err)
	}
	suffix := ".amazonaws.com"
	if strings.HasSuffix(u.Host, ".cn") {
		suffix = ".amazonaws.com.cn"
	}
	if leaf.VerifyHostname("sns"+suffix) != nil && leaf.VerifyHostname(u.Host) != nil {
		return refuse(CertTrust, "the signing certificate is not for sns%s", suffix)
	}
	between := x509.NewCertPool()
	for _, cert := range rest {
		between.AddCert(cert)
	}
	opts := x509.VerifyOptions{
		Roots:         c.roots,
		Intermediates: between,
		CurrentTime:   c.now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	_, err = leaf.Verify(opts)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && len(rest) == 0 {
		for _, issuer := range leaf.IssuingCertificateURL {
			iu, perr := url.Parse(issuer)
			if perr != nil || !strings.HasSuffix(iu.Host, ".amazontrust.com") {
				continue
			}
			der, gerr := c.get(ctx, issuer)
			if gerr != nil {
				return refuse(CertFetch, "fetch the issuer's certificate: %w", gerr)
			}
			cert, perr := x509.ParseCertificate(der)
			if perr != nil {
				return refuse(CertTrust, "parse the issuer's certificate: %w", perr)
			}
			between.AddCert(cert)
			_, err = leaf.Verify(opts)
			break
		}
	}
	if err != nil {
		return refuse(CertTrust, "the signing certificate: %w", err)
	}
	return nil
}

func (c *certs) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCert+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxCert {
		return nil, fmt.Errorf("answered more than %d bytes", maxCert)
	}
	return body, nil
}
