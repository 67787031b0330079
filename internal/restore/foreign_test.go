package restore_test

import (
	"testing"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// TestARetrievalOfSomebodyElseIsNoDeadLetter: the vault reports each retrieval to our
// topic, also those of other tools. A retrieval is ours if it names our topic, or a job of the catalog.
func TestARetrievalOfSomebodyElseIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(*events.RetrievalCompleted)
		want    fault.Kind // of the error, if there is one
		ok      bool
		foreign int
	}{
		{"ours, told by the vault too", func(e *events.RetrievalCompleted) { e.Foreign = true }, 0, true, 0},
		{"another tool's", func(e *events.RetrievalCompleted) { e.Foreign, e.JobID = true, "weekly audit" }, 0, true, 1},
		{"to our topic, of an unknown job", func(e *events.RetrievalCompleted) { e.JobID = "nobody" }, fault.Invalid, false, 0},
		{"another tool's, of an archive that our job does not have", func(e *events.RetrievalCompleted) { e.Foreign, e.ArchiveID = true, "other" }, fault.Invalid, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newFixture(t)
			e := b.retrieved("j", []byte("result"))
			c.change(&e)
			foreign := 0
			b.OnForeign = func() { foreign++ }
			var out testenv.Emitted
			err := b.Restore(t.Context(), e, out.Emit)
			if (err == nil) != c.ok || err != nil && !fault.Is(err, c.want) {
				t.Errorf("got %v of kind %s", err, fault.KindOf(err))
			}
			if foreign != c.foreign {
				t.Errorf("%d foreign, want %d", foreign, c.foreign)
			}
		})
	}
}
