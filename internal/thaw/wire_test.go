package thaw_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestOneRetrievalPerArchiveWhateverTheWireDoes counts the calls to AWS in a clean run. Then
// it breaks each of them, below the SDK. So the retries of the SDK are part of the test.
func TestOneRetrievalPerArchiveWhateverTheWireDoes(t *testing.T) {
	modes := map[string]func(*localaws.Fault){
		"an error before":           func(f *localaws.Fault) { f.Code, f.Status = "InternalServerError", 500 },
		"took effect, then error":   func(f *localaws.Fault) { f.Code, f.Status, f.After = "InternalServerError", 500, true },
		"cut before":                func(f *localaws.Fault) { f.Cut = true },
		"took effect, then was cut": func(f *localaws.Fault) { f.Cut, f.After = true, true },
	}
	clean := newFixture(t)
	clean.Account("u", archive.Premium)
	job := clean.Archive("u", "j1", []byte("result"))
	clean.ResetCounts()
	var out testenv.Emitted
	clean.deliver(t, clean.task(job), &out)
	calls := clean.Counts()
	if len(calls) < 3 {
		t.Fatalf("a clean run called only %v", calls)
	}
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		for skip := range calls[call] {
			for _, mode := range slices.Sorted(maps.Keys(modes)) {
				// One fault, after which the SDK retries where it may; and more faults than the SDK
				// has tries.
				for _, times := range []int{1, 3} {
					t.Run(fmt.Sprintf("%s number %d, %d times %s", call, skip+1, times, mode), func(t *testing.T) {
						b := newFixture(t)
						b.Account("u", archive.Premium)
						job := b.Archive("u", "j1", []byte("result"))
						service, operation, _ := strings.Cut(call, ".")
						rule := localaws.Fault{Service: service, Operation: operation, Skip: int(skip), Times: times}
						modes[mode](&rule)
						if err := b.Faults.Add(rule); err != nil {
							t.Fatal(err)
						}
						var out testenv.Emitted
						b.deliver(t, b.task(job), &out)
						b.deliver(t, b.task(job), &out)
						all, now := b.retrievals(t), b.Job("j1")
						if len(all) != 1 || now.RetrievalID != all[0].ID || now.Intent != nil {
							t.Errorf("retrievals %+v, catalog %+v", all, now)
						}
					})
				}
			}
		}
	}
}
