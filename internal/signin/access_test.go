package signin

import (
	"errors"
	"maps"
	"testing"
	"time"
)

func TestAnAccessTokenIsForTheAudienceAndHasTheScope(t *testing.T) {
	f := newFixture(t)
	now := f.clock.Now()
	right := map[string]any{"iss": f.issuer, "sub": "ada", "aud": "gas-api", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "scope": "openid gas", "client_id": "a-script"}
	with := func(change map[string]any) map[string]any {
		c := maps.Clone(right)
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	for name, c := range map[string]struct {
		typ    string
		claims map[string]any
		ok     bool
		scope  bool // the scope alone is missing
	}{
		"as RFC 9068 has it":           {"at+jwt", right, true, false},
		"with the long type":           {"application/at+jwt", right, true, false},
		"of type JWT":                  {"JWT", right, true, false},
		"without a type":               {"", right, true, false},
		"for several audiences":        {"at+jwt", with(map[string]any{"aud": []string{"other", "gas-api"}}), true, false},
		"with a list of scopes":        {"at+jwt", with(map[string]any{"scope": nil, "scp": []string{"gas"}}), true, false},
		"for the site's sign-in":       {"at+jwt", with(map[string]any{"aud": "gas"}), false, false},
		"for nobody":                   {"at+jwt", with(map[string]any{"aud": nil}), false, false},
		"of another issuer":            {"at+jwt", with(map[string]any{"iss": "https://evil.example"}), false, false},
		"that has expired":             {"at+jwt", with(map[string]any{"exp": now.Add(-time.Hour).Unix()}), false, false},
		"that never expires":           {"at+jwt", with(map[string]any{"exp": nil}), false, false},
		"without a subject":            {"at+jwt", with(map[string]any{"sub": nil}), false, false},
		"without the scope":            {"at+jwt", with(map[string]any{"scope": "openid gas-read gasgas"}), false, true},
		"without any scope":            {"at+jwt", with(map[string]any{"scope": nil}), false, true},
		"that is an ID token":          {"JWT", with(map[string]any{"nonce": "n"}), false, false},
		"that is another ID token":     {"JWT", with(map[string]any{"at_hash": "h"}), false, false},
		"that is a logout token":       {"logout+jwt", with(map[string]any{"events": map[string]any{}}), false, false},
		"of the type of another token": {"dpop+jwt", right, false, false},
	} {
		raw, err := f.idp.Sign(c.typ, c.claims)
		if err != nil {
			t.Fatal(err)
		}
		access, err := f.VerifyAccess(t.Context(), raw, "gas-api", "gas")
		if (err == nil) != c.ok || errors.Is(err, ErrScope) != c.scope {
			t.Errorf("a token %s: %+v, %v", name, access, err)
		}
		if c.ok && (access.User != "ada" || access.Until.Unix() != now.Add(time.Hour).Unix()) {
			t.Errorf("a token %s is %+v", name, access)
		}
	}
	raw, err := f.idp.Sign("at+jwt", right)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody else can sign it, and a site that takes no tokens takes none.
	for name, wrong := range map[string][3]string{
		"a changed signature": {raw[:len(raw)-6] + "AAAAAA", "gas-api", "gas"}, "no token": {"", "gas-api", "gas"}, "no JWT": {"opaque", "gas-api", "gas"},
		"no audience": {raw, "", "gas"}, "no scope": {raw, "gas-api", ""},
	} {
		if access, err := f.VerifyAccess(t.Context(), wrong[0], wrong[1], wrong[2]); err == nil {
			t.Errorf("%s is taken: %+v", name, access)
		}
	}
}
