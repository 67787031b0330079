// Thaw measures how fast archives are requested from cold storage and planned, beside
// what the bare SDK can do against the same stand-in in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/bench/internal/benchworld"
)

const (
	// latency is what each call of AWS takes.
	latency = 20 * time.Millisecond
	// slotsPerCall is the number of messages that a worker has for each InitiateJob call
	// that it may have in flight. An archive needs four calls, and InitiateJob is one of
	// them.
	slotsPerCall = 5
)

func main() {
	if was, err := serveWorld(); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench-thaw:", err)
			os.Exit(1)
		}
		return
	}
	perWorker := flag.Int("per-worker", 600, "archives that each worker requests in a round")
	calls := flag.Int("calls", 2, "InitiateJob calls in flight a worker")
	rounds := flag.Int("rounds", 3, "rounds of each measurement")
	jobs := flag.Int("jobs", 100_000, "jobs of the users with few archives")
	most := flag.Int("archives", 100_000, "archives of the largest plan; a tenth and a hundredth are planned too; 0 for none")
	store := benchworld.StoreFlag()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *store, *perWorker, *calls, *rounds, *jobs, *most); err != nil {
		fmt.Fprintln(os.Stderr, "bench-thaw:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, store benchworld.Store, perWorker, calls, rounds, jobs, most int) error {
	w, err := startWorld(ctx, store)
	if err != nil {
		return err
	}
	defer w.Stop()
	var tables []*benchtab.Table
	show := func(t *benchtab.Table, err error) error {
		if err != nil {
			return err
		}
		tables = append(tables, t)
		return t.Print(os.Stdout)
	}
	if err := show(w.requests(ctx, perWorker, calls, rounds)); err != nil {
		return err
	}
	if err := w.Latency(0); err != nil {
		return err
	}
	if err := show(w.sparse(ctx, jobs)); err != nil {
		return err
	}
	if most > 0 {
		if err := show(w.large(ctx, most)); err != nil {
			return err
		}
	}
	return benchtab.Save("thaw-"+string(store), tables...)
}
