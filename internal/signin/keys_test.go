package signin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// TestKeysThatAreOfNoUseAreLeftOut gives the provider keys of an unknown kind, a key for
// encryption, broken keys, and a secret that everybody can read. A token that is signed with
// that secret is refused.
func TestKeysThatAreOfNoUseAreLeftOut(t *testing.T) {
	secret := []byte("a secret that stands in the key set for everybody")
	f := newFixture(t)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	resp, err := http.Get(f.issuer + string(localidp.Keys))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
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
	f.idp.SetMood(localidp.Keys, localidp.Mood{Status: 200, Body: string(body)})
	d, err := f.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.keys) != 1 || d.keys[0].KeyID != good["kid"] {
		t.Errorf("%d keys are of use, want the good one: %v", len(d.keys), d.keys)
	}
	if who, err := f.signIn(); err != nil || who.User != "ada" {
		t.Errorf("with the good key %q signs in, %v; want ada", who.User, err)
	}

	claims, err := json.Marshal(map[string]any{"iss": f.issuer, "aud": "gas"})
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
	if _, err := f.verify(t.Context(), d, raw); !errors.Is(err, errUnreadable) {
		t.Errorf("a token that everybody can sign: %v, want that it is unreadable", err)
	}
	if got := known([]string{"HS256", "none", "ES256", "RS512"}); !slices.Equal(got, []jose.SignatureAlgorithm{jose.RS512, jose.ES256}) {
		t.Errorf("of what is announced %v is taken", got)
	}
	if got := known([]string{"HS256"}); !slices.Equal(got, []jose.SignatureAlgorithm{jose.RS256}) {
		t.Errorf("of what nobody may use %v is taken", got)
	}
}

// FuzzFields reads whatever a provider may write.
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
