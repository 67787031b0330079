package treehash

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"sync/atomic"
)

// leavesOf returns the sums of p's leaves. They do not depend on each other, so
// as many are worked on at a time as there are processors.
func leavesOf(p []byte) []Sum {
	n := max(1, (len(p)+ChunkSize-1)/ChunkSize)
	sums := make([]Sum, n)
	leaf := func(i int) { sums[i] = sha256.Sum256(p[i*ChunkSize : min((i+1)*ChunkSize, len(p))]) }
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers == 1 {
		for i := range n {
			leaf(i)
		}
		return sums
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				leaf(i)
			}
		})
	}
	all.Wait()
	return sums
}
