package archive

import (
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

func TestWhatEachClassCanDo(t *testing.T) {
	for _, c := range []struct {
		class          Class
		output         time.Duration
		faster, listed bool
	}{
		{Vault, 24 * time.Hour, false, true},
		{"", 24 * time.Hour, false, true}, // the zero Class is a vault
		{Glacier, 24 * time.Hour, true, false},
		{DeepArchive, 24 * time.Hour, true, false},
		{Instant, 0, false, false},
	} {
		if got := c.class.OutputLifetime(); got != c.output {
			t.Errorf("%q: an output lives for %s, want %s", c.class, got, c.output)
		}
		if c.class == "" {
			continue
		}
		if a, err := c.class.Ability(); err != nil || a.Faster != c.faster || a.Listed != c.listed {
			t.Errorf("%q: got %+v, %v", c.class, a, err)
		}
	}
	const unknown = Class("REDUCED_REDUNDANCY")
	if _, err := unknown.Ability(); err == nil || unknown.OutputLifetime() != 0 || unknown.Longest(Standard) != 0 || unknown.CanMove(Bulk, Expedited) {
		t.Errorf("an unknown class can do something: %v, %s, %s", err, unknown.OutputLifetime(), unknown.Longest(Standard))
	}
	if from, to, err := unknown.Typically(Standard); err == nil || !strings.Contains(err.Error(), "is no class") || from != 0 || to != 0 {
		t.Errorf("an unknown class takes %s to %s, %v", from, to, err)
	}
}

func TestARetrievalMovesOnlyToAFasterTierOfItsClass(t *testing.T) {
	for _, c := range []struct {
		class    Class
		from, to Tier
		want     bool
	}{
		{Glacier, Standard, Expedited, true},
		{Glacier, Bulk, Standard, true},
		{Glacier, Standard, Standard, false},
		{Glacier, Expedited, Standard, false},
		{Glacier, "", Bulk, true}, // it may be slower than any
		{DeepArchive, Bulk, Standard, true},
		{DeepArchive, Standard, Expedited, false}, // it has no such tier
		{DeepArchive, "", Expedited, false},
		{Vault, Bulk, Expedited, false},
		{Instant, "", Standard, false},
	} {
		if got := c.class.CanMove(c.from, c.to); got != c.want {
			t.Errorf("%s from %q to %q: %t", c.class, c.from, c.to, got)
		}
	}
}

func TestUntilWhenAnOutputCanBeRead(t *testing.T) {
	done := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	told := done.Add(40 * time.Hour)
	for name, c := range map[string]struct {
		r    Retrieval
		want time.Time
	}{
		"the store says it":          {Retrieval{CompletedAt: done, ExpiresAt: told}, told},
		"a vault":                    {Retrieval{CompletedAt: done}, done.Add(24 * time.Hour)},
		"under way":                  {Retrieval{}, time.Time{}},
		"a class that never expires": {Retrieval{CompletedAt: done, Copy: Copy{Class: Instant}}, time.Time{}},
	} {
		if got := c.r.OutputUntil(); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestHowACopyAndAContentAreWritten(t *testing.T) {
	for want, c := range map[string]Copy{
		"vault":                {},
		"s3://b/k":             {Class: Glacier, Bucket: "b", Key: "k"},
		"s3://b/k?versionId=v": {Class: DeepArchive, Bucket: "b", Key: "k", Version: "v"},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	sum, _ := treehash.Parse("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	for want, c := range map[string]Content{
		"CRC-64/NVME rosUhgp5mIg=":  {CRC: "rosUhgp5mIg="},
		"tree hash " + sum.String(): {TreeHash: sum, CRC: "rosUhgp5mIg="},
	} {
		if got := c.Hash(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for key, want := range map[string]string{"cold/j/name": "j", "j/name": "j", "name": "", "cold//name": "", "cold/j/": ""} {
		if got, ok := JobOfKey(key); string(got) != want || ok != (want != "") {
			t.Errorf("key %q: job %q, %t", key, got, ok)
		}
	}
}

func TestWhatIsBack(t *testing.T) {
	done := Job{Status: "COMPLETED", Result: Object{"b", "k"}}
	for name, c := range map[string]struct {
		change func(*Job)
		want   bool
	}{
		"never archived, or brought back by another program": {func(*Job) {}, true},
		"archived":            {func(j *Job) { j.ArchiveID = "a" }, false},
		"a retrieval is left": {func(j *Job) { j.RetrievalID = "r" }, false},
		"running":             {func(j *Job) { j.Status = "RUNNING" }, false},
		"restored by us, and the status cannot be read": {func(j *Job) { j.Status, j.RestoredBy = "", "r" }, true},
		"restored by us, and archived again":            {func(j *Job) { j.RestoredBy, j.ArchiveID = "r", "a" }, false},
		"restored by us, and a retrieval is left":       {func(j *Job) { j.RestoredBy, j.RetrievalID = "r", "r2" }, false},
	} {
		j := done
		if c.change(&j); j.Back() != c.want {
			t.Errorf("%s: %t", name, j.Back())
		}
	}
}

func TestAnAccountKeepsTheLastTwentyChangesOfItsRole(t *testing.T) {
	first := time.UnixMilli(1_790_000_000_000).UTC()
	a := Account{Role: Free, RoleChangedAt: first}
	for i := range 25 {
		a.RoleHistory = a.Changed(Premium, first.Add(time.Duration(i+1)*time.Hour))
		want := min(i+2, 20) // the change that the account knew is the first
		changes := a.RoleChanges()
		if last := changes[len(changes)-1]; len(changes) != want || last.Role != Premium || !last.At.Equal(first.Add(time.Duration(i+1)*time.Hour)) {
			t.Fatalf("after %d changes the account has %d, the last is %v", i+1, len(changes), last)
		}
		if known := changes[0]; i == 0 && (known.Role != Free || !known.At.Equal(first)) {
			t.Errorf("the history begins with %v", known)
		}
	}
	if got := (Account{Role: Free}).Changed(Premium, first); got != "premium_user 1790000000000" {
		t.Errorf("of an account that knows no change: %q", got)
	}
	for history, want := range map[string]int{
		"premium_user 1 free_user 253402300799999": 2, // the last moment of the year 9999
		"premium_user 1 free_user 253402300800000": 1,
		"premium_user 0":                  0,
		"premium_user 1 free_user":        1,
		"premium_user 1 free_user x":      1,
		"premium_user -1 premium_user 17": 0,
	} {
		if got := (Account{RoleHistory: history}).RoleChanges(); len(got) != want {
			t.Errorf("%q: %v, want %d changes", history, got, want)
		}
	}
}
