package thaw

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// slowList is a vault with a list that takes a second to read.
type slowList struct {
	Vault
	all   []archive.Retrieval
	err   error // at the end of the list
	reads atomic.Int64
}

func (v *slowList) Retrievals(ctx context.Context, _ []archive.Job, _ func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(yield func(archive.Retrieval, error) bool) {
		v.reads.Add(1)
		time.Sleep(time.Second)
		for _, r := range v.all {
			if !yield(r, nil) {
				return
			}
		}
		if v.err != nil {
			yield(archive.Retrieval{}, v.err)
		} else if ctx.Err() != nil {
			yield(archive.Retrieval{}, ctx.Err())
		}
	}
}

func TestASearchThatComesDuringAReadingHasTheNext(t *testing.T) {
	retrieval := func(id, archiveID, job string) archive.Retrieval {
		return archive.Retrieval{ID: events.RetrievalID(id), ArchiveID: events.ArchiveID(archiveID), Description: job}
	}
	denied := fault.New(fault.Denied, errors.New("not allowed"))
	type answer struct {
		found []archive.Retrieval
		err   error
		after time.Duration
	}
	for _, c := range []struct {
		name string
		err  error
	}{{"both are answered", nil}, {"the list is not allowed", denied}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l listing
				v := &slowList{err: c.err, all: []archive.Retrieval{retrieval("r1", "a", "one"), retrieval("r2", "a", "two"), retrieval("r3", "b", "one"), retrieval("r4", "a", "one")}}
				began := time.Now()
				ask := func(job events.JobID) chan answer {
					done := make(chan answer, 1)
					go func() {
						found, err := l.find(t.Context(), archive.Job{ID: job, ArchiveID: "a"}, v)
						done <- answer{found, err, time.Since(began)}
					}()
					synctest.Wait()
					return done
				}
				first := ask("one")
				second := ask("two") // while the first reads
				one, two := <-first, <-second
				if !errors.Is(one.err, c.err) || fault.KindOf(one.err) != fault.KindOf(c.err) || !errors.Is(two.err, c.err) || one.after != time.Second || two.after != 2*time.Second || v.reads.Load() != 2 {
					t.Errorf("got %v after %s and %v after %s with %d readings", one.err, one.after, two.err, two.after, v.reads.Load())
				}
				if c.err == nil && (len(one.found) != 2 || one.found[0].ID != "r1" || one.found[1].ID != "r4" || len(two.found) != 1 || two.found[0].ID != "r2") {
					t.Errorf("found %v and %v", one.found, two.found)
				}
			})
		})
	}
}

// TestACallerThatIsGoneLeavesTheReadingToTheOthers has three searches: the first reads the list
// for itself, the second for the second and the third.
func TestACallerThatIsGoneLeavesTheReadingToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l listing
		v := &slowList{}
		ask := func(ctx context.Context, job events.JobID) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := l.find(ctx, archive.Job{ID: job, ArchiveID: "a"}, v)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		gone, leave := context.WithCancel(t.Context())
		first := ask(t.Context(), "one")
		second, third := ask(gone, "two"), ask(t.Context(), "three")
		time.Sleep(1500 * time.Millisecond) // the second reads for both
		leave()
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		// Only the caller that read the list is gone. The other one tries again.
		if err := <-third; !fault.Is(err, fault.Transient) {
			t.Errorf("the third: %v, want an error that passes", err)
		}
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the second, which is gone: %v", err)
		}

		// A caller that waits and goes leaves its place.
		gone, leave = context.WithCancel(t.Context())
		first, second, third = ask(t.Context(), "one"), ask(gone, "two"), ask(t.Context(), "three")
		leave()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone: %v", err)
		}
		before := v.reads.Load()
		if err := errors.Join(<-first, <-third); err != nil || v.reads.Load() != before+1 || len(l.waiting) != 0 || l.busy {
			t.Errorf("the others: %v, with %d more readings, %d wait", err, v.reads.Load()-before, len(l.waiting))
		}

		// The list was read to its end before the caller went: that is an answer.
		gone, leave = context.WithCancel(t.Context())
		defer leave()
		v.err = nil
		full := &fullList{slowList: v, leave: leave}
		if _, err := l.find(gone, archive.Job{ID: "one", ArchiveID: "a"}, full); err != nil {
			t.Errorf("a caller that goes at the end: %v", err)
		}
	})
}

// fullList ends its caller after the last retrieval, and yields no error.
type fullList struct {
	*slowList
	leave func()
}

func (v *fullList) Retrievals(context.Context, []archive.Job, func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(func(archive.Retrieval, error) bool) { v.leave() }
}
