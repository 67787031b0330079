package observability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// rule is an alert or a recording of rules.yaml.
type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	readYAML(t, "rules.yaml", &file)
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 20 {
		t.Fatalf("%d rules", len(rules))
	}
	return rules
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

const runbooks = "../../docs/runbooks/"

// sections are the headings of each page.
var sections = []string{"What it means", "What the user sees", "How to look", "What to do", "When it is over"}

func TestEachAlertHasAPageAndEachPageAnAlert(t *testing.T) {
	pages, err := filepath.Glob(runbooks + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(runbooks + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, p := range pages {
		left[filepath.Base(p)] = true
	}
	delete(left, "README.md")
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		name := r.Alert + ".md"
		if want := "docs/runbooks/" + name; r.Annotations["runbook"] != want {
			t.Errorf("%s: its runbook is %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: its severity is %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
		if !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
		delete(left, name)
		text, err := os.ReadFile(runbooks + name)
		if err != nil {
			t.Errorf("%s has no page: %v", r.Alert, err)
			continue
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			if head, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
				got = append(got, head)
			}
		}
		if !slices.Equal(got, sections) || !strings.HasPrefix(string(text), "# "+r.Alert+"\n") {
			t.Errorf("%s has the sections %q, want %q", name, got, sections)
		}
	}
	for name := range left {
		t.Errorf("%s is the page of no alert", name)
	}
}

// TestEachAlertFiresInAUnitTest: promtool runs the tests (make ci-alerts). This test sees that
// none is missing.
func TestEachAlertFiresInAUnitTest(t *testing.T) {
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name string           `yaml:"alertname"`
				Exp  []map[string]any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "rules_test.yaml", &file)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, a := range test.Alerts {
			if len(a.Exp) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && !fires[r.Alert] {
			t.Errorf("no unit test sees %s fire", r.Alert)
		}
		if r.Alert != "" && !silent[r.Alert] {
			t.Errorf("no unit test sees %s keep silent", r.Alert)
		}
		delete(fires, r.Alert)
	}
	for name := range fires {
		t.Errorf("a unit test expects %s, which does not exist", name)
	}
}

// known returns the names that an expression may use: the metrics of docs/metrics.md, with the
// series of histograms, and the recordings.
func known(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(gas_[a-z0-9_]+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(page), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			names[m[1]+"_bucket"], names[m[1]+"_sum"], names[m[1]+"_count"] = true, true, true
		}
	}
	if len(names) < 50 {
		t.Fatalf("%d names in %s", len(names), metricsPage)
	}
	for _, r := range readRules(t) {
		if r.Record != "" {
			names[r.Record] = true
		}
	}
	return names
}

var (
	promStrings  = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	promBraces   = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	promGrouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	promWord     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	promSpace    = regexp.MustCompile(`^\s*\(`)
)

// metricsOf returns the names of the series in an expression of PromQL: the words that are
// neither functions, nor operators, nor labels.
func metricsOf(expr string) (names []string) {
	for _, cut := range []*regexp.Regexp{promStrings, promBraces, promGrouping} {
		expr = cut.ReplaceAllString(expr, " ")
	}
	for _, at := range promWord.FindAllStringIndex(expr, -1) {
		word := expr[at[0]:at[1]]
		switch {
		case at[0] > 0 && expr[at[0]-1] >= '0' && expr[at[0]-1] <= '9': // the unit of a duration
		case slices.Contains([]string{"and", "or", "unless", "bool", "offset", "by", "on", "ignoring"}, word):
		case promSpace.MatchString(expr[at[1]:]): // a function
		default:
			names = append(names, word)
		}
	}
	return names
}

func TestTheNamesInAnExpressionAreFound(t *testing.T) {
	for expr, want := range map[string][]string{
		`max by (user) (1 - gas_x) > 0`:                                              {"gas_x"},
		`sum(rate(a_total{class="5xx", route!~"GET /(login)"}[5m])) / b offset 5m`:   {"a_total", "b"},
		`x unless on () gas:nats:away unless ignoring (outcome) y{le="1"} == bool 1`: {"x", "gas:nats:away", "y"},
		`histogram_quantile(0.9, sum by (le) (rate(h_bucket[15m]))) > 2h`:            {"h_bucket"},
	} {
		if got := metricsOf(expr); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestEachMetricOfTheRulesExists(t *testing.T) {
	names := known(t)
	for _, r := range readRules(t) {
		used := metricsOf(r.Expr)
		if len(used) == 0 {
			t.Errorf("%s%s uses no metric", r.Alert, r.Record)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s%s uses %s, which does not exist", r.Alert, r.Record, name)
			}
		}
	}
}

func TestEachQueryOfTheDashboardUsesMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		UID    string
		Panels []struct {
			ID          int
			Type, Title string
			Description string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	names, ids, queries := known(t), map[int]bool{}, 0
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: no id of its own, no title, or no place", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Description == "" {
			t.Errorf("panel %q has no query or no description", p.Title)
		}
		for _, target := range p.Targets {
			queries++
			used := metricsOf(strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			if len(used) == 0 {
				t.Errorf("panel %q: %q uses no metric", p.Title, target.Expr)
			}
			for _, name := range used {
				if !names[name] {
					t.Errorf("panel %q uses %s, which does not exist", p.Title, name)
				}
			}
		}
	}
	if board.UID == "" || queries < 15 {
		t.Errorf("uid %q, %d queries", board.UID, queries)
	}
}

var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestTheCommandsOfEachPageWork runs the commands of the runbooks against a running pipeline.
func TestTheCommandsOfEachPageWork(t *testing.T) {
	gas := filepath.Join(t.TempDir(), "gas")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", gas, "../../cmd/gas").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := start(t, []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free, Archived: 1}}, stack.InVault)
	env := []string{"PATH=" + filepath.Dir(gas) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for _, v := range r.Environment() {
		env = append(env, v.Name+"="+v.Value)
	}
	pages, err := filepath.Glob(runbooks + "Gas*.md")
	if err != nil || len(pages) < 20 {
		t.Fatal(len(pages), err)
	}
	// The service that a page asks. Many pages show the same command; once is enough.
	tried, ran := map[string]bool{}, 0
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blocks := shell.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no command", path)
		}
		for _, b := range blocks {
			for command := range strings.Lines(b[1]) {
				command = strings.TrimSpace(command)
				if tried[command] || command == "" {
					continue
				}
				tried[command] = true
				ran++
				// A page asks the service that its alert names. Here: the one that has the metric.
				answered := false
				var last string
				for _, part := range []string{"thaw", "web", "bridge", "restore"} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					cmd := exec.CommandContext(ctx, "sh", "-c", "set -e; "+command)
					cmd.Env = append(slices.Clone(env), "HEALTH="+r.health[part])
					out, err := cmd.CombinedOutput()
					cancel()
					last = fmt.Sprintf("%v\n%s", err, out)
					// A grep for errors finds nothing while all is well.
					quiet := strings.Contains(command, "5xx") && len(out) == 0
					if answered = quiet || err == nil; answered || !strings.Contains(command, "$HEALTH") {
						break
					}
				}
				if !answered {
					t.Errorf("%s: %s: %s", filepath.Base(path), command, last)
				}
			}
		}
	}
	t.Logf("%d commands of %d pages", ran, len(pages))
}
