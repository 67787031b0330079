package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs f with simulated time, so that nobody waits for the limits of the site. Time
// cannot wait for a socket: f gets a network of pipes.
func inBubble(t *testing.T, f func(*testing.T, *network)) {
	synctest.Test(t, func(t *testing.T) {
		// The worker pool of the site sees a stop only at its next check, after ten seconds. A
		// bubble waits for all its goroutines.
		t.Cleanup(func() { time.Sleep(10 * time.Second) })
		f(t, &network{at: map[string]*pipeListener{}})
	})
}

// network is where the servers of a fixture listen. nil is the network of this machine, others
// consist of pipes.
type network struct {
	mu sync.Mutex // guards at
	at map[string]*pipeListener
}

func (n *network) listen(t *testing.T) net.Listener {
	t.Helper()
	if n == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ln := &pipeListener{in: make(chan net.Conn), done: make(chan struct{}), addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: len(n.at) + 1}}
	n.at[ln.addr.String()] = ln
	return ln
}

// transport returns a new transport for a client; its connections end with the test.
func (n *network) transport(t *testing.T) *http.Transport {
	tr := &http.Transport{}
	if n != nil {
		tr.DialContext = n.dial
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	ln := n.at[addr]
	n.mu.Unlock()
	if ln == nil {
		return nil, fmt.Errorf("nobody ever listened on %s", addr)
	}
	ours, theirs := net.Pipe()
	select {
	case ln.in <- theirs:
		return ours, nil
	case <-ln.done:
		return nil, fmt.Errorf("nobody listens on %s any more", addr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipeListener is a listener of a network of pipes.
type pipeListener struct {
	in   chan net.Conn
	done chan struct{}
	once sync.Once
	addr *net.TCPAddr
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.addr }
