// Restore measures how fast archives come back from Glacier to S3, with what
// memory and how many calls, beside a pipe from GET to PUT without any check, over
// the same stand-in in the same run.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/checksum/treehash"
)

const (
	mib = 1 << 20
	// span and parallel are the product's defaults; the pipe has them too.
	span, parallel = 8 * mib, 3
	slots          = 4
	latency        = 20 * time.Millisecond
)

func main() {
	if was, err := serveWorld(); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench-restore:", err)
			os.Exit(1)
		}
		return
	}
	large := flag.Int64("large", 4<<10, "MiB of the large archive")
	largest := flag.Int64("largest", 20<<10, "MiB of the archive for which memory is measured last; 0 for none")
	files := flag.Int("files", 10_000, "small files without latency")
	slow := flag.Int("slow", 500, "small files for each worker with latency")
	rounds := flag.Int("rounds", 3, "rounds of the large archive")
	store := benchworld.StoreFlag()
	profiles := flag.String("profile", "", "folder for a CPU profile of each process")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *store, *profiles, *large*mib, *largest*mib, *files, *slow, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench-restore:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, store benchworld.Store, profiles string, large, largest int64, files, slow, rounds int) error {
	endProfile, err := profile(profiles, "worker")
	if err != nil {
		return err
	}
	defer endProfile()
	w, err := startWorld(ctx, store, profiles)
	if err != nil {
		return err
	}
	defer w.Stop()
	var tables []*benchtab.Table
	for _, measure := range []func() (*benchtab.Table, error){
		func() (*benchtab.Table, error) { return hashes(), nil },
		func() (*benchtab.Table, error) { return w.memory(ctx, []int64{100 * mib, 1 << 30, largest}) },
		func() (*benchtab.Table, error) { return w.large(ctx, large, rounds, 0) },
		func() (*benchtab.Table, error) { return w.large(ctx, large, rounds, latency) },
		func() (*benchtab.Table, error) { return w.small(ctx, files, slow) },
	} {
		t, err := measure()
		if err != nil {
			return err
		}
		tables = append(tables, t)
		if err := t.Print(os.Stdout); err != nil {
			return err
		}
	}
	return benchtab.Save("restore-"+string(store), tables...)
}

// profile writes a CPU profile of this process into a folder, until end is
// called. Without a folder it does nothing.
func profile(dir, name string) (end func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}

// hashes compares the tree hash with SHA-256 of the same bytes.
func hashes() *benchtab.Table {
	t := &benchtab.Table{
		Title:   "tree hash of 64 MiB beside SHA-256 of the same bytes",
		Columns: []string{"cores", "SHA-256 MB/s", "tree hash MB/s", "of SHA-256 on one"},
		Notes:   []string{"SHA-256 of one run of bytes can't use a second core; each is the best of 9."},
	}
	p := make([]byte, 64*mib)
	best := func(f func()) float64 {
		least := time.Hour
		for range 9 {
			began := time.Now()
			f()
			least = min(least, time.Since(began))
		}
		return float64(len(p)) / 1e6 / least.Seconds()
	}
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	var one float64
	for _, cores := range []int{1, 2} {
		runtime.GOMAXPROCS(cores)
		sha := best(func() { sha256.Sum256(p) })
		tree := best(func() { treehash.Of(p) })
		if cores == 1 {
			one = sha
		}
		t.Add(cores, f0(sha), f0(tree), f2(tree/one))
	}
	return t
}

// way is one way to bring a large archive to S3, with its measurements.
type way struct {
	name                string
	bring               func(ctx context.Context, id string, size int64) (took time.Duration, err error)
	speeds              []float64
	bytes               int64
	took, worker, world time.Duration
}

// large is the table of one large archive: the product beside the pipe.
func (w *world) large(ctx context.Context, size int64, rounds int, latency time.Duration) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title: fmt.Sprintf("one archive of %d MiB, spans and parts of %d MiB, %d at a time, latency of each call %s; medians of %d rounds",
			size/mib, span/mib, parallel, latency, rounds),
		Columns: []string{"", "MB/s", "of the pipe", "slowest", "fastest", "its CPU s/GB", "stand-in's CPU s/GB", "cores busy"},
		Notes: []string{
			"pipe: a range of the output into a buffer, UploadPart of the buffer, nothing hashed, nothing compared, nothing deleted.",
			"pipe that hashes: the same with the tree hash of each buffer: the least that whoever compares with Glacier has to do.",
			"restore: the product over NATS and DynamoDB: CRC, tree hash, note, S3's checksum, deletion, catalog.",
			"The stand-in is on the same cores: MD5 and CRC of what it gets. With all cores busy, each second of hashing is one that the pipe has for itself.",
		},
	}
	if err := w.Latency(latency); err != nil {
		return nil, err
	}
	ways := []*way{
		{name: "pipe", bring: func(ctx context.Context, id string, size int64) (time.Duration, error) {
			return w.pipeLarge(ctx, id, size, func([]byte) {})
		}},
		{name: "pipe that hashes", bring: func(ctx context.Context, id string, size int64) (time.Duration, error) {
			return w.pipeLarge(ctx, id, size, func(p []byte) { treehash.Of(p) })
		}},
		{name: "restore", bring: func(ctx context.Context, id string, size int64) (time.Duration, error) {
			took, _, _, err := w.restoreLarge(ctx, id, size)
			return took, errors.Join(err, w.drop(ctx, id))
		}},
	}
	ratios := map[*way][]float64{}
	for i := range rounds {
		for _, v := range ways {
			mine, theirs := w.CPU()
			took, err := v.bring(ctx, fmt.Sprintf("%s-%d-%s", v.name, i, latency), size)
			if err != nil {
				return nil, err
			}
			mineAfter, theirsAfter := w.CPU()
			v.worker, v.world = v.worker+mineAfter-mine, v.world+theirsAfter-theirs
			v.took, v.bytes = v.took+took, v.bytes+size
			v.speeds = append(v.speeds, float64(size)/1e6/took.Seconds())
			ratios[v] = append(ratios[v], v.speeds[i]/ways[0].speeds[i])
		}
	}
	for _, v := range ways {
		gb := float64(v.bytes) / 1e9
		t.Add(v.name, f0(median(v.speeds)), f2(median(ratios[v])), f2(slices.Min(ratios[v])), f2(slices.Max(ratios[v])),
			f2(v.worker.Seconds()/gb), f2(v.world.Seconds()/gb), f2((v.worker+v.world).Seconds()/v.took.Seconds()))
	}
	return t, w.Latency(0)
}

// memory is the table of what a worker needs at the most, by the archive's size.
func (w *world) memory(ctx context.Context, sizes []int64) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("memory of a worker, archives in %s", w.store),
		Columns: []string{"archive MiB", "idle MiB", "peak MiB", "above idle MiB", "MB/s", "calls a part"},
		Notes:   []string{"resident memory of the process with the worker alone; the stand-in and NATS are in another. Each file is read back and compared, after the peak was taken."},
	}
	for i, size := range sizes {
		if size == 0 {
			continue
		}
		if err := w.Local("DELETE", "counts", nil); err != nil {
			return nil, err
		}
		debug.FreeOSMemory()
		idle := benchtab.RSS()
		benchtab.ResetPeak()
		id := fmt.Sprint("memory-", i)
		took, calls, hash, err := w.restoreLarge(ctx, id, size)
		if err != nil {
			return nil, err
		}
		peak := benchtab.PeakRSS()
		if err := errors.Join(w.whole(ctx, id, size, hash), w.drop(ctx, id)); err != nil {
			return nil, err
		}
		parts := (size + span - 1) / span
		t.Add(size/mib, idle/mib, peak/mib, (peak-idle)/mib, f0(float64(size)/1e6/took.Seconds()), f2(float64(calls)/float64(parts)))
	}
	return t, nil
}

// small is the table of many small files.
func (w *world) small(ctx context.Context, files, slow int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("files of 64 KiB, %d at a time a worker", slots),
		Columns: []string{"", "latency ms", "files", "files/s", "of the pipe", "of 1 worker", "peak MiB above idle", "all calls"},
		Notes:   []string{fmt.Sprintf("pipe: the output's GET and PutObject in a loop over the SDK, as many at a time: 2 calls of %d.", len(w.calls()))},
	}
	for _, call := range w.calls() {
		_, operation, _ := strings.Cut(call, ".")
		t.Columns = append(t.Columns, operation)
	}
	var one float64
	for i, c := range []struct {
		workers, files int
		latency        time.Duration
	}{{1, files, 0}, {1, slow, latency}, {4, 4 * slow, latency}} {
		debug.FreeOSMemory()
		idle := benchtab.RSS()
		benchtab.ResetPeak()
		name := fmt.Sprint("small-", i)
		pipe, ours, per, err := w.smalls(ctx, name, c.files, c.workers, c.latency)
		if err != nil {
			return nil, err
		}
		if i == 1 {
			one = ours
		}
		scale := ""
		if i > 0 {
			scale = f2(ours / one)
		}
		total := 0.0
		for _, n := range per {
			total += n
		}
		t.Add(fmt.Sprintf("pipe, as %d workers", c.workers), c.latency.Milliseconds(), c.files, f0(pipe), "1.00", "", "", "2.00")
		row := []any{fmt.Sprintf("%d workers", c.workers), c.latency.Milliseconds(), c.files, f0(ours), f2(ours / pipe), scale, (benchtab.PeakRSS() - idle) / mib, f2(total)}
		for _, call := range w.calls() {
			row = append(row, f2(per[call]))
		}
		t.Add(row...)
	}
	return t, nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

func f0(x float64) string { return fmt.Sprintf("%.0f", x) }
func f2(x float64) string { return fmt.Sprintf("%.2f", x) }
