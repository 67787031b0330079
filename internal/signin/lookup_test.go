package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// TestACrowdBeforeAProviderInTroubleMakesOneLookup lets a dozen people come with tokens of an
// unknown key. Nobody waits until the lookups of others have failed one after the other.
func TestACrowdBeforeAProviderInTroubleMakesOneLookup(t *testing.T) {
	f := newFixture(t)
	old, err := f.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.idp.SetMood(localidp.Keys, localidp.Mood{Status: 503})
	f.clock.Add(lookupPause)
	before := f.idp.Asked(localidp.Keys)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			var r *Refusal
			if _, err := f.renew(t.Context(), old); !errors.As(err, &r) || r.Blame != BlameProvider {
				t.Errorf("got %v, want the provider's fault", err)
			}
		})
	}
	all.Wait()
	if asked := f.idp.Asked(localidp.Keys) - before; asked != 1 {
		t.Errorf("the keys were requested %d times, want once", asked)
	}
}

// TestNobodyWaitsForALookupThatIsNotNeededAtOnce asks while somebody else looks the provider
// up, and gets the old findings.
func TestNobodyWaitsForALookupThatIsNotNeededAtOnce(t *testing.T) {
	f := newFixture(t)
	old, err := f.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Add(lookupAge)
	f.clock.Add(lookupPause)
	if err := f.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := f.discover(t.Context()) // or this test hangs
	f.leave()
	if err != nil || got != old {
		t.Errorf("got %v, %v; want what was found before", got, err)
	}
	if got, err = f.discover(t.Context()); err != nil || got == old {
		t.Errorf("got %v, %v; want what is found anew", got, err)
	}
}

// leaver goes away as soon as the provider is asked on their behalf.
type leaver struct {
	http.RoundTripper
	leave context.CancelFunc
}

func (l leaver) RoundTrip(r *http.Request) (*http.Response, error) {
	l.leave()
	return l.RoundTripper.RoundTrip(r)
}

func TestALookupIsForAllWhoWait(t *testing.T) {
	f := newFixture(t)
	ctx, leave := context.WithCancel(t.Context())
	cfg := f.cfg
	cfg.HTTPClient = &http.Client{Transport: leaver{cfg.HTTPClient.Transport, leave}}
	if _, err := New(cfg).discover(ctx); err != nil {
		t.Errorf("the first one left, and the lookup failed for all: %v", err)
	}
	// A person who is gone already does not wait for the gate either.
	p := New(cfg)
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.leave()
	if _, err := p.discover(ctx); err == nil {
		t.Error("somebody who is gone was looked up for")
	}
}

// TestALookupThatBeganBeforeTheKeyWasThereIsNotTheLast verifies a token of a new key. The
// last lookup was somebody else's, and ended before the provider had that key.
func TestALookupThatBeganBeforeTheKeyWasThereIsNotTheLast(t *testing.T) {
	f := newFixture(t)
	old, err := f.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Add(lookupPause)
	if _, err := f.renew(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	f.rotate("ES256", false)
	f.clock.Add(lookupPause)
	raw := f.logoutToken()
	if _, err := f.verify(t.Context(), old, raw); err != nil {
		t.Errorf("the token of the new key: %v", err)
	}
}

func TestWhatIsAnnouncedDecidesWhereTheSecretGoes(t *testing.T) {
	const header, form = oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams
	for _, tt := range []struct {
		methods []string
		known   oauth2.AuthStyle
		want    []oauth2.AuthStyle
	}{
		{nil, 0, []oauth2.AuthStyle{header, form}},
		{nil, form, []oauth2.AuthStyle{form, header}},
		{[]string{"client_secret_post", "client_secret_basic"}, 0, []oauth2.AuthStyle{header, form}},
		{[]string{"client_secret_post", "client_secret_basic"}, form, []oauth2.AuthStyle{form, header}},
		{[]string{"client_secret_post", "client_secret_basic"}, header, []oauth2.AuthStyle{header, form}},
		{[]string{"client_secret_basic"}, form, []oauth2.AuthStyle{header}},
		{[]string{"client_secret_post"}, 0, []oauth2.AuthStyle{form}},
		{[]string{"private_key_jwt"}, 0, []oauth2.AuthStyle{form}},
		{[]string{}, 0, []oauth2.AuthStyle{form}},
	} {
		p := New(Config{})
		p.style.Store(int32(tt.known))
		if got := p.styles(&discovered{methods: tt.methods}); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("announced %q, known %d: tries %v, want %v", tt.methods, tt.known, got, tt.want)
		}
	}
}

// TestUserinfoMayBeSigned covers clients with a registration for signed answers. Only the
// provider's own signature is accepted.
func TestUserinfoMayBeSigned(t *testing.T) {
	f, another := newFixture(t), newFixture(t)
	another.rotate("RS512", false) // all fixtures begin with one key
	d, err := f.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []*fixture{f, another} {
		raw, err := by.idp.Sign("", map[string]any{"sub": "ada", "name": "Ada"})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer token" {
				t.Errorf("userinfo was requested with %q", r.Header.Get("Authorization"))
			}
			w.Header().Set("Content-Type", "application/jwt; charset=utf-8")
			fmt.Fprint(w, raw)
		}))
		signing := *d
		signing.userInfo = srv.URL
		who := Person{User: "ada"}
		f.complete(t.Context(), &signing, "token", &who)
		srv.Close()
		if want := map[bool]string{true: "Ada"}[by == f]; who.Name != want {
			t.Errorf("signed by the provider: %v, the name is %q, want %q", by == f, who.Name, want)
		}
	}
}

// TestWhatWasFoundOfTheProviderHasAnAge lets the findings grow old. Then the site asks the
// provider again. While the provider does not answer, the old findings stay good, but the
// keys do not stay good for ever.
func TestWhatWasFoundOfTheProviderHasAnAge(t *testing.T) {
	f := newFixture(t, claims(map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()}))
	in := func() {
		t.Helper()
		if who, err := f.signIn(); err != nil || who.User != "ada" {
			t.Errorf("%q signs in, %v; want ada", who.User, err)
		}
	}
	in()
	in()
	if got := f.idp.Asked(localidp.Discovery); got != 1 {
		t.Errorf("discovery was asked %d times within its age, want 1", got)
	}
	f.clock.Add(lookupAge)
	f.clock.Add(lookupPause)
	in()
	if got := f.idp.Asked(localidp.Discovery); got != 2 {
		t.Errorf("discovery was asked %d times after its age, want 2", got)
	}
	f.idp.SetMood(localidp.Discovery, localidp.Mood{Status: 503})
	f.idp.SetMood(localidp.Keys, localidp.Mood{Status: 503})
	f.clock.Add(lookupAge)
	f.clock.Add(lookupPause)
	in()
	in()
	if got := f.idp.Asked(localidp.Discovery); got != 3 {
		t.Errorf("discovery was asked %d times while it answers 503, want 3", got)
	}
	f.clock.Add(keysAge)
	var r *Refusal
	if _, err := f.signIn(); !errors.As(err, &r) || r.Blame != BlameProvider || r.Status != http.StatusServiceUnavailable {
		t.Errorf("with keys that are too old: %v, want the provider's fault", err)
	}
	f.idp.SetMood(localidp.Keys, localidp.Mood{})
	f.clock.Add(lookupPause)
	in() // we get the keys, but not the description
}

// TestTokensThatAreMadeUpCostTheProviderLittle sends many tokens at once. Another provider
// has signed them.
func TestTokensThatAreMadeUpCostTheProviderLittle(t *testing.T) {
	f := newFixture(t)
	if _, err := f.signIn(); err != nil {
		t.Fatal(err)
	}
	forger := newFixture(t)
	raw, err := forger.idp.Sign("logout+jwt", map[string]any{"iss": f.issuer, "aud": "gas"})
	if err != nil {
		t.Fatal(err)
	}
	before := f.idp.Asked(localidp.Keys)
	begun := time.Now()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := f.VerifyLogout(t.Context(), raw); !errors.Is(err, errSignature) {
				t.Errorf("a made-up token: %v, want %v", err, errSignature)
			}
		})
	}
	all.Wait()
	most := 2 + int(time.Since(begun)/lookupPause)
	if asked := f.idp.Asked(localidp.Keys) - before; asked > most {
		t.Errorf("the keys were requested %d times, want %d at most", asked, most)
	}
	for range 50 {
		if _, err := f.VerifyLogout(t.Context(), "x.y.z"); !errors.Is(err, errUnreadable) {
			t.Errorf("nonsense: %v, want %v", err, errUnreadable)
		}
	}
	if asked := f.idp.Asked(localidp.Keys) - before; asked > most {
		t.Errorf("nonsense had the keys asked for: %d times", asked)
	}
}
