package wiring_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	gas "github.com/gas-restore/gas"
	"github.com/gas-restore/gas/internal/bus"
	localnats "github.com/gas-restore/gas/internal/local/nats"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAPageDoesNotWaitForLettersThatItMayNotRead has a server with the permissions of an older
// release.
func TestAPageDoesNotWaitForLettersThatItMayNotRead(t *testing.T) {
	older := strings.ReplaceAll(gas.NATSConf, `"$JS.API.STREAM.INFO.DEAD", "$JS.API.STREAM.MSG.GET.DEAD"`, "")
	opts := &server.Options{}
	if err := opts.ProcessConfigString(older); err != nil {
		t.Fatal(err)
	}
	opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs, opts.NoLog = server.RANDOM_PORT, 0, testenv.Memory(t), true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { localnats.Stop(ns) })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	if err := bus.Provision(t.Context(), testenv.Bus(t, ns, "operator").JS, bus.Settings{}); err != nil {
		t.Fatal(err)
	}
	letters := wiring.Letters(testenv.Bus(t, ns, "web"), time.Now)
	ask := func() time.Duration {
		begin := time.Now()
		if _, ok, err := letters.Letter(t.Context(), events.RetrievalCompleted{JobID: "j"}); ok || err == nil {
			t.Errorf("got %v, %v; want an error", ok, err)
		}
		return time.Since(begin)
	}
	if took := ask(); took > 5*time.Second {
		t.Errorf("the first page waits %s", took)
	}
	begin := time.Now()
	for range 100 {
		ask()
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("100 more questions take %s, want the answer that is known", took)
	}
}
