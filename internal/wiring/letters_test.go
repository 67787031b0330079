package wiring_test

import (
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wiring"
	"github.com/gas-restore/gas/pkg/events"
)

// TestAPageDoesNotWaitForLettersThatItMayNotRead has a server with the permissions of an older
// release.
func TestAPageDoesNotWaitForLettersThatItMayNotRead(t *testing.T) {
	ns := testenv.NATSWithout(t, `"$JS.API.STREAM.INFO.DEAD", "$JS.API.STREAM.MSG.GET.DEAD"`)
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
