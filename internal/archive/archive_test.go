package archive

import (
	"slices"
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
	if v, err := Verify(Source{ID: "a"}, good, good, stored); err != nil || v.Archive() != "a" || v.Object() != object || v.Content() != good {
		t.Errorf("all matches: got %+v, %v", v, err)
	}
	for _, c := range []struct {
		name             string
		promised, copied Content
		stored           Stored
		says             string
	}{
		{"tree hash", good, other, stored, "tree hash"},
		{"size copied", good, Content{Size: 2, TreeHash: good.TreeHash}, stored, "copied 2 bytes"},
		{"size stored", good, good, Stored{object, 4, "x", "x"}, "has 4 bytes"},
		{"checksum", good, good, Stored{object, 3, "y", "x"}, `checksum "y"`},
		{"no checksum at all", good, good, Stored{object, 3, "", ""}, "checksum"},
	} {
		v, err := Verify(Source{ID: "a"}, c.promised, c.copied, c.stored)
		if err == nil || !strings.Contains(err.Error(), c.says) || v.Archive() != "" {
			t.Errorf("%s: got %+v, %v; want an error that says %q and no proof", c.name, v, err, c.says)
		}
	}
	if _, err := Verify(Source{}, good, good, stored); err == nil {
		t.Error("verified no archive")
	}
}

func TestAnObjectIsRecognizedByItsBytesAlone(t *testing.T) {
	want := Content{Size: 3, TreeHash: treehash.Of([]byte("abc"))}
	other := Content{Size: 3, TreeHash: treehash.Of([]byte("abd"))}
	object := Object{"b", "k"}
	if v, err := Recognize(Source{ID: "a"}, want, want, Found{Object: object, Size: 3}); err != nil || v.Archive() != "a" || v.Content() != want {
		t.Errorf("its own: got %+v, %v", v, err)
	}
	for name, c := range map[string]struct {
		read  Content
		found Found
	}{
		"other bytes":                     {other, Found{Object: object, Size: 3}},
		"other bytes with a mark to fool": {other, Found{Object: object, Size: 3, Mark: &Mark{"a", want}}},
		"not read to the end":             {Content{Size: 2, TreeHash: treehash.Of([]byte("ab"))}, Found{Object: object, Size: 3}},
		"another size":                    {want, Found{Object: object, Size: 4}},
	} {
		if v, err := Recognize(Source{ID: "a"}, want, c.read, c.found); err == nil || v.Archive() != "" {
			t.Errorf("%s: got %+v, %v; want an error and no proof", name, v, err)
		}
	}
	if _, err := Recognize(Source{}, want, want, Found{Object: object, Size: 3}); err == nil {
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

func TestTiersTakeAsLongAsAWSDocuments(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	for _, c := range []struct {
		class    Class
		tier     Tier
		from, to time.Duration
		known    bool
		longest  time.Duration // also of a tier that the class does not have
	}{
		{Vault, Expedited, minute, 5 * minute, true, 5 * minute},
		{Vault, Standard, 3 * hour, 5 * hour, true, 5 * hour},
		{Vault, Bulk, 5 * hour, 12 * hour, true, 12 * hour},
		{"", Standard, 3 * hour, 5 * hour, true, 5 * hour},
		{Vault, "Fast", 0, 0, false, 12 * hour},
		{Glacier, Expedited, minute, 5 * minute, true, 5 * minute},
		{Glacier, Standard, 3 * hour, 5 * hour, true, 5 * hour},
		{Glacier, Bulk, 5 * hour, 12 * hour, true, 12 * hour},
		{DeepArchive, Expedited, 0, 0, false, 48 * hour},
		{DeepArchive, Standard, 9 * hour, 12 * hour, true, 12 * hour},
		{DeepArchive, Bulk, 12 * hour, 48 * hour, true, 48 * hour},
		{Instant, Standard, 0, 0, true, 0},
		{Instant, Bulk, 0, 0, false, 0},
		{"STANDARD", Standard, 0, 0, false, 0},
	} {
		if from, to, err := c.class.Typically(c.tier); from != c.from || to != c.to || (err == nil) != c.known {
			t.Errorf("%s %s takes %s to %s, %v; want %s to %s", c.class, c.tier, from, to, err, c.from, c.to)
		}
		at := time.Now()
		r := Retrieval{Copy: Copy{Class: c.class}, Tier: c.tier, RequestedAt: at}
		if due := r.Due(); due.Sub(at) != c.longest {
			t.Errorf("%s %s is due after %s, want %s", c.class, c.tier, due.Sub(at), c.longest)
		}
		if r.Status = Succeeded; !r.Due().Equal(at) {
			t.Errorf("%s %s: a finished retrieval is due after %s", c.class, c.tier, r.Due().Sub(at))
		}
	}
}

// TestARetrievalOfAnUnknownTierIsDueAsTheFastest: S3 does not tell the tier of a retrieval that
// a crash left behind, and its event may be lost.
func TestARetrievalOfAnUnknownTierIsDueAsTheFastest(t *testing.T) {
	at := time.Now()
	for class, want := range map[Class]time.Duration{Vault: 5 * time.Minute, Glacier: 5 * time.Minute, DeepArchive: 12 * time.Hour, Instant: 0, "STANDARD": 0} {
		if due := (Retrieval{Copy: Copy{Class: class}, RequestedAt: at}).Due(); due.Sub(at) != want {
			t.Errorf("%s: due after %s, want %s", class, due.Sub(at), want)
		}
	}
}

func TestATierOfTheOrderIsTakenIfTheClassHasIt(t *testing.T) {
	for _, c := range []struct {
		class       Class
		order, want Tiers
	}{
		{Vault, DefaultTiers(), Tiers{Expedited, Standard}},
		{"", AllTiers(), AllTiers()},
		{Glacier, Tiers{Bulk}, Tiers{Bulk}},
		{DeepArchive, DefaultTiers(), Tiers{Standard}},
		{DeepArchive, AllTiers(), Tiers{Standard, Bulk}},
		{DeepArchive, Tiers{Expedited}, Tiers{Standard}},
		{Instant, Tiers{Expedited, Bulk}, Tiers{Standard}},
		{Instant, nil, nil},
		{"STANDARD", DefaultTiers(), nil},
	} {
		if got := c.order.In(c.class); !slices.Equal(got, c.want) {
			t.Errorf("%v in %s: got %v, want %v", c.order, c.class, got, c.want)
		}
	}
}

func TestAnObjectThatHoldsAnArchiveNamesItsJobAndItsBytes(t *testing.T) {
	good := Copy{Class: Glacier, Bucket: "b", Key: KeyOf("cold/", "j1", "a.vcf"), Version: "v"}
	with := func(change func(*Copy)) Copy { c := good; change(&c); return c }
	for name, c := range map[string]struct {
		at   Copy
		says string
	}{
		"a vault":                  {Copy{}, ""},
		"an object":                {good, ""},
		"an object with an ETag":   {with(func(c *Copy) { c.Version, c.ETag = "", "e" }), ""},
		"no prefix":                {with(func(c *Copy) { c.Key = "j1/a" }), ""},
		"another class":            {with(func(c *Copy) { c.Class = "STANDARD" }), "no class"},
		"no bucket":                {with(func(c *Copy) { c.Bucket = "" }), "bucket is missing"},
		"no key":                   {with(func(c *Copy) { c.Key = "" }), "key is missing"},
		"another job's key":        {with(func(c *Copy) { c.Key = "cold/j2/a.vcf" }), "not the job's id"},
		"a key without a job":      {with(func(c *Copy) { c.Key = "a.vcf" }), "not the job's id"},
		"a key without a name":     {with(func(c *Copy) { c.Key = "cold/j1/" }), "not the job's id"},
		"neither version nor ETag": {with(func(c *Copy) { c.Version = "" }), "version and etag are missing"},
	} {
		err := c.at.Check("j1")
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

func TestBytesAreTheSameOnlyByAHashThatWasPromised(t *testing.T) {
	abc, abd := treehash.Of([]byte("abc")), treehash.Of([]byte("abd"))
	for name, c := range map[string]struct {
		copied, promised Content
		want             bool
	}{
		"the tree hash":                    {Content{3, abc, "x"}, Content{3, abc, ""}, true},
		"another tree hash, the same CRC":  {Content{3, abd, "x"}, Content{3, abc, "x"}, false},
		"the CRC":                          {Content{3, abc, "x"}, Content{Size: 3, CRC: "x"}, true},
		"another CRC":                      {Content{3, abc, "x"}, Content{Size: 3, CRC: "y"}, false},
		"another size":                     {Content{4, abc, "x"}, Content{3, abc, "x"}, false},
		"nothing promised":                 {Content{3, abc, ""}, Content{Size: 3}, false},
		"nothing promised, nothing copied": {Content{Size: 3}, Content{Size: 3}, false},
	} {
		if got := c.copied.Same(c.promised); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestTheOrderOfTiersIsChecked(t *testing.T) {
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
