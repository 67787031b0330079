package sim

import (
	"net/http"
	"slices"
	"time"

	"github.com/gas-restore/gas/internal/wait"
)

// How a process may be cut off from the world, for a while.
type ailment int

const (
	frozen ailment = iota // it stands still, and does the rest late
	deaf                  // what it sends arrives, and no answer reaches it
	mute                  // it hears, and what it sends is lost
)

func (a ailment) String() string { return [...]string{"frozen", "deaf", "mute"}[a] }

// ail gives each process of a service that lives now an ailment for d.
func (w *world) ail(service string, a ailment, d time.Duration) {
	w.mu.Lock()
	var all []*process
	for p := range w.alive {
		if p.service == service {
			all = append(all, p)
		}
	}
	w.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		p.ails[a] = time.Now().Add(d)
		p.mu.Unlock()
		w.running.Go(func() {
			wait.For(p.ctx, d)
			p.recover(a)
		})
	}
	w.trouble("processes that were "+a.String()+" for minutes", len(all))
}

// has returns for how long the process still has one of the ailments.
func (p *process) has(some ...ailment) (left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range some {
		left = max(left, time.Until(p.ails[a]))
	}
	return left
}

// await waits while the process has one of the ailments.
func (p *process) await(some ...ailment) {
	for left := p.has(some...); left > 0 && p.ctx.Err() == nil; left = p.has(some...) {
		wait.For(p.ctx, left)
	}
}

// recover sends what a frozen process wrote, and ends the connections of one that was
// mute: what they miss never comes.
func (p *process) recover(a ailment) {
	p.mu.Lock()
	wires := slices.Clone(p.wires)
	p.mu.Unlock()
	for _, c := range wires {
		c.mu.Lock()
		late, swallowed := c.late, c.swallowed
		c.late = nil
		if a == frozen && len(late) > 0 {
			c.forward(late)
		}
		c.mu.Unlock()
		if a == mute && swallowed {
			c.Conn.Close()
		}
	}
}

// over lets a call to AWS or to the provider pass as the process's ailments let it.
func (p *process) over(r *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	p.await(frozen)
	if left := p.has(mute); left > 0 {
		wait.For(r.Context(), left)
		return nil, errRefused
	}
	resp, err := do()
	if left := p.has(deaf); left > 0 && err == nil {
		resp.Body.Close()
		wait.For(r.Context(), left)
		return nil, errLost
	}
	p.await(frozen)
	return resp, err
}

// Read is what the server says.
func (c *wire) Read(b []byte) (int, error) {
	c.p.await(frozen, deaf)
	n, err := c.Conn.Read(b)
	c.p.await(frozen, deaf)
	return n, err
}

// Write never waits: the client holds a mutex while it writes, and a bubble's time cannot
// advance meanwhile. The bytes of a frozen process stay in its machine's buffer until
// later.
func (c *wire) Write(b []byte) (int, error) {
	if c.p.isDead() {
		return 0, errDead
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.p.has(mute) > 0:
		c.swallowed = true
		return len(b), nil
	case c.p.has(frozen) > 0 || len(c.late) > 0:
		c.late = append(c.late, b...)
		return len(b), nil
	}
	if err := c.forward(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
