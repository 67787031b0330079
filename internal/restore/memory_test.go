package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// pooled calls use again and again until it leaves a buffer in the pool. A pool may lose a buffer at
// any time, and with the race detector it loses each fourth.
func pooled(r *Restorer, use func()) bool {
	for range 50 {
		if use(); r.buffers.Get() != nil {
			return true
		}
	}
	return false
}

func TestABufferIsUsedAgainIfItIsLargeEnough(t *testing.T) {
	for _, c := range []struct {
		room  int
		n     int64
		again bool
	}{{4, 3, true}, {4, 4, true}, {4, 5, false}, {0, 0, true}} {
		r, again := &Restorer{}, false
		for range 50 {
			b := make([]byte, 0, c.room)
			r.buffers.Put(&b)
			got := r.takeBuffer(c.n)
			if int64(len(*got)) < c.n {
				t.Fatalf("a buffer of %d bytes, want %d", len(*got), c.n)
			}
			again = again || got == &b
		}
		if again != c.again {
			t.Errorf("a buffer of %d bytes for %d bytes: it is used again %t, want %t", c.room, c.n, again, c.again)
		}
	}
}

// scripted is a port for one small file of three bytes.
type scripted struct {
	Catalog
	Vault
	Bucket
	output, put error
}

func (scripted) Job(context.Context, events.JobID) (archive.Job, error) {
	return archive.Job{ArchiveID: "a", RetrievalID: "r", ArchiveSize: 3, Result: archive.Object{Bucket: "b", Key: "k"}}, nil
}

func (s scripted) Output(context.Context, archive.Job, int64, int64) (archive.Output, error) {
	return archive.Output{Body: io.NopCloser(bytes.NewReader([]byte("abc"))), Size: 3, TreeHash: proofOf("abc").tree.String()}, s.output
}

func (s scripted) Put(context.Context, archive.Object, archive.Mark, []byte, crc64nvme.Sum) (archive.Stored, error) {
	return archive.Stored{}, s.put
}

func TestTheBufferOfASmallFileIsFreeAfterItIsPutAndAfterAnError(t *testing.T) {
	r := &Restorer{Bucket: scripted{}}
	if !pooled(r, func() {
		b := []byte("abc")
		f := &file{buffer: &b, body: b, sum: new(crc64nvme.Sum)}
		if err := r.put(t.Context(), f); err != nil || f.buffer != nil || f.body != nil {
			t.Fatalf("got %v, and the file has still its buffer: %t", err, f.buffer != nil)
		}
	}) {
		t.Error("the file is put, and its buffer is not free")
	}
	denied := fault.New(fault.Denied, errors.New("it is not allowed"))
	ports := scripted{output: denied}
	r = &Restorer{Catalog: ports, Vault: ports, Bucket: ports, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if !pooled(r, func() {
		e := events.RetrievalCompleted{JobID: "j", ArchiveID: "a", RetrievalID: "r", Status: archive.Succeeded, Size: 3}
		if err := r.Restore(t.Context(), e, func(context.Context, events.Event) error { return nil }); !errors.Is(err, denied) {
			t.Fatalf("got %v, want %v", err, denied)
		}
	}) {
		t.Error("the file could not be fetched, and its buffer is not free")
	}
}

// refusing is an upload that reads nothing and refuses each part.
type refusing struct {
	namedUpload
	err  error
	puts int
}

func (u *refusing) Put(context.Context, int, io.ReadSeeker, int64, *crc64nvme.Sum) (archive.Part, error) {
	if u.puts++; u.puts > 200 {
		panic("the part is sent without end")
	}
	return archive.Part{}, u.err
}

// refused returns a copy of one part of three bytes, which S3 refuses.
func refused(t *testing.T, err error) *copying {
	r := &Restorer{Vault: scripted{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	f := &file{log: r.Log, content: archive.Content{Size: 3}, emit: func(context.Context, events.Event) error { return nil }}
	l, parts, cutErr := cut(3, 4, 1)
	if cutErr != nil {
		t.Fatal(cutErr)
	}
	return &copying{r: r, f: f, layout: l, parts: parts, upload: &refusing{err: err}, told: progress{r: r, f: f}}
}

func TestTheBufferOfAPartIsFreeAfterAnError(t *testing.T) {
	denied := fault.New(fault.Denied, errors.New("it is not allowed"))
	c := refused(t, denied)
	if !pooled(c.r, func() {
		if err := c.copyPart(t.Context(), 1, &c.parts[0]); !errors.Is(err, denied) {
			t.Fatalf("got %v, want %v", err, denied)
		}
	}) {
		t.Error("the part is refused, and its buffer is not free")
	}
}

// slowValues is a store that saves nothing before it is told to.
type slowValues struct {
	values
	goOn chan bool
}

func (v slowValues) Put(ctx context.Context, key string, value []byte) error {
	<-v.goOn
	return v.values.Put(ctx, key, value)
}

// TestACopyEndsAfterItsProofsAreSaved: a later delivery may read them at once.
func TestACopyEndsAfterItsProofsAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := fault.New(fault.Denied, errors.New("it is not allowed"))
		c := refused(t, denied)
		store := slowValues{values{at: map[string]string{}}, make(chan bool)}
		c.proofs = proofs{store, "name", c.r.Log}
		ended := make(chan error, 1)
		go func() { ended <- c.copyPart(t.Context(), 1, &c.parts[0]) }()
		synctest.Wait()
		if len(ended) != 0 {
			t.Error("the copy ended before its proof was saved")
		}
		close(store.goOn)
		if err := <-ended; !errors.Is(err, denied) || store.at["part.name.1"] != proofOf("abc").String() {
			t.Errorf("got %v, and the store has %v", err, store.at)
		}
	})
}

// waiting is a vault that brings no output before it is told to.
type waiting struct {
	Vault
	asked chan int64
	goOn  chan bool
}

func (w waiting) Output(_ context.Context, _ archive.Job, offset, _ int64) (archive.Output, error) {
	w.asked <- offset
	<-w.goOn
	return archive.Output{}, fault.New(fault.Denied, errors.New("it is not allowed"))
}

// TestUnlessToldOtherwiseThreeSpansOfAFileAreInMemory as docs/configuration.md says.
func TestUnlessToldOtherwiseThreeSpansOfAFileAreInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := waiting{asked: make(chan int64, 20), goOn: make(chan bool)}
		c := refused(t, nil)
		c.r.Vault = w
		c.r.init()
		var err error
		if c.layout, c.parts, err = cut(20, 1, c.r.MaxParts); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.copyParts(t.Context()) }()
		synctest.Wait()
		if n := len(w.asked); n != 3 {
			t.Errorf("%d spans are on their way at a time, want 3", n)
		}
		close(w.goOn)
		if err := <-ended; !fault.Is(err, fault.Denied) {
			t.Errorf("got %v", err)
		}
	})
}
