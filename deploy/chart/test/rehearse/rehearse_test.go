//go:build rehearse

// Package rehearse_test runs the pipeline with the settings of the chart: as many processes of
// each service as the values say, with the environment of their pods. Processes are killed,
// stopped and frozen, NATS and AWS are restarted, and all files must come back.
package rehearse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/gas-restore/gas/deploy/chart/test/render"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

// managed are the settings that the chart makes from other values.
var managed = regexp.MustCompile(`^GAS_(NATS_.*|HEALTH_LISTEN|WEB_LISTEN|WEBHOOK_LISTEN|STOP_GRACE|OIDC_CLIENT_SECRET)$`)

// pipeline is everything that runs.
type pipeline struct {
	*testing.T
	*node
	nats, aws *standIn
	vars      map[string]string
	cfg       aws.Config
	catalog   *dynamodb.Catalog
	bus       *bus.Bus
	gas       string
}

// start starts the stand-ins, and the replicas of the chart.
func start(t *testing.T, files int) *pipeline {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", bin+"/", "./cmd/bridge", "./cmd/thaw", "./cmd/restore", "./cmd/web", "./cmd/gas")
	build.Dir = filepath.Join("..", "..", "..", "..")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p := &pipeline{T: t, node: &node{t: t, dir: dir}, gas: filepath.Join(bin, "gas")}
	at := free(t, 5)
	common := []string{"--aws-addr", at[0], "--nats-addr", at[1], "--idp-addr", at[2], "--web-addr", at[3], "--webhook-addr", at[4]}
	p.nats = startStandIn(t, dir, p.gas, "nats", common...)
	idp := startStandIn(t, dir, p.gas, "idp", common...)
	p.aws = startStandIn(t, dir, p.gas, "aws", append(common, "--store", "both", "--tier-delay", "1s", "--files", strconv.Itoa(files), "--size", "20KiB")...)
	p.vars = map[string]string{}
	// Each names the servers that it runs; the address of NATS comes from the last one.
	for _, s := range []*standIn{idp, p.aws, p.nats} {
		for k, v := range s.environment() {
			p.vars[k] = v
		}
	}
	ctx := t.Context()
	var err error
	p.cfg, err = awsclient.Load(ctx, awsclient.Options{Region: p.vars["AWS_REGION"], Endpoint: p.vars["AWS_ENDPOINT_URL"], AccessKey: p.vars["AWS_ACCESS_KEY_ID"], SecretKey: p.vars["AWS_SECRET_ACCESS_KEY"]})
	if err != nil {
		t.Fatal(err)
	}
	p.catalog = dynamodb.New(p.cfg, dynamodb.Tables{Jobs: p.vars["GAS_JOB_TABLE"], Accounts: p.vars["GAS_ACCOUNT_TABLE"], Plans: p.vars["GAS_PLAN_TABLE"]})
	p.bus, err = bus.Connect(ctx, bus.Config{URL: p.vars["NATS_URL"], User: "operator", Password: p.vars["NATS_PASSWORD"], Name: "rehearsal"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.bus.Close)
	p.deploy(bin, at[3], at[4])
	return p
}

// deploy renders the chart and starts what its Deployments say.
func (p *pipeline) deploy(bin, web, webhook string) {
	t := p.T
	t.Helper()
	settings := map[string]any{"GAS_LOG_FORMAT": "json"}
	secrets := filepath.Join(p.dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := func(name, value string) {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range p.vars {
		if _, ok := config.Lookup(k); ok && !managed.MatchString(k) {
			settings[k] = v
		}
		if user, ok := strings.CutPrefix(k, "GAS_NATS_"); ok && strings.HasSuffix(user, "_PASSWORD") {
			secret(strings.ToLower(strings.TrimSuffix(user, "_PASSWORD")), v)
		}
	}
	secret("oidc-client-secret", p.vars["GAS_OIDC_CLIENT_SECRET"])
	var env []any
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		env = append(env, map[string]any{"name": name, "value": p.vars[name]})
	}
	docs, err := render.All(map[string]any{
		"image": map[string]any{"repository": "registry.example/gas"},
		"aws":   map[string]any{"region": p.vars["AWS_REGION"]}, "nats": map[string]any{"url": p.vars["GAS_NATS_URL"], "replicas": 1},
		"secrets": map[string]any{"name": "gas-secrets"}, "settings": settings, "env": env,
		"bridge": map[string]any{"replicas": 2}, "web": map[string]any{"replicas": 2}, "restore": map[string]any{"replicas": 4},
		// Slow enough to be disturbed often; a sweep that is quick to look for what got lost.
		"thaw": map[string]any{"replicas": 3, "settings": map[string]any{"GAS_THAW_RATE": "2", "GAS_SWEEP_EVERY": "10s", "GAS_SWEEP_SLACK": "30s", "GAS_THAW_CALL_TIME": "5s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	decoder := scheme.Codecs.UniversalDeserializer()
	var commands []corev1.Container // the Job and the pods of `helm test`
	for _, d := range docs {
		o, _, err := decoder.Decode(d.YAML, nil, nil)
		if err != nil {
			continue // NOTES.txt
		}
		switch o := o.(type) {
		case *batchv1.Job:
			commands = append(commands, o.Spec.Template.Spec.Containers...)
		case *corev1.Pod:
			commands = append(commands, o.Spec.Containers...)
		}
		deployment, ok := o.(*appsv1.Deployment)
		if !ok {
			continue
		}
		pod := deployment.Spec.Template.Spec
		c := pod.Containers[0]
		for i := range *deployment.Spec.Replicas {
			// All replicas are on one machine: each has ports of its own, and the files of the
			// Secret are in a folder. The rest is as the chart has it.
			addr := free(t, 2)
			r := &replica{name: fmt.Sprintf("%s-%d", c.Name, i), component: c.Name, health: addr[0], node: p.node, grace: time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second}
			vars := []string{"PATH=" + os.Getenv("PATH")}
			for _, v := range c.Env {
				value := strings.ReplaceAll(v.Value, "/etc/gas/secrets", secrets)
				switch v.Name {
				case "GAS_HEALTH_LISTEN":
					value = r.health
				case "GAS_WEB_LISTEN", "GAS_WEBHOOK_LISTEN":
					r.listen, value = addr[1], addr[1]
				}
				vars = append(vars, v.Name+"="+value)
			}
			r.command = func() *exec.Cmd {
				cmd := exec.Command(filepath.Join(bin, c.Name))
				cmd.Env, cmd.Dir = vars, p.dir
				return cmd
			}
			p.all = append(p.all, r)
		}
	}
	if got := fmt.Sprint(len(p.of("bridge")), len(p.of("thaw")), len(p.of("restore")), len(p.of("web"))); got != "2 3 4 2" {
		t.Fatalf("the chart makes %s replicas", got)
	}
	for _, c := range commands {
		cmd := exec.Command(p.gas, c.Args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		for _, v := range c.Env {
			cmd.Env = append(cmd.Env, v.Name+"="+strings.ReplaceAll(v.Value, "/etc/gas/secrets", secrets))
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gas %v: %v\n%s", c.Args, err, out)
		}
	}
	if len(commands) != 5 {
		t.Fatalf("the chart runs gas %d times, want once as a Job and four times as a test", len(commands))
	}
	p.serve(web, "web")
	p.serve(webhook, "bridge")
	for _, r := range p.all {
		p.running.Go(r.run)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			p.tails()
		}
	})
	for _, r := range p.all {
		until(t, t.Context(), 2*time.Minute, r.name+" to be ready", func() bool { return r.ready(t.Context()) })
	}
}

// upgrade signs the user in at the site, and makes them Premium there.
func (p *pipeline) upgrade(user string) {
	t := p.T
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	read := func(resp *http.Response, err error) (string, *url.URL) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s answers %s, %v", resp.Request.URL, resp.Status, err)
		}
		return string(body), resp.Request.URL
	}
	field := func(page, name string) string {
		t.Helper()
		for _, input := range regexp.MustCompile(`<input[^>]*>`).FindAllString(page, -1) {
			if strings.Contains(input, `name="`+name+`"`) {
				return html.UnescapeString(regexp.MustCompile(`value="([^"]*)"`).FindStringSubmatch(input)[1])
			}
		}
		t.Fatalf("no field %s in %s", name, page)
		return ""
	}
	base := p.vars["GAS_WEB_BASE_URL"]
	page, at := read(browser.Get(base + "/login"))
	read(browser.PostForm(at.Scheme+"://"+at.Host+"/login", url.Values{"subject": {user}, "id": {field(page, "id")}}))
	page, _ = read(browser.Get(base + "/subscribe"))
	read(browser.PostForm(base+"/subscribe", url.Values{"csrf": {field(page, "csrf")}}))
}

// snapshot is what the catalog, the bucket and the streams have, read without the pipeline's code.
type snapshot struct {
	Archived, Requested, Back int
	Streams                   map[string]uint64
}

func (p *pipeline) snapshot(ctx context.Context) (s snapshot, err error) {
	keys := map[string]bool{}
	objects := s3.NewListObjectsV2Paginator(s3.NewFromConfig(p.cfg, func(o *s3.Options) { o.UsePathStyle = true }), &s3.ListObjectsV2Input{Bucket: aws.String(p.vars["GAS_RESULTS_BUCKET"])})
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx)
		if err != nil {
			return s, err
		}
		for _, o := range page.Contents {
			keys[*o.Key] = true
		}
	}
	items := ddb.NewScanPaginator(ddb.NewFromConfig(p.cfg), &ddb.ScanInput{TableName: aws.String(p.vars["GAS_JOB_TABLE"]), ConsistentRead: aws.Bool(true)})
	for items.HasMorePages() {
		page, err := items.NextPage(ctx)
		if err != nil {
			return s, err
		}
		for _, it := range page.Items {
			has := func(name string) string {
				v, _ := it[name].(*ddbtypes.AttributeValueMemberS)
				if v == nil {
					return ""
				}
				return v.Value
			}
			switch {
			case has("archive_id") != "" && has("retrieval_request_id") != "":
				s.Archived++
				s.Requested++
			case has("archive_id") != "":
				s.Archived++
			case keys[has("s3_key_result_file")]:
				s.Back++
			default:
				return s, fmt.Errorf("%s has no archive and no object", has("job_id"))
			}
		}
	}
	s.Streams = map[string]uint64{}
	for _, name := range []string{events.StreamPremium, events.StreamThaw, events.StreamRestore, events.StreamDead} {
		st, err := p.bus.JS.Stream(ctx, name)
		if err != nil {
			return s, err
		}
		s.Streams[name] = st.CachedInfo().State.Msgs
	}
	return s, nil
}

// reported is the part of `gas status --json` that is compared.
func (p *pipeline) reported(ctx context.Context) (s snapshot, err error) {
	cmd := exec.CommandContext(ctx, p.gas, "status", "--json", "--no-bill")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range p.vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("gas status: %w", err)
	}
	var r struct {
		Jobs []struct {
			State archive.State
			Jobs  int
		}
		Queues []struct {
			Stream  string
			Waiting uint64
			InHand  uint64 `json:"in_hand"`
			Aside   uint64 `json:"put_aside"`
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return s, err
	}
	for _, row := range r.Jobs {
		s.Archived += row.Jobs
		if row.State == archive.Requested {
			s.Requested += row.Jobs
		}
	}
	s.Streams = map[string]uint64{}
	for _, q := range r.Queues {
		if !strings.HasPrefix(q.Stream, "SQS ") {
			s.Streams[q.Stream] = q.Waiting + q.InHand + q.Aside
		}
	}
	return s, nil
}

// sample freezes the pipeline, and compares what `gas status` says with what is there.
func (p *pipeline) sample(after string, total int, table io.Writer) {
	p.T.Helper()
	p.still(func() {
		ctx, cancel := context.WithTimeout(p.T.Context(), time.Minute)
		defer cancel()
		// Calls to AWS and NATS may still be in flight, so two looks must agree.
		for {
			before, err := p.snapshot(ctx)
			said, err2 := p.reported(ctx)
			now, err3 := p.snapshot(ctx)
			if err == nil && err2 == nil && err3 == nil && fmt.Sprint(before) == fmt.Sprint(now) {
				said.Back = now.Back
				ok := "right"
				if fmt.Sprint(said) != fmt.Sprint(now) || now.Archived+now.Back != total {
					ok = "WRONG"
					p.T.Errorf("after %s: gas status says %+v, there is %+v of %d", after, said, now, total)
				}
				fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\n", after, now.Archived, now.Requested, now.Back, now.Streams[events.StreamThaw]+now.Streams[events.StreamRestore], ok)
				return
			}
			if ctx.Err() != nil {
				p.T.Errorf("after %s: no two looks agree: %+v, %+v; %v, %v, %v", after, before, now, err, err2, err3)
				return
			}
			wait.For(ctx, 200*time.Millisecond) // its end is seen above
		}
	})
}

// TestAllFilesComeBackWhateverHappensToTheReplicas is the rehearsal. GAS_REHEARSE_FILES says how
// many files come back, 600 by default.
func TestAllFilesComeBackWhateverHappensToTheReplicas(t *testing.T) {
	files := 600
	if v := os.Getenv("GAS_REHEARSE_FILES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		files = n
	}
	p := start(t, files)
	ctx := t.Context()
	begun := time.Now()

	jobs := map[events.JobID]archive.Job{}
	for job, err := range p.catalog.AllArchived(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if jobs[job.ID], err = p.catalog.Job(ctx, job.ID); err != nil {
			t.Fatal(err)
		}
	}
	first, err := p.snapshot(ctx)
	if err != nil || first.Archived != len(jobs) {
		t.Fatalf("%d files are archived, the catalog lists %d: %v", first.Archived, len(jobs), err)
	}
	total := first.Archived + first.Back

	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "after\tarchived\trequested\tback\tmessages\tgas status")
	sample := func(after string) { p.sample(after, total, table) }
	sample("the start")
	p.upgrade("fern")
	p.upgrade("moss")

	// Files come back for some seconds before each step and after it.
	pause := func() {
		if err := wait.For(ctx, 3*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	thawed := func(name string, seconds time.Duration) {
		r := p.get(name)
		r.freeze(true)
		time.AfterFunc(seconds*time.Second, func() { r.freeze(false) })
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"kill -9 thaw-0", func() { p.get("thaw-0").signal(syscall.SIGKILL) }},
		{"kill -9 restore-1", func() { p.get("restore-1").signal(syscall.SIGKILL) }},
		{"SIGTERM bridge-0", func() { p.get("bridge-0").replace() }},
		{"SIGSTOP restore-2 for 35 s", func() { thawed("restore-2", 35) }},
		{"NATS restarts", func() { p.nats.end(syscall.SIGTERM); p.nats.start() }},
		{"kill -9 bridge-1", func() { p.get("bridge-1").signal(syscall.SIGKILL) }},
		{"SIGSTOP thaw-1 for 35 s", func() { thawed("thaw-1", 35) }},
		{"AWS restarts", func() { p.aws.end(syscall.SIGTERM); pause(); p.aws.start() }},
		{"SIGTERM web-0, web-1", func() { p.get("web-0").replace(); p.get("web-1").replace() }},
		{"kill -9 NATS", func() { p.nats.end(syscall.SIGKILL); pause(); p.nats.start() }},
		{"kill -9 web-0, restore-3; SIGTERM thaw-2", func() {
			p.get("web-0").signal(syscall.SIGKILL)
			p.get("restore-3").signal(syscall.SIGKILL)
			p.get("thaw-2").replace()
		}},
	} {
		pause()
		step.do()
		pause()
		sample(step.name)
	}

	until(t, ctx, 10*time.Minute, "every file to be back", func() bool {
		s, err := p.snapshot(ctx)
		return err == nil && s.Archived == 0 && s.Streams[events.StreamPremium]+s.Streams[events.StreamThaw]+s.Streams[events.StreamRestore] == 0
	})
	took := time.Since(begun)
	sample("everything")

	wrong, bytes := 0, int64(0)
	objects := s3.NewFromConfig(p.cfg, func(o *s3.Options) { o.UsePathStyle = true })
	for id, job := range jobs {
		got, err := objects.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(job.Result.Bucket), Key: aws.String(job.Result.Key)})
		if err != nil {
			t.Errorf("%s: %v", id, err)
			wrong++
			continue
		}
		h := treehash.New()
		n, err := io.Copy(h, got.Body)
		got.Body.Close()
		bytes += n
		if err != nil || n != job.ArchiveSize || h.TreeHash().String() != job.TreeHash {
			t.Errorf("%s: %d bytes, tree hash %s; want %d, %s; %v", id, n, h.TreeHash(), job.ArchiveSize, job.TreeHash, err)
			wrong++
		}
	}
	retrieved := map[string]int{}
	pages := glacier.NewListJobsPaginator(glacier.NewFromConfig(p.cfg), &glacier.ListJobsInput{AccountId: aws.String("-"), VaultName: aws.String(p.vars["GAS_VAULT"])})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.JobList {
			if j.Action == types.ActionCodeArchiveRetrieval {
				retrieved[*j.ArchiveId]++
			}
		}
	}
	doubles := 0
	for _, n := range retrieved {
		doubles += n - 1
	}
	last, err := p.snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	starts := 0
	for _, r := range p.all {
		r.mu.Lock()
		starts += r.starts
		r.mu.Unlock()
	}
	table.Flush()
	t.Logf("\n%s\n%d files, %d bytes, back after %s; %d wrong; %d archives of the vault retrieved, %d twice; %d dead letters; %d processes for %d replicas",
		out.String(), len(jobs), bytes, took.Round(time.Second), wrong, len(retrieved), doubles, last.Streams[events.StreamDead], starts, len(p.all))
	if doubles != 0 || last.Streams[events.StreamDead] != 0 || len(jobs) < files {
		t.Error("a file was paid for twice, given up, or left out")
	}
}
