package restore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/kv"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// odd is a restorer on ports that note their calls. The calls go to the ports of a fixture, and a
// test sets which of them give another answer.
type odd struct {
	*fixture
	plain *restore.Restorer // on the ports themselves
	log   bytes.Buffer
	// The functions are nil, or change what a call returns.
	job        func(*archive.Job)
	describe   func(*archive.Retrieval)
	output     func(*archive.Output)
	found      func(*archive.Found)
	read       func(io.ReadCloser) io.ReadCloser
	put        func(*archive.Stored)
	part       func(*archive.Part, *error)
	complete   func(*archive.Stored, *error)
	unfinished func(*[]archive.Upload)
	// send is called instead of an upload's Put.
	send func(body io.ReadSeeker) (archive.Part, error)
	// before is called before each call; its error is the answer.
	before func(name string, number int) error
	// fails are the errors of the first calls with a name. A nil lets the call through.
	fails map[string][]error

	mu    sync.Mutex // guards what follows
	calls []string
	notes []string // arguments of some calls
	out   testenv.Emitted
}

// newOdd returns an odd restorer on the fixture's ports. A large file is one of more than a MiB. It
// has one part of two spans.
func newOdd(b *fixture) *odd {
	o, another := &odd{fails: map[string][]error{}}, *b
	o.fixture, o.plain = &another, b.Restorer
	another.Restorer = &restore.Restorer{
		Catalog: oddCatalog{o, o.plain.Catalog}, Vault: oddVault{o, o.plain.Vault}, Bucket: oddBucket{o, o.plain.Bucket}, Uploads: oddUploads{o, o.plain.Uploads},
		PartSize: 1 << 20, MaxParts: 1, Parallel: 1, Log: slog.New(slog.NewTextHandler(&o.log, nil)), Now: func() time.Time { return oddNow },
	}
	return o
}

// oddNow is the time at an odd restorer: its clock stands still.
var oddNow = time.Now().UTC()

// often is an error that comes as often as a call is made.
func often(err error) []error { return slices.Repeat([]error{err}, 20) }

func (o *odd) call(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls = append(o.calls, name); len(o.calls) > 200 {
		panic("the calls do not end: " + strings.Join(o.calls[180:], ", "))
	}
	if o.before != nil {
		if err := o.before(name, len(o.calls)); err != nil {
			return err
		}
	}
	if errs := o.fails[name]; len(errs) > 0 {
		o.fails[name] = errs[1:]
		return errs[0]
	}
	return nil
}

func (o *odd) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes = append(o.notes, fmt.Sprintf(format, args...))
}

// made returns the calls that were made, in order.
func (o *odd) made() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.calls, ", ")
}

// times returns how often a call was made.
func (o *odd) times(name string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, call := range o.calls {
		if call == name {
			n++
		}
	}
	return n
}

func (o *odd) restore(ctx context.Context, e events.RetrievalCompleted) error {
	return o.Restore(ctx, e, o.emit)
}

func (o *odd) emit(ctx context.Context, e events.Event) error {
	name := e.Type()
	if s, ok := e.(events.StatusChanged); ok {
		name = string(s.State)
	}
	if err := o.call("emit " + name); err != nil {
		return err
	}
	return o.out.Emit(ctx, e)
}

type (
	oddCatalog struct {
		*odd
		to restore.Catalog
	}
	oddVault struct {
		*odd
		to restore.Vault
	}
	oddBucket struct {
		*odd
		to restore.Bucket
	}
	oddUploads struct {
		*odd
		to restore.Uploads
	}
	oddUpload struct {
		*odd
		to archive.Upload
	}
	oddKV struct {
		*odd
		to kv.Store
	}
)

// alter calls change with v, unless one of them is nil.
func alter[T any](change func(*T), v *T) {
	if change != nil {
		change(v)
	}
}

func (p oddCatalog) Job(ctx context.Context, id events.JobID) (job archive.Job, err error) {
	if err := p.call("Job"); err != nil {
		return job, err
	}
	job, err = p.to.Job(ctx, id)
	alter(p.job, &job)
	return job, err
}

func (p oddCatalog) ClearArchive(ctx context.Context, job archive.Job) error {
	p.note("back by %s at %s", job.RestoredBy, job.RestoredAt)
	if err := p.call("ClearArchive"); err != nil {
		return err
	}
	return p.to.ClearArchive(ctx, job)
}

func (p oddCatalog) ClearRetrieval(ctx context.Context, job archive.Job, f archive.Failure, notBefore time.Time) error {
	p.note("%s, not before %s", f, notBefore.Sub(oddNow))
	if err := p.call("ClearRetrieval"); err != nil {
		return err
	}
	return p.to.ClearRetrieval(ctx, job, f, notBefore)
}

func (p oddCatalog) ClearLeftovers(ctx context.Context, job archive.Job) error {
	if err := p.call("ClearLeftovers"); err != nil {
		return err
	}
	return p.to.ClearLeftovers(ctx, job)
}

func (p oddVault) Output(ctx context.Context, job archive.Job, offset, length int64) (out archive.Output, err error) {
	p.note("%d bytes from %d", length, offset)
	if err := p.call("Output"); err != nil {
		return out, err
	}
	if out, err = p.to.Output(ctx, job, offset, length); err == nil {
		alter(p.output, &out)
	}
	return out, err
}

func (p oddVault) Describe(ctx context.Context, job archive.Job) (r archive.Retrieval, err error) {
	if err := p.call("Describe"); err != nil {
		return r, err
	}
	if r, err = p.to.Describe(ctx, job); err == nil {
		alter(p.describe, &r)
	}
	return r, err
}

func (p oddVault) Delete(ctx context.Context, v archive.Verified) error {
	if err := p.call("Delete"); err != nil {
		return err
	}
	return p.to.Delete(ctx, v)
}

func (p oddBucket) Stat(ctx context.Context, at archive.Object) (found archive.Found, err error) {
	if err := p.call("Stat"); err != nil {
		return found, err
	}
	if found, err = p.to.Stat(ctx, at); err == nil {
		alter(p.found, &found)
	}
	return found, err
}

func (p oddBucket) Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error) {
	p.note("read from %d", offset)
	if err := p.call("Read"); err != nil {
		return nil, err
	}
	body, err := p.to.Read(ctx, found, offset)
	if err == nil && p.read != nil {
		body = p.read(body)
	}
	return body, err
}

func (p oddBucket) Put(ctx context.Context, at archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (stored archive.Stored, err error) {
	if err := p.call("Put"); err != nil {
		return stored, err
	}
	if stored, err = p.to.Put(ctx, at, mark, body, sum); err == nil {
		alter(p.put, &stored)
	}
	return stored, err
}

func (p oddUploads) Begin(ctx context.Context, at archive.Object, mark archive.Mark) (archive.Upload, error) {
	if err := p.call("Begin"); err != nil {
		return nil, err
	}
	u, err := p.to.Begin(ctx, at, mark)
	return oddUpload{p.odd, u}, err
}

func (p oddUploads) Unfinished(ctx context.Context, at archive.Object) ([]archive.Upload, error) {
	if err := p.call("Unfinished"); err != nil {
		return nil, err
	}
	us, err := p.to.Unfinished(ctx, at)
	alter(p.unfinished, &us)
	for i, u := range us {
		us[i] = oddUpload{p.odd, u}
	}
	return us, err
}

func (p oddUpload) ID() string { return p.to.ID() }

func (p oddUpload) Parts(ctx context.Context) ([]archive.Part, error) {
	if err := p.call("Parts"); err != nil {
		return nil, err
	}
	return p.to.Parts(ctx)
}

func (p oddUpload) Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (up archive.Part, err error) {
	p.note("part %d, sum %t", n, sum != nil)
	if err := p.call("Upload.Put"); err != nil {
		return up, err
	}
	if p.send != nil {
		return p.send(body)
	}
	if up, err = p.to.Put(ctx, n, body, size, sum); p.part != nil {
		p.part(&up, &err)
	}
	return up, err
}

func (p oddUpload) Complete(ctx context.Context, parts []archive.Part, sum crc64nvme.Sum) (stored archive.Stored, err error) {
	if err := p.call("Complete"); err != nil {
		return stored, err
	}
	if stored, err = p.to.Complete(ctx, parts, sum); p.complete != nil {
		p.complete(&stored, &err)
	}
	return stored, err
}

func (p oddUpload) Abort(ctx context.Context) error {
	if err := p.call("Abort"); err != nil {
		return err
	}
	return p.to.Abort(ctx)
}

func (p oddKV) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := p.call("KV.Get"); err != nil {
		return nil, 0, err
	}
	return p.to.Get(ctx, key)
}

func (p oddKV) Put(ctx context.Context, key string, value []byte) error {
	if err := p.call("KV.Put"); err != nil {
		return err
	}
	return p.to.Put(ctx, key, value)
}

func (p oddKV) Swap(ctx context.Context, key string, value []byte, revision uint64) error {
	return p.to.Swap(ctx, key, value, revision)
}
