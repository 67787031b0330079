// Package stacktest runs the whole service for a test: every part of internal/local/stack, in the
// process of the test.
package stacktest

import (
	"context"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// drainTime is how long the parts may take to end their work after a test. With more time, the
// bridge often takes five seconds: net/http waits so long for a connection that SNS opened and
// never used.
const drainTime = time.Second

// Up starts the whole service with the people, and runs it until the test ends. Its addresses are
// free ones, whatever o says.
func Up(t testing.TB, o stack.Options, people ...stack.Person) *stack.Stack {
	t.Helper()
	s := Start(t, o, people...)
	Run(t, s.Parts...)
	return s
}

// Start is Up, but it does not run the parts.
func Start(t testing.TB, o stack.Options, people ...stack.Person) *stack.Stack {
	t.Helper()
	const free = "127.0.0.1:0"
	o.AWSAddr, o.NATSAddr, o.IDPAddr, o.WebAddr, o.WebhookAddr = free, free, free, free, free
	if o.Dir == "" {
		o.Dir = testenv.Memory(t)
	}
	s, err := stack.Start(t.Context(), o, people)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Run runs the parts until the test ends. A part that fails fails the test.
func Run(t testing.TB, parts ...daemon.Part) {
	stopper, ctx := daemon.NewStopper(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, stopper, drainTime, parts...) }()
	t.Cleanup(func() {
		stopper.Stop(drainTime)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// GlacierEnds ends the retrievals that are under way, and those to come at once. A test that waits
// for what a page shows meanwhile calls it when the page has shown that: how fast the machine is
// makes no difference then.
func GlacierEnds(s *stack.Stack) {
	s.AWS.Glacier.SetDelays(0)
	s.AWS.Glacier.FinishNow()
}
