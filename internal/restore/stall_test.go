package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// guarded is a bucket that denies all objects of the user whale.
type guarded struct{ *s3.Bucket }

func (g guarded) Put(ctx context.Context, o archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error) {
	if strings.HasPrefix(o.Key, "gas/whale/") {
		return archive.Stored{}, fault.New(fault.Denied, errors.New("AccessDenied: the bucket's policy forbids it"))
	}
	return g.Bucket.Put(ctx, o, mark, body, sum)
}

func TestNotificationsThatWaitKeepNoFileWaiting(t *testing.T) {
	testenv.InBubble(t, func(t *testing.T, ns *server.Server) {
		n := 60
		if v := os.Getenv("GAS_STALL_NOTIFICATIONS"); v != "" {
			var err error
			if n, err = strconv.Atoi(v); err != nil {
				t.Fatal(err)
			}
		}
		b := newFixture(t)
		objects := s3.New(b.Config)
		b.Restorer.Bucket = guarded{objects}
		conn, operator := testenv.Bus(t, ns, "restore"), testenv.Bus(t, ns, "operator")
		worker := &bus.Worker[events.RetrievalCompleted]{Bus: conn, Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, Slots: 8, Handle: b.Restore}
		drain, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- worker.Run(context.Background(), drain) }()
		defer func() {
			close(drain)
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		publish := func(es ...events.Event) {
			t.Helper()
			_, errs := operator.PublishAll(t.Context(), es)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}
		b.Account("whale", archive.Premium)
		jobs, asked := make([]archive.Job, n), make([]events.RetrievalID, n)
		for i := range n {
			jobs[i] = b.Archive("whale", events.JobID(fmt.Sprint("w", i)), []byte("result"))
			asked[i] = b.ask(jobs[i])
		}
		b.World.Clock.Advance(time.Hour)
		es := make([]events.Event, n)
		for i := range n {
			es[i] = b.notification(jobs[i], asked[i])
		}
		publish(es...)
		for i := range 4 {
			user := events.UserID(fmt.Sprint("other-", i))
			b.Account(user, archive.Premium)
			job := b.Archive(user, events.JobID(user), []byte("result"))
			began := time.Now()
			publish(b.retrieve(job))
			for b.Job(job.ID).ArchiveID != "" && time.Since(began) < 24*time.Hour {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("beside %d notifications that wait, another user's file was back in %s, want 10s", n, took)
			} else {
				t.Logf("beside %d notifications that wait, another user's file was back in %s", n, took)
			}
			time.Sleep(time.Minute)
		}
	})
}
