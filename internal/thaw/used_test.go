package thaw_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/thaw"
)

// listed shows Glacier's list as if each retrieval had failed.
type listed struct{ thaw.Vault }

func (v listed) Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(yield func(archive.Retrieval, error) bool) {
		for r, err := range v.Vault.Retrievals(ctx, jobs, turn) {
			r.Status = archive.RetrievalFailed
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestEachRetrievalCountsAsATry has workers that died with an intent. One died after its call,
// and the retrieval failed or was forgotten before anybody saw it: that is a try. The other
// died before its call: that is none.
func TestEachRetrievalCountsAsATry(t *testing.T) {
	for _, c := range []struct {
		name         string
		called, late bool
		tries        int // used up before, with the try of the intent
		want         int
	}{
		{"it failed before anybody saw it", true, false, 1, 2},
		{"Glacier forgot it", false, true, 1, 2},
		{"nothing was requested", false, false, 1, 1},
		{"nothing was requested, in the last try", false, false, archive.MaxRetrievals, archive.MaxRetrievals},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			b.Account("u", archive.Premium)
			job := b.Archive("u", "j1", []byte("result"))
			for try := range c.tries {
				intent := archive.Intent{Token: "gone", At: b.now}
				if c.late {
					intent.At = b.now.Add(-30 * time.Hour)
				}
				if err := b.AWS.Catalog.SaveIntent(t.Context(), b.Job("j1"), intent); err != nil {
					t.Fatal(err)
				}
				if try < c.tries-1 {
					spent := intent
					spent.Used = true
					if err := b.AWS.Catalog.DropIntent(t.Context(), b.Job("j1"), spent); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c.called {
				if _, err := b.Vault.Retrieve(t.Context(), job, archive.Standard); err != nil {
					t.Fatal(err)
				}
				b.Vault = listed{b.Vault}
			}
			var out testenv.Emitted
			b.deliver(t, b.task(job), &out)
			if now := b.Job("j1"); now.History.Tries != c.want || now.RetrievalID == "" {
				t.Errorf("%d tries are counted, want %d; retrieval %q", now.History.Tries, c.want, now.RetrievalID)
			}
		})
	}
}

// A try that was used stays counted, even if nobody is entitled to the archive any more.
func TestATryIsKeptThatWasSpentWhenNobodyIsEntitledAnyMore(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Free)
	job := b.Archive("u", "j1", []byte("result"))
	if err := b.AWS.Catalog.SaveIntent(t.Context(), job, archive.Intent{Token: "gone", At: b.now}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Vault.Retrieve(t.Context(), job, archive.Standard); err != nil {
		t.Fatal(err)
	}
	b.Vault = listed{b.Vault}
	var out testenv.Emitted
	b.deliver(t, b.task(job), &out)
	if now := b.Job("j1"); now.History.Tries != 1 || now.Intent != nil || now.RetrievalID != "" {
		t.Errorf("%d tries are counted, want 1; intent %v, retrieval %q", now.History.Tries, now.Intent, now.RetrievalID)
	}
}

// lateCatalog runs meanwhile before a worker saves its retrieval.
type lateCatalog struct {
	thaw.Catalog
	meanwhile func()
}

func (c *lateCatalog) SaveRetrieval(ctx context.Context, job archive.Job, intent archive.Intent, r archive.Retrieval) error {
	if c.meanwhile != nil {
		meanwhile := c.meanwhile
		c.meanwhile = nil
		meanwhile()
	}
	return c.Catalog.SaveRetrieval(ctx, job, intent, r)
}

// A failed retrieval must not be saved over another worker's intent. It would take the place
// of the retrieval that the other worker is about to request. Nobody would ever find that one.
func TestARetrievalThatFailedIsNotSavedOverAnothersIntent(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	duplicates := 0
	b.OnDuplicates = func(n int) { duplicates += n }
	b.Requester.Catalog = &lateCatalog{Catalog: b.AWS.Catalog, meanwhile: func() {
		b.Vault = listed{b.Vault} // the retrieval fails; another worker sees that, and takes over
		if err := b.AWS.Catalog.SaveIntent(t.Context(), b.Job("j1"), archive.Intent{Token: "other", At: b.now}); err != nil {
			t.Error(err)
		}
	}}
	var out testenv.Emitted
	err := b.Request(t.Context(), b.task(job), out.Emit)
	if now := b.Job("j1"); !fault.Is(err, fault.Wait) || now.RetrievalID != "" || now.Intent == nil || now.Intent.Token != "other" || duplicates != 0 {
		t.Errorf("got %v, %d duplicates, intent %+v, retrieval %q; want a wait, and the other's intent", err, duplicates, now.Intent, now.RetrievalID)
	}
}
