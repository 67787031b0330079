// Sweep measures in what time the sweep makes up for notifications and upgrades that were
// lost, and what it costs, by how many users are Free and how many plans stand.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/gas-restore/gas/bench/internal/benchtab"
)

func main() {
	if was, err := serveWorld(); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench-sweep:", err)
			os.Exit(1)
		}
		return
	}
	most := flag.Int("users", 1_000_000, "Free users, each with an archive; a tenth and a hundredth are measured too")
	plans := flag.Int("plans", 10_000, "plans that stand, each with a retrieval under way; a hundredth and a tenth are measured too; 0 for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *most, *plans); err != nil {
		fmt.Fprintln(os.Stderr, "bench-sweep:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, most, plans int) error {
	w, err := startWorld(ctx)
	if w != nil && w.World != nil {
		defer w.Stop()
	}
	if err != nil {
		return err
	}
	defer w.sweep.Close()
	var tables []*benchtab.Table
	show := func(t *benchtab.Table, err error) error {
		if err != nil {
			return err
		}
		tables = append(tables, t)
		return t.Print(os.Stdout)
	}
	if err := show(w.writes(ctx)); err != nil {
		return err
	}
	if err := show(w.free(ctx, most)); err != nil {
		return err
	}
	if plans > 0 {
		if err := show(w.standing(ctx, plans)); err != nil {
			return err
		}
	}
	return benchtab.Save("sweep", tables...)
}
