package web

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/localidp"
)

// TestACrowdBeforeAProviderInTroubleMakesOneLookup: each of them has a token of a key that is
// not known, and nobody waits for lookups of others to fail one after the other.
func TestACrowdBeforeAProviderInTroubleMakesOneLookup(t *testing.T) {
	b := newBed(t)
	const people = 12
	browsers, callbacks := make([]*browser, people), make([]string, people)
	for i := range people {
		browsers[i] = b.browser()
		callbacks[i] = browsers[i].callback("ada")
	}
	b.rotate("ES256", false)
	b.provider.SetMood(localidp.Keys, localidp.Mood{Status: 503})
	b.pauseIsOver()
	before, begun := b.provider.Asked(localidp.Keys), time.Now()
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() { browsers[i].wants(browsers[i].get(callbacks[i]), 503, unavailable) })
	}
	all.Wait()
	// On a slow machine some come after the pause.
	most := 1 + int(time.Since(begun)/lookupPause)
	if asked := b.provider.Asked(localidp.Keys) - before; asked > most || most >= people {
		t.Errorf("the keys were asked for %d times in %s, want %d at most", asked, time.Since(begun), most)
	}
}

// TestNobodyWaitsForALookupThatIsNotNeededAtOnce: what was found a while ago is good while
// somebody else looks.
func TestNobodyWaitsForALookupThatIsNotNeededAtOnce(t *testing.T) {
	b := newBed(t)
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
	b := newBed(t)
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
