package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

var (
	treeA, treeB = strings.Repeat("aa", 32), strings.Repeat("bb", 32)
	inBucket     = archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "k"}
)

// sum returns the tree hash with this text.
func sum(t *testing.T, text string) treehash.Sum {
	t.Helper()
	s, ok := treehash.Parse(text)
	if !ok {
		t.Fatalf("%q is no tree hash", text)
	}
	return s
}

func TestWhatTheBytesMustBeBeforeTheyCome(t *testing.T) {
	gone := errors.New("the output is gone")
	for _, c := range []struct {
		name string
		f    file
		want archive.Content
		err  string // a text in the error; empty for none
	}{
		{"Glacier says it", file{retrieval: archive.Retrieval{Size: 5, TreeHash: treeA}, job: archive.Job{ArchiveSize: -1}}, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"Glacier says it of nothing", file{retrieval: archive.Retrieval{TreeHash: treeA}, job: archive.Job{ArchiveSize: -1}}, archive.Content{TreeHash: sum(t, treeA)}, ""},
		{"Glacier gives no tree hash", file{retrieval: archive.Retrieval{ID: "r", Size: 5}, job: archive.Job{ArchiveSize: -1}}, archive.Content{}, "retrieval r with 5 bytes and tree hash \"\""},
		{"Glacier gives a wrong tree hash", file{retrieval: archive.Retrieval{ID: "r", Size: 5, TreeHash: "x"}, job: archive.Job{ArchiveSize: -1}}, archive.Content{}, "retrieval r with 5 bytes and tree hash \"x\""},
		{"Glacier gives no size", file{retrieval: archive.Retrieval{ID: "r", Size: -1, TreeHash: treeA}, job: archive.Job{ArchiveSize: -1}}, archive.Content{}, "retrieval r with -1 bytes"},
		{"Glacier gives a wrong tree hash and a CRC", file{retrieval: archive.Retrieval{ID: "r", Size: 5, TreeHash: "x", CRC: "crc"}, job: archive.Job{ArchiveSize: -1}}, archive.Content{}, "tree hash \"x\""},
		{"S3 gives a CRC", file{retrieval: archive.Retrieval{Size: 5, CRC: "crc"}, job: archive.Job{Copy: inBucket, ArchiveSize: 5}}, archive.Content{Size: 5, CRC: "crc"}, ""},
		{"S3 gives a CRC and the catalog another size", file{retrieval: archive.Retrieval{Size: 5, CRC: "crc"}, job: archive.Job{Copy: inBucket, ArchiveSize: 6}}, archive.Content{Size: 5, CRC: "crc"}, "the catalog says 6"},
		{"S3 gives a CRC and the catalog a tree hash", file{retrieval: archive.Retrieval{Size: 5, CRC: "crc"}, job: archive.Job{Copy: inBucket, ArchiveSize: 5, TreeHash: treeB}}, archive.Content{Size: 5, TreeHash: sum(t, treeB)}, ""},
		{"S3 gives nothing and the catalog a tree hash", file{retrieval: archive.Retrieval{Size: 5}, job: archive.Job{Copy: inBucket, ArchiveSize: 5, TreeHash: treeB}}, archive.Content{Size: 5, TreeHash: sum(t, treeB)}, ""},
		{"S3 gives nothing", file{retrieval: archive.Retrieval{ID: "r", Size: 5}, job: archive.Job{Copy: inBucket, ArchiveSize: 5}}, archive.Content{}, "retrieval r with 5 bytes"},
		{"Glacier and the catalog disagree", file{retrieval: archive.Retrieval{Size: 5, TreeHash: treeA}, job: archive.Job{ArchiveSize: 5, TreeHash: treeB}}, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, "the catalog says " + treeB},
		{"the notification says it when nothing comes", file{nothing: gone, notification: events.RetrievalCompleted{Size: 5, TreeHash: treeA}, job: archive.Job{ArchiveSize: -1}}, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"the catalog says it when nothing comes", file{nothing: gone, notification: events.RetrievalCompleted{Size: 7}, job: archive.Job{ArchiveSize: 5, TreeHash: treeB}}, archive.Content{Size: 5, TreeHash: sum(t, treeB)}, ""},
		{"the catalog has no size when nothing comes", file{nothing: gone, job: archive.Job{ArchiveSize: -1, TreeHash: treeB}}, archive.Content{}, gone.Error()},
		{"nobody says it when nothing comes", file{nothing: gone, job: archive.Job{ArchiveSize: 5}}, archive.Content{}, gone.Error()},
		{"nothing comes, and S3 had a CRC", file{nothing: gone, retrieval: archive.Retrieval{CRC: "crc"}, job: archive.Job{Copy: inBucket, ArchiveSize: 5}}, archive.Content{}, gone.Error()},
		{"nothing comes, and the notification has a wrong tree hash", file{nothing: gone, notification: events.RetrievalCompleted{Size: 5, TreeHash: "x"}, job: archive.Job{ArchiveSize: 5}}, archive.Content{}, gone.Error()},
		{"the notification and the catalog disagree", file{nothing: gone, notification: events.RetrievalCompleted{Size: 5, TreeHash: treeA}, job: archive.Job{ArchiveSize: 5, TreeHash: treeB}}, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, "the catalog says " + treeB},
	} {
		err := c.f.expect()
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.err)
		}
		if c.f.content != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, c.f.content, c.want)
		}
	}
}

func TestWhatTheBytesOfASmallFileMustBe(t *testing.T) {
	for _, c := range []struct {
		name      string
		hash, crc string
		catalog   string // the tree hash in the catalog
		size      int64  // the size in the catalog
		want      archive.Content
		err       string
	}{
		{"a tree hash", treeA, "", "", -1, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"a tree hash, and a CRC beside it", treeA, "crc", "", 5, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"a CRC", "", "crc", "", 5, archive.Content{Size: 5, CRC: "crc"}, ""},
		{"neither", "", "", "", 5, archive.Content{}, "neither its store nor the catalog gives its tree hash"},
		{"a wrong tree hash", "x", "crc", "", 5, archive.Content{}, "neither its store nor the catalog gives its tree hash"},
		{"another tree hash in the catalog", treeA, "", treeB, 5, archive.Content{}, "the catalog says " + treeB},
		{"another size in the catalog", treeA, "", "", 6, archive.Content{}, "has 5 bytes, the catalog says 6"},
	} {
		f := file{notification: events.RetrievalCompleted{Size: 5}, job: archive.Job{ArchiveSize: c.size, TreeHash: c.catalog}}
		f.copied = archive.Content{Size: 5, TreeHash: sum(t, treeA)}
		err := f.expectCopied(c.hash, c.crc)
		if (err != nil) != (c.err != "") || err != nil && (!fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.err)
		}
		if f.content != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, f.content, c.want)
		}
	}
}

func TestASizeOrATreeHashThatDiffersIsAMismatch(t *testing.T) {
	for _, c := range []struct {
		name                  string
		size                  int64 // in the catalog
		catalog, notification string
		content               archive.Content
		err                   string
	}{
		{"all agree", 5, treeA, treeA, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"nobody knows anything", -1, "", "", archive.Content{Size: 5, TreeHash: sum(t, treeA)}, ""},
		{"the catalog has an empty archive", 0, "", "", archive.Content{Size: 5, TreeHash: sum(t, treeA)}, "the catalog says 0"},
		{"both are empty", 0, "", "", archive.Content{TreeHash: sum(t, treeA)}, ""},
		{"the catalog has another tree hash", 5, treeB, treeA, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, "the catalog says " + treeB},
		{"the notification has another tree hash", 5, treeA, treeB, archive.Content{Size: 5, TreeHash: sum(t, treeA)}, "the notification says " + treeB},
		{"only a CRC is known", 5, treeB, treeB, archive.Content{Size: 5, CRC: "crc"}, ""},
		{"only a CRC is known, and another size", 6, "", "", archive.Content{Size: 5, CRC: "crc"}, "the catalog says 6"},
	} {
		f := file{notification: events.RetrievalCompleted{TreeHash: c.notification}, job: archive.Job{ArchiveSize: c.size, TreeHash: c.catalog}}
		err := f.agree(c.content)
		if (err != nil) != (c.err != "") || err != nil && (!fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.err)
		}
	}
}

func TestAnEventOfS3IsAboutTheArchiveOrAnotherObject(t *testing.T) {
	at := func(version string) archive.Copy {
		return archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "k", Version: version}
	}
	for _, c := range []struct {
		name      string
		object    events.ObjectRef
		job       archive.Job
		archive   events.ArchiveID // the ids that the notification has then
		retrieval events.RetrievalID
		other     bool
	}{
		{name: "the version", object: events.ObjectRef{Bucket: "cold", Key: "k", Version: "1"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("1")}, archive: "a", retrieval: "r"},
		{name: "another version", object: events.ObjectRef{Bucket: "cold", Key: "k", Version: "2"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("1")}, other: true},
		{name: "an event without a version", object: events.ObjectRef{Bucket: "cold", Key: "k"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("1")}, archive: "a", retrieval: "r"},
		{name: "an archive without a version", object: events.ObjectRef{Bucket: "cold", Key: "k", Version: "1"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("")}, archive: "a", retrieval: "r"},
		{name: "no version at all", object: events.ObjectRef{Bucket: "cold", Key: "k"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("")}, archive: "a", retrieval: "r"},
		{name: "another bucket", object: events.ObjectRef{Bucket: "b", Key: "k", Version: "1"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("1")}, other: true},
		{name: "another key", object: events.ObjectRef{Bucket: "cold", Key: "l", Version: "1"}, job: archive.Job{ArchiveID: "a", RetrievalID: "r", Copy: at("1")}, other: true},
		{name: "a file that is back", object: events.ObjectRef{Bucket: "b", Key: "l"}, job: archive.Job{RestoredBy: "r"}, retrieval: "r"},
		{name: "a file that another program brought back", object: events.ObjectRef{Bucket: "b", Key: "l"}, job: archive.Job{RetrievalID: "q", RestoredBy: "r"}, retrieval: "q"},
	} {
		f := file{notification: events.RetrievalCompleted{Object: &c.object}, job: c.job}
		err := f.identify()
		var s *stopped
		if errors.As(err, &s) != c.other || c.other && s.at != OtherObject {
			t.Errorf("%s: got %v, want another object: %t", c.name, err, c.other)
		}
		if n := f.notification; n.ArchiveID != c.archive || n.RetrievalID != c.retrieval {
			t.Errorf("%s: got archive %q and retrieval %q, want %q and %q", c.name, n.ArchiveID, n.RetrievalID, c.archive, c.retrieval)
		}
	}
}

func TestProgressIsToldASecondAfterTheLastReport(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	var told []int64
	failed := errors.New("no server")
	var fails error
	f := &file{content: archive.Content{Size: 10}, emit: func(_ context.Context, e events.Event) error {
		s := e.(events.StatusChanged)
		if s.State != archive.Copying || s.Size != 10 || s.Step != "" {
			t.Errorf("told %+v", s)
		}
		told = append(told, s.Bytes)
		return fails
	}}
	p := &progress{r: &Restorer{Now: func() time.Time { return now }}, f: f}
	for _, step := range []struct {
		after time.Duration
		fails error
		told  int
		bytes int64
	}{
		{0, nil, 1, 3}, {time.Second - 1, nil, 1, 3}, {1, nil, 2, 9}, {time.Second, failed, 3, 10}, {time.Second, nil, 4, 10},
	} {
		now, fails = now.Add(step.after), step.fails
		if err := p.add(t.Context(), 3); !errors.Is(err, step.fails) || step.fails != nil && !strings.HasPrefix(err.Error(), "tell progress: ") {
			t.Errorf("got %v, want %v", err, step.fails)
		}
		if len(told) != step.told || told[len(told)-1] != step.bytes {
			t.Errorf("told %v, want %d reports, the last of %d bytes", told, step.told, step.bytes)
		}
	}
}
