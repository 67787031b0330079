package observability_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gas-restore/gas/internal/test/testenv"
)

// plug is a connection to a server. While it is pulled out, nobody can reach the server.
type plug struct {
	addr, to string

	mu    sync.Mutex // guards the fields below
	ln    net.Listener
	conns []net.Conn
}

func newPlug(t *testing.T, to string) *plug {
	p := &plug{addr: testenv.FreeAddrs(t, 1)[0], to: to}
	p.push()
	t.Cleanup(p.pull)
	return p
}

func (p *plug) push() {
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	p.ln = ln
	p.mu.Unlock()
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
			go func() { _, _ = io.Copy(out, in); out.Close() }()
		}
	}()
}

func (p *plug) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
