package checkup

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/pkg/events"
)

// user is a user of NATS.
type user struct {
	name     string
	variable string
	password config.Secret
	// also is a check beside that of the service's /readyz; it may be nil.
	also func(context.Context, *bus.Bus) error
}

func (l *look) users() []user {
	var all []user
	add := func(need config.Service, u user) {
		if l.has(need) {
			all = append(all, u)
		}
	}
	c := l.cfg
	add(config.Bridge, user{"bridge", "GAS_NATS_BRIDGE_PASSWORD", c.BridgePassword, func(ctx context.Context, b *bus.Bus) error {
		return errors.Join(bus.CheckStreams(ctx, b.JS, events.StreamPremium, events.StreamRestore, events.StreamDead), bus.CheckBackstop(ctx, b.JS))
	}})
	add(config.Thaw, user{"thaw", "GAS_NATS_THAW_PASSWORD", c.ThawPassword, nil})
	add(config.Thaw, user{"sweep", "GAS_NATS_SWEEP_PASSWORD", c.SweepPassword, nil})
	add(config.Restore, user{"restore", "GAS_NATS_RESTORE_PASSWORD", c.RestorePassword, nil})
	add(config.Web, user{"web", "GAS_NATS_WEB_PASSWORD", c.WebPassword, nil})
	return all
}

// nats connects as each user and checks what its service needs. As the operator it checks
// everything.
func (l *look) nats(ctx context.Context) {
	url, _ := config.Lookup("GAS_NATS_URL")
	if l.bad[url.Name] || l.bad["GAS_NATS_CA_FILE"] {
		return
	}
	// connect reports whether a try as another user can help.
	connect := func(u user) (b *bus.Bus, more bool) {
		if l.bad[u.variable+"_FILE"] {
			return nil, true // the password cannot be read
		}
		b, err := bus.Connect(ctx, bus.Config{URL: l.cfg.NATSURL, User: u.name, PasswordFrom: u.password.Read, CAFile: l.cfg.NATSCAFile, Name: "gas-check"})
		switch {
		case err == nil:
			l.ok(url.Name, "%s answers", l.cfg.NATSURL)
			l.ok(u.variable, "NATS accepts it for user %s", u.name)
			return b, true
		case errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired):
			l.wrong(u.variable, fmt.Sprintf("NATS at %s refuses user %s with it", l.cfg.NATSURL, u.name), "set it to the password that the server's configuration has for the user")
			return nil, true
		default:
			l.wrong(url.Name, err.Error(), url.Fix()+", and check that the server runs")
			return nil, false
		}
	}
	whole := false // whether the operator saw that everything exists
	if l.operator {
		b, more := connect(user{name: "operator", variable: "GAS_NATS_OPERATOR_PASSWORD", password: l.cfg.OperatorPassword})
		if !more {
			return
		}
		if b != nil {
			whole = l.audit(ctx, b)
			b.Close()
		}
	}
	for _, u := range l.users() {
		b, more := connect(u)
		if !more {
			return
		}
		if b == nil {
			continue
		}
		err := l.try(ctx, b.Outlook(u.name).Err)
		if u.also != nil {
			err = errors.Join(err, l.try(ctx, func(ctx context.Context) error { return u.also(ctx, b) }))
		}
		b.Close()
		switch {
		case err == nil:
			l.ok("NATS user "+u.name, "can open what it needs")
		case whole:
			l.wrong("NATS user "+u.name, err.Error(), "give the user the permissions that it has in nats.conf")
		case !l.operator:
			l.wrong("NATS user "+u.name, err.Error(), "run `gas provision`, and give the user the permissions that it has in nats.conf")
		}
	}
}

// audit compares the streams, consumers and buckets with what provision makes. It reports
// whether all are right.
func (l *look) audit(ctx context.Context, b *bus.Bus) bool {
	var all []bus.Difference
	_ = l.try(ctx, func(ctx context.Context) error {
		all = b.Audit(ctx, bus.Settings{Replicas: l.cfg.Replicas})
		return nil
	})
	for _, d := range all {
		if d.Replicas {
			l.wrong("GAS_NATS_REPLICAS", d.What+" "+d.Problem, "set it to the number of servers of the cluster (1 for a single one), run `gas provision`, and check that all servers run")
			continue
		}
		l.wrong(d.What, d.Problem, "run `gas provision`; if that refuses to change it, delete it first, when it is empty")
	}
	if len(all) == 0 {
		l.ok("streams, consumers and buckets", "are as `gas provision` makes them")
	}
	return len(all) == 0
}
