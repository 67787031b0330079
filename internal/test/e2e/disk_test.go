//go:build linux && disk

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/test/testlog"
)

// smallDisk keeps `gas up --only nats` alive on a file system of its own, of 64 MiB,
// as a supervisor does. $1 is where it is, $2 the environment file, $3 the address.
// It is mounted in a namespace, which lives as long as this shell.
const smallDisk = `set -e
mount -t tmpfs -o size=64m none "$1"
while :; do
	rm -f "$2"
	gas up --only nats --dir "$1/state" --env-file "$2" --nats-addr "$3" --idp-addr 127.0.0.1:0 --webhook-addr 127.0.0.1:0 --web-addr 127.0.0.1:0 &
	echo $! >"$2.pid"
	wait $! || true
	sleep 0.2
done`

// TestAFullDiskLosesNothing takes the last byte of JetStream's disk while files come
// back, lets the services run into it, and gives the room back. GAS_DISK_FILES and
// GAS_DISK_ROUNDS make it long. It needs a kernel that gives namespaces to its users.
func TestAFullDiskLosesNothing(t *testing.T) {
	files, rounds := setting(t, "GAS_DISK_FILES", 300), setting(t, "GAS_DISK_ROUNDS", 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Duration(files*rounds/10)*time.Second)
	defer cancel()
	l := up(t, ctx, "aws,idp", "--tier-delay", "3s", "--files", strconv.Itoa(files), "--size", "20KiB")
	disk, file := t.TempDir(), filepath.Join(t.TempDir(), "nats.env")
	supervisor := exec.Command("sh", "-c", smallDisk, "sh", disk, file, testenv.FreeAddrs(t, 1)[0])
	supervisor.Env = append(os.Environ(), "PATH="+l.bin+":"+os.Getenv("PATH"))
	log := &testlog.Lines{}
	supervisor.Stdout, supervisor.Stderr = log, log
	supervisor.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Setpgid:     true,
	}
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-supervisor.Process.Pid, syscall.SIGKILL)
		supervisor.Wait()
		if t.Failed() {
			t.Logf("nats wrote:\n%s", log)
		}
	})
	for k, v := range readEnv(t, ctx, file) {
		l.env, l.vars[k] = append(l.env, k+"="+v), v
	}
	// The namespace's disk, seen from outside.
	ballast := fmt.Sprintf("/proc/%d/root%s/ballast", supervisor.Process.Pid, disk)

	jobs := l.archived("fern")
	var services []*process
	for _, name := range []string{"bridge", "thaw", "restore"} {
		services = append(services, l.start(name))
	}
	for _, p := range services {
		l.started(p)
	}
	began := time.Now()
	l.upgrade("fern")
	red := map[string]int{}
	for n := range rounds {
		// Kills are spread over the work.
		target := 2 * (n + 1) * files / (rounds + 1)
		until(t, ctx, "more progress", func() bool { c := l.counts(); return c["glacier.InitiateJob"]+c["glacier.DeleteArchive"] >= target })
		if err := fill(ballast); err != nil {
			t.Fatal(err)
		}
		// Somebody has to notice.
		var which, why string
		until(t, ctx, "a service that is not ready", func() bool {
			for _, p := range services {
				if why = p.notReady(ctx); why != "" {
					which = p.name
					return true
				}
			}
			return false
		})
		red[which]++
		t.Logf("disk full: %s is not ready: %s", which, strings.TrimSpace(why))
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		// A stream that could not write takes nothing more until its server is restarted.
		restart(t, ctx, l, file)
		for _, p := range services {
			until(t, ctx, p.name+" to be ready again", func() bool { return p.notReady(ctx) == "" })
		}
	}
	until(t, ctx, "every file to be restored", func() bool { return l.left("fern") == 0 })
	took := time.Since(began)
	b := l.bus()
	until(t, ctx, "the streams to be empty", func() bool { n, err := pending(ctx, b); return err == nil && n == 0 })
	got := l.compare(jobs)
	dead := letters(t, ctx, b)
	summary := fmt.Sprintf("%d files, the disk full %d times, noticed by %v, %s: %d wrong, %d archives retrieved, %d doubles, %d dead letters",
		len(jobs), rounds, red, took.Round(time.Second), got.wrong, got.retrieved, got.doubles, dead)
	t.Log(summary)
	if len(jobs) != files || got != (outcome{retrieved: files}) || dead != 0 {
		t.Error(summary)
	}
}

// fill writes a file until there is no room for a byte more.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		_, err := f.Write(chunk)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			chunk = chunk[:len(chunk)/2]
		case err != nil:
			return err
		}
	}
	return nil
}

// restart kills the server that wrote this environment file, and waits until the next one
// serves.
func restart(t *testing.T, ctx context.Context, l *local, file string) {
	t.Helper()
	pid, err := os.ReadFile(file + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err == nil {
		err = syscall.Kill(id, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "another server", func() bool {
		now, err := os.ReadFile(file + ".pid")
		if err != nil || string(now) == string(pid) {
			return false
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		b, err := bus.Connect(try, bus.Config{URL: l.vars["NATS_URL"], User: l.vars["NATS_USER"], Password: l.vars["NATS_PASSWORD"], Name: "e2e"})
		if err != nil {
			return false
		}
		defer b.Close()
		_, err = b.JS.AccountInfo(try)
		return err == nil
	})
}
