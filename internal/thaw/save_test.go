package thaw

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

var silent = slog.New(slog.DiscardHandler)

// oneJob is a catalog with one job and Glacier's list. It answers as it is told to, and notes what
// is called.
type oneJob struct {
	Vault
	job     archive.Job
	jobErr  error
	list    []archive.Retrieval
	listErr error
	saves   []error // of the retrieval, one after the other; the last one stays
	intents []error // of the intent
	calls   []string
	allowed int    // tries, by the last intent that was saved
	under   string // the intent that the last save named
	limit   time.Duration
}

// next is the first error. It stays if it is the last one.
func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	if len(*errs) > 1 {
		*errs = (*errs)[1:]
	}
	return err
}

func (l *oneJob) Job(context.Context, events.JobID) (archive.Job, error) {
	l.calls = append(l.calls, "read")
	return l.job, l.jobErr
}

func (l *oneJob) SaveIntent(_ context.Context, job archive.Job, _ archive.Intent) error {
	l.calls, l.allowed = append(l.calls, "intent"), job.History.Allowed
	return next(&l.intents)
}

func (l *oneJob) DropIntent(ctx context.Context, _ archive.Job, _ archive.Intent) error {
	l.calls = append(l.calls, "drop")
	if until, ok := ctx.Deadline(); ok {
		l.limit = time.Until(until)
	}
	return ctx.Err()
}

func (l *oneJob) ClearLeftovers(context.Context, archive.Job) error {
	l.calls = append(l.calls, "clear")
	return nil
}

func (l *oneJob) SaveRetrieval(_ context.Context, _ archive.Job, intent archive.Intent, _ archive.Retrieval) error {
	l.calls, l.under = append(l.calls, "save"), intent.Token
	return next(&l.saves)
}

func (l *oneJob) Retrievals(context.Context, []archive.Job, func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	l.calls = append(l.calls, "list")
	return func(yield func(archive.Retrieval, error) bool) {
		for _, r := range l.list {
			if !yield(r, nil) {
				return
			}
		}
		if l.listErr != nil {
			yield(archive.Retrieval{}, l.listErr)
		}
	}
}

// TestARetrievalIsSavedWhateverHappenedToItsIntent has an answer of Glacier, and a job that
// another worker or program changed meanwhile.
func TestARetrievalIsSavedWhateverHappenedToItsIntent(t *testing.T) {
	conflict := fault.Errorf(fault.Conflict, "another intent")
	denied := fault.Errorf(fault.Denied, "no")
	ours := archive.Retrieval{ID: "r", ArchiveID: "a", Description: "j", Tier: archive.Standard, Status: archive.InProgress, RequestedAt: time.Unix(1_790_000_000, 0)}
	changed := func(change func(*archive.Job)) archive.Job {
		j := archive.Job{ID: "j", UserID: "u", ArchiveID: "a", Intent: &archive.Intent{Token: "theirs"}}
		change(&j)
		return j
	}
	same := func(*archive.Job) {}
	for _, c := range []struct {
		name       string
		is         oneJob
		calls      []string
		kind       fault.Kind // of the error; 0 for none
		err        error
		duplicates int
		under      string
	}{
		{name: "nothing happened", calls: []string{"save"}, under: "ours"},
		{name: "the write is denied", is: oneJob{saves: []error{denied}}, calls: []string{"save"}, err: denied},
		{name: "the answer was lost", is: oneJob{saves: []error{conflict}, job: changed(func(j *archive.Job) { j.RetrievalID, j.Intent = "r", nil })}, calls: []string{"save", "read"}},
		{name: "another worker saved it, and it is back", is: oneJob{saves: []error{conflict}, job: changed(func(j *archive.Job) { j.ArchiveID, j.RestoredBy, j.Intent = "", "r", nil })},
			calls: []string{"save", "read"}, kind: fault.Wait},
		{name: "the job cannot be read", is: oneJob{saves: []error{conflict}, jobErr: denied}, calls: []string{"save", "read"}, err: denied},
		{name: "the list cannot be read", is: oneJob{saves: []error{conflict}, job: changed(same), listErr: denied}, calls: []string{"save", "read", "list"}, err: denied},
		{name: "it is not in the list", is: oneJob{saves: []error{conflict}, job: changed(same), list: []archive.Retrieval{{ID: "other", ArchiveID: "a", Description: "j", Status: archive.InProgress}}},
			calls: []string{"save", "read", "list"}, kind: fault.Wait},
		{name: "it failed", is: oneJob{saves: []error{conflict}, job: changed(same), list: []archive.Retrieval{{ID: "r", ArchiveID: "a", Description: "j", Status: events.RetrievalFailed}}},
			calls: []string{"save", "read", "list"}, kind: fault.Wait},
		{name: "another worker saved another", is: oneJob{saves: []error{conflict}, job: changed(func(j *archive.Job) { j.RetrievalID = "other" }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list"}, kind: fault.Wait, duplicates: 1},
		{name: "another retrieval brought it back", is: oneJob{saves: []error{conflict}, job: changed(func(j *archive.Job) { j.ArchiveID, j.RestoredBy = "", "other" }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list"}, kind: fault.Wait, duplicates: 1},
		{name: "it is archived again", is: oneJob{saves: []error{conflict}, job: changed(func(j *archive.Job) { j.ArchiveID, j.RestoredBy = "b", "r" }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list"}, kind: fault.Wait, duplicates: 1},
		{name: "another worker has an intent", is: oneJob{saves: []error{conflict, nil}, job: changed(same), list: []archive.Retrieval{ours}}, calls: []string{"save", "read", "list", "save"}, under: "theirs"},
		{name: "nobody has an intent", is: oneJob{saves: []error{conflict, nil}, job: changed(func(j *archive.Job) { j.Intent = nil }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list", "intent", "save"}},
		{name: "the new intent is refused once", is: oneJob{saves: []error{conflict, nil}, intents: []error{conflict, nil}, job: changed(func(j *archive.Job) { j.Intent = nil }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list", "intent", "read", "list", "intent", "save"}},
		{name: "the new intent is denied", is: oneJob{saves: []error{conflict}, intents: []error{denied}, job: changed(func(j *archive.Job) { j.Intent = nil }), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list", "intent"}, err: denied},
		{name: "it changes again and again", is: oneJob{saves: []error{conflict}, job: changed(same), list: []archive.Retrieval{ours}},
			calls: []string{"save", "read", "list", "save", "read", "list", "save", "read", "list", "save"}, err: conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			duplicates := 0
			r := &Requester{Catalog: &c.is, Vault: &c.is, Now: func() time.Time { return time.Unix(1_790_000_060, 0) }, OnDuplicates: func(n int) { duplicates += n }}
			job := archive.Job{ID: "j", UserID: "u", ArchiveID: "a", Intent: &archive.Intent{Token: "ours"}}
			err := r.save(t.Context(), silent, &job, ours)
			switch {
			case c.err != nil:
				if !errors.Is(err, c.err) {
					t.Errorf("got %v, want %v", err, c.err)
				}
			case c.kind != fault.Unknown:
				if !fault.Is(err, c.kind) {
					t.Errorf("got %v, want one of kind %s", err, c.kind)
				}
			case err != nil || job.RetrievalID != "r" || job.Intent != nil:
				t.Errorf("got %v and retrieval %q, intent %v; want r and none", err, job.RetrievalID, job.Intent)
			case c.under != "" && (c.is.under != c.under || job.Tier != archive.Standard || !job.RetrievalRequestedAt.Equal(ours.RequestedAt)):
				t.Errorf("saved under the intent %q: %+v", c.is.under, job)
			}
			if !slices.Equal(c.is.calls, c.calls) || duplicates != c.duplicates {
				t.Errorf("%v, and %d duplicates; want %v and %d", c.is.calls, duplicates, c.calls, c.duplicates)
			}
			// What is paid for is saved, even if the tries are used up.
			if slices.Contains(c.calls, "intent") && c.is.allowed != archive.MaxRetrievals {
				t.Errorf("%d tries are allowed, want %d", c.is.allowed, archive.MaxRetrievals)
			}
		})
	}
}

// TestOnlyWhatIsLeftOfAnOrderOrAnIntentIsCleared has jobs without an archive. A retrieval may be
// the last trace of a file.
func TestOnlyWhatIsLeftOfAnOrderOrAnIntentIsCleared(t *testing.T) {
	for _, c := range []struct {
		name  string
		job   archive.Job
		calls []string
		told  int
	}{
		{"nothing is left", archive.Job{}, []string{"read"}, 0},
		{"an order", archive.Job{Ordered: true}, []string{"read", "clear"}, 0},
		{"an intent", archive.Job{Intent: &archive.Intent{Token: "t"}}, []string{"read", "clear"}, 0},
		{"an order, and the file is back", archive.Job{Ordered: true, RestoredBy: "r"}, []string{"read", "clear"}, 1},
		{"the file is back", archive.Job{RestoredBy: "r"}, []string{"read"}, 1},
		{"a retrieval", archive.Job{RetrievalID: "r"}, []string{"read"}, 0},
		{"a retrieval and an order", archive.Job{RetrievalID: "r", Ordered: true}, []string{"read"}, 0},
		{"a retrieval and an intent", archive.Job{RetrievalID: "r", Intent: &archive.Intent{Token: "t"}}, []string{"read"}, 0},
	} {
		l := &oneJob{job: c.job}
		l.job.ID, l.job.UserID = "j", "u"
		r := &Requester{Catalog: l, Vault: l, Now: time.Now, Log: silent, Accounts: nobody{}}
		told := 0
		err := r.Request(t.Context(), events.ThawRequested{JobID: "j", UserID: "u", ArchiveID: "a"}, func(context.Context, events.Event) error { told++; return nil })
		if err != nil || !slices.Equal(l.calls, c.calls) || told != c.told {
			t.Errorf("%s: %v, %v, told %d times; want %v and %d", c.name, err, l.calls, told, c.calls, c.told)
		}
	}
}

// nobody has no account.
type nobody struct{}

func (nobody) Account(context.Context, events.UserID) (archive.Account, error) {
	return archive.Account{}, fault.Errorf(fault.NotFound, "no account")
}

func TestAStoppedProcessHasThreeSecondsToDropAnIntent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &oneJob{}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		(&Requester{Catalog: l}).drop(ctx, silent, archive.Job{Intent: &archive.Intent{}})
		if l.limit != 3*time.Second || !slices.Equal(l.calls, []string{"drop"}) {
			t.Errorf("%v within %s, want a drop within 3s", l.calls, l.limit)
		}
	})
}

func TestACallToGlacierTakesTwentySecondsUnlessItIsSet(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{-1: 20 * time.Second, 0: 20 * time.Second, 1: 1, time.Minute: time.Minute} {
		r := &Requester{CallTime: set}
		if r.init(); r.CallTime != want || r.intentLife() != 3*want {
			t.Errorf("set to %s: a call takes %s and an intent lives %s, want %s and %s", set, r.CallTime, r.intentLife(), want, 3*want)
		}
	}
}

func TestAFileIsAFallbackIfItIsNotInTheFirstTier(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	r := &Requester{Now: func() time.Time { return at }, Tiers: archive.DefaultTiers()}
	for tier, want := range map[archive.Tier]bool{archive.Expedited: false, archive.Standard: true, archive.Bulk: true} {
		_, longest, err := archive.Vault.Typically(tier)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.requested(archive.Job{ID: "j", Tier: tier, RetrievalRequestedAt: at}); got.Fallback != want || got.ReadyBy == nil || !got.ReadyBy.Equal(at.Add(longest)) {
			t.Errorf("%s: %+v, want a fallback: %t, ready after %s", tier, got, want, longest)
		}
	}
	if got := r.requested(archive.Job{ID: "j", Tier: "unknown"}); got.ReadyBy != nil || !got.Fallback {
		t.Errorf("an unknown tier: %+v", got)
	}
}

// published is what is published.
type published struct{ all []events.Event }

func (p *published) Publish(_ context.Context, e events.Event) error {
	p.all = append(p.all, e)
	return nil
}

func TestACompletionHasTheSizeThatIsKnown(t *testing.T) {
	for _, c := range []struct{ glacier, catalog, want int64 }{{7, 0, 7}, {0, 7, 7}, {7, 5, 7}, {-1, -1, 0}, {0, 0, 0}} {
		var out published
		r := &Requester{Completions: &out}
		if err := r.complete(t.Context(), events.ThawRequested{}, archive.Job{ArchiveSize: c.catalog}, archive.Retrieval{Status: archive.Succeeded, Size: c.glacier}); err != nil || len(out.all) != 1 {
			t.Fatalf("%v, %d messages", err, len(out.all))
		}
		if got := out.all[0].(events.RetrievalCompleted).Size; got != c.want {
			t.Errorf("Glacier says %d and the catalog %d: %d, want %d", c.glacier, c.catalog, got, c.want)
		}
	}
}

// TestACopyThatNeedsNoRetrievalIsCompleteAtOnce has a delivery that died after it saved the
// retrieval, for a copy in each class.
func TestACopyThatNeedsNoRetrievalIsCompleteAtOnce(t *testing.T) {
	for _, c := range []struct {
		class    archive.Class
		complete int
	}{{archive.Vault, 0}, {archive.Glacier, 0}, {archive.DeepArchive, 0}, {archive.Instant, 1}} {
		l := &oneJob{job: archive.Job{ID: "j", UserID: "u", ArchiveID: "a", RetrievalID: "r", Tier: archive.Standard, Copy: archive.Copy{Class: c.class}}}
		var out published
		told := 0
		r := &Requester{Catalog: l, Vault: l, Now: time.Now, Log: silent, Accounts: nobody{}, Completions: &out, Tiers: archive.DefaultTiers()}
		err := r.Request(t.Context(), events.ThawRequested{JobID: "j", UserID: "u", ArchiveID: "a"}, func(context.Context, events.Event) error { told++; return nil })
		if err != nil || len(out.all) != c.complete || told != 1-c.complete {
			t.Errorf("%s: %v, %d completions, told %d times; want %d completions", c.class, err, len(out.all), told, c.complete)
		}
	}
}

func TestBulkFollowsOnlyEarlierTiers(t *testing.T) {
	order := archive.Tiers{archive.Expedited, archive.Bulk, archive.Standard}
	for tier, want := range map[archive.Tier]bool{archive.Expedited: true, archive.Bulk: false, archive.Standard: false, "unknown": false} {
		if next, ok := (Retry{Action: ToBulk}).Next(order, tier); ok != want || ok && next != archive.Bulk {
			t.Errorf("after %s comes %q: %t, want %t", tier, next, ok, want)
		}
	}
}

func TestAnArchiveThatIsInNoListIsDescribed(t *testing.T) {
	lost := fault.Errorf(fault.Transient, "no answer")
	for _, c := range []struct {
		name  string
		err   error
		found int
		want  error
	}{{"on its way", nil, 1, nil}, {"not requested", fault.Errorf(fault.NotFound, "no retrieval"), 0, nil}, {"no answer", lost, 1, lost}} {
		found, err := (&listing{}).find(t.Context(), archive.Job{Copy: archive.Copy{Class: archive.Glacier}}, described{err: c.err})
		if len(found) != c.found || !errors.Is(err, c.want) {
			t.Errorf("%s: %d retrievals, %v; want %d and %v", c.name, len(found), err, c.found, c.want)
		}
	}
}

// described describes each archive in the same way.
type described struct {
	Vault
	err error
}

func (d described) Describe(context.Context, archive.Job) (archive.Retrieval, error) {
	return archive.Retrieval{}, d.err
}

// TestAReaderThatLeavesInItsTurnGivesTheTurnOn has the turn given to a search, and its caller
// leaves before it takes the turn.
func TestAReaderThatLeavesInItsTurnGivesTheTurnOn(t *testing.T) {
	var l listing
	first, second := &search{turn: make(chan bool, 1)}, &search{turn: make(chan bool, 1)}
	first.turn <- true
	l.busy, l.waiting = true, []*search{first, second}
	l.leave(first)
	select {
	case mine := <-second.turn:
		if !mine || !l.busy || len(l.waiting) != 1 {
			t.Errorf("the other one's turn: %t, %d wait", mine, len(l.waiting))
		}
	default:
		t.Error("nobody has the turn")
	}
	done := &search{turn: make(chan bool)}
	close(done.turn) // its list was read
	l.leave(done)
	if len(second.turn) != 0 {
		t.Error("a search that was done gives the turn away a second time")
	}
}
