package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// TestKeysThatAreOfNoUseAreLeftOut: of a kind that is not known here, for encryption,
// broken, or no public keys at all. With one that everybody can read nothing is signed.
func TestKeysThatAreOfNoUseAreLeftOut(t *testing.T) {
	secret := []byte("a secret that stands in the key set for everybody")
	b := newFixture(t)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	b.browser().get(b.idp+string(localidp.Keys)).into(t, &set)
	good := set.Keys[0]
	with := func(change map[string]any) map[string]any {
		k := maps.Clone(good)
		maps.Copy(k, change)
		return k
	}
	body, err := json.Marshal(map[string]any{"keys": []any{
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "new"}, map[string]any{"kty": "RSA", "n": 7}, 7, nil,
		map[string]any{"kty": "oct", "k": base64.RawURLEncoding.EncodeToString(secret), "kid": "k", "alg": "HS256"},
		with(map[string]any{"use": "enc", "kid": "enc"}), good,
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 200, Body: string(body)})
	d, err := b.site.provider.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.keys) != 1 || d.keys[0].KeyID != good["kid"] {
		t.Errorf("%d keys are of use, want the good one: %v", len(d.keys), d.keys)
	}
	v := b.browser()
	v.wants(v.signIn("ada", "/annotations"), 200, "Your annotations")

	claims, err := json.Marshal(map[string]any{"iss": b.idp, "aud": "gas"})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := forged.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	d.algorithms = append(d.algorithms, jose.HS256) // as if a provider announced it
	if _, err := b.site.provider.verify(t.Context(), d, raw); !errors.Is(err, errUnreadable) {
		t.Errorf("a token that everybody can sign: %v, want that it is unreadable", err)
	}
	if got := known([]string{"HS256", "none", "ES256", "RS512"}); !slices.Equal(got, []jose.SignatureAlgorithm{jose.RS512, jose.ES256}) {
		t.Errorf("of what is announced %v is taken", got)
	}
	if got := known([]string{"HS256"}); !slices.Equal(got, []jose.SignatureAlgorithm{jose.RS256}) {
		t.Errorf("of what nobody may use %v is taken", got)
	}
}

// FuzzFields reads what a provider may write.
func FuzzFields(f *testing.F) {
	for _, s := range []string{`{"x":"a"}`, `{"x":7}`, `{"x":1e300}`, `{"x":["a"]}`, `{"x":null}`, `{"x":-1}`, `{"x":1.5}`, `null`, `{}`, `{"x":{"y":[]}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var all fields
		if json.Unmarshal([]byte(s), &all) != nil {
			return
		}
		if at := all.time("x"); !at.IsZero() && (at.Before(time.Unix(0, 0)) || at.Year() > 40000) {
			t.Errorf("%s is the time %s", s, at)
		}
		if text := all.text("x"); text != "" && all.texts("x") != nil {
			t.Errorf("%s is a text and a list", s)
		}
		data, err := all.only("x")
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var few fields
		if err := json.Unmarshal(data, &few); err != nil || len(few) > 1 || few.text("x") != all.text("x") {
			t.Errorf("of %s there is left %s, %v", s, data, err)
		}
	})
}
