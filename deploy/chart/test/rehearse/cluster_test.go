//go:build rehearse

package rehearse_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/wait"
)

// node starts processes as a kubelet starts pods: one that ends is started again, one that must
// go gets SIGTERM and, after its grace, SIGKILL.
type node struct {
	t   *testing.T
	dir string
	all []*replica
	// running has one for each replica that is kept running.
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	down    bool
	outlive int // replicas that were still there after their grace
}

// replica is a process of a Deployment.
type replica struct {
	name, component string
	health          string // host:port
	listen          string // what its Service leads to, empty if it has none
	grace           time.Duration
	command         func() *exec.Cmd
	node            *node

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	ended  chan struct{}
	starts int
	frozen bool
}

// run keeps the replica running until the node goes down.
func (r *replica) run() {
	for {
		r.mu.Lock()
		r.node.mu.Lock()
		down := r.node.down
		r.node.mu.Unlock()
		if down {
			r.mu.Unlock()
			return
		}
		log, err := os.OpenFile(filepath.Join(r.node.dir, r.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			r.mu.Unlock()
			r.node.t.Error(err)
			return
		}
		r.cmd, r.ended = r.command(), make(chan struct{})
		r.cmd.Stdout, r.cmd.Stderr = log, log
		cmd, ended := r.cmd, r.ended
		err = cmd.Start()
		r.starts++
		r.mu.Unlock()
		if err != nil {
			r.node.t.Error(err)
			return
		}
		cmd.Wait() // its error is the signal
		log.Close()
		close(ended)
		if cmd.ProcessState.ExitCode() == 2 {
			r.node.t.Errorf("%s says that its configuration is wrong", r.name)
			return
		}
		if wait.For(r.node.t.Context(), 500*time.Millisecond) != nil { // a kubelet waits too
			return
		}
	}
}

// signal sends a signal to the process, if there is one.
func (r *replica) signal(s syscall.Signal) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd.Process.Signal(s)
	return r.ended
}

// freeze stops the process for a time; another freeze of all does not wake it.
func (r *replica) freeze(on bool) {
	r.mu.Lock()
	r.frozen = on
	r.mu.Unlock()
	if on {
		r.signal(syscall.SIGSTOP)
	} else {
		r.signal(syscall.SIGCONT)
	}
}

// replace ends the process as a kubelet does.
func (r *replica) replace() {
	ended := r.signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(r.grace):
		r.node.mu.Lock()
		r.node.outlive++
		r.node.mu.Unlock()
		r.node.t.Errorf("%s is still there %s after SIGTERM", r.name, r.grace)
		r.signal(syscall.SIGKILL)
		<-ended
	}
}

// stop ends all replicas, each with its grace.
func (n *node) stop() {
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	var all sync.WaitGroup
	for _, r := range n.all {
		all.Go(func() {
			r.signal(syscall.SIGCONT)
			r.replace()
		})
	}
	all.Wait()
	n.running.Wait()
}

// still freezes all replicas while f runs.
func (n *node) still(f func()) {
	for _, r := range n.all {
		r.signal(syscall.SIGSTOP)
	}
	f()
	for _, r := range n.all {
		r.mu.Lock()
		frozen := r.frozen
		r.mu.Unlock()
		if !frozen {
			r.signal(syscall.SIGCONT)
		}
	}
}

// of returns the replicas of a component.
func (n *node) of(component string) (some []*replica) {
	for _, r := range n.all {
		if r.component == component {
			some = append(some, r)
		}
	}
	return some
}

func (n *node) get(name string) *replica {
	for _, r := range n.all {
		if r.name == name {
			return r
		}
	}
	n.t.Fatalf("no replica %s", name)
	return nil
}

// ready reports whether /readyz of the replica answers 200, as a readiness probe asks.
func (r *replica) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 7*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.health+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// serve is a Service: it leads each connection to address to the next replica that takes it.
func (n *node) serve(address, component string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		n.t.Fatal(err)
	}
	var all sync.WaitGroup
	n.t.Cleanup(func() { l.Close() })
	all.Go(func() {
		for next := 0; ; next++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			some := n.of(component)
			go func() {
				defer in.Close()
				for i := range some {
					out, err := net.DialTimeout("tcp", some[(next+i)%len(some)].listen, time.Second)
					if err != nil {
						continue
					}
					defer out.Close()
					go func() {
						io.Copy(out, in)
						out.(*net.TCPConn).CloseWrite()
					}()
					io.Copy(in, out)
					return
				}
			}()
		}
	})
}

// standIn is `gas up` with some parts, as a process that can be restarted.
type standIn struct {
	t    *testing.T
	log  string
	gas  string
	args []string
	file string // its environment
	cmd  *exec.Cmd
}

func startStandIn(t *testing.T, dir, gas, only string, args ...string) *standIn {
	t.Helper()
	s := &standIn{t: t, log: filepath.Join(dir, "up-"+only+".log"), gas: gas, file: filepath.Join(dir, only+".env")}
	s.args = append([]string{"up", "--only", only, "--dir", filepath.Join(dir, "state-"+only), "--env-file", s.file}, args...)
	s.start()
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

// start starts the process, and returns when it has written its environment.
func (s *standIn) start() {
	s.t.Helper()
	os.Remove(s.file)
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(s.gas, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, s.t.Context(), 2*time.Minute, s.log+" to be up", func() bool {
		_, err := os.Stat(s.file)
		return err == nil
	})
}

func (s *standIn) end(sig syscall.Signal) {
	s.cmd.Process.Signal(sig)
	s.cmd.Wait()
}

// environment returns what the process wrote for others.
func (s *standIn) environment() map[string]string {
	s.t.Helper()
	f, err := os.Open(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	vars := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, _ := strings.Cut(lines.Text(), "=")
		vars[k] = strings.Trim(v, "'")
	}
	return vars
}

// until asks ten times a second until ok says so.
func until(t *testing.T, ctx context.Context, most time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, most)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// free returns n addresses with ports that nobody had a moment ago.
func free(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// tails logs the ends of all logs.
func (n *node) tails() {
	files, _ := filepath.Glob(filepath.Join(n.dir, "*.log"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		fmt.Fprintf(os.Stderr, "== %s\n%s\n", filepath.Base(f), strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}
