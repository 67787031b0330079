package s3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestTheChecksumOfAWholeFollowsFromItsParts(t *testing.T) {
	c := new(crc64)
	c.Write([]byte("123456789"))
	if uint64(*c) != 0xae8b14860a799888 {
		t.Errorf("CRC-64/NVME of the check string is %x", uint64(*c))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range []algorithm{crc32Sum, crc32cSum, crc64Sum} {
		for _, sizes := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {9, 8}, {1000, 70001}} {
			body := make([]byte, sizes[0]+sizes[1])
			for i := range body {
				body[i] = byte(r.Uint32())
			}
			sum := func(b []byte) []byte {
				h := a.new()
				h.Write(b)
				return h.Sum(nil)
			}
			got := a.combine(sum(body[:sizes[0]]), sum(body[sizes[0]:]), int64(sizes[1]))
			if want := sum(body); !bytes.Equal(got, want) {
				t.Errorf("%s of %v: got %x, want %x", a, sizes, got, want)
			}
		}
	}
}

func FuzzChunkedBodiesNeverPanic(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", true, false)
	f.Add("5;chunk-signature="+strings.Repeat("a", 64)+"\r\nhello\r\n0;chunk-signature="+strings.Repeat("a", 64)+"\r\n\r\n", false, true)
	f.Fuzz(func(t *testing.T, s string, trailer, signed bool) {
		c := newChunked(strings.NewReader(s), signed, trailer)
		out, err := io.ReadAll(c)
		var e *world.Error
		if err != nil && !errors.As(err, &e) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v", s, err)
		}
		if len(out) > len(s) {
			t.Fatalf("%q became longer", s)
		}
	})
}

func FuzzRangesStayInside(f *testing.F) {
	f.Add("bytes=0-5", int64(3))
	f.Add("bytes=-5", int64(0))
	f.Fuzz(func(t *testing.T, spec string, size int64) {
		if size < 0 {
			return
		}
		from, to, ok := parseRange(spec, size)
		if ok && (from < 0 || to >= size) {
			t.Fatalf("%q of %d: %d-%d", spec, size, from, to)
		}
		pieces := []piece{{"a", 0, size / 2}, {"b", 7, size - size/2}}
		if ok && from < size && to >= from {
			var n int64
			for _, p := range cut(pieces, from, to-from+1) {
				n += p.Size
			}
			if n != to-from+1 {
				t.Fatalf("cut %d bytes of %d", n, to-from+1)
			}
		}
	})
}
