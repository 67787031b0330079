package restore_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// life is one process. done has the effects of this process and of those before it.
type life struct {
	testenv.Life
	done *effects
}

// breaking returns a life that breaks at the call with the number at; at -1 it never breaks.
func breaking(at int, how testenv.Breakage, done *effects) *life {
	return &life{Life: testenv.Life{At: at, How: how}, done: done}
}

// effects are the effects of all lives of one job.
type effects struct {
	mu     sync.Mutex   // guards the fields below
	proven map[int]bool // parts with a saved proof
	up     map[int]bool // uploaded parts that had a saved proof before
	puts   int          // objects that became visible
	twice  []string     // parts that were copied again, although they were uploaded and proven
}

// The ports of a life. They embed no port. So after a port gets a new method, this file does
// not compile until that method can break.
type (
	catalogIn struct {
		*life
		to restore.Catalog
	}
	vaultIn struct {
		*life
		to restore.Vault
	}
	bucketIn struct {
		*life
		to restore.Bucket
	}
	uploadsIn struct {
		*life
		to restore.Uploads
	}
	uploadIn struct {
		*life
		to archive.Upload
	}
	kvIn struct {
		*life
		to kv.Store
	}
)

func (p catalogIn) Job(ctx context.Context, id events.JobID) (j archive.Job, err error) {
	err = p.Call("Catalog.Job", func() error { j, err = p.to.Job(ctx, id); return err })
	return j, err
}

func (p catalogIn) ClearArchive(ctx context.Context, j archive.Job) error {
	return p.Call("Catalog.ClearArchive", func() error { return p.to.ClearArchive(ctx, j) })
}

func (p catalogIn) ClearRetrieval(ctx context.Context, j archive.Job, f archive.Failure, notBefore time.Time) error {
	return p.Call("Catalog.ClearRetrieval", func() error { return p.to.ClearRetrieval(ctx, j, f, notBefore) })
}

func (p catalogIn) ClearLeftovers(ctx context.Context, j archive.Job) error {
	return p.Call("Catalog.ClearLeftovers", func() error { return p.to.ClearLeftovers(ctx, j) })
}

func (p vaultIn) Output(ctx context.Context, job archive.Job, offset, length int64) (o archive.Output, err error) {
	if n := int(offset/part) + 1; length >= 0 {
		p.done.mu.Lock()
		if p.done.up[n] {
			p.done.twice = append(p.done.twice, fmt.Sprint("part ", n))
		}
		p.done.mu.Unlock()
	}
	err = p.Call("Vault.Output", func() error { o, err = p.to.Output(ctx, job, offset, length); return err })
	if err != nil && o.Body != nil {
		o.Body.Close()
	}
	return o, err
}

func (p vaultIn) Describe(ctx context.Context, job archive.Job) (r archive.Retrieval, err error) {
	err = p.Call("Vault.Describe", func() error { r, err = p.to.Describe(ctx, job); return err })
	return r, err
}

func (p vaultIn) Delete(ctx context.Context, v archive.Verified) error {
	return p.Call("Vault.Delete", func() error { return p.to.Delete(ctx, v) })
}

func (p bucketIn) Stat(ctx context.Context, o archive.Object) (f archive.Found, err error) {
	err = p.Call("Bucket.Stat", func() error { f, err = p.to.Stat(ctx, o); return err })
	return f, err
}

func (p bucketIn) Read(ctx context.Context, f archive.Found, at int64) (body io.ReadCloser, err error) {
	err = p.Call("Bucket.Read", func() error { body, err = p.to.Read(ctx, f, at); return err })
	if err != nil && body != nil {
		body.Close()
	}
	return body, err
}

func (p bucketIn) Put(ctx context.Context, o archive.Object, m archive.Mark, body []byte, sum crc64nvme.Sum) (s archive.Stored, err error) {
	err = p.Call("Bucket.Put", func() error {
		if s, err = p.to.Put(ctx, o, m, body, sum); err == nil {
			p.done.puts++
		}
		return err
	})
	return s, err
}

func (p uploadsIn) Begin(ctx context.Context, o archive.Object, m archive.Mark) (u archive.Upload, err error) {
	err = p.Call("Uploads.Begin", func() error { u, err = p.to.Begin(ctx, o, m); return err })
	return uploadIn{p.life, u}, err
}

func (p uploadsIn) Unfinished(ctx context.Context, o archive.Object) (us []archive.Upload, err error) {
	err = p.Call("Uploads.Unfinished", func() error { us, err = p.to.Unfinished(ctx, o); return err })
	for i, u := range us {
		us[i] = uploadIn{p.life, u}
	}
	return us, err
}

func (p uploadIn) ID() string { return p.to.ID() }

func (p uploadIn) Parts(ctx context.Context) (parts []archive.Part, err error) {
	err = p.Call("Upload.Parts", func() error { parts, err = p.to.Parts(ctx); return err })
	return parts, err
}

func (p uploadIn) Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (up archive.Part, err error) {
	err = p.Call("Upload.Put", func() error {
		if up, err = p.to.Put(ctx, n, body, size, sum); err == nil {
			p.done.mu.Lock()
			p.done.up[n] = p.done.proven[n]
			p.done.mu.Unlock()
		}
		return err
	})
	return up, err
}

func (p uploadIn) Complete(ctx context.Context, parts []archive.Part, sum crc64nvme.Sum) (s archive.Stored, err error) {
	err = p.Call("Upload.Complete", func() error {
		if s, err = p.to.Complete(ctx, parts, sum); err == nil {
			p.done.puts++
		}
		return err
	})
	return s, err
}

func (p uploadIn) Abort(ctx context.Context) error {
	return p.Call("Upload.Abort", func() error { return p.to.Abort(ctx) })
}

func (p kvIn) Get(ctx context.Context, key string) (value []byte, rev uint64, err error) {
	err = p.Call("KV.Get", func() error { value, rev, err = p.to.Get(ctx, key); return err })
	return value, rev, err
}

func (p kvIn) Put(ctx context.Context, key string, value []byte) error {
	return p.Call("KV.Put", func() error {
		err := p.to.Put(ctx, key, value)
		if err == nil {
			var n int
			fmt.Sscan(key[strings.LastIndexByte(key, '.')+1:], &n)
			p.done.mu.Lock()
			p.done.proven[n] = true
			p.done.mu.Unlock()
		}
		return err
	})
}

func (p kvIn) Swap(ctx context.Context, key string, value []byte, revision uint64) error {
	return p.Call("KV.Swap", func() error { return p.to.Swap(ctx, key, value, revision) })
}

// TestEveryPortCanBreak fails if the service has a port that no crash test breaks.
func TestEveryPortCanBreak(t *testing.T) {
	wrapped := []reflect.Type{
		reflect.TypeFor[catalogIn](), reflect.TypeFor[vaultIn](), reflect.TypeFor[bucketIn](), reflect.TypeFor[uploadsIn](), reflect.TypeFor[kvIn](),
	}
	service := reflect.TypeFor[restore.Restorer]()
	for i := range service.NumField() {
		f := service.Field(i)
		if f.IsExported() && f.Type.Kind() == reflect.Interface &&
			!slices.ContainsFunc(wrapped, func(w reflect.Type) bool { return w.Implements(f.Type) }) {
			t.Errorf("Restorer.%s is a port that no crash test breaks", f.Name)
		}
	}
}

// in runs one delivery in a life and reports whether it would be acked.
func (b *fixture) in(l *life, e events.RetrievalCompleted) bool {
	b.t.Helper()
	r := &restore.Restorer{
		Catalog: catalogIn{l, b.Restorer.Catalog}, Vault: vaultIn{l, b.Vault}, Bucket: bucketIn{l, b.Bucket}, Uploads: uploadsIn{l, b.Uploads},
		KV: kvIn{l, b.KV}, PartSize: b.PartSize, MaxParts: b.MaxParts, Parallel: 1, Now: b.Now, Log: b.Log,
	}
	emit := func(_ context.Context, ev events.Event) error {
		return l.Call("emit "+ev.Type(), func() error { return nil })
	}
	err := r.Restore(b.t.Context(), e, emit)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) {
		b.t.Fatalf("given up after %s %s: %v", l.How, l.Broke(), err)
	}
	return err == nil && !l.Dead()
}

// TestWhereverAWorkerDiesTheNextOneFinishes breaks every call of a clean run, in every way,
// and then also every call of the next delivery. With GAS_CRASH_LONG set, it does so also
// for files of several spans and parts.
func TestWhereverAWorkerDiesTheNextOneFinishes(t *testing.T) {
	t.Parallel()
	b := newColdFixture(t)
	b.withKV()
	b.Log = slog.New(slog.DiscardHandler)
	broken, cases, long := map[string]int{}, 0, os.Getenv("GAS_CRASH_LONG") != ""
	for _, size := range []struct {
		name     string
		body     []byte
		span     int64
		maxParts int
		ways     []testenv.Breakage
		twice    bool
		class    archive.Class
	}{
		{"one span", random(1000), part, 0, testenv.Breakages, true, archive.Vault},
		{"one part of two spans", random(1<<20 + 7), 1 << 20, 1, testenv.Breakages, long, archive.Vault},
		{"two parts", random(part + 7), part, 0, testenv.Breakages, false, archive.Vault},
		{"one span from GLACIER", random(1001), part, 0, testenv.Breakages, true, archive.Glacier},
		{"one part of two spans from DEEP_ARCHIVE", random(1<<20 + 8), 1 << 20, 1, testenv.Breakages, false, archive.DeepArchive},
	} {
		if len(size.body) > part && !long {
			continue
		}
		t.Run(size.name, func(t *testing.T) {
			b.PartSize, b.MaxParts = size.span, size.maxParts
			one := func(at1 int, how1 testenv.Breakage, at2 int) (string, string) {
				cases++
				id := events.JobID(fmt.Sprintf("j%d", cases))
				e := b.completed(size.class, id, size.body)
				done := &effects{proven: map[int]bool{}, up: map[int]bool{}}
				first, second := breaking(at1, how1, done), breaking(at2, testenv.DieAfter, done)
				b.in(first, e)
				b.in(second, e)
				for n := 0; !b.in(breaking(-1, testenv.DieBefore, done), e); n++ {
					if n == 5 {
						t.Fatal("not done after 5 clean deliveries")
					}
				}
				if !b.in(breaking(-1, testenv.DieBefore, done), e) {
					t.Error("a redelivery after the file is restored is not done")
				}
				name := fmt.Sprintf("first %s %s, then dies after %s", how1, first.Broke(), second.Broke())
				b.restored(id, size.body)
				if n := b.objectsLeft(); n != 0 {
					t.Errorf("%s: %d objects are left in the archive bucket", name, n)
				}
				if done.puts != 1 || len(done.twice) > 0 {
					t.Errorf("%s: the object was written %d times, and parts were copied again although they were proven: %v", name, done.puts, done.twice)
				}
				if t.Failed() {
					t.Fatal(name)
				}
				broken[first.Broke()]++
				broken[second.Broke()]++
				return first.Broke(), second.Broke()
			}
			for at := 0; ; at++ {
				came := ""
				for _, how := range size.ways {
					if came, _ = one(at, how, -1); came == "" {
						break
					}
					for again := 0; size.twice && how == testenv.DieAfter; again++ {
						if _, second := one(at, how, again); second == "" {
							break
						}
					}
				}
				if came == "" {
					break // the first delivery does not have so many calls
				}
			}
		})
	}
	for _, effect := range []string{
		"Bucket.Put", "Uploads.Begin", "Upload.Put", "Upload.Complete", "KV.Put", "Vault.Delete", "Catalog.ClearArchive", "emit status.changed",
	} {
		if broken[effect] == 0 {
			t.Errorf("%s was never broken", effect)
		}
	}
	t.Logf("%d cases; broken: %v", cases, broken)
	if cases < 80 {
		t.Errorf("only %d cases", cases)
	}
}

// TestAFileThatIsThereIsNotPaidForAgain lets the worker die between the object
// and the deletion, and the output expire.
func TestAFileThatIsThereIsNotPaidForAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1000, 1<<20 + 7} {
		for _, f := range []localaws.Fault{
			{},
			{Service: "s3", Operation: "GetObject", Times: 1, Corrupt: true, CorruptAt: 400},
			{Service: "s3", Operation: "GetObject", Times: 2, Cut: true, CutAt: 300},
		} {
			b := newFixture(t)
			b.PartSize, b.MaxParts, b.KV = 1<<20, 1, noKV{}
			body := random(size)
			e := b.retrieved("j", body)
			done := &effects{proven: map[int]bool{}, up: map[int]bool{}}
			for at, there := 0, false; !there; at++ {
				first := breaking(at, testenv.DieAfter, done)
				if b.in(first, e) {
					t.Fatal("no delivery died with the object there")
				}
				there = first.Broke() == "Bucket.Put" || first.Broke() == "Upload.Complete"
			}
			b.World.Clock.Advance(49 * time.Hour)
			if f.Service != "" && size > 0 {
				if err := b.Faults.Add(f); err != nil {
					t.Fatal(err)
				}
			}
			var out testenv.Emitted
			b.deliver(e, &out)
			b.restored("j", body)
			for _, ev := range out.All() {
				if ev.Type() == (events.ThawRequested{}).Type() {
					t.Errorf("%d bytes: asked for again: %+v", size, ev)
				}
			}
		}
	}
}
