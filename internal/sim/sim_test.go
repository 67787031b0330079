package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

const mib = 1 << 20

// small is a world in which every effect of the pipeline happens: an Expedited
// that is full, a file of several parts, and small ones.
func small(t *testing.T, how decider) *world {
	w := newWorld(t, how)
	w.quick()
	w.Glacier.SetExpeditedRefusal(0.5)
	w.archived("ada", 1, 70_000, 8*mib+3)
	for service := range services {
		w.run(service)
	}
	w.upgrade("ada")
	return w
}

// first breaks the first effect at one point, once.
func first(where string, m mode) decider {
	return func(service, point string, n int) mode {
		if service+" "+point == where && n == 0 {
			return m
		}
		return pass
	}
}

// report is what a world tells its parent.
type report struct {
	Points []string
	Fired  map[string]int
	Files  int
	Hours  float64
}

const worldIs = "GAS_SIM_WORLD"

// TestWorld is one world, which [elsewhere] runs in a process of its own: nats.go
// and others keep timers in pools for the whole process, and a bubble's timer is of
// no use in another.
func TestWorld(t *testing.T) {
	what := os.Getenv(worldIs)
	if what == "" {
		what = "point=;mode=0"
	}
	synctest.Test(t, func(t *testing.T) {
		var w *world
		if seed, ok := strings.CutPrefix(what, "seed="); ok {
			n, err := strconv.ParseUint(seed, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			w = chance(t, n)
		} else {
			point, number, _ := strings.Cut(strings.TrimPrefix(what, "point="), ";mode=")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			w = small(t, first(point, mode(n)))
			w.end(24*time.Hour, 1)
			if n := w.fired[mode(n)]; point != "" && n != 1 {
				t.Errorf("it fired %d times, want once", n)
			}
		}
		r := report{Points: w.points(), Fired: map[string]int{}, Files: len(w.bodies), Hours: time.Since(w.began).Hours()}
		for m, n := range w.fired {
			r.Fired[m.String()] = n
		}
		if file := os.Getenv("GAS_SIM_REPORT"); file != "" {
			data, err := json.Marshal(r)
			if err == nil {
				err = os.WriteFile(file, data, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// elsewhere runs a world in a process of its own.
func elsewhere(t *testing.T, what string) report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWorld$")
	cmd.Env = append(os.Environ(), worldIs+"="+what, "GAS_SIM_REPORT="+file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\nagain: %s='%s' go test -run TestWorld ./internal/sim\n%.6000s", what, err, worldIs, what, out)
	}
	var r report
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryEffectMayBreakInEveryMode breaks the first effect at each point that a
// world without faults passes. GAS_SIM_POINTS=all takes all of points × modes;
// otherwise each point has one of the modes, another for the next.
func TestEveryEffectMayBreakInEveryMode(t *testing.T) {
	points := elsewhere(t, "point=;mode=0").Points
	for _, must := range []string{
		"bridge SQS.ReceiveMessage", "bridge SQS.DeleteMessageBatch", "bridge NATS.publish premium.upgraded", "bridge NATS.publish restore.completed",
		"thaw Glacier.InitiateJob", "thaw DynamoDB.UpdateItem", "thaw NATS.publish thaw.requested", "thaw NATS.ack THAW", "thaw NATS.ack PREMIUM",
		"restore S3.PutObject", "restore S3.UploadPart", "restore S3.CompleteMultipartUpload", "restore Glacier.DeleteArchive", "restore NATS.ack RESTORE",
	} {
		if !slices.Contains(points, must) {
			t.Errorf("no effect passed the point %q", must)
		}
	}
	t.Logf("%d points: %s", len(points), strings.Join(points, ", "))
	for i, point := range points {
		for _, m := range modes {
			if os.Getenv("GAS_SIM_POINTS") != "all" && int(m)-1 != i%len(modes) {
				continue
			}
			t.Run(point+"/"+m.String(), func(t *testing.T) {
				t.Parallel()
				elsewhere(t, fmt.Sprintf("point=%s;mode=%d", point, m))
			})
		}
	}
}

// TestSeeds lets chance break effects, restart the server and announce twice.
// GAS_SIM_SEEDS is how many seeds, GAS_SIM_SEED the first of them. A seed repeats
// the faults, by point and count; the order in which goroutines run is not
// repeated.
func TestSeeds(t *testing.T) {
	count, from := setting(t, "GAS_SIM_SEEDS", 3), setting(t, "GAS_SIM_SEED", 1)
	var mu sync.Mutex
	total := report{Fired: map[string]int{}}
	t.Cleanup(func() {
		t.Logf("%d seeds: %d files restored, %.0f hours simulated, faults: %v", count, total.Files, total.Hours, total.Fired)
	})
	for seed := from; seed < from+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := elsewhere(t, fmt.Sprintf("seed=%d", seed))
			mu.Lock()
			defer mu.Unlock()
			total.Files, total.Hours = total.Files+r.Files, total.Hours+r.Hours
			for m, n := range r.Fired {
				total.Fired[m] += n
			}
		})
	}
}

func setting(t *testing.T, name string, or int) int {
	v := os.Getenv(name)
	if v == "" {
		return or
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number from 1", name, v)
	}
	return n
}

// chance runs a world that a seed makes, to its end.
func chance(t *testing.T, seed uint64) *world {
	scene := dice(seed, "scene", 0)
	rate, left := 0.01+0.09*scene.Float64(), 5+scene.IntN(40)
	w := newWorld(t, func(service, point string, n int) mode {
		d := dice(seed, service+" "+point, n)
		if left == 0 || d.Float64() >= rate {
			return pass
		}
		left--
		return modes[d.IntN(len(modes))]
	})
	if scene.IntN(8) > 0 {
		w.quick()
	}
	w.Glacier.SetExpeditedRefusal(scene.Float64())
	var users []events.UserID
	for u := range 1 + scene.IntN(3) {
		user := events.UserID(fmt.Sprint("user", u))
		users = append(users, user)
		var sizes []int
		for range 1 + scene.IntN(6) {
			sizes = append(sizes, []int{0, 1, 1000, mib - 1, mib, mib + 1, 70_000}[scene.IntN(7)])
		}
		if scene.IntN(6) == 0 {
			sizes = append(sizes, 8*mib+scene.IntN(9*mib))
		}
		w.archived(user, sizes...)
	}
	for service := range services {
		for range 1 + scene.IntN(2) {
			w.run(service)
		}
	}
	for _, user := range users {
		w.upgrade(user)
		if scene.IntN(3) == 0 {
			w.upgrade(user) // announced twice
		}
		time.Sleep(time.Duration(scene.IntN(600)) * time.Second)
	}
	if scene.IntN(4) == 0 {
		w.restartServer()
	}
	w.end(7*24*time.Hour, 1)
	return w
}
