package archive

import (
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

func TestTheStateFollowsFromTheItem(t *testing.T) {
	for _, c := range []struct {
		name  string
		job   Job
		owner Role
		want  State
	}{
		{"running", Job{Status: "RUNNING"}, Free, Pending},
		{"failed", Job{Status: "FAILED"}, Free, Errored},
		{"in S3", Job{Status: "COMPLETED", Result: Object{"b", "k"}}, Free, Available},
		{"completed, and neither an archive nor an object's key", Job{Status: "COMPLETED"}, Free, Unclear},
		{"completed, and something unreadable", Job{Status: "COMPLETED", Result: Object{"b", "k"}, Unreadable: []string{"x"}}, Free, Unclear},
		{"requested, and something unreadable", Job{ArchiveID: "a", RetrievalID: "r", Unreadable: []string{"x"}}, Free, Requested},
		{"archived of a Free user", Job{Status: "COMPLETED", ArchiveID: "a"}, Free, Archived},
		{"archived of a Premium user", Job{Status: "COMPLETED", ArchiveID: "a"}, Premium, Planned},
		{"intent of a user who is Free again", Job{ArchiveID: "a", Intent: &Intent{}}, Free, Planned},
		{"requested", Job{ArchiveID: "a", RetrievalID: "r"}, Premium, Requested},
		{"requested by a user who is Free again", Job{ArchiveID: "a", RetrievalID: "r"}, Free, Requested},
		{"archive deleted, catalog not cleared", Job{Status: "COMPLETED", RetrievalID: "r"}, Premium, Requested},
	} {
		if got := c.job.State(c.owner); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTheNextTierIsTheOneAfterInTheOrder(t *testing.T) {
	if next, ok := DefaultTiers().After(Expedited); next != Standard || !ok {
		t.Errorf("after Expedited: %s, %v", next, ok)
	}
	if next, ok := DefaultTiers().After(Standard); ok {
		t.Errorf("after Standard: %s", next)
	}
	for _, bad := range []Tiers{nil, {"Fast"}, {Expedited, Expedited}} {
		if bad.Check() == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestNothingIsVerifiedUnlessEverythingMatches(t *testing.T) {
	good := Content{Size: 3, TreeHash: treehash.Of([]byte("abc"))}
	other := Content{Size: 3, TreeHash: treehash.Of([]byte("abd"))}
	object := Object{"b", "k"}
	stored := Stored{Object: object, Size: 3, Checksum: "x", Sent: "x"}
	if v, err := Verify("a", good, good, stored); err != nil || v.Archive() != "a" || v.Object() != object || v.Content() != good {
		t.Errorf("all matches: got %+v, %v", v, err)
	}
	for _, c := range []struct {
		name             string
		promised, copied Content
		stored           Stored
		says             string
	}{
		{"tree hash", good, other, stored, "tree hash"},
		{"size copied", good, Content{2, good.TreeHash}, stored, "copied 2 bytes"},
		{"size stored", good, good, Stored{object, 4, "x", "x"}, "has 4 bytes"},
		{"checksum", good, good, Stored{object, 3, "y", "x"}, `checksum "y"`},
		{"no checksum at all", good, good, Stored{object, 3, "", ""}, "checksum"},
	} {
		v, err := Verify("a", c.promised, c.copied, c.stored)
		if err == nil || !strings.Contains(err.Error(), c.says) || v.Archive() != "" {
			t.Errorf("%s: got %+v, %v; want an error that says %q and no proof", c.name, v, err, c.says)
		}
	}
	if _, err := Verify("", good, good, stored); err == nil {
		t.Error("verified no archive")
	}
}

func TestAnObjectIsRecognizedByItsBytesAlone(t *testing.T) {
	want := Content{Size: 3, TreeHash: treehash.Of([]byte("abc"))}
	other := Content{Size: 3, TreeHash: treehash.Of([]byte("abd"))}
	object := Object{"b", "k"}
	if v, err := Recognize("a", want, want, Found{Object: object, Size: 3}); err != nil || v.Archive() != "a" || v.Content() != want {
		t.Errorf("its own: got %+v, %v", v, err)
	}
	for name, c := range map[string]struct {
		read  Content
		found Found
	}{
		"other bytes":                     {other, Found{Object: object, Size: 3}},
		"other bytes with a mark to fool": {other, Found{Object: object, Size: 3, Mark: &Mark{"a", want}}},
		"not read to the end":             {Content{2, treehash.Of([]byte("ab"))}, Found{Object: object, Size: 3}},
		"another size":                    {want, Found{Object: object, Size: 4}},
	} {
		if v, err := Recognize("a", want, c.read, c.found); err == nil || v.Archive() != "" {
			t.Errorf("%s: got %+v, %v; want an error and no proof", name, v, err)
		}
	}
	if _, err := Recognize("", want, want, Found{Object: object, Size: 3}); err == nil {
		t.Error("recognized no archive")
	}
}

func TestARetrievalIsUsableWhileItsOutputIsThereForAWhile(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		r    Retrieval
		want bool
	}{
		{"in progress", Retrieval{Status: InProgress}, true},
		{"failed", Retrieval{Status: RetrievalFailed, CompletedAt: now}, false},
		{"done just now", Retrieval{Status: Succeeded, CompletedAt: now}, true},
		{"more than an hour left", Retrieval{Status: Succeeded, CompletedAt: now.Add(-23*time.Hour + time.Second)}, true},
		{"an hour left", Retrieval{Status: Succeeded, CompletedAt: now.Add(-23 * time.Hour)}, false},
	} {
		if got := c.r.Usable(now); got != c.want {
			t.Errorf("%s: usable is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestTiersAreAsAWSDocumentsThem(t *testing.T) {
	for tier, want := range map[Tier][2]time.Duration{
		Expedited: {time.Minute, 5 * time.Minute}, Standard: {3 * time.Hour, 5 * time.Hour}, Bulk: {5 * time.Hour, 12 * time.Hour},
	} {
		if from, to, err := tier.Typically(); from != want[0] || to != want[1] || err != nil {
			t.Errorf("%s takes %s to %s, want %v", tier, from, to, want)
		}
	}
	if from, to, err := Tier("Fast").Typically(); err == nil || from != 0 || to != 0 {
		t.Errorf("an unknown tier takes %s to %s, %v; want an error", from, to, err)
	}
	at := time.Now()
	if due := (Retrieval{Tier: "Fast", RequestedAt: at}).Due(); due.Sub(at) != 12*time.Hour {
		t.Errorf("a retrieval of an unknown tier is due after %s, want 12h", due.Sub(at))
	}
	for _, good := range []Tiers{DefaultTiers(), AllTiers(), {Expedited, Standard, Bulk}, {Bulk}} {
		if err := good.Check(); err != nil {
			t.Errorf("%v: %v, want it taken", good, err)
		}
	}
}

func TestATierThatEventsDoNotKnowIsNotTold(t *testing.T) {
	for tier, want := range map[Tier]events.Tier{Expedited: events.TierExpedited, Standard: events.TierStandard, Bulk: events.TierBulk, "": "", "express": "", "STANDARD": ""} {
		if got := tier.Told(); got != want {
			t.Errorf("%q: got %q, want %q", tier, got, want)
		}
	}
}
