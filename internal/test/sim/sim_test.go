package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

const mib = 1 << 20

// small is a world in which every effect of the pipeline happens: an Expedited
// that is full, a file of several parts, and small ones. Nothing is swept up, so
// that what is lost stays lost. back is whether the user comes back to the site after
// a request that may have changed the plan or not. hook is whether SNS calls the bridge too: it
// would make up for what a bridge loses from its queue.
func small(t *testing.T, how decider, back, hook bool) *world {
	w := newWorld(t, how)
	w.quick()
	w.Glacier.SetExpeditedRefusal(0.5)
	w.trouble(expeditedFull, 1)
	w.retrievals(0, false)
	w.cfg.SweepEvery = never
	if hook {
		w.webhook()
	}
	w.S3.SetExpeditedRefusal(0.5)
	w.class = func(_ events.UserID, n int) archive.Class {
		return []archive.Class{archive.Vault, archive.Vault, archive.Vault, archive.Glacier, archive.Instant}[n]
	}
	w.archived("ada", 1, 70_000, 8*mib+3, 2000, 3)
	w.runAll()
	w.upgrade("ada", back)
	w.choose("ada", w.files("ada")[0])
	return w
}

// many is a world with more archives than a page of anything has, and a thaw that
// dies each time that it has asked for a hundred of them.
func many(t *testing.T) *world {
	w := newWorld(t, func(_, point string, n int) mode {
		if point == "Glacier.InitiateJob" && n%100 == 99 {
			return crashAfter
		}
		return pass
	})
	w.quick()
	w.retrievals(0, false)
	w.cfg.SweepEvery = never
	w.trouble(crowd, 1)
	w.archived("ada", make([]int, 1010)...)
	w.runAll()
	w.upgrade("ada", true)
	w.end(4 * time.Hour)
	return w
}

// nth breaks the nth effect at one point, from 0 on.
func nth(where string, at int, m mode) decider {
	return func(service, point string, n int) mode {
		if service+" "+point == where && n == at {
			return m
		}
		return pass
	}
}

// report is what a world tells its parent.
type report struct {
	Effects    map[string]int // by "service point"
	Fired      map[string]int // by "service point/mode"
	Troubles   map[string]int
	Used       map[string]int // what the roles allow, by "service action resource": how often it was used
	Files      int
	Bytes      int64
	Retrievals int
	Lost       int  // files
	Doubled    int  // retrievals
	Untold     int  // files that are back
	Unmet      bool // all was well, but the effect that should break did not come
	Hours      float64
	Came       *came `json:",omitempty"` // of a lasting scene
}

func (r *report) add(o report) {
	for _, m := range []struct{ to, from map[string]int }{{r.Effects, o.Effects}, {r.Fired, o.Fired}, {r.Troubles, o.Troubles}, {r.Used, o.Used}} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
	r.Files, r.Bytes, r.Retrievals, r.Hours = r.Files+o.Files, r.Bytes+o.Bytes, r.Retrievals+o.Retrievals, r.Hours+o.Hours
	r.Lost, r.Doubled, r.Untold = r.Lost+o.Lost, r.Doubled+o.Doubled, r.Untold+o.Untold
}

func newReport() report {
	return report{Effects: map[string]int{}, Fired: map[string]int{}, Troubles: map[string]int{}, Used: map[string]int{}}
}

// modes returns how often faults of each mode fired.
func (r report) modes() map[string]int {
	out := map[string]int{}
	for k, n := range r.Fired {
		out[k[strings.LastIndex(k, "/")+1:]] += n
	}
	return out
}

// report returns what happened in the world.
func (w *world) report() report {
	r := report{Effects: w.seen, Fired: w.fired, Troubles: w.troubles, Retrievals: len(w.ended),
		Unmet: w.unmet, Lost: w.lost, Doubled: w.doubled, Untold: w.untold, Came: w.came, Hours: time.Since(w.began).Hours()}
	r.Used, _ = w.access()
	for _, n := range w.Faults.Fired() {
		w.troubles[answersBad] += n
	}
	for id, body := range w.bodies {
		if !w.stays[w.job(id).UserID] {
			r.Files, r.Bytes = r.Files+1, r.Bytes+int64(len(body))
		}
	}
	r.Files -= w.lost
	return r
}

const worldIs = "GAS_SIM_WORLD"

// worldOf makes the world that what says: "seed=N", "crowd", "lasting=NAME", or "point=P;n=N;mode=M", with
// ";gone" if the user does not come back, and lets it come to its end. With a seed
// before a point, the world of chance breaks there too.
func worldOf(t *testing.T, what string) *world {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s is %q: %v", worldIs, what, err)
		}
		return n
	}
	seed, by := "", what
	if rest, ok := strings.CutPrefix(what, "seed="); ok {
		seed, by, _ = strings.Cut(rest, ";")
	}
	if by == "" {
		return chance(t, uint64(number(seed)), func(string, string, int) mode { return pass })
	}
	if what == "crowd" {
		return many(t)
	}
	if name, ok := strings.CutPrefix(what, "lasting="); ok {
		return plays(t, name)
	}
	one, gone := strings.CutSuffix(by, ";gone")
	f := strings.Split(one, ";")
	if len(f) != 3 {
		t.Fatalf("%s is %q, want seed=N, crowd, lasting=NAME, point=P;n=N;mode=M, or the first and the last with a semicolon", worldIs, what)
	}
	point := strings.TrimPrefix(f[0], "point=")
	m := mode(number(strings.TrimPrefix(f[2], "mode=")))
	breaks := nth(point, number(strings.TrimPrefix(f[1], "n=")), m)
	var w *world
	if seed != "" {
		w = chance(t, uint64(number(seed)), breaks)
	} else {
		w = small(t, breaks, !gone, point == confirmation)
		w.end(4 * time.Hour)
		if took := w.ready.Sub(w.began); what == quiet && took > 12*time.Minute {
			t.Errorf("nothing broke, the slowest tier takes 10 minutes, and it took %s", took)
		}
	}
	if n := w.fired[point+"/"+m.String()]; point != "" && seed == "" && n != 1 { // chance need not come there again
		w.unmet = n == 0 && !t.Failed()
		t.Errorf("it fired %d times, want once", n)
	}
	return w
}

// quiet is the small world in which nothing breaks.
const quiet = "point=;n=0;mode=0"

// confirmation is an effect that only a bridge with a webhook has, once for each topic.
const confirmation = "bridge SNS.ConfirmSubscription"

// effectsOf returns the effects of the small worlds: those of the quiet one, and the confirmation.
// Which goroutine comes first decides about a few effects: thaw gives a task back only where the
// task and the same one that goes first meet. So the quiet world is played three times, and each
// effect counts as often as it was there at least.
func effectsOf(t *testing.T) map[string]int {
	t.Helper()
	effects := elsewhere(t, quiet).Effects
	for _, again := range []string{"point=;n=1;mode=0", "point=;n=2;mode=0"} {
		now := elsewhere(t, again).Effects
		for point, n := range effects {
			if effects[point] = min(n, now[point]); effects[point] == 0 {
				delete(effects, point)
			}
		}
	}
	if effects != nil {
		effects[confirmation] = 2
	}
	return effects
}

// TestWorld is one world, which [elsewhere] runs in a process of its own: nats.go
// and others keep timers in pools for the whole process, and a bubble's timer is of
// no use in another.
func TestWorld(t *testing.T) {
	what := cmp.Or(os.Getenv(worldIs), quiet)
	settle(what)
	synctest.Test(t, func(t *testing.T) {
		r := worldOf(t, what).report()
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

// settle makes the process one that worlds are quick in, and that depends little on
// the machine.
func settle(what string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "GAS_") && !strings.HasPrefix(name, "GAS_SIM_") {
			os.Unsetenv(name)
		}
	}
	debug.SetGCPercent(200)
	// Events at one simulated moment are faster on one processor, and closer to the same
	// order each time. Some seeds use all processors, for the other orders.
	if !strings.HasPrefix(what, "seed=") || !strings.HasSuffix(what, "0") {
		runtime.GOMAXPROCS(1)
	}
}

// mostTries is how often a world is played until the effect comes that should break. An effect that
// came in all three quiet worlds and then in none of so many has a chance of less than 1 in 5,000.
const mostTries = 20

// run runs a world in a process of its own, of the test binary that is given. The error is what
// the world printed. Which goroutine comes first decides about a few effects, see [effectsOf]. If
// the effect that should break does not come, run plays the world again, unless the binary is
// another: there, a planted bug may be why it does not come.
func run(ctx context.Context, binary, what string) (report, error) {
	if binary != os.Args[0] {
		return play(ctx, binary, what)
	}
	return kept(what, func() (report, error) {
		r, err := play(ctx, binary, what)
		for try := 1; r.Unmet && try < mostTries && ctx.Err() == nil; try++ {
			r, err = play(ctx, binary, what)
		}
		return r, err
	})
}

func play(ctx context.Context, binary, what string) (report, error) {
	limit := 10 * time.Minute // of real time: a world that hangs ends
	if strings.HasPrefix(what, "lasting=") {
		limit = 20 * time.Minute // days pass
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f, err := os.CreateTemp("", "world-")
	if err != nil {
		return report{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestWorld$")
	cmd.Env = append(os.Environ(), worldIs+"="+what, "GAS_SIM_REPORT="+f.Name())
	// One that hangs tells where its goroutines are.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		var r report // what it lost counts, if it got so far as to say so
		json.NewDecoder(f).Decode(&r)
		return r, fmt.Errorf("%s: %w\nagain: %s\n%.6000s", what, err, again(what), out)
	}
	var r report
	return r, json.NewDecoder(f).Decode(&r)
}

// elsewhere is [run] for a test, which fails if the world went wrong.
func elsewhere(t *testing.T, what string) report {
	t.Helper()
	r, err := run(t.Context(), os.Args[0], what)
	if err != nil {
		t.Error(err)
	}
	return r
}

// must are points that the small world has to pass: it would prove little without.
var must = []string{
	"web OIDC.POST /oauth/token", "web DynamoDB.PutItem", "web NATS.put LOGINS", "web NATS.put SESSIONS",
	"web DynamoDB.UpdateItem SET role", "web SNS.Publish", "web DynamoDB.UpdateItem REMOVE announce_due",
	"web DynamoDB.UpdateItem SET plan_first", "web NATS.publish thaw.first", "thaw NATS.publish restore.first",
	"bridge SQS.ReceiveMessage", "bridge SQS.DeleteMessageBatch", "bridge NATS.publish premium.upgraded", "bridge NATS.publish restore.completed",
	"thaw DynamoDB.UpdateItem SET retrieval_intent", "thaw Glacier.InitiateJob", "thaw S3.RestoreObject", "thaw DynamoDB.UpdateItem SET retrieval_request_id",
	"thaw NATS.publish thaw.requested", "thaw NATS.ack THAW", "thaw NATS.ack PREMIUM",
	"restore S3.PutObject", "restore S3.UploadPart", "restore S3.CompleteMultipartUpload", "restore Glacier.DeleteArchive", "restore S3.DeleteObject",
	"restore DynamoDB.UpdateItem REMOVE archive_id", "restore NATS.ack RESTORE",
}

// worlds returns the small worlds in which one effect breaks: the first three at
// each point that the quiet world passed, in each mode. If it is one of web's, the
// user comes back in one world, and in another not.
func worlds(effects map[string]int) (all []string) {
	for _, point := range slices.Sorted(maps.Keys(effects)) {
		for n := range min(effects[point], 3) {
			for _, m := range modes {
				what := fmt.Sprintf("point=%s;n=%d;mode=%d", point, n, m)
				if all = append(all, what); strings.HasPrefix(point, "web ") {
					all = append(all, what+";gone")
				}
			}
		}
	}
	return all
}

// TestEveryEffectMayBreakInEveryMode breaks effects at each point that a world
// without faults passes. GAS_SIM_POINTS=all takes the first three of each point in
// all modes, and =first the first; otherwise it is the first at each fifth point, in one
// of the modes.
func TestEveryEffectMayBreakInEveryMode(t *testing.T) {
	effects := effectsOf(t)
	if t.Failed() {
		return
	}
	for _, p := range must {
		if effects[p] == 0 {
			t.Errorf("no effect passed the point %q", p)
		}
	}
	points := slices.Sorted(maps.Keys(effects))
	t.Logf("%d points: %s", len(points), strings.Join(points, ", "))
	var all []string
	switch os.Getenv("GAS_SIM_POINTS") {
	case "all":
		all = worlds(effects)
	case "first":
		all = first(worlds(effects))
	default:
		for i := 0; i < len(points); i += 5 {
			all = append(all, fmt.Sprintf("point=%s;n=0;mode=%d", points[i], modes[i%len(modes)]))
		}
	}
	together(t, fmt.Sprintf("%d worlds in which one of %d points breaks", len(all), len(points)), all)
}

// first returns those worlds in which the first effect of a point breaks.
func first(worlds []string) (all []string) {
	for _, what := range worlds {
		if strings.Contains(what, ";n=0;") {
			all = append(all, what)
		}
	}
	return all
}

// together runs worlds, as many at a time as there are processors. It prints what
// happened in them, which can be read when all is well too, and how to repeat those
// that went wrong.
func together(t *testing.T, what string, worlds []string) {
	began := time.Now()
	var mu sync.Mutex // guards what follows
	total, wrong := newReport(), []string{}
	t.Cleanup(func() {
		fmt.Printf("%s, in %s: %.0f hours simulated, %d files restored by %d retrievals, %d lost, %d archives retrieved again for no reason\n",
			what, time.Since(began).Round(time.Second), total.Hours, total.Files, total.Retrievals, total.Lost, total.Doubled)
		fmt.Printf("  effects that broke: %v\n  what else went wrong there: %v\n", total.modes(), total.Troubles)
		fmt.Printf("  what the roles allow and no service did there: %s\n", strings.Join(unused(total.Used), ", "))
		for _, w := range wrong {
			fmt.Println("  failed; to repeat:", again(w))
		}
	})
	for _, what := range worlds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := elsewhere(t, what)
			mu.Lock()
			defer mu.Unlock()
			if total.add(r); t.Failed() {
				wrong = append(wrong, what)
			}
		})
	}
}

// unused returns what the roles allow and nothing in the worlds used.
func unused(used map[string]int) (all []string) {
	for what, n := range used {
		if n == 0 {
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return all
}

// again is how to run a world once more, with all that is logged.
func again(what string) string {
	return fmt.Sprintf("GAS_SIM_LOG=info %s='%s' go test -count=1 -run TestWorld ./internal/test/sim", worldIs, what)
}

// TestWhatLastsIsBounded plays some of the lasting scenes, with GAS_SIM_LASTING=all all of them,
// and with GAS_SIM_LASTING=most those that are not long.
func TestWhatLastsIsBounded(t *testing.T) {
	all := in("downgrade-lost", "clock-ahead", "streams-lost")
	if which := os.Getenv("GAS_SIM_LASTING"); which != "" {
		all = nil
		for _, s := range scenes {
			if which == "all" || !s.long {
				all = append(all, in(s.name)...)
			}
		}
	}
	together(t, fmt.Sprintf("%d lasting scenes", len(all)), all)
}

// TestSeeds lets chance break effects and much else. GAS_SIM_SEEDS is how many
// seeds, GAS_SIM_SEED the first of them. A seed repeats the faults, by point and
// count; the order in which goroutines run is not repeated.
func TestSeeds(t *testing.T) {
	count, from := setting(t, "GAS_SIM_SEEDS", 3), setting(t, "GAS_SIM_SEED", 1)
	var all []string
	for seed := from; seed < from+count; seed++ {
		all = append(all, fmt.Sprintf("seed=%d", seed))
	}
	together(t, fmt.Sprintf("%d seeds", count), all)
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
