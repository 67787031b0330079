//go:build browser

package browser

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/stacktest"
	"github.com/gas-restore/gas/internal/test/testlog"
	"github.com/gas-restore/gas/internal/wiring"
)

// up starts the whole service with the people; it stops with the test.
func up(t *testing.T, thaws time.Duration, people ...stack.Person) *stack.Stack {
	t.Helper()
	log := &testlog.Lines{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	return stacktest.Up(t, stack.Options{ExpeditedDelay: thaws, Log: slog.New(slog.NewTextHandler(log, nil))}, people...)
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
