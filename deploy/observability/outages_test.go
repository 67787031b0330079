//go:build alerts

package observability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/demo"
	localidp "github.com/gas-restore/gas/internal/local/idp"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/internal/wiring"
)

const (
	// faster is by how much the times of the rules are divided: ten minutes are one.
	faster = 10
	// away is how long each dependency is away.
	away = 100 * time.Second
	// calm is how long the alerts may take to end.
	calm = 4 * time.Minute
	// visitors is the number of people. One upgrades every second.
	visitors = 2000
)

// TestAnOutageOfADependencyRaisesItsAlertAndNoOther runs the pipeline under load and a real
// Prometheus with our rules, and takes away one dependency after the other.
func TestAnOutageOfADependencyRaisesItsAlertAndNoOther(t *testing.T) {
	w := newWatched(t)
	w.quiet("at the beginning")
	type outage struct {
		of, alert, label string
		begin, end       func()
	}
	aws := func(name, label string) outage {
		return outage{label, "GasAWSAway", label,
			func() {
				if err := w.AWS.Faults.Add(localaws.Fault{Service: name, Cut: true}); err != nil {
					t.Fatal(err)
				}
			}, w.AWS.Faults.Clear}
	}
	mood := func(m localidp.Mood) func() {
		return func() {
			for _, e := range []localidp.Endpoint{localidp.Discovery, localidp.Keys, localidp.Token} {
				w.IDP.SetMood(e, m)
			}
		}
	}
	outages := []outage{
		{"NATS", "GasNATSAway", "", w.nats.pull, w.nats.push},
		aws("s3", "S3"), aws("dynamodb", "DynamoDB"), aws("sqs", "SQS"), aws("sns", "SNS"), aws("glacier", "Glacier"),
		{"sign-in provider", "GasSignInProviderAway", "", mood(localidp.Mood{Status: 503}), mood(localidp.Mood{})},
	}
	if only := os.Getenv("GAS_OUTAGE"); only != "" {
		outages = slices.DeleteFunc(outages, func(o outage) bool { return o.of != only })
	}
	if len(outages) == 0 {
		t.Fatal("GAS_OUTAGE names no dependency")
	}
	var table strings.Builder
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "away\talert\tafter (as in the rules)\tother alerts\tover after")
	for _, o := range outages {
		began := time.Now()
		o.begin()
		var raised time.Duration
		others := map[string]bool{}
		look := func() {
			for _, a := range w.firing() {
				if a.Labels["alertname"] == o.alert && (o.label == "" || a.Labels["aws_service"] == o.label) {
					if raised == 0 {
						raised = time.Since(began)
					}
					continue
				}
				others[fmt.Sprint(a.Labels)] = true
			}
		}
		for time.Since(began) < away {
			look()
			wait.For(t.Context(), time.Second)
		}
		o.end()
		ended := time.Now()
		for len(w.firing()) > 0 && time.Since(ended) < calm {
			look()
			wait.For(t.Context(), time.Second)
		}
		over := time.Since(ended)
		fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%s\n", o.of, o.alert, (raised * faster).Round(time.Second), len(others), (over * faster).Round(time.Second))
		if raised == 0 {
			t.Errorf("%s was away, and %s did not fire", o.of, o.alert)
		}
		for a := range others {
			t.Errorf("%s was away, and %s fired", o.of, a)
		}
		w.quiet("after " + o.of)
	}
	tab.Flush()
	t.Logf("%d people upgraded\n%s", w.upgraded.Load(), table.String())
	if w.upgraded.Load() == 0 {
		t.Error("nobody upgraded: there was no load")
	}
}

// watched is a pipeline with load and a Prometheus.
type watched struct {
	*stack.Stack
	t        *testing.T
	nats     *plug
	api      string
	upgraded atomic.Int64
}

func newWatched(t *testing.T) *watched {
	const free = "127.0.0.1:0"
	var people []stack.Person
	for i := range visitors {
		people = append(people, stack.Person{ID: fmt.Sprintf("u%04d", i), Name: "Visitor", Role: archive.Free, Archived: 1, Size: 1000})
	}
	addrs := testenv.FreeAddrs(t, 2)
	s, err := stack.Start(t.Context(), stack.Options{
		Dir: t.TempDir(), Only: []string{stack.AWS, stack.NATS, stack.IDP}, ExpeditedDelay: 50 * time.Millisecond,
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: addrs[0], WebhookAddr: addrs[1],
	}, people)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &watched{Stack: s, t: t, nats: newPlug(t, strings.TrimPrefix(s.NATS.ClientURL(), "nats://"))}
	cfg := s.Config
	cfg.NATSURL = "nats://" + w.nats.addr
	cfg.SweepEvery /= faster
	key, secret := s.AWS.Credentials()
	env := wiring.Env{Config: cfg, AWS: awsclient.Options{Region: s.AWS.Region(), Endpoint: s.AWS.Endpoint(), AccessKey: key, SecretKey: secret}, Log: slog.New(slog.DiscardHandler)}
	var parts []daemon.Part
	var targets []string
	for name, build := range map[config.Service]func(context.Context, wiring.Env) (daemon.Part, error){
		config.Bridge: wiring.Bridge, config.Thaw: wiring.Thaw, config.Restore: wiring.Restore, config.Web: wiring.Web,
	} {
		part, err := build(t.Context(), env)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var log strings.Builder
		health, err := daemon.Health(daemon.HealthOptions{Addr: free}, slog.New(slog.NewTextHandler(&log, nil)), part)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, strings.TrimSuffix(strings.TrimPrefix(healthURL.FindString(log.String()), "http://"), "/readyz"))
		parts = append(parts, part, health)
	}
	stopper, ctx := daemon.NewStopper(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := daemon.Run(ctx, stopper, 10*time.Second, parts...); err != nil {
			t.Error(err)
		}
	})
	w.prometheus(targets)
	running.Go(func() { w.load(ctx, stopper.Drain(), people) })
	t.Cleanup(func() { stopper.Stop(10 * time.Second); running.Wait() })
	return w
}

// load lets one person after the other sign in and upgrade.
func (w *watched) load(ctx context.Context, drain <-chan struct{}, people []stack.Person) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, p := range people {
		select {
		case <-tick.C:
		case <-drain:
			return
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			if demo.Subscribe(ctx, w.Config.WebBaseURL, p.ID) == nil {
				w.upgraded.Add(1)
			}
		})
	}
}

var (
	ruleTimes  = regexp.MustCompile(`\[(\d+[smhd])\]|(for:) (\d+[smhd])`)
	ruleBounds = regexp.MustCompile(`> (\d{3,})`)
)

// shortened returns the rules with their times divided.
func shortened(t *testing.T, rules string) string {
	scale := func(text string) string {
		d, err := time.ParseDuration(strings.Replace(text, "d", "h", 1))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(text, "d") {
			d *= 24
		}
		return strconv.FormatInt(int64(d/faster/time.Second), 10) + "s"
	}
	rules = ruleTimes.ReplaceAllStringFunc(rules, func(m string) string {
		if d, ok := strings.CutPrefix(m, "for: "); ok {
			return "for: " + scale(d)
		}
		return "[" + scale(strings.Trim(m, "[]")) + "]"
	})
	return ruleBounds.ReplaceAllStringFunc(rules, func(m string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(m, "> "))
		return fmt.Sprintf("> %d", n/faster)
	})
}

// prometheus runs Prometheus with our rules. It scrapes the targets.
func (w *watched) prometheus(targets []string) {
	w.t.Helper()
	dir := w.t.TempDir()
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return path
	}
	write("rules.yaml", shortened(w.t, string(text)))
	addr := testenv.FreeAddrs(w.t, 1)[0]
	conf := write("prometheus.yaml", fmt.Sprintf("global: {scrape_interval: 4s, scrape_timeout: 4s, evaluation_interval: 2s}\nrule_files: [rules.yaml]\n"+
		"scrape_configs:\n  - job_name: gas\n    static_configs: [{targets: [%s]}]\n", strings.Join(targets, ", ")))
	cmd := exec.Command("prometheus", "--config.file="+conf, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("prometheus (Debian has a package): %v", err)
	}
	w.t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	w.api = "http://" + addr + "/api/v1/"
	for late := time.Now().Add(time.Minute); time.Now().Before(late); wait.For(w.t.Context(), 200*time.Millisecond) {
		if n, err := w.query(`count(gas_ready == 1)`); err == nil && n == 4 {
			return
		}
	}
	w.t.Fatal("Prometheus does not see four parts that are ready")
}

func (w *watched) get(path string, into any) error {
	resp, err := http.Get(w.api + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (w *watched) query(expr string) (float64, error) {
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := w.get("query?query="+url.QueryEscape(expr), &answer); err != nil || len(answer.Data.Result) == 0 {
		return 0, err
	}
	return strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
}

type alert struct {
	State  string
	Labels map[string]string
}

// firing returns the alerts that fire.
func (w *watched) firing() (all []alert) {
	var answer struct{ Data struct{ Alerts []alert } }
	if err := w.get("alerts", &answer); err != nil {
		w.t.Fatal(err)
	}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			all = append(all, a)
		}
	}
	return all
}

// quiet waits until no alert fires and none is about to.
func (w *watched) quiet(when string) {
	w.t.Helper()
	var left map[string]bool
	for late := time.Now().Add(calm); time.Now().Before(late); wait.For(w.t.Context(), time.Second) {
		var answer struct{ Data struct{ Alerts []alert } }
		if err := w.get("alerts", &answer); err != nil {
			w.t.Fatal(err)
		}
		left = map[string]bool{}
		for _, a := range answer.Data.Alerts {
			left[a.State+" "+fmt.Sprint(a.Labels)] = true
		}
		if len(left) == 0 {
			return
		}
	}
	w.t.Fatalf("%s, there are alerts: %v", when, slices.Collect(maps.Keys(left)))
}
