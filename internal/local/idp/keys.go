package localidp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// algorithms are the algorithms with which the provider can sign.
var algorithms = []string{"RS256", "RS384", "RS512", "ES256"}

// signing is a key that signs, or that has signed and is still published. It is an
// [op.SigningKey].
type signing struct {
	algorithm jose.SignatureAlgorithm
	key       crypto.Signer
	id        string
}

var _ op.SigningKey = signing{}

func (k signing) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k signing) Key() any                                    { return k.key }
func (k signing) ID() string                                  { return k.id }

// publicKey is the public half of signing.
type publicKey struct{ signing }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.key.Public() }

// newKey returns a key for the algorithm, with a new id. It takes known if that fits, and
// makes a key if not.
func newKey(algorithm string, known *rsa.PrivateKey) (signing, error) {
	k := signing{algorithm: jose.SignatureAlgorithm(algorithm), id: newID()}
	var err error
	switch {
	case algorithm == "ES256":
		k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case known != nil:
		k.key = known
	default:
		k.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return signing{}, fmt.Errorf("make the signing key: %w", err)
	}
	return k, nil
}

// Rotate signs with a fresh key from now on. With keep, the earlier keys stay published
// with their algorithms, for tokens that were signed with them. Without keep, they are
// revoked. It is an error if the provider does not have the algorithm.
func (p *Provider) Rotate(algorithm string, keep bool) error {
	if !slices.Contains(algorithms, algorithm) {
		return fmt.Errorf("rotate: algorithm is %q, want one of %s", algorithm, strings.Join(algorithms, ", "))
	}
	k, err := newKey(algorithm, nil)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	if !keep {
		p.state.keys = nil
	}
	p.state.keys = append(p.state.keys, k)
	return nil
}

// Sign returns the claims as a token of the type, for example a token for an application's
// back channel. If typ is empty, the token has no type.
func (p *Provider) Sign(typ string, claims map[string]any) (string, error) {
	data, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	k := p.state.signing()
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.key, KeyID: k.id}}, opts)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	signed, err := signer.Sign(data)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed.CompactSerialize()
}

// changed answers a token request. The ID token has the claims as [Config].Claims changes
// them.
func (p *Provider) changed(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	p.op.ServeHTTP(rec, r)
	body := rec.body.Bytes()
	if rec.status == http.StatusOK {
		var err error
		if body, err = p.resign(body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", rec.header.Get("Content-Type"))
	w.WriteHeader(rec.status)
	_, _ = w.Write(body)
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (p *Provider) resign(answer []byte) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(answer, &fields); err != nil {
		return nil, fmt.Errorf("read the token answer: %w", err)
	}
	raw, _ := fields["id_token"].(string)
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the ID token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("read the ID token: %w", err)
	}
	claims := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber() // times stay whole
	if err := dec.Decode(&claims); err != nil {
		return nil, fmt.Errorf("read the ID token: %w", err)
	}
	p.claims(claims)
	if fields["id_token"], err = p.Sign("JWT", claims); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// signing returns the key that signs.
func (s *state) signing() signing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1]
}

// published returns the keys with which tokens may be verified.
func (s *state) published() []signing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}
