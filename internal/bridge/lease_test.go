package bridge

import (
	"testing"
	"time"
)

func TestALoanIsRenewedForAsLongAsItHasLasted(t *testing.T) {
	const lease = 30 * time.Second
	began := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		age, renewed time.Duration // since the receive, and since the last renewal
		last         time.Duration // what it was renewed for then
		want         time.Duration
	}{
		{"just received", 0, 0, lease, 0},
		{"almost a third has passed", 10*time.Second - 1, 10*time.Second - 1, lease, 0},
		{"a third has passed", 10 * time.Second, 10 * time.Second, lease, lease},
		{"after a minute", time.Minute, 20 * time.Second, lease, time.Minute},
		{"renewed a moment ago", time.Minute, 5 * time.Second, time.Minute, 0},
		{"after an hour", time.Hour, 6 * time.Minute, 15 * time.Minute, 15 * time.Minute}, // how long a message waits if the bridge dies then
		{"near the end of what SQS lends", 12*time.Hour - time.Minute, 6 * time.Minute, longestLease, time.Minute},
		{"beyond what SQS lends", 13 * time.Hour, time.Hour, longestLease, 0},
	} {
		now := began.Add(c.age)
		l := loan{since: began, renewed: now.Add(-c.renewed), lease: c.last}
		if got := l.renew(now, lease); got != c.want {
			t.Errorf("%s: renewed for %s, want %s", c.name, got, c.want)
		}
	}
}

func TestALoanOfHoursCostsFewRenewals(t *testing.T) {
	began := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	l, n := loan{since: began, renewed: began, lease: defaultLease}, 0
	for now := began; now.Before(began.Add(longestLoan)); now = now.Add(defaultLease / 6) {
		if now.After(l.renewed.Add(l.lease)) && now.Before(began.Add(longestLoan-time.Minute)) {
			t.Fatalf("%s after it began the message is lent to nobody", now.Sub(began))
		}
		if d := l.renew(now, defaultLease); d > 0 {
			l.renewed, l.lease = now, d
			n++
		}
	}
	if n > 250 {
		t.Errorf("%d renewals in 12 hours", n)
	}
}
