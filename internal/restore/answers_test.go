package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// answer is a delivery in which a port gives another answer than the stand-in.
type answer struct {
	name string
	make func(*odd, events.JobID) events.RetrievalCompleted
	odd  func(*odd)
	// kind and says describe the error; says is empty if the delivery succeeds.
	kind fault.Kind
	says string
	// calls are how often calls are made.
	calls map[string]int
	// logs is in the log. silent is not.
	logs, silent string
	// after checks something more.
	after func(*odd, events.RetrievalCompleted)
}

func (c answer) check(t *testing.T, b *fixture, id events.JobID) {
	t.Helper()
	o := newOdd(b)
	e := c.make(o, id)
	if c.odd != nil {
		c.odd(o)
	}
	err := o.restore(t.Context(), e)
	if (err != nil) != (c.says != "") || err != nil && (!fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says)) {
		t.Errorf("%s: got %v of kind %s, want %s that says %q", c.name, err, fault.KindOf(err), c.kind, c.says)
	}
	for call, want := range c.calls {
		if got := o.times(call); got != want {
			t.Errorf("%s: the call %s is made %d times, want %d: %s", c.name, call, got, want, o.made())
		}
	}
	if log := o.log.String(); !strings.Contains(log, c.logs) || c.silent != "" && strings.Contains(log, c.silent) {
		t.Errorf("%s: the log is\n%s\nwant it to have %q, and not %q", c.name, log, c.logs, c.silent)
	}
	if c.after != nil {
		c.after(o, e)
	}
	if job := o.Job(e.JobID); err != nil && job.ArchiveID == "" && o.times("ClearArchive")+o.times("Delete") > 0 {
		t.Errorf("%s: it failed, and the archive is deleted or cleared: %s", c.name, o.made())
	}
}

func check(t *testing.T, answers []answer) {
	t.Parallel()
	b := newFixture(t)
	for i, c := range answers {
		c.check(t, b, events.JobID(fmt.Sprint("j", i)))
	}
}

// Errors of ports.
var (
	errCut      = fault.New(fault.Transient, errors.New("the connection was cut"))
	errCorrupt  = fault.New(fault.Corrupt, errors.New("another checksum"))
	errDenied   = fault.New(fault.Denied, errors.New("it is not allowed"))
	errConflict = fault.New(fault.Conflict, errors.New("somebody was first"))
	errInvalid  = fault.New(fault.Invalid, errors.New("it makes no sense"))
)

// failing returns a function that makes the calls with a name fail.
func failing(call string, errs ...error) func(*odd) {
	return func(o *odd) { o.fails[call] = errs }
}

// body is what a port gives to read.
type body struct {
	io.Reader
	close func()
}

func (b body) Close() error {
	b.close()
	return nil
}

// then returns a body of the bytes that ends with err; nil for the usual end.
func then(p []byte, err error) io.ReadCloser {
	var r io.Reader = bytes.NewReader(p)
	if err != nil {
		r = io.MultiReader(r, failure{err})
	}
	return body{r, func() {}}
}

// failure is a reader that fails.
type failure struct{ error }

func (f failure) Read([]byte) (int, error) { return 0, f.error }

// outputs returns a function that lets the calls for the output bring these bodies, one after the
// other, and then the right bytes. Glacier says neither a size nor a tree hash about them.
func outputs(bodies ...io.ReadCloser) func(*odd) {
	return func(o *odd) {
		o.output = func(out *archive.Output) {
			if len(bodies) > 0 {
				out.Body.Close()
				out.Body, out.Size, out.TreeHash, bodies = bodies[0], -1, "", bodies[1:]
			}
		}
	}
}

func always(change func(*archive.Output)) func(*odd) {
	return func(o *odd) { o.output = change }
}

func noted(notes ...string) func(*odd, events.RetrievalCompleted) {
	return func(o *odd, _ events.RetrievalCompleted) {
		o.t.Helper()
		all := strings.Join(o.notes, "\n")
		for _, want := range notes {
			if !strings.Contains(all, want) {
				o.t.Errorf("it did\n%s\nwant %q", all, want)
			}
		}
	}
}

func TestAnOutputIsFetchedAgainOnlyIfThatMayHelp(t *testing.T) {
	small, cut := bodies[smallFile], errors.New("connection reset")
	longer := append(bytes.Clone(small), 7)
	check(t, []answer{
		{name: "a small output is fetched whole", make: succeeded(smallFile), calls: map[string]int{"Output": 1}, after: noted("-1 bytes from 0"), silent: "range fetched again"},
		{name: "two calls fail", make: succeeded(smallFile), odd: failing("Output", errCut, errCut), calls: map[string]int{"Output": 3}, logs: "range fetched again"},
		{name: "two outputs are corrupt", make: succeeded(smallFile), odd: failing("Output", errCorrupt, errCorrupt), calls: map[string]int{"Output": 3}},
		{name: "each call fails", make: succeeded(smallFile), odd: failing("Output", often(errCut)...), kind: fault.Transient, says: "cut", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "each output is corrupt", make: succeeded(smallFile), odd: failing("Output", often(errCorrupt)...), kind: fault.Corrupt, says: "another checksum", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "Glacier denies", make: succeeded(smallFile), odd: failing("Output", often(errDenied)...), kind: fault.Denied, says: "not allowed", calls: map[string]int{"Output": 1, "Put": 0}},
		{name: "Glacier gives a wrong size", make: succeeded(smallFile), odd: always(func(o *archive.Output) { o.Size-- }), kind: fault.Corrupt, says: "has 999 bytes, want 1000", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "Glacier gives no bytes as the size", make: succeeded(smallFile), odd: always(func(o *archive.Output) { o.Size = 0 }), kind: fault.Corrupt, says: "has 0 bytes, want 1000", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "Glacier gives no size", make: succeeded(smallFile), odd: always(func(o *archive.Output) { o.Size = -1 }), calls: map[string]int{"Output": 1}},
		{name: "Glacier gives no tree hash with the bytes", make: succeeded(smallFile), odd: always(func(o *archive.Output) { o.TreeHash = "" }), calls: map[string]int{"Output": 1}},
		{name: "Glacier gives a tree hash that is none", make: succeeded(smallFile), odd: always(func(o *archive.Output) { o.TreeHash = "abc" }), kind: fault.Corrupt, says: `Glacier gives "abc" as its tree hash: want 64 hex digits`, calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "the bytes are cut in the middle", make: succeeded(smallFile), odd: outputs(then(small[:99], cut), then(nil, cut)), calls: map[string]int{"Output": 3}},
		{name: "the bytes are cut in the middle each time", make: succeeded(smallFile), odd: outputs(then(small[:99], cut), then(small[:1], cut), then(nil, cut)), kind: fault.Transient, says: "read output of", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "the bytes end too early each time", make: succeeded(smallFile), odd: outputs(then(small[:999], nil), then(small[:1], nil), then(nil, nil)), kind: fault.Transient, says: "read output of", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "there is a byte more", make: succeeded(smallFile), odd: outputs(then(longer, nil), then(longer, cut), then(longer, nil)), kind: fault.Corrupt, says: "has more than 1000 bytes", calls: map[string]int{"Output": 3, "Put": 0}},
		{name: "the end is cut", make: succeeded(smallFile), odd: outputs(then(small, cut), then(small, cut), then(small, cut)), kind: fault.Transient, says: "read the end of output", calls: map[string]int{"Output": 3, "Put": 0}},
	})
}

func TestAFileIsProvenBeforeItsArchiveIsDeleted(t *testing.T) {
	without := func(o *odd) {
		o.job = func(job *archive.Job) { job.TreeHash = "" }
	}
	// wrongCRC lets the store promise nothing but the CRC of other bytes.
	wrongCRC := with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
		e.TreeHash = ""
		without(o)
		o.output = func(out *archive.Output) { out.TreeHash, out.CRC = "", crc64nvme.Update(0, []byte("other")).String() }
	})
	check(t, []answer{
		{name: "S3 stored other bytes", make: succeeded(smallFile), odd: func(o *odd) { o.put = func(s *archive.Stored) { s.Checksum = "other" } },
			kind: fault.Corrupt, says: `has checksum "other"`, calls: map[string]int{"Delete": 0, "ClearArchive": 0}},
		{name: "S3 stored a shorter object", make: succeeded(smallFile), odd: func(o *odd) { o.put = func(s *archive.Stored) { s.Size-- } },
			kind: fault.Corrupt, says: "has 999 bytes, copied 1000", calls: map[string]int{"Delete": 0, "ClearArchive": 0}},
		{name: "S3 stored other bytes of a large file", make: succeeded(largeFile), odd: func(o *odd) { o.complete = func(s *archive.Stored, _ *error) { s.Checksum = "other" } },
			kind: fault.Corrupt, says: `has checksum "other"`, calls: map[string]int{"Delete": 0, "ClearArchive": 0}},
		{name: "the bytes have another CRC than S3 promised", make: wrongCRC, kind: fault.Corrupt, says: "the archive has CRC-64/NVME", calls: map[string]int{"Delete": 0, "ClearArchive": 0}},
		{name: "the bytes have another CRC than S3 promised, and are there already", make: with(wrongCRC, func(o *odd, e *events.RetrievalCompleted) {
			there(o, e)
			o.found = func(f *archive.Found) { f.Checksum = crc64nvme.Update(0, bodies[smallFile]).String() }
		}), kind: fault.Corrupt, says: "the archive has CRC-64/NVME", calls: map[string]int{"Delete": 0, "ClearArchive": 0, "Read": 0}},
		{name: "the object that is there has S3's checksum of our bytes", make: with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			there(o, e)
			o.found = func(f *archive.Found) { f.Checksum = crc64nvme.Update(0, bodies[smallFile]).String() }
		}), calls: map[string]int{"Stat": 1, "Read": 0, "Delete": 1}},
		{name: "an object of another size is there", make: with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			o.fixture.put(o.Job(e.JobID).Result, "notes")
		}), kind: fault.Invalid, says: "it has another size", calls: map[string]int{"Read": 0, "Delete": 0, "ClearArchive": 0}},
		{name: "an object of the same size is there", make: with(succeeded(smallFile), func(o *odd, e *events.RetrievalCompleted) {
			o.fixture.put(o.Job(e.JobID).Result, strings.Repeat("n", smallFile))
		}), kind: fault.Invalid, says: "is there already with other content", calls: map[string]int{"Read": 2, "Delete": 0, "ClearArchive": 0}},
		{name: "the object has other bytes at the second look", make: with(succeeded(smallFile), there), odd: reads(
			then([]byte(strings.Repeat("n", smallFile)), nil), then([]byte(strings.Repeat("m", smallFile)), nil)),
			kind: fault.Corrupt, says: "read back twice with different content", calls: map[string]int{"Read": 2, "Delete": 0}},
		{name: "the second look fails", make: with(succeeded(smallFile), there), odd: func(o *odd) {
			reads(then([]byte(strings.Repeat("n", smallFile)), nil))(o)
			o.fails["Read"] = []error{nil, errBusy}
		}, kind: fault.Throttled, says: "too many calls", calls: map[string]int{"Read": 2, "Delete": 0}},
		{name: "the deletion fails", make: succeeded(smallFile), odd: failing("Delete", errCut), kind: fault.Transient, says: "cut", calls: map[string]int{"ClearArchive": 0}},
		{name: "the vault is locked", make: succeeded(smallFile), odd: failing("Delete", errDenied), logs: "archive not deleted", calls: map[string]int{"ClearArchive": 1, "emit restored": 1}},
		{name: "the output is gone, and the notification has another tree hash than the catalog", make: with(expired(smallFile), func(_ *odd, e *events.RetrievalCompleted) {
			e.TreeHash = strings.Repeat("1", 64)
		}), kind: fault.Corrupt, says: "the catalog says", calls: map[string]int{"ClearRetrieval": 0, "Stat": 0}},
	})
}

// reads returns a function that lets the calls that read an object back bring these bodies, one
// after the other, and then the right bytes.
func reads(bodies ...io.ReadCloser) func(*odd) {
	return func(o *odd) {
		o.read = func(b io.ReadCloser) io.ReadCloser {
			if len(bodies) == 0 {
				return b
			}
			b.Close()
			b, bodies = bodies[0], bodies[1:]
			return b
		}
	}
}

// TestReadingBackGoesOnWhereItWasCut has a small file that is at its key already, and no output.
func TestReadingBackGoesOnWhereItWasCut(t *testing.T) {
	cut, small := errors.New("connection reset"), bodies[smallFile]
	gone := with(expired(smallFile), there)
	bytewise := make([]io.ReadCloser, 8)
	for i := range bytewise {
		bytewise[i] = then(small[i:i+1], cut)
	}
	check(t, []answer{
		{name: "it is cut in the middle", make: gone, odd: reads(then(small[:400], cut)), calls: map[string]int{"Read": 2, "Delete": 1}, after: noted("read from 0", "read from 400"), logs: "continues after an error"},
		{name: "it ends in the middle", make: gone, odd: reads(then(small[:400], nil)), calls: map[string]int{"Read": 2, "Delete": 1}, after: noted("read from 400")},
		{name: "two calls fail", make: gone, odd: failing("Read", errCut, errCut), calls: map[string]int{"Read": 3, "Delete": 1}},
		{name: "three calls fail", make: gone, odd: failing("Read", often(errCut)...), kind: fault.Transient, says: "cut", calls: map[string]int{"Read": 3, "Delete": 0}},
		{name: "each call brings a byte", make: gone, odd: reads(bytewise...), calls: map[string]int{"Read": 9, "Delete": 1}},
		{name: "two calls fail after some bytes", make: gone, odd: func(o *odd) {
			reads(then(small[:400], cut))(o)
			o.fails["Read"] = []error{nil, errCut}
		}, calls: map[string]int{"Read": 3, "Delete": 1}},
		{name: "three calls bring nothing after some bytes", make: gone, odd: reads(then(small[:400], cut), then(nil, cut), then(nil, cut), then(nil, cut)),
			kind: fault.Transient, says: "from 400", calls: map[string]int{"Read": 3, "Delete": 0}},
		{name: "it is cut behind the last byte", make: gone, odd: reads(then(small, cut)), calls: map[string]int{"Read": 1, "Delete": 1}},
		{name: "a file of one byte is cut behind it", make: with(expired(1), there), odd: reads(then(bodies[1], cut)), calls: map[string]int{"Read": 1, "Delete": 1}},
		{name: "an empty file", make: with(expired(0), there), calls: map[string]int{"Read": 1, "Delete": 1}},
		{name: "S3 denies", make: gone, odd: failing("Read", often(errDenied)...), kind: fault.Denied, says: "not allowed", calls: map[string]int{"Read": 1, "Delete": 0}},
		{name: "the object changes", make: gone, odd: failing("Read", often(errConflict)...), kind: fault.Transient, says: "it changed while it was read", calls: map[string]int{"Read": 1, "Delete": 0}},
		{name: "an empty object changes", make: with(expired(0), there), odd: failing("Read", often(errConflict)...), kind: fault.Transient, says: "it changed while it was read", calls: map[string]int{"Read": 1, "Delete": 0}},
	})
}

func TestReadingBackClosesWhatItOpensAndEndsWithTheDelivery(t *testing.T) {
	t.Parallel()
	o := newOdd(newFixture(t))
	e := with(expired(smallFile), there)(o, "j")
	ctx, cancel := context.WithCancel(t.Context())
	opened, closed := 0, 0
	o.read = func(b io.ReadCloser) io.ReadCloser {
		opened++
		r := io.Reader(b)
		if opened == 1 {
			r = io.MultiReader(io.LimitReader(b, 10), failure{errors.New("connection reset")})
		}
		return body{r, func() { closed++; b.Close() }}
	}
	if err := o.restore(ctx, e); err != nil || opened != 2 || closed != 2 {
		t.Errorf("got %v; %d bodies are opened and %d closed, want 2", err, opened, closed)
	}
	e = with(expired(smallFile), there)(o, "k")
	o.read = func(b io.ReadCloser) io.ReadCloser {
		cancel()
		b.Close()
		return then(nil, errors.New("connection reset"))
	}
	before := o.times("Read")
	if err := o.restore(ctx, e); err == nil || o.times("Read") != before+1 {
		t.Errorf("when the delivery had ended: got %v after %d calls, want an error after one", err, o.times("Read")-before)
	}
}
