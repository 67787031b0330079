package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
)

// bug is a mistake that somebody could make in a line: in file, old becomes new. The
// worlds of try are likely to find it, and are tried first. Where two measures protect
// the same promise, also takes away the other one.
type bug struct {
	what, file, old, new string
	try                  []string
	also                 []edit
}

// edit replaces old by new in a file.
type edit struct{ file, old, new string }

const root = "../../.."

// planted returns the changed files with the bug in them, by name.
func (b bug) planted() (map[string]string, error) {
	files := map[string]string{}
	for _, e := range append([]edit{{b.file, b.old, b.new}}, b.also...) {
		source, ok := files[e.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			source = string(data)
		}
		if n := strings.Count(source, e.old); n != 1 {
			return nil, fmt.Errorf("%q: %s has %q %d times, want once", b.what, e.file, e.old, n)
		}
		files[e.file] = strings.Replace(source, e.old, e.new, 1)
	}
	return files, nil
}

// build returns a test binary of this package with the bug in it.
func (b bug) build(ctx context.Context, dir string) (string, error) {
	planted, err := b.planted()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, source := range planted {
		file, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		replace[file] = filepath.Join(dir, fmt.Sprintf("planted%d.go", len(replace)))
		if err := os.WriteFile(replace[file], []byte(source), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "sim.test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%q does not compile: %w\n%s", b.what, err, out)
	}
	return binary, nil
}

func TestEachPlantedBugStandsInTheCode(t *testing.T) {
	for _, b := range bugs {
		if _, err := b.planted(); err != nil {
			t.Error(err)
		}
	}
}

// catch is what found a bug, and what it said.
type catch struct {
	World, Says string
	After       int // worlds
}

type caught struct {
	bug
	catch
}

// line is what a world says that is wrong.
var line = regexp.MustCompile(`(?m)^ +[a-z]+_test\.go:\d+: (.*)$`)

// hunt runs worlds with the bug until one of them ends wrong.
func (b bug) hunt(ctx context.Context, dir string, worlds []string) (caught, error) {
	found, err := kept("bug "+b.what, func() (catch, error) { return b.find(ctx, dir, worlds) })
	return caught{b, found}, err
}

func (b bug) find(ctx context.Context, dir string, worlds []string) (catch, error) {
	binary, err := b.build(ctx, dir)
	if err != nil {
		return catch{}, err
	}
	var found catch
	var mu sync.Mutex // guards found
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	worlds = append(slices.Clone(b.try), worlds...)
	for i, what := range worlds {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			_, err := run(gctx, binary, what)
			mu.Lock()
			defer mu.Unlock()
			if err == nil || gctx.Err() != nil {
				return nil
			}
			says := "it does not end"
			if m := line.FindStringSubmatch(err.Error()); m != nil {
				says = m[1]
			}
			found.World, found.Says, found.After = what, says, i+1
			return fmt.Errorf("caught")
		})
	}
	g.Wait()
	if found.World == "" {
		return found, fmt.Errorf("%q was not caught by %d worlds", b.what, len(worlds))
	}
	// A world that goes wrong in any case catches nothing.
	if _, err := run(ctx, os.Args[0], found.World); err != nil {
		return found, fmt.Errorf("%q: the world that caught it goes wrong without it too: %w", b.what, err)
	}
	return found, ctx.Err()
}

// seedsToHunt is how many worlds of chance a bug may survive.
const seedsToHunt = 150

// hunting is the order in which worlds are tried: those in which the first effect
// of a point breaks, then chance.
func hunting(effects map[string]int, seeds int) (all []string) {
	all = first(worlds(effects))
	for seed := range seeds {
		all = append(all, fmt.Sprintf("seed=%d", seed+1))
	}
	return append(all, "crowd")
}

// TestPlantedBugsAreCaught plants the first GAS_SIM_BUGS bugs, or one if it is not set.
// It takes only bugs with a description that GAS_SIM_BUG matches.
func TestPlantedBugsAreCaught(t *testing.T) {
	effects := effectsOf(t)
	only := regexp.MustCompile(os.Getenv("GAS_SIM_BUG"))
	for _, b := range bugs[:min(setting(t, "GAS_SIM_BUGS", 1), len(bugs))] {
		if !only.MatchString(b.what) {
			continue
		}
		t.Run(b.what, func(t *testing.T) {
			found, err := b.hunt(t.Context(), t.TempDir(), hunting(effects, seedsToHunt))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%s:\n  caught by %s, the %dth world: %s\n", b.what, found.World, found.After, found.Says)
		})
	}
}
