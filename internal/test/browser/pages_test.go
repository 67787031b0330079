//go:build browser

package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/pkg/events"
)

// TestEveryPageInEveryLook opens each page in light, dark and narrow. It checks WCAG 2.2 AA
// and the width, and keeps a picture.
func TestEveryPageInEveryLook(t *testing.T) {
	t.Parallel()
	fern := stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 3, Stored: 2}
	sorrel := stack.Person{ID: "sorrel", Name: "Sorrel Sample", Role: archive.Premium, Stored: 3}
	yarrow := stack.Person{ID: "yarrow", Name: "Yarrow Young", Role: archive.Free}
	s := up(t, time.Hour, fern, sorrel, yarrow)
	states := gallery(t, s, "sorrel")
	for _, l := range looks() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			seeAll(t, s.Config.WebBaseURL, l, states)
		})
	}
}

// seeAll opens every page in the look.
func seeAll(t *testing.T, base string, l look, states []shownState) {
	stranger, free, premium, fresh := person(t, base), person(t, base), person(t, base), person(t, base)
	everybody := []*tab{stranger, free, premium, fresh}
	for _, tb := range everybody {
		tb.wear(l)
	}
	free.signIn("Fern Fictive", "/annotations")
	premium.signIn("Sorrel Sample", "/annotations")
	fresh.signIn("Yarrow Young", "/annotations")

	type shown struct {
		name string
		by   *tab
		path string
	}
	pages := []shown{
		{"home", stranger, "/"},
		{"sign-in", stranger, "/login"},
		{"not-found", stranger, "/nowhere"},
		{"refused", stranger, "/callback?state=x"},
		{"help", stranger, "/help"},
		{"home-signed-in", free, "/"},
		{"home-premium", premium, "/"},
		{"list-free", free, "/annotations"},
		{"list-premium", premium, "/annotations"},
		{"list-filtered", premium, "/annotations?state=coming&q=panel&sort=oldest"},
		{"list-nothing-found", premium, "/annotations?q=zebra"},
		{"list-empty", fresh, "/annotations"},
		{"archived", free, "/annotation/fern-0000"},
		{"subscribe-free", free, "/subscribe"},
		{"subscribe-premium", premium, "/subscribe"},
		{"account-free", free, "/account"},
		{"account-premium", premium, "/account"},
		{"error", premium, "/annotations?sort=sideways"},
	}
	for _, st := range states {
		pages = append(pages, shown{"file-" + st.name, premium, "/annotation/" + string(st.id)})
	}
	for _, p := range pages {
		p.by.open(p.path)
		p.by.see(p.name, l)
	}
	for _, tb := range everybody {
		tb.calm("a reader")
	}
}

// put stores an object.
func put(t *testing.T, s *stack.Stack, o archive.Object, body string) {
	t.Helper()
	objects := s3.NewFromConfig(s.AWSConfig, func(opts *s3.Options) { opts.UsePathStyle = true })
	if _, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
}

// shownState is a job that stands still in a state.
type shownState struct {
	name string
	id   events.JobID
}

// gallery gives the user a job in each state. The catalog has the jobs as the services
// write them, and the stream has the states that only the stream tells. Nobody works on the
// jobs, because there is no message about them.
func gallery(t *testing.T, s *stack.Stack, user events.UserID) []shownState {
	t.Helper()
	catalog := catalogOf(s)
	now := time.Now().UTC()
	// The user is Premium since now, and the upgrade is announced, so nothing is overdue.
	for i, role := range []archive.Role{archive.Free, archive.Premium} {
		if _, err := catalog.SetRole(t.Context(), user, role, now.Add(time.Duration(i)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	account, err := catalog.Account(t.Context(), user)
	if err == nil {
		err = catalog.Announced(t.Context(), user, account.AnnounceDue)
	}
	if err != nil {
		t.Fatal(err)
	}
	job := func(name string) archive.Job {
		p := stack.Person{ID: string(user)}
		j := p.Job(s.Config.Bucket, 100)
		j.ID = events.JobID("shown-" + name)
		j.InputFileName = "panel_" + name + ".vcf"
		j.SubmittedAt, j.CompletedAt = now.Add(-26*time.Hour), now.Add(-25*time.Hour)
		j.ArchiveID, j.ArchiveSize, j.TreeHash = events.ArchiveID("archive-"+name), 734_000_000, ""
		return j
	}
	add := func(j archive.Job) {
		if err := catalog.AddJob(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	request := func(j archive.Job, tier archive.Tier) {
		intent := archive.Intent{Token: "shown", At: now.Add(-3 * time.Minute)}
		if err := catalog.SaveIntent(t.Context(), j, intent); err != nil {
			t.Fatal(err)
		}
		if err := catalog.SaveRetrieval(t.Context(), j, intent, archive.Retrieval{
			ID: events.RetrievalID("retrieval-" + j.ID), ArchiveID: j.ArchiveID, Tier: tier, RequestedAt: now.Add(-2 * time.Minute),
		}); err != nil {
			t.Fatal(err)
		}
	}
	tell := func(j archive.Job, st archive.State, bytes int64) {
		e := events.StatusChanged{UserID: user, JobID: j.ID, State: st, At: time.Now().UTC()}
		if st == archive.Copying {
			e.Bytes, e.Size = bytes, j.ArchiveSize
		}
		if _, err := s.Bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	var shown []shownState
	show := func(j archive.Job, name string) { shown = append(shown, shownState{name, j.ID}) }

	running := job("running")
	running.Status, running.ArchiveID, running.CompletedAt = "RUNNING", "", time.Time{}
	add(running)
	show(running, "running")
	failed := job("failed")
	failed.Status, failed.ArchiveID = "FAILED", ""
	failed.InputFileName = "a_cohort_with_a_rather_long_name_chr22_2026-10-01_recalibrated.vcf.gz"
	add(failed)
	put(t, s, failed.Log, "reading the input\nline 17: REF is missing\nthe annotation stops\n")
	show(failed, "failed")
	planned := job("planned")
	add(planned)
	show(planned, "planned")
	for name, tier := range map[string]archive.Tier{"requested": archive.Expedited, "fallback": archive.Standard} {
		j := job(name)
		add(j)
		request(j, tier)
		show(j, name)
	}
	for name, st := range map[string]archive.State{"thawed": archive.Ready, "copying": archive.Copying, "checking": archive.Verifying} {
		j := job(name)
		add(j)
		request(j, archive.Expedited)
		tell(j, st, 301_000_000)
		show(j, name)
	}
	late := job("late")
	add(late)
	if err := catalog.SaveIntent(t.Context(), late, archive.Intent{Token: "late", At: now.Add(-3 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := catalog.SaveRetrieval(t.Context(), late, archive.Intent{Token: "late"}, archive.Retrieval{
		ID: "retrieval-late", ArchiveID: late.ArchiveID, Tier: archive.Expedited, RequestedAt: now.Add(-3 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	show(late, "late")
	first := job("first")
	add(first)
	if account, err = catalog.Account(t.Context(), user); err == nil {
		err = catalog.SetFirst(t.Context(), user, account.Plan.ID, first.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	show(first, "first")
	again := job("again")
	add(again)
	tell(again, archive.Failed, 0)
	show(again, "again")
	missing := job("missing")
	missing.ArchiveID = ""
	add(missing)
	show(missing, "missing")
	return append(shown, shownState{"available", "sorrel-0000"})
}
