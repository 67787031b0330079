package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/config"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/pkg/events"
)

// lasting is a scene with lasting trouble: GAS_SIM_WORLD='lasting=NAME' plays it. The
// cost of any trouble is bounded.
type lasting struct {
	name, what string
	// before is what it came to before plans, the gate and the sparse indexes were.
	before string
	most   bounds
	long   bool // it takes 20 seconds to a minute: CI leaves it to a job of its own
	// ends says how it ends.
	ends string
	how  decider // nil: no effect breaks
	play func(*world)
}

// bounds is the most that a scene may come to. Hours are until everything is as it
// should be, or until nothing more is done, from when the trouble ends.
type bounds struct {
	retrievals int
	dollars    archive.MicroUSD
	letters    uint64
	hours      float64
}

// price is what a small archive costs at the most: a request, and its bytes rounded up.
const (
	cent  = archive.Dollar / 100
	price = cent + 1000
)

// came is what a scene came to.
type came struct {
	Retrievals int
	Dollars    archive.MicroUSD
	Letters    uint64
	Hours      float64
}

func (c came) String() string {
	return fmt.Sprintf("%d | %s | %d | %.1f", c.Retrievals, c.Dollars, c.Letters, c.Hours)
}

// plays plays the scene called name to its end.
func plays(t *testing.T, name string) *world {
	for _, s := range scenes {
		if s.name != name {
			continue
		}
		how := s.how
		if how == nil {
			how = func(string, string, int) mode { return pass }
		}
		w := newWorld(t, how)
		w.quick()
		w.retrievals(0, false)
		w.letters = s.most.letters
		w.since = time.Now()
		s.play(w)
		w.end(time.Duration(s.most.hours*float64(time.Hour)) + 2*time.Hour)
		w.came = &came{len(w.ended), w.charged(), w.deadEver, w.ready.Sub(w.since).Hours()}
		if c := *w.came; c.Retrievals > s.most.retrievals || c.Dollars > s.most.dollars || c.Hours > s.most.hours {
			t.Errorf("%s came to %s, want at most %d | %s | %d | %.1f", s.name, c, s.most.retrievals, s.most.dollars, s.most.letters, s.most.hours)
		}
		fmt.Printf("%s | %s | %s\n", s.name, w.came, s.ends)
		return w
	}
	t.Fatalf("no scene %q", name)
	return nil
}

// one starts everything, and lets ada upgrade, who has a file of a thousand bytes.
func (w *world) one() {
	w.archived("ada", 1000)
	w.runAll()
	w.upgrade("ada", true)
}

// fixed records the end of the trouble: the hours of the bound count from here.
func (w *world) fixed() { w.since = time.Now() }

// tell has a service told something else, and started again.
func (w *world) tell(service string, change func(*config.Config)) {
	w.mu.Lock()
	w.config[service] = change
	var all []*process
	for p := range w.alive {
		if p.service == service {
			all = append(all, p)
		}
	}
	w.mu.Unlock()
	for _, p := range all {
		p.kill()
	}
}

// deny has S3 take nothing.
func (w *world) deny() {
	for _, operation := range []string{"PutObject", "CreateMultipartUpload"} {
		w.faults(localaws.Fault{Service: "s3", Operation: operation, Code: "AccessDenied", Status: 403})
	}
}

// occupy puts something else at the file's key.
func (w *world) occupy(id events.JobID) {
	o := w.job(id).Result
	if _, err := w.Objects.PutObject(w.t.Context(), &awss3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader("somebody else's")}); err != nil {
		w.t.Fatal(err)
	}
}

// vacate moves it away.
func (w *world) vacate(id events.JobID) {
	o := w.job(id).Result
	if _, err := w.Objects.DeleteObject(w.t.Context(), &awss3.DeleteObjectInput{Bucket: &o.Bucket, Key: &o.Key}); err != nil {
		w.t.Fatal(err)
	}
}

// twice has each message of a topic come once more after d.
func (w *world) twice(topic string, d time.Duration) {
	w.SNS.SetDelivery(func(arn string) []time.Duration {
		if arn == topic {
			return []time.Duration{0, d}
		}
		return []time.Duration{0}
	})
}

// late delays the messages of the topic by d.
func (w *world) late(topic string, d time.Duration) {
	w.SNS.SetDelivery(func(arn string) []time.Duration {
		if arn == topic {
			return []time.Duration{d}
		}
		return []time.Duration{0}
	})
}

// back waits until the files are restored, at most d.
func (w *world) back(d time.Duration) {
	w.t.Helper()
	jobs := map[events.JobID]bool{}
	for id := range w.bodies {
		jobs[id] = true
	}
	for until := time.Now().Add(d); !w.restored(jobs); time.Sleep(time.Minute) {
		if time.Now().After(until) {
			w.t.Errorf("after %s: %s", d, w.left())
			return
		}
	}
}

func every(glacier.Job) bool { return true }

// few sees that nothing was called too often while the trouble lasted.
func (w *world) few(since map[string]int64, hours float64) {
	w.t.Helper()
	for name, n := range w.Counts() {
		service, _, _ := strings.Cut(name, ".")
		if per := float64(n-since[name]) / hours; (service == "glacier" || service == "s3") && per > 150 {
			w.t.Errorf("%s was called %.0f times an hour", name, per)
		}
	}
}

// during lets the trouble last.
func (w *world) during(d time.Duration) {
	w.t.Helper()
	before := w.Counts()
	time.Sleep(d)
	w.few(before, d.Hours())
}

// failing is Glacier that fails every retrieval for d, and an operator who lets the
// archive be tried once more when it works again.
func failing(w *world, d time.Duration) {
	w.fails, w.allowed = every, 1
	w.one()
	w.during(d)
	if n := w.did(); n > archive.MaxPerFailure {
		w.t.Errorf("%d retrievals", n)
	}
	w.fails = nil
	w.fixed()
	w.drop()
	w.order("ada-00")
}

// misspelt gives restore alone a wrong setting for 16 hours. Then it is corrected, and an
// operator replays the dead letter.
func misspelt(w *world, change func(*config.Config)) {
	w.config["restore"] = change
	w.one()
	w.during(16 * time.Hour)
	if len(w.standing()) != 1 {
		w.t.Errorf("letters: %v", w.standing())
	}
	w.fixed()
	w.tell("restore", nil)
	w.replay()
}

// noRoom leaves a stream no room while do is done.
func (w *world) noRoom(stream string, do func()) {
	ctx := w.t.Context()
	st, err := w.operator.JS.Stream(ctx, stream)
	if err != nil {
		w.t.Fatal(err)
	}
	was := st.CachedInfo().Config
	full := was
	full.MaxBytes, full.Discard = 1, jetstream.DiscardNew
	if _, err := w.operator.JS.UpdateStream(ctx, full); err != nil {
		w.t.Fatal(err)
	}
	do()
	if _, err := w.operator.JS.UpdateStream(ctx, was); err != nil {
		w.t.Fatal(err)
	}
}

// ailing has the only process of a service that is at work get an ailment when Glacier
// is asked, or brought the archive; another one comes to help.
func (w *world) ailing(service string, a ailment) {
	w.archived("ada", 1000)
	w.runAll()
	w.faults(localaws.Fault{Service: "glacier", Operation: "InitiateJob", Delay: 2 * time.Second, Times: 1})
	w.upgrade("ada", true)
	for j := w.job("ada-00"); j.RetrievalID == "" && (service == "restore" || j.Intent == nil); j = w.job("ada-00") {
		time.Sleep(20 * time.Millisecond)
	}
	w.ail(service, a, 5*time.Minute)
	w.run(service)
	time.Sleep(6 * time.Minute)
}

// some are users who never sign in.
func some(n int) (all []events.UserID) {
	for i := range n {
		all = append(all, events.UserID(fmt.Sprintf("u%02d", i)))
	}
	return all
}

// all returns the retrievals that Glacier has ended, did their number, and asked the
// number of requests.
func (w *world) all() []retrieval {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ended)
}

func (w *world) did() int { return len(w.all()) }

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asks)
}
