package reconcile_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// replica is a process with a sweeper. It can die.
type replica struct {
	bus   *bus.Bus
	leads chan bool
	stop  context.CancelFunc
	done  chan struct{}
}

func TestOneReplicaSweepsAndAnotherTakesOver(t *testing.T) {
	testenv.InBubble(t, oneReplicaSweeps)
}

// oneReplicaSweeps needs simulated time. Otherwise, a leader on a busy machine could be so slow
// that the other replicas take it for dead.
func oneReplicaSweeps(t *testing.T, ns *server.Server) {
	a := testenv.NewAWS(t)
	const hold = 30 * time.Second
	var mu sync.Mutex
	leading, most := 0, 0
	start := func(name string) *replica {
		r := &replica{bus: testenv.Bus(t, ns, "sweep"), leads: make(chan bool, 10), done: make(chan struct{})}
		runner := &reconcile.Runner{
			Sweeper: &reconcile.Sweeper{Catalog: a.Catalog, Streams: streams{r.bus}, KV: r.bus.KV(bus.BucketSweep), Now: time.Now, Log: quiet},
			Name:    name, Every: 5 * time.Second, Hold: hold, Log: quiet,
			OnLead: func(now bool) {
				mu.Lock()
				defer mu.Unlock()
				if now {
					leading++
				} else {
					leading--
				}
				most = max(most, leading)
				r.leads <- now
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() {
			defer close(r.done)
			runner.Run(ctx, nil)
		}()
		return r
	}
	first := start("first")
	if !<-first.leads {
		t.Fatal("the only replica does not lead")
	}
	second, third := start("second"), start("third")
	select {
	case <-second.leads:
		t.Error("two replicas lead")
	case <-third.leads:
		t.Error("two replicas lead")
	case <-time.After(3 * hold):
	}

	// The first replica loses its connection. It can write no more claims.
	began := time.Now()
	first.bus.Close()
	next, other := second, third
	select {
	case <-second.leads:
	case <-third.leads:
		next, other = third, second
	}
	took := time.Since(began)
	if <-first.leads {
		t.Error("a replica that nobody hears goes on sweeping")
	}
	first.stop()
	<-first.done

	// The next leader stops in order. So nobody has to wait until its claim is old.
	began = time.Now()
	next.stop()
	<-next.done
	<-other.leads
	t.Logf("with a hold of %s: taken over %s after the leader was cut off, %s after it stopped", hold, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	// An operator can read the report of the last sweep.
	note, _, err := testenv.Bus(t, ns, "operator").KV(bus.BucketSweep).Get(t.Context(), reconcile.ReportKey)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := reconcile.DecodeReport(note); err != nil || r.Error != "" || r.At.IsZero() {
		t.Errorf("the report is %+v, %v", r, err)
	}
	other.stop()
	<-other.done
}
