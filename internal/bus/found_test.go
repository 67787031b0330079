package bus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// While leaders change, a lookup of a consumer may get no answer in time. Then the worker must
// continue. If the answer says that the consumer does not exist, the worker must end.
func TestALookThatIsNotAnsweredIsRepeatedAndOneThatIsEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		looks int
	}{
		{"no answer", context.DeadlineExceeded, 3},
		{"no leader", &jetstream.APIError{Code: 503, ErrorCode: 10008}, 3},
		{"not there", fmt.Errorf("consumer: %w", jetstream.ErrConsumerNotFound), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			looks := 0
			_, err := found(ctx, func(context.Context) (int, error) {
				if looks++; looks == 3 {
					return 1, nil
				}
				return 0, c.err
			})
			if looks != c.looks || (err != nil) != (c.looks == 1) {
				t.Errorf("%s: %d looks, %v; want %d", c.name, looks, err, c.looks)
			}
		})
	}
}
