// Package chart_test compares the Helm chart with what the services read: settings, ports, times
// and the names in JetStream. The module in test/ renders the chart.
package chart_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

var update = flag.Bool("update", false, "write files/settings.json and files/rules.yaml anew")

// text returns all files of the chart under a path, one after the other.
func text(t *testing.T, under ...string) string {
	t.Helper()
	var all bytes.Buffer
	for _, root := range under {
		err := filepath.WalkDir(filepath.Join("gas", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all.Len() == 0 {
		t.Fatalf("nothing is in %v", under)
	}
	return all.String()
}

// TestTheChartKnowsWhoReadsEachSetting compares files/settings.json with the settings. The
// chart gives each pod what its service reads.
func TestTheChartKnowsWhoReadsEachSetting(t *testing.T) {
	readers := map[string][]config.Service{}
	for _, s := range config.Settings() {
		readers[s.Name] = append([]config.Service{}, s.For...)
	}
	want, err := json.MarshalIndent(readers, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	file := filepath.Join("gas", "files", "settings.json")
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what internal/config says (%v): go test ./deploy/chart -update writes it", file, err)
	}
}

// TestTheAlertsOfTheChartAreThoseOfThisRepository: Helm reads no file outside of a chart, so the
// chart has a copy of the rules that are tested beside the dashboard.
func TestTheAlertsOfTheChartAreThoseOfThisRepository(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("..", "observability", "rules.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		want, err = nil, nil // then the chart has none either
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("gas", "files", "rules.yaml")
	if *update && want != nil {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); !bytes.Equal(got, want) {
		t.Errorf("%s is not deploy/observability/rules.yaml (%v): go test ./deploy/chart -update copies it", file, err)
	}
}

// TestEachSettingThatTheChartNamesExists reads the names in templates, values and examples.
func TestEachSettingThatTheChartNamesExists(t *testing.T) {
	names := regexp.MustCompile(`GAS_[A-Z_]*[A-Z]\b`).FindAllString(text(t, "templates", "values.yaml", "ci"), -1)
	if len(names) < 20 {
		t.Fatalf("the chart names only %v", names)
	}
	for _, name := range names {
		if _, ok := config.Lookup(name); !ok {
			t.Errorf("the chart names %s, which is no setting", name)
		}
	}
	for _, user := range []string{"BRIDGE", "THAW", "RESTORE", "SWEEP", "WEB", "OPERATOR"} {
		if _, ok := config.Lookup("GAS_NATS_" + user + "_PASSWORD_FILE"); !ok {
			t.Errorf("the chart sets GAS_NATS_%s_PASSWORD_FILE, which is no setting", user)
		}
	}
}

// number returns the number that a line of values.yaml sets.
func number(t *testing.T, line string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ *` + line + `: (\d+)$`).FindStringSubmatch(text(t, "values.yaml"))
	if m == nil {
		t.Fatalf("values.yaml sets no %s", line)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheChartStopsAServiceAsTheServiceDoes(t *testing.T) {
	c, err := config.From(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(number(t, "stopGraceSeconds")) * time.Second; got != c.StopGrace {
		t.Errorf("the chart gives %s, the default of GAS_STOP_GRACE is %s", got, c.StopGrace)
	}
}

func TestARestoreIsForTwiceTheFilesThatItCopiesAtATime(t *testing.T) {
	c, err := config.From(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := number(t, "lag"), 2*c.RestoreSlots; got != want {
		t.Errorf("keda.restore.lag is %d, want %d", got, want)
	}
}

// TestKEDAAsksForTheConsumersThatProvisionMakes compares the names in the template with a server
// that was provisioned. KEDA takes a consumer that is not there for an error, and scales nothing.
func TestKEDAAsksForTheConsumersThatProvisionMakes(t *testing.T) {
	template := text(t, filepath.Join("templates", "scaledobjects.yaml"))
	var work [][2]string
	for _, m := range regexp.MustCompile(`\(list "([A-Z]+)" "([a-z-]+)" \$k`).FindAllStringSubmatch(template, -1) {
		work = append(work, [2]string{m[1], m[2]})
	}
	want := [][2]string{{events.StreamPremium, bus.ConsumerPlan}, {events.StreamThaw, bus.ConsumerRequest}, {events.StreamRestore, bus.ConsumerRestore}}
	if !slices.Equal(work, want) {
		t.Errorf("the template asks for %v, want %v", work, want)
	}
	m := regexp.MustCompile(`\$class := list (.*?) }}`).FindStringSubmatch(template)
	if m == nil {
		t.Fatal("the template has no classes of messages that were put aside")
	}
	asked := []string{bus.ConsumerRestore}
	if strings.Contains(template, `consumer: {{ printf "%s-first" (index $work 1) }}`) {
		asked = append(asked, bus.ConsumerRestore+"-first")
	}
	for _, class := range strings.Fields(m[1]) {
		asked = append(asked, bus.ConsumerRestore+"-aside-"+strings.Trim(class, `"`))
	}
	stream, err := testenv.Bus(t, testenv.NATS(t), "operator").JS.Stream(t.Context(), events.StreamRestore)
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	names := stream.ConsumerNames(t.Context())
	for name := range names.Name() {
		made = append(made, name)
	}
	if names.Err() != nil {
		t.Fatal(names.Err())
	}
	slices.Sort(made)
	slices.Sort(asked)
	if !slices.Equal(asked, made) {
		t.Errorf("the template asks for %v of RESTORE, provision makes %v", asked, made)
	}
}
