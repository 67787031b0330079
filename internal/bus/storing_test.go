package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestWhoStoresNothingForLongIsNotReady(t *testing.T) {
	fullStream := &jetstream.APIError{ErrorCode: errStoreFailed, Description: "maximum bytes exceeded"}
	account := &jetstream.APIError{ErrorCode: errAccountLimit, Description: "resource limits exceeded for account"}
	fullDisk := &jetstream.APIError{ErrorCode: errStoreFailed, Description: "no space left on device"}
	for _, c := range []struct {
		name     string
		outcomes []error // one every three seconds
		ready    bool
	}{
		{"nothing was published", nil, true},
		{"all is stored", []error{nil, nil, nil, nil, nil}, true},
		{"one time-out", []error{nil, nats.ErrTimeout}, true},
		{"time-outs for less than an election", []error{nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout}, true},
		{"time-outs for longer", []error{nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout}, false},
		{"a full disk", []error{fullDisk, fullDisk, fullDisk, fullDisk}, false},
		{"an account at its limit", []error{account, account, account, account}, false},
		{"a full stream", []error{fullStream, fullStream, fullStream, fullStream}, true},
		{"time-outs, and then it works", []error{nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout, nats.ErrTimeout, nil}, true},
		{"it worked in between", []error{nats.ErrTimeout, nats.ErrTimeout, nil, nats.ErrTimeout, nats.ErrTimeout}, true},
		{"stops in between change nothing", []error{nats.ErrTimeout, context.Canceled, context.Canceled, context.Canceled}, false},
		{"stops alone", []error{context.Canceled, context.Canceled, context.Canceled, context.Canceled}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s storing
				for i, err := range c.outcomes {
					if i > 0 {
						time.Sleep(3 * time.Second)
					}
					s.heard(err)
				}
				err := s.trouble()
				if got := err == nil; got != c.ready {
					t.Errorf("trouble is %v, want ready %v", err, c.ready)
				}
				if err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, fullDisk) && !errors.Is(err, account) {
					t.Errorf("trouble is %v, want the last failure in it", err)
				}
				if err != nil && strings.Contains(err.Error(), "restarted") == errors.Is(err, account) {
					t.Errorf("%v: only a server that had a full disk must be restarted", err)
				}
			})
		})
	}
}
