package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// Traces are the messages of a stream, or of a bucket's stream, that name a user or a job in
// their subjects.
type Traces struct {
	// What names the stream or the bucket, for people.
	What   string
	stream string
	// under are subjects with wildcards, and exact are others. A message that is put aside counts
	// with the subject that it had before.
	under []string
	exact map[string]bool
}

// TracesOf returns the traces of the user and of the user's jobs. DEAD, AUDIT and the sessions are
// not among them: their subjects do not tell the user.
func TracesOf(user events.UserID, jobs []events.JobID) []Traces {
	u := events.Token(string(user))
	premium := Traces{What: "stream " + events.StreamPremium, stream: events.StreamPremium, exact: map[string]bool{"premium.upgraded." + u: true}}
	tasks := Traces{What: "stream " + events.StreamThaw, stream: events.StreamThaw, exact: map[string]bool{}}
	for _, prefix := range []string{"", asidePrefix + "*."} {
		tasks.under = append(tasks.under, prefix+events.ThawSubject(user), prefix+events.ThawFirstSubject(user))
	}
	finished := Traces{What: "stream " + events.StreamRestore, stream: events.StreamRestore, exact: map[string]bool{}}
	swept := Traces{What: "bucket " + BucketSweep, stream: "KV_" + BucketSweep, exact: map[string]bool{"$KV." + BucketSweep + ".sweep.plan." + u: true}}
	for _, id := range jobs {
		j := events.Token(string(id))
		tasks.exact["thaw.requested."+j] = true // of older releases
		finished.exact["restore.completed."+j], finished.exact["restore.first."+j] = true, true
		for _, kind := range []string{"job", "flag"} {
			swept.exact["$KV."+BucketSweep+".sweep."+kind+"."+j] = true
		}
	}
	return []Traces{
		premium, tasks, finished,
		{What: "stream " + events.StreamStatus, stream: events.StreamStatus, under: []string{events.StatusSubject(user)}},
		{What: "bucket " + BucketPlans, stream: "KV_" + BucketPlans, under: []string{"$KV." + BucketPlans + ".plan." + u + ".>"}},
		swept,
	}
}

// find returns the subjects of the traces that have messages, with their numbers. With many exact
// subjects, one list of all subjects is cheaper than a question for each.
func (t Traces) find(ctx context.Context, st jetstream.Stream) (map[string]uint64, error) {
	found := map[string]uint64{}
	for _, subject := range t.under {
		info, err := st.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return nil, err
		}
		for s, n := range info.State.Subjects {
			found[s] = n
		}
	}
	if len(t.exact) == 0 {
		return found, nil
	}
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, err
	}
	for s, n := range info.State.Subjects {
		before := s
		if rest, aside := strings.CutPrefix(s, asidePrefix); aside {
			_, before, _ = strings.Cut(rest, ".")
		}
		if t.exact[before] {
			found[s] = n
		}
	}
	return found, nil
}

// Count returns how many messages the traces have.
func (b *Bus) Count(ctx context.Context, t Traces) (all uint64, err error) {
	st, err := b.JS.Stream(ctx, t.stream)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t.What, err)
	}
	found, err := t.find(ctx, st)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", t.What, err)
	}
	for _, n := range found {
		all += n
	}
	return all, nil
}

// Purge removes the messages of the traces, also those that a worker has received. It needs the
// operator's permissions.
func (b *Bus) Purge(ctx context.Context, t Traces) error {
	st, err := b.JS.Stream(ctx, t.stream)
	if err != nil {
		return fmt.Errorf("purge %s: %w", t.What, err)
	}
	found, err := t.find(ctx, st)
	if err != nil {
		return fmt.Errorf("purge %s: %w", t.What, err)
	}
	for subject := range found {
		if err := st.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("purge %s of %s: %w", t.What, subject, err)
		}
	}
	return nil
}
