// Package benchtab prints what a benchmark measured, and keeps it: a table for
// people, and bench/results/<name>.json for whoever compares two runs.
package benchtab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is one table of results. Every row has as many cells as there are columns.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
	// Notes say what a reader must know to trust the numbers.
	Notes []string `json:"notes,omitempty"`
}

// Add adds a row; each cell is printed as fmt.Sprint prints it.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.Rows = append(t.Rows, row)
}

// Print writes the table: the first column to the left, the others, which are
// numbers, to the right.
func (t *Table) Print(w io.Writer) error {
	width := make([]int, len(t.Columns))
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", t.Title)
	line := func(row []string) {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteByte('\n')
	}
	line(t.Columns)
	for i, n := range width {
		b.WriteString("  " + strings.Repeat("-", n))
		if i == len(width)-1 {
			b.WriteByte('\n')
		}
	}
	for _, row := range t.Rows {
		line(row)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "\n  %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Save writes the tables to bench/results/<name>.json below the working
// directory, with when and on what they were measured.
func Save(name string, tables ...*Table) error {
	data, err := json.MarshalIndent(struct {
		Name   string    `json:"name"`
		At     time.Time `json:"at"`
		Go     string    `json:"go"`
		OSArch string    `json:"os_arch"`
		CPUs   int       `json:"cpus"`
		Tables []*Table  `json:"tables"`
	}{name, time.Now().UTC().Truncate(time.Second), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, runtime.NumCPU(), tables}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join("bench", "results", name+".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// PeakRSS returns the most memory, in bytes, that this process had resident since
// it started or since [ResetPeak]; 0 where the system doesn't tell (proc(5) VmHWM).
func PeakRSS() int64 { return memory("VmHWM:") }

// RSS returns the memory, in bytes, that this process has resident now.
func RSS() int64 { return memory("VmRSS:") }

// ResetPeak makes [PeakRSS] start again from what is resident now (proc(5),
// clear_refs).
func ResetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func memory(field string) int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			var kb int64
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// CPU returns how much of the processors a process has had, the system's share for it
// included; 0 where the system doesn't tell (proc(5): utime and stime of stat, in
// hundredths of a second, are the 14th and the 15th field).
func CPU(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the 2nd field is a name in brackets
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
