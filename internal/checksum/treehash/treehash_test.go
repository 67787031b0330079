package treehash

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

// reference is the definition, recursively, in the words of AWS's guide.
func reference(p []byte) Sum {
	var level []Sum
	for i := 0; i < len(p) || i == 0; i += ChunkSize {
		level = append(level, sha256.Sum256(p[i:min(i+ChunkSize, len(p))]))
	}
	for len(level) > 1 {
		var next []Sum
		for i := 0; i < len(level); i += 2 {
			if i+1 == len(level) {
				next = append(next, level[i])
				continue
			}
			next = append(next, sha256.Sum256(append(append([]byte{}, level[i][:]...), level[i+1][:]...)))
		}
		level = next
	}
	return level[0]
}

func TestTheTreeHashOfUpToOneChunkIsItsSHA256(t *testing.T) {
	for _, p := range [][]byte{nil, []byte("a"), make([]byte, ChunkSize)} {
		if got, want := Of(p), Sum(sha256.Sum256(p)); got != want {
			t.Errorf("%d bytes: got %s, want %s", len(p), got, want)
		}
	}
}

func TestHowTheBytesAreWrittenDoesNotMatter(t *testing.T) {
	data := bytes.Repeat([]byte("annotated variants "), 6*ChunkSize/19+7)
	rapid.Check(t, func(t *rapid.T) {
		p := data[:rapid.OneOf(rapid.IntRange(0, len(data)), rapid.SampledFrom([]int{ChunkSize - 1, ChunkSize + 1, 2 * ChunkSize, 3*ChunkSize + 1, 5 * ChunkSize})).Draw(t, "size")]
		h := New()
		for rest := p; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "write")
			h.Write(rest[:n])
			rest = rest[n:]
			h.TreeHash() // a look in between changes nothing
		}
		if got, want := h.TreeHash(), reference(p); got != want {
			t.Fatalf("%d bytes: got %s, want %s", len(p), got, want)
		}
	})
}

func TestTheHashesOfAlignedPartsCombineToThatOfTheWhole(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 9*ChunkSize/16+3)
	for _, part := range []int{ChunkSize, 2 * ChunkSize, 4 * ChunkSize} {
		for _, size := range []int{1, part - 1, part, part + 1, 2 * part, 2*part + 5, len(data)} {
			p := data[:min(size, len(data))]
			var sums []Sum
			for i := 0; i < len(p); i += part {
				sums = append(sums, Of(p[i:min(i+part, len(p))]))
			}
			if got, want := Combine(sums), Of(p); got != want {
				t.Errorf("%d bytes in parts of %d: got %s, want %s", len(p), part, got, want)
			}
		}
	}
}

func TestParseTakesOnlyWhatStringGives(t *testing.T) {
	s := Of([]byte("x"))
	if got, ok := Parse(s.String()); !ok || got != s {
		t.Errorf("Parse(%q) = %s, %v", s, got, ok)
	}
	for _, bad := range []string{"", "ab", s.String() + "0", "zz" + s.String()[2:]} {
		if _, ok := Parse(bad); ok {
			t.Errorf("Parse(%q) is accepted", bad)
		}
	}
}

func TestResetForgets(t *testing.T) {
	h := New()
	h.Write(make([]byte, 3*ChunkSize+1))
	h.Reset()
	h.Write([]byte("a"))
	if got, want := h.TreeHash(), Of([]byte("a")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Compare BenchmarkOf and BenchmarkSHA256 at the same -cpu: on one processor, the tree
// hash of many leaves takes as long as SHA-256 of the same bytes, and on two processors
// half as long.
func BenchmarkOf(b *testing.B)     { benchmark(b, func(p []byte) { Of(p) }) }
func BenchmarkSHA256(b *testing.B) { benchmark(b, func(p []byte) { sha256.Sum256(p) }) }

func benchmark(b *testing.B, f func([]byte)) {
	p := make([]byte, 8<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		f(p)
	}
}
