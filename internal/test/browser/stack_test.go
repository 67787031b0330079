//go:build browser

package browser

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/wiring"
)

// book is a log that is shown when a test fails.
type book struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *book) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// up starts the whole service with the people; it stops with the test.
func up(t *testing.T, thaws time.Duration, people ...stack.Person) *stack.Stack {
	t.Helper()
	const free = "127.0.0.1:0"
	log := &book{}
	s, err := stack.Start(t.Context(), stack.Options{
		Dir: t.TempDir(), ExpeditedDelay: thaws, Log: slog.New(slog.NewTextHandler(log, nil)),
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free,
	}, people)
	if err != nil {
		t.Fatal(err)
	}
	stopper, ctx := daemon.NewStopper(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, stopper, 10*time.Second, s.Parts...) }()
	t.Cleanup(func() {
		stopper.Stop(10 * time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
		if t.Failed() {
			t.Log(log.b.String())
		}
	})
	return s
}

// glacierEnds ends the retrievals that are under way, and those to come at once. A test that waits
// for what a page shows meanwhile calls it when the page has shown that: how fast the machine is
// makes no difference then.
func glacierEnds(s *stack.Stack) {
	s.AWS.Glacier.SetDelays(0)
	s.AWS.Glacier.FinishNow()
}

// content is the content of a file of the person.
func content(t *testing.T, p stack.Person, i int) []byte {
	t.Helper()
	data, err := io.ReadAll(p.Result(i))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func catalogOf(s *stack.Stack) *dynamodb.Catalog {
	return dynamodb.New(s.AWSConfig, wiring.Tables(s.Config))
}
