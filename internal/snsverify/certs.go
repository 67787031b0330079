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
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

var certPath = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{32}\.pem$`)

func checkCertURL(raw, topicARN string) error {
	p, region, err := place(topicARN)
	if err != nil {
		return err
	}
	host := p.host(region)
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
	// between are intermediates that need not be fetched.
	between []*x509.Certificate
	flight  singleflight.Group

	mu      sync.Mutex // guards what follows
	kept    map[string]kept
	trouble error // why an issuer's certificate could not be had; nil since one could
}

type kept struct {
	cert  *x509.Certificate
	key   *rsa.PublicKey
	err   error
	until time.Time
}

func newCerts(cfg Config, now func() time.Time) *certs {
	c := &http.Client{}
	if cfg.Client != nil {
		*c = *cfg.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirected") }
	c.Timeout = fetchTime
	return &certs{client: c, endpoint: strings.TrimSuffix(cfg.CertEndpoint, "/"), roots: cfg.Roots, between: cfg.Intermediates, now: now, kept: map[string]kept{}}
}

// key returns the public key of the certificate at url, which was checked. One
// fetch serves all who ask at the same time; a failure is remembered too.
func (c *certs) key(ctx context.Context, url, topicARN string) (*rsa.PublicKey, error) {
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
		cert, err := c.load(context.WithoutCancel(ctx), url, topicARN)
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

func (c *certs) load(ctx context.Context, url, topicARN string) (*x509.Certificate, error) {
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
	if err := c.trust(ctx, leaf, chain[1:], topicARN); err != nil {
		return nil, err
	}
	return leaf, nil
}

// trust checks the chain, the validity and the name. The file may hold the leaf
// alone, as SNS's does; then the intermediate is one that is known, or is fetched from
// where the leaf says, if that is Amazon's own place for them: plain HTTP, as it is for
// every certificate authority.
func (c *certs) trust(ctx context.Context, leaf *x509.Certificate, rest []*x509.Certificate, topicARN string) error {
	p, region, err := place(topicARN)
	if err != nil {
		return refuse(CertURL, "%w", err)
	}
	names := p.names(region)
	if !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) == nil }) {
		return refuse(CertTrust, "the signing certificate is for none of %s", strings.Join(names, ", "))
	}
	if now := c.now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return refuse(CertTrust, "the signing certificate is not valid at %s", now.UTC().Format(time.RFC3339))
	}
	between := x509.NewCertPool()
	for _, cert := range slices.Concat(rest, c.between) {
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
		issuer, ierr := c.issuer(ctx, leaf)
		if ierr != nil {
			return ierr
		}
		if issuer != nil {
			between.AddCert(issuer)
			_, err = leaf.Verify(opts)
		}
	}
	if err != nil {
		return refuse(CertTrust, "the signing certificate: %w", err)
	}
	c.had(nil)
	return nil
}

// issuer fetches the certificate of the leaf's issuer; nil if Amazon has no place for it.
func (c *certs) issuer(ctx context.Context, leaf *x509.Certificate) (*x509.Certificate, error) {
	for _, from := range leaf.IssuingCertificateURL {
		u, err := url.Parse(from)
		if err != nil || !strings.HasSuffix(u.Host, ".amazontrust.com") {
			continue
		}
		der, err := c.get(ctx, from)
		if err != nil {
			c.had(fmt.Errorf("the certificate of %q cannot be had from %s: %w", leaf.Issuer.CommonName, from, err))
			return nil, refuse(CertFetch, "fetch the issuer's certificate: %w", err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(CertTrust, "parse the issuer's certificate: %w", err)
		}
		return cert, nil
	}
	return nil, nil
}

// had notes whether an issuer's certificate could be had.
func (c *certs) had(trouble error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = trouble
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
