package benchtab_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/gas-restore/gas/bench/internal/benchtab"
)

func TestTableAlignsNumbersToTheRight(t *testing.T) {
	tab := benchtab.Table{Title: "T", Columns: []string{"what", "n"}, Notes: []string{"one run"}}
	tab.Add("größe", 7)
	tab.Add("b", 1234)
	var b strings.Builder
	if err := tab.Print(&b); err != nil {
		t.Fatal(err)
	}
	want := "\nT\n\n" +
		"  what      n\n" +
		"  -----  ----\n" +
		"  größe     7\n" +
		"  b      1234\n" +
		"\n  one run\n"
	if b.String() != want {
		t.Errorf("got:\n%q\nwant:\n%q", b.String(), want)
	}
}

func TestSaveWritesWhatWasMeasured(t *testing.T) {
	t.Chdir(t.TempDir())
	tab := &benchtab.Table{Title: "T", Columns: []string{"a"}, Rows: [][]string{{"1"}}}
	if err := benchtab.Save("x", tab); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("bench/results/x.json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name   string
		Tables []benchtab.Table
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "x" || len(got.Tables) != 1 || got.Tables[0].Rows[0][0] != "1" {
		t.Errorf("saved %s", data)
	}
}

func TestPeakRSSIsAtLeastRSS(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	benchtab.ResetPeak()
	now, peak := benchtab.RSS(), benchtab.PeakRSS()
	if now == 0 || peak < now/2 {
		t.Errorf("RSS %d, peak %d", now, peak)
	}
}
