package glacier

import (
	"testing"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// nodes returns the ranges of leaves that are nodes of the tree over n leaves,
// by making the tree level by level as the specification does.
func nodes(n int64) map[[2]int64]bool {
	out := map[[2]int64]bool{}
	var level [][2]int64
	for i := range n {
		level = append(level, [2]int64{i, i + 1})
	}
	for {
		for _, node := range level {
			out[node] = true
		}
		if len(level) == 1 {
			return out
		}
		var up [][2]int64
		for i := 0; i < len(level); i += 2 {
			if i+1 < len(level) {
				up = append(up, [2]int64{level[i][0], level[i+1][1]})
			} else {
				up = append(up, level[i])
			}
		}
		level = up
	}
}

func TestARangeIsAlignedExactlyWhenItIsANodeOfTheTree(t *testing.T) {
	const chunk = treehash.ChunkSize
	for n := int64(1); n <= 40; n++ {
		for _, size := range []int64{n * chunk, n*chunk - 1, (n-1)*chunk + 1} {
			want := nodes(n)
			for from := int64(0); from < n; from++ {
				for to := from + 1; to <= n; to++ {
					end := min(to*chunk, size)
					if got := aligned(size, from*chunk, end-from*chunk); got != want[[2]int64{from, to}] {
						t.Errorf("%d bytes, leaves %d to %d: aligned is %t, want %t", size, from, to, got, !got)
					}
				}
			}
		}
	}
}

func TestRangesOffTheLeavesAreNotAligned(t *testing.T) {
	const chunk = treehash.ChunkSize
	for _, c := range []struct{ size, from, n int64 }{
		{4 * chunk, 1, chunk - 1}, {4 * chunk, 0, chunk - 1}, {4 * chunk, 0, chunk + 1},
		{4 * chunk, chunk, 3*chunk + 1}, {4 * chunk, 0, 0}, {4 * chunk, -chunk, chunk},
	} {
		if aligned(c.size, c.from, c.n) {
			t.Errorf("%d bytes from %d of %d: aligned, want not", c.n, c.from, c.size)
		}
	}
}

func FuzzVaultLockPolicyIsReadOrRefused(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"glacier:DeleteArchive","Condition":{"NumericLessThan":{"glacier:ArchiveAgeInDays":"365"}}}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["glacier:DeleteArchive"]}}`)
	f.Add(`{"Statement":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		lock, e := parseLock(text)
		if e == nil && lock.Policy != text {
			t.Errorf("got policy %q, want %q", lock.Policy, text)
		}
		if e != nil && (e.Status != 400 || e.Code != "InvalidParameterValueException") {
			t.Errorf("got %v", e)
		}
	})
}

func FuzzRetrievalRangeStaysInTheArchive(f *testing.F) {
	f.Add("0-1048575", int64(4<<20))
	f.Add("1048576-4194303", int64(4<<20))
	f.Add("0-0", int64(1))
	f.Fuzz(func(t *testing.T, text string, size int64) {
		from, n, e := parseRetrievalRange(text, size)
		if e != nil {
			return
		}
		if from < 0 || n < 1 || from+n > size || from%treehash.ChunkSize != 0 {
			t.Errorf("%q of %d bytes: got %d bytes from %d", text, size, n, from)
		}
	})
}
