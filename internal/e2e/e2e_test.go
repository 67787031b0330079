// Package e2e runs the real binaries as processes of their own.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// process is a running binary.
type process struct {
	*exec.Cmd
	name string
	log  *tail
}

// tail keeps what a process wrote.
type tail struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type world struct {
	t   *testing.T
	bin string
	env []string
}

// binDir has the binaries, once they are built.
var binDir string

func TestMain(m *testing.M) {
	testenv.ServeNATS()
	dir, err := os.MkdirTemp("", "gas-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "build", "-o", binDir, "github.com/gas-restore/gas/cmd/...").CombinedOutput()
	return string(out), err
})

// binaries builds all commands, once for all tests, and returns their folder.
func binaries(t *testing.T) string {
	t.Helper()
	if out, err := build(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binDir
}

func (w *world) start(name string, args ...string) *process {
	w.t.Helper()
	p := &process{Cmd: exec.Command(filepath.Join(w.bin, name), args...), name: name, log: &tail{}}
	p.Stdout, p.Stderr, p.Env = p.log, p.log, w.env
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if w.t.Failed() {
			lines := strings.Split(p.log.String(), "\n")
			w.t.Logf("%s wrote, at the end:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
	return p
}

// until asks every 50 ms until ok says so.
func until(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within the time", what)
		case <-tick.C:
		}
	}
}

func environment(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vars := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			t.Fatalf("%s: %q is no KEY=VALUE", file, lines.Text())
		}
		vars[k] = v
	}
	return vars
}

// TestKilledWorkersLoseAndDoubleNothing runs two thaws and two restores on one
// upgrade and kills one of each in the middle. GAS_E2E_FILES sets how many files.
func TestKilledWorkersLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	files := 240
	if s := os.Getenv("GAS_E2E_FILES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		files = n
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	w := &world{t: t, bin: binaries(t), env: os.Environ()}
	envFile := filepath.Join(t.TempDir(), "env")
	const free = "127.0.0.1:0"
	w.start("gas", "up", "--only", "aws,nats,idp", "--dir", t.TempDir(), "--env-file", envFile, "--tier-delay", "3s",
		"--files", strconv.Itoa(files), "--size", "20KiB", "--aws-addr", free, "--nats-addr", free, "--idp-addr", free,
		"--webhook-addr", "127.0.0.1:18081", "--web-addr", "127.0.0.1:18080")
	until(t, ctx, "the environment file", func() bool { _, err := os.Stat(envFile); return err == nil })
	vars := environment(t, envFile)
	for k, v := range vars {
		w.env = append(w.env, k+"="+v)
	}
	for _, name := range []string{"bridge", "web", "thaw", "restore"} {
		w.start(name)
	}
	thaw2, restore2 := w.start("thaw"), w.start("restore")

	cfg, err := awsclient.Load(ctx, awsclient.Options{
		Region: vars["AWS_REGION"], Endpoint: vars["AWS_ENDPOINT_URL"], AccessKey: vars["AWS_ACCESS_KEY_ID"], SecretKey: vars["AWS_SECRET_ACCESS_KEY"],
	})
	if err != nil {
		t.Fatal(err)
	}
	counts := func() map[string]int {
		resp, err := http.Get(vars["AWS_ENDPOINT_URL"] + "/_local/counts")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		m := map[string]int{}
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, p := range []*process{thaw2, restore2} {
		until(t, ctx, p.name+" to start", func() bool { return strings.Contains(p.log.String(), "msg=started") })
	}
	check := w.start("gas", "check")
	if err := check.Wait(); err != nil {
		t.Fatalf("gas check: %v\n%s", err, check.log)
	}
	if _, err := sns.NewFromConfig(cfg).Publish(ctx, &sns.PublishInput{TopicArn: aws.String(vars["GAS_PREMIUM_TOPIC_ARN"]), Message: aws.String(`{"user_id": "fern"}`)}); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "half of the retrievals", func() bool { return counts()["glacier.InitiateJob"] >= files/2 })
	thaw2.Process.Kill()
	until(t, ctx, "a third of the files", func() bool { return counts()["glacier.DeleteArchive"] >= files/3 })
	restore2.Process.Kill()

	b, err := bus.Connect(ctx, bus.Config{URL: vars["NATS_URL"], User: vars["NATS_USER"], Password: vars["NATS_PASSWORD"], Name: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	pending := func() (n uint64) {
		for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore} {
			st, err := b.JS.Stream(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			n += st.CachedInfo().State.Msgs
		}
		return n
	}
	until(t, ctx, "every file to be restored", func() bool { return counts()["glacier.DeleteArchive"] >= files && pending() == 0 })

	c := counts()
	// The one in flight when the worker was killed may have been asked twice over
	// the wire; Glacier must know of one job an archive.
	if n := c["glacier.InitiateJob"]; n < files || n > files+1 {
		t.Errorf("%d InitiateJob calls for %d files", n, files)
	}
	objects := 0
	pages := s3.NewListObjectsV2Paginator(s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		&s3.ListObjectsV2Input{Bucket: aws.String(vars["GAS_RESULTS_BUCKET"]), Prefix: aws.String("gas/fern/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			if strings.HasSuffix(*o.Key, ".annot.vcf") && *o.Size == 20<<10 {
				objects++
			}
		}
	}
	st, err := b.JS.Stream(ctx, events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	summary := fmt.Sprintf("%d files: %d InitiateJob, %d objects, %d archives deleted, %d pending, %d dead letters",
		files, c["glacier.InitiateJob"], objects, c["glacier.DeleteArchive"], pending(), st.CachedInfo().State.Msgs)
	t.Log(summary)
	if objects != files || st.CachedInfo().State.Msgs != 0 {
		t.Error(summary)
	}
}
