package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// sourced is a source of some bytes, and what it did.
type sourced struct {
	*source
	fetched []int64 // the offsets that it fetched
	fails   error   // of each fetch
	proofs  []proof
	waited  int // how often it waited for the proof
}

// newSourced returns a source of body, from an offset in an archive, with a span of four bytes.
func newSourced(body []byte, offset int64) *sourced {
	s := &sourced{source: newSource(context.Background(), offset, int64(len(body)), 4, make([]byte, 4))}
	s.fetch = func(_ context.Context, at int64, buf []byte) (checksums, error) {
		s.fetched = append(s.fetched, at)
		if s.fails != nil {
			return checksums{}, s.fails
		}
		copy(buf, body[at-offset:])
		return checksums{tree: treehash.Of(buf), crc: crc64nvme.Update(0, buf)}, nil
	}
	s.proven = func(_ context.Context, p proof) func() {
		s.proofs = append(s.proofs, p)
		return func() { s.waited++ }
	}
	return s
}

func TestASourceGivesTheBytesOfItsPartAndItsProof(t *testing.T) {
	body := []byte("ten bytes!")
	s := newSourced(body, 100)
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %q, %v, want %q", got, err, body)
	}
	if len(s.fetched) != 3 || s.fetched[0] != 100 || s.fetched[2] != 108 {
		t.Errorf("it fetched from %v, want 100, 104 and 108", s.fetched)
	}
	if len(s.proofs) != 1 || s.proofs[0].crc != crc64nvme.Update(0, body) {
		t.Errorf("proofs %v, want one with the CRC of all bytes", s.proofs)
	}
	if n, err := s.Read(make([]byte, 4)); n != 0 || err != io.EOF {
		t.Errorf("at its end: got %d bytes, %v, want the end of the file", n, err)
	}
}

func TestASourceGivesOutItsLastByteWhenTheProofIsSaved(t *testing.T) {
	s := newSourced([]byte("abcd"), 0)
	buf := make([]byte, 2)
	for i, want := range []int{0, 1} {
		if n, err := s.Read(buf); n != 2 || err != nil || len(s.proofs) != 1 || s.waited != want {
			t.Errorf("read %d: %d bytes, %v, %d proofs, it waited %d times, want %d", i+1, n, err, len(s.proofs), s.waited, want)
		}
	}
	// Without a proof there is nothing to wait for.
	newSourced([]byte("abcd"), 0).wait()
}

func TestASourceThatCouldNotFetchGivesTheSameErrorAndFetchesNoMore(t *testing.T) {
	s := newSourced([]byte("ten bytes!"), 0)
	s.fails = errors.New("gone")
	for range 2 {
		if n, err := s.Read(make([]byte, 2)); n != 0 || err != s.fails {
			t.Errorf("got %d bytes, %v, want %v", n, err, s.fails)
		}
		if err := s.load(0); err != s.fails {
			t.Errorf("got %v, want %v", err, s.fails)
		}
	}
	if len(s.fetched) != 1 || len(s.proofs) != 0 {
		t.Errorf("it fetched from %v, with %d proofs; want one fetch, and no proof", s.fetched, len(s.proofs))
	}
}

func TestASpanThatArrivesTwiceCountsOnce(t *testing.T) {
	s := newSourced([]byte("ten bytes!"), 0)
	for _, i := range []int{0, 0, 1, 0, 1, 0} {
		if err := s.load(i); err != nil {
			t.Fatal(err)
		}
	}
	if s.left != 1 || len(s.proofs) != 0 || len(s.fetched) != 5 {
		t.Errorf("%d of 3 spans are left, %d proofs, fetched from %v; want 1, no proof, and no fetch of the span that is there", s.left, len(s.proofs), s.fetched)
	}
	if err := s.load(2); err != nil || s.left != 0 || len(s.proofs) != 1 {
		t.Errorf("got %v, %d spans are left, %d proofs", err, s.left, len(s.proofs))
	}
}

func TestASourceThatForgotFetchesAllFromItsBeginning(t *testing.T) {
	body := []byte("abcd")
	s := newSourced(body, 0)
	if _, err := s.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	s.forget()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, body) || len(s.fetched) != 2 {
		t.Errorf("got %q, %v, fetched from %v; want %q from two fetches", got, err, s.fetched, body)
	}
}

func TestASourceSeeksWithinItsPart(t *testing.T) {
	for _, c := range []struct {
		name   string
		offset int64
		whence int
		want   int64 // the position after it; -1 for an error
	}{
		{"to the beginning", 0, io.SeekStart, 0},
		{"to the end", 10, io.SeekStart, 10},
		{"forth", 2, io.SeekCurrent, 5},
		{"back", -3, io.SeekCurrent, 0},
		{"from the end", -4, io.SeekEnd, 6},
		{"before the beginning", -1, io.SeekStart, -1},
		{"far before the beginning", -4, io.SeekCurrent, -1},
		{"behind the end", 11, io.SeekStart, -1},
		{"just behind the end", 1, io.SeekEnd, -1},
	} {
		s := newSourced([]byte("ten bytes!"), 0)
		s.pos = 3
		got, err := s.Seek(c.offset, c.whence)
		want := c.want
		if c.want < 0 {
			want = 3 // it stays
		}
		if got != want || s.pos != want || (err != nil) != (c.want < 0) {
			t.Errorf("%s: got %d, %v, at %d, want %d", c.name, got, err, s.pos, want)
		}
		if len(s.fetched) > 0 {
			t.Errorf("%s: it fetched from %v", c.name, s.fetched)
		}
	}
}
