package signin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// asymmetric returns the algorithms that a signature may have. HMAC is not among them: with
// it, everybody who can read the published keys could sign.
func asymmetric() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

// known returns the announced algorithms that we accept. If there are none, it returns RS256,
// which every provider must offer.
func known(announced []string) []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	for _, a := range asymmetric() {
		if slices.Contains(announced, string(a)) {
			all = append(all, a)
		}
	}
	if all == nil {
		all = []jose.SignatureAlgorithm{jose.RS256}
	}
	return all
}

// fetchKeys reads the key set at address. It leaves out each key that is of no use here
// (RFC 7517, section 5).
func (p *Provider) fetchKeys(ctx context.Context, address string) ([]jose.JSONWebKey, error) {
	set, err := p.getJSON(ctx, address)
	if err != nil {
		return nil, err
	}
	var all []json.RawMessage
	if err := json.Unmarshal(set["keys"], &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range all {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err == nil && k.Valid() && k.Use != "enc" {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// verified returns the signed content if one of the keys has signed it with an algorithm that
// the provider announces.
func (d *discovered) verified(jws *jose.JSONWebSignature) ([]byte, bool) {
	if len(jws.Signatures) != 1 {
		return nil, false
	}
	head := jws.Signatures[0].Protected
	if !slices.Contains(d.algorithms, jose.SignatureAlgorithm(head.Algorithm)) {
		return nil, false
	}
	for _, k := range d.keys {
		if head.KeyID != "" && k.KeyID != "" && head.KeyID != k.KeyID {
			continue
		}
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// proven is a payload with a verified signature.
type proven []byte

// VerifySignature implements [oidc.KeySet].
func (p proven) VerifySignature(context.Context, string) ([]byte, error) { return p, nil }

var _ oidc.KeySet = proven(nil)
