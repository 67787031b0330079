package restore

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// largest is the largest archive that Glacier takes: 10,000 parts of 4 GiB.
const largest = 10_000 * 4 << 30

func TestEveryArchiveFitsIntoAnObjectAndMemoryGoesByTheSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := int64(1<<20) << rapid.IntRange(3, 9).Draw(t, "span")
		size := rapid.OneOf(rapid.Int64Range(span+1, largest), rapid.SampledFrom([]int64{
			span + 1, 2 * span, maxParts*span - 1, maxParts * span, maxParts*span + 1, 20 << 30, 78 << 30, 80 << 30, 40e12, largest,
		})).Draw(t, "size")
		if size <= span {
			return
		}
		l, err := layoutOf(size, span, maxParts)
		if err != nil {
			t.Fatal(err)
		}
		n := l.parts()
		if n < 1 || n > maxParts {
			t.Fatalf("%d bytes in %d parts", size, n)
		}
		if l.part > maxPart || l.part%l.span != 0 || l.part&(l.part-1) != 0 {
			t.Fatalf("parts of %d bytes, spans of %d", l.part, l.span)
		}
		if l.span != span {
			t.Fatalf("a span has %d bytes, want %d: a whole span is in memory", l.span, span)
		}
		end := int64(0)
		for _, i := range []int{0, n / 2, n - 1} {
			offset, length := l.bounds(i)
			if offset != int64(i)*l.part || length <= 0 || length > l.part || i < n-1 && length != l.part {
				t.Fatalf("part %d of %d: %d bytes from %d", i, n, length, offset)
			}
			end = offset + length
		}
		if end != size {
			t.Fatalf("the last part ends at %d of %d", end, size)
		}
	})
}

func TestAnArchiveThatNoObjectCanHoldIsRefused(t *testing.T) {
	if _, err := layoutOf(maxParts*maxPart+1, 8<<20, maxParts); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an error of kind invalid", err)
	}
}

func TestAnObjectHasAsManyPartsAsS3Takes(t *testing.T) {
	var r Restorer
	r.init()
	u, err := s3.New(testenv.NewAWS(t).Config).Begin(t.Context(), archive.Object{Bucket: testenv.BucketID, Key: "k"}, archive.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	for n, taken := range map[int]bool{r.MaxParts: true, r.MaxParts + 1: false} {
		if _, err := u.Put(t.Context(), n, strings.NewReader("part"), 4, nil); (err == nil) != taken {
			t.Errorf("the part %d is taken: %v, want %t", n, err, taken)
		}
	}
}
