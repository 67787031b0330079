package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gas-restore/gas/pkg/events"
)

// Announced has the users with an announcement that waits in PREMIUM. It came from an
// upgrade or from an operator.
type Announced map[string]uint64

// Announced returns the announcements of one user, or of all users if user is empty.
func (b *Bus) Announced(ctx context.Context, user events.UserID) (Announced, error) {
	work := events.SubjectPremium
	if user != "" {
		work = events.UserUpgraded{UserID: user}.Subject()
	}
	all := Announced{}
	for _, filter := range []string{work, asidePrefix + "*." + work} {
		st, err := b.JS.Stream(ctx, events.StreamPremium)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", events.StreamPremium, err)
		}
		info, err := st.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return nil, fmt.Errorf("subjects of stream %s: %w", events.StreamPremium, err)
		}
		for subject, n := range info.State.Subjects {
			all[WorkSubject(subject)] += n
		}
	}
	return all, nil
}

// Has reports whether an announcement of the user waits.
func (a Announced) Has(user events.UserID) bool {
	return a[events.UserUpgraded{UserID: user}.Subject()] > 0
}
