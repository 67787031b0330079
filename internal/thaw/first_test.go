package thaw_test

import (
	"slices"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// choose makes the job the first one of the user's plan.
func (b *fixture) choose(t *testing.T, job events.JobID) {
	t.Helper()
	account, err := b.AWS.Catalog.Account(t.Context(), "u")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AWS.Catalog.SetFirst(t.Context(), "u", account.Plan.ID, job); err != nil {
		t.Fatal(err)
	}
}

func TestTheFileThatAUserWantsFirstIsRequestedAndTheRestorerHearsOfIt(t *testing.T) {
	b, heard := newFixture(t), &completions{}
	b.Completions = heard
	b.Account("u", archive.Premium)
	job := b.Archive("u", "j1", []byte("result"))
	b.choose(t, "j1")
	e := b.task(job)
	e.First = true
	var out testenv.Emitted
	if err := b.Request(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	now := b.Job("j1")
	want := events.RetrievalCompleted{
		ID: "found-" + string(now.RetrievalID), JobID: "j1", ArchiveID: job.ArchiveID, RetrievalID: now.RetrievalID,
		Status: archive.InProgress, Tier: archive.Expedited.Told(), First: true,
	}
	if !slices.Equal(heard.all, []events.RetrievalCompleted{want}) || !slices.Equal(out.States(), []string{"requested"}) {
		t.Errorf("published %+v and told %v, want %+v", heard.all, out.States(), want)
	}

	// Its ordinary task comes later, and then the user asks once more.
	if err := b.Request(t.Context(), b.task(job), out.Emit); err != nil {
		t.Fatal(err)
	}
	if err := b.Request(t.Context(), e, out.Emit); err != nil {
		t.Fatal(err)
	}
	want.Tier = ""
	if len(heard.all) != 2 || heard.all[1] != want || len(b.retrievals(t)) != 1 || len(out.States()) != 2 {
		t.Errorf("published %+v, told %v, %d retrievals; want one retrieval, and the restorer to hear once more", heard.all, out.States(), len(b.retrievals(t)))
	}
}

func TestATaskOfAFileThatIsNotTheFirstAnyMoreLeavesItToTheOrdinaryTask(t *testing.T) {
	b, heard := newFixture(t), &completions{}
	b.Completions = heard
	b.Account("u", archive.Premium)
	e := b.task(b.Archive("u", "j1", []byte("result")))
	e.First = true
	request := func(what string) {
		t.Helper()
		var out testenv.Emitted
		if err := b.Request(t.Context(), e, out.Emit); err != nil || len(out.States()) != 0 || len(heard.all) != 0 || len(b.retrievals(t)) != 0 {
			t.Errorf("%s: %v, told %v, %d retrievals; want nothing", what, err, out.States(), len(b.retrievals(t)))
		}
	}
	request("the user chose no file")
	b.choose(t, "j1")
	b.choose(t, "j2")
	request("the user chose another file")
	b.choose(t, "j1")
	if _, err := b.AWS.Catalog.SetRole(t.Context(), "u", archive.Free, upgraded); err != nil {
		t.Fatal(err)
	}
	request("the user left Premium")
}

// The requester read the account of a Free user for the file that the user wanted first. The
// user upgrades within the same second.
func TestAnAccountThatIsASecondOldDropsNoTask(t *testing.T) {
	b := newFixture(t)
	b.Account("u", archive.Free)
	e := b.task(b.Archive("u", "j1", []byte("result")))
	first := e
	first.First = true
	var out testenv.Emitted
	if err := b.Request(t.Context(), first, out.Emit); err != nil || len(b.retrievals(t)) != 0 {
		t.Fatalf("%v, %d retrievals for a Free user", err, len(b.retrievals(t)))
	}
	b.OpenPlan("u")
	if err := b.Request(t.Context(), e, out.Emit); err != nil || len(b.retrievals(t)) != 1 {
		t.Errorf("%v, %d retrievals, want 1", err, len(b.retrievals(t)))
	}
}
