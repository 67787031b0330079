package web

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	localidp "github.com/gas-restore/gas/internal/local/idp"
)

// TestACrowdBeforeAProviderInTroubleMakesOneLookup: each of them has a token of a key that is
// not known, and nobody waits for lookups of others to fail one after the other.
func TestACrowdBeforeAProviderInTroubleMakesOneLookup(t *testing.T) {
	b := newFixture(t)
	p := b.site.provider
	old, err := p.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503})
	b.pauseIsOver()
	before := b.provider.Asked(localidp.Keys)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			var r *refusal
			if _, err := p.renew(t.Context(), old); !errors.As(err, &r) || r.blame != byProvider {
				t.Errorf("got %v, want the provider's fault", err)
			}
		})
	}
	all.Wait()
	if asked := b.provider.Asked(localidp.Keys) - before; asked > 2 { // one more if some are a second late
		t.Errorf("the keys were asked for %d times, want once", asked)
	}
}

// TestNobodyWaitsForALookupThatIsNotNeededAtOnce: what was found a while ago is good while
// somebody else looks.
func TestNobodyWaitsForALookupThatIsNotNeededAtOnce(t *testing.T) {
	b := newFixture(t)
	p := b.site.provider
	old, err := p.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.clock.add(lookupAge)
	b.pauseIsOver()
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := p.discover(t.Context()) // or this test hangs
	p.leave()
	if err != nil || got != old {
		t.Errorf("got %v, %v; want what was found before", got, err)
	}
	if got, err = p.discover(t.Context()); err != nil || got == old {
		t.Errorf("got %v, %v; want what is found anew", got, err)
	}
}

// leaver is somebody who goes away as soon as the provider is asked for them.
type leaver struct {
	http.RoundTripper
	leave context.CancelFunc
}

func (l leaver) RoundTrip(r *http.Request) (*http.Response, error) {
	l.leave()
	return l.RoundTripper.RoundTrip(r)
}

func TestALookupIsForAllWhoWait(t *testing.T) {
	b := newFixture(t)
	ctx, leave := context.WithCancel(t.Context())
	cfg := b.site.cfg
	cfg.HTTPClient = &http.Client{Transport: leaver{cfg.HTTPClient.Transport, leave}}
	if _, err := newProvider(cfg, "").discover(ctx); err != nil {
		t.Errorf("the first one left, and the lookup failed for all: %v", err)
	}
	// Who is gone before does not wait for the gate either.
	p := newProvider(cfg, "")
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.leave()
	if _, err := p.discover(ctx); err == nil {
		t.Error("somebody who is gone was looked up for")
	}
}

// TestALookupThatBeganBeforeTheKeyWasThereIsNotTheLast: somebody else's lookup was over
// before the provider rotated, and whoever has a token of the new key knew what was there
// before either.
func TestALookupThatBeganBeforeTheKeyWasThereIsNotTheLast(t *testing.T) {
	b := newFixture(t)
	p := b.site.provider
	old, err := p.discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.pauseIsOver()
	if _, err := p.renew(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	b.rotate("ES256", false)
	b.pauseIsOver()
	raw := b.logoutToken("", nil)
	if _, err := p.verify(t.Context(), old, raw); err != nil {
		t.Errorf("the token of the new key: %v", err)
	}
}

// TestUserinfoIsNotAskedForWithoutAnAccessToken: that is not kept for another try.
func TestUserinfoIsNotAskedForWithoutAnAccessToken(t *testing.T) {
	b := newFixtureWith(t, claims(map[string]any{"name": nil}))
	ada := b.browser()
	callback := ada.callback("ada")
	b.rotate("ES256", false)
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503, Times: 1})
	ada.wants(ada.get(callback), 503, unavailable)
	b.pauseIsOver()
	ada.wants(ada.get(callback), 200, "Your annotations")
	if asked := b.provider.Asked(localidp.UserInfo); asked != 0 {
		t.Errorf("userinfo was asked for %d times, want 0", asked)
	}
}
