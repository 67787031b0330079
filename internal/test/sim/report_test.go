//go:build faults

package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// all runs worlds, as many at a time as there are processors. It returns what
// they report together, and the seeds that passed each point, or the first that went
// wrong.
func all(ctx context.Context, worlds []string) (report, map[string][]string, error) {
	var mu sync.Mutex // guards total and seeds
	total, seeds := newReport(), map[string][]string{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for _, what := range worlds {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			r, err := run(ctx, os.Args[0], what)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(r)
			for point := range r.Effects {
				if strings.HasPrefix(what, "seed=") {
					seeds[point] = append(seeds[point], what)
				}
			}
			return nil
		})
	}
	return total, seeds, g.Wait()
}

// leftOut returns worlds of chance for the points that neither report broke. seeds has
// some seeds for each point, and try chooses one.
func leftOut(broken, chance report, seeds map[string][]string, try int) (all []string) {
	for _, point := range slices.Sorted(maps.Keys(seeds)) {
		for _, m := range modes {
			if k := point + "/" + m.String(); broken.Fired[k]+chance.Fired[k] == 0 {
				all = append(all, fmt.Sprintf("%s;point=%s;n=0;mode=%d", seeds[point][try%len(seeds[point])], point, m))
			}
		}
	}
	return all
}

// TestReport runs everything: GAS_SIM_SEEDS seeds from GAS_SIM_SEED on and every planted
// bug, or the first GAS_SIM_BUGS. It writes the report to GAS_SIM_DOCS. There is no file
// if a world without a planted bug went wrong.
func TestReport(t *testing.T) {
	began := time.Now()
	severalRuns, err := keptBefore()
	if err != nil {
		t.Fatal(err)
	}
	count, from := setting(t, "GAS_SIM_SEEDS", 1000), setting(t, "GAS_SIM_SEED", 1)
	effects := effectsOf(t)
	points := slices.Sorted(maps.Keys(effects))
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }

	small := worlds(effects)
	broken, _, err := all(t.Context(), small)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s: %d worlds with one broken effect\n", time.Since(began).Round(time.Second), len(small))
	if len(broken.Fired) != len(points)*len(modes) {
		t.Fatalf("%d of %d points × modes fired", len(broken.Fired), len(points)*len(modes))
	}
	seeds := []string{"crowd"}
	for seed := from; seed < from+count; seed++ {
		seeds = append(seeds, fmt.Sprintf("seed=%d", seed))
	}
	chance, passed, err := all(t.Context(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	// Some points are only on the way back from something else.
	var rest []string
	for try := 0; ; try++ {
		left := leftOut(broken, chance, passed, try)
		if len(left) == 0 {
			break
		}
		if try == 10 {
			t.Fatalf("not broken: %v", left)
		}
		more, _, err := all(t.Context(), left)
		if err != nil {
			t.Fatal(err)
		}
		chance.add(more)
		rest = append(rest, left...)
	}
	if broken.Lost+chance.Lost+broken.Doubled+chance.Doubled > 0 {
		t.Fatalf("%d and %d files are lost, %d and %d archives were retrieved again for no reason", broken.Lost, chance.Lost, broken.Doubled, chance.Doubled)
	}
	lasting := lastingSection(t)
	if t.Failed() {
		return
	}
	fmt.Printf("%s: %d seeds\n", time.Since(began).Round(time.Second), count)
	var found []caught
	survivors := 0
	planted := bugs[:min(setting(t, "GAS_SIM_BUGS", len(bugs)), len(bugs))]
	for _, b := range planted {
		c, err := b.hunt(t.Context(), t.TempDir(), hunting(effects, seedsToHunt))
		if err != nil {
			survivors++
			t.Error(err)
			c = caught{b, catch{World: "not caught"}}
		}
		fmt.Printf("%s: %s: %s\n", time.Since(began).Round(time.Second), b.what, c.World)
		found = append(found, c)
	}

	say("# The fault suite's report\n")
	took := "in " + time.Since(began).Round(time.Minute).String()
	if severalRuns {
		took = "in several runs of one build"
	}
	say("Written by `GAS_SIM_SEEDS=%d GAS_SIM_SEED=%d make faults-report`, %s on %d processors. Nothing is written unless every world is",
		count, from, took, runtime.NumCPU())
	say("as it should be: each file of a Premium user whole at its key and none of a Free one, one retrieval for each archive unless")
	say("Glacier failed it or its output expired, no message left, no upgrade unannounced, no dead letter, no open upload. The services")
	say("are web, bridge, thaw with the sweep, and restore; people upgrade at the site. How it works:")
	say("[ADR 15](adr/0015-the-real-server-in-simulated-time.md).\n")
	say("| | one effect broken | chance |\n| --- | ---: | ---: |")
	row := func(what string, a, b any) { say("| %s | %v | %v |", what, a, b) }
	row("worlds", len(small), len(seeds)+len(rest))
	row("of them seeds", "", fmt.Sprintf("%d, from %d on", count, from))
	row("fault points passed", len(points), len(chance.Effects))
	fired := maps.Clone(broken.Fired)
	maps.Copy(fired, chance.Fired)
	row("points × modes that fired", fmt.Sprintf("%d of %d", len(broken.Fired), len(points)*len(modes)),
		fmt.Sprintf("with those on the left %d of %d, %d of them by a fault on purpose", len(fired), len(chance.Effects)*len(modes), len(rest)))
	for _, m := range modes {
		row("effects broken: "+m.String(), broken.modes()[m.String()], chance.modes()[m.String()])
	}
	row("hours simulated", fmt.Sprintf("%.0f", broken.Hours), fmt.Sprintf("%.0f", chance.Hours))
	row("files restored", broken.Files, chance.Files)
	row("bytes restored", fmt.Sprintf("%.1f GiB", float64(broken.Bytes)/(1<<30)), fmt.Sprintf("%.1f GiB", float64(chance.Bytes)/(1<<30)))
	row("retrievals", broken.Retrievals, chance.Retrievals)
	row("files lost", broken.Lost, chance.Lost)
	row("archives retrieved twice for no reason", broken.Doubled, chance.Doubled)
	row("planted bugs caught", "", fmt.Sprintf("%d of %d", len(planted)-survivors, len(planted)))

	say("\n## What else went wrong in the worlds of chance\n\n| | |\n| --- | ---: |")
	for _, k := range slices.Sorted(maps.Keys(chance.Troubles)) {
		say("| %s | %d |", k, chance.Troubles[k])
	}
	out.WriteString("\n" + lasting)
	say("\n## The fault points\n\nHow often each broke, in the worlds with one broken effect and in those of chance. Where one of web's")
	say("breaks, the user comes back in one world, and in another one does not.\n")
	say("| point | crash before | crash after | took effect but error | error |\n| --- | ---: | ---: | ---: | ---: |")
	for _, p := range slices.Sorted(maps.Keys(chance.Effects)) {
		var cells []string
		for _, m := range modes {
			k := p + "/" + m.String()
			cells = append(cells, fmt.Sprintf("%d + %d", broken.Fired[k], chance.Fired[k]))
		}
		say("| %s | %s |", p, strings.Join(cells, " | "))
	}
	say("\n## The planted bugs\n\nEach is a mistake in a line, made one at a time; the first world that ended wrong, and what was wrong there.\n")
	say("| mistake | in | caught by | because |\n| --- | --- | --- | --- |")
	for _, c := range found {
		says := strings.NewReplacer("|", "/", "`", "'", "\n", " ").Replace(c.Says)
		if r := []rune(says); len(r) > 110 {
			says = string(r[:107]) + "…"
		}
		say("| %s | `%s` | `%s` | %s |", c.what, c.file, c.World, says)
	}
	if file := os.Getenv("GAS_SIM_DOCS"); file != "" {
		// The last section is written by internal/test/mutants.
		const mutations = "\n## Mutations\n"
		if was, err := os.ReadFile(file); err == nil {
			if _, section, ok := strings.Cut(string(was), mutations); ok {
				out.WriteString(mutations + section)
			}
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Print(out.String())
}
