package bridge

import (
	"context"
	"time"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
)

const (
	// longestLease is the longest time of one renewal.
	longestLease = 15 * time.Minute
	// longestLoan is how long SQS lends a message in all, with all renewals.
	longestLoan = 12 * time.Hour
)

// loan is the lease of a message that is received and not settled.
type loan struct {
	since, renewed time.Time
	lease          time.Duration
}

// renew returns the length of the next renewal, 0 if none is due or possible. The longer
// the bridge has a message, the longer it renews the lease. So an outage of hours costs
// few calls, and a bridge that dies during the outage delays a message by at most the
// time that it has already waited. After [longestLoan] SQS takes the lease away. The
// bridge still keeps the message; SQS hands it out again, and it becomes a duplicate.
func (l loan) renew(now time.Time, lease time.Duration) time.Duration {
	if now.Sub(l.renewed) < l.lease/3 {
		return 0
	}
	age := now.Sub(l.since)
	d := min(max(lease, age), longestLease, longestLoan-age).Truncate(time.Second)
	return max(d, 0)
}

// keepLeases renews the leases of messages until ctx ends.
func (r *run) keepLeases(ctx context.Context) {
	tick := time.NewTicker(r.lease / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r.extend(ctx, now)
		}
	}
}

func (r *run) extend(ctx context.Context, now time.Time) {
	for lease, old := range r.old(now) {
		for len(old) > 0 && ctx.Err() == nil {
			n := min(len(old), queue.BatchSize)
			for _, err := range r.Queue.Extend(ctx, old[:n], lease) {
				if err == nil {
					r.Tally.Extended.Add(1)
				} else if !fault.Is(err, fault.NotFound) {
					r.Log.Debug("lease not renewed", "queue", r.Queue.Name(), "err", err)
				}
			}
			old = old[n:]
		}
	}
}

// old returns the receipts of the leases that must be renewed now, by the length of the
// renewal. It counts them as renewed.
func (r *run) old(now time.Time) map[time.Duration][]string {
	all := map[time.Duration][]string{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for receipt, l := range r.loans {
		if d := l.renew(now, r.lease); d > 0 {
			all[d] = append(all[d], receipt)
			r.loans[receipt] = loan{since: l.since, renewed: now, lease: d}
		}
	}
	return all
}

func (r *run) lend(ms []queue.Message) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range ms {
		r.loans[m.Receipt] = loan{since: now, renewed: now, lease: r.lease}
	}
}

func (r *run) forget(receipts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, receipt := range receipts {
		delete(r.loans, receipt)
	}
}
