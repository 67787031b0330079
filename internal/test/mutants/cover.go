package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"regexp"
	"strconv"
)

// coverage is which parts of a package its tests run through.
type coverage map[string][]block // by the file's name, without its folder

type block struct {
	fromLine, fromColumn, toLine, toColumn int
	reached                                bool
}

var profileLine = regexp.MustCompile(`^(.+):(\d+)\.(\d+),(\d+)\.(\d+) \d+ (\d+)$`)

// readCoverage reads a profile as go test -coverprofile writes it, of one package,
// where several test binaries may have written of the same block.
func readCoverage(file string) (coverage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := coverage{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m := profileLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue // the mode
		}
		var n [5]int
		for i := range n {
			if n[i], err = strconv.Atoi(m[i+2]); err != nil {
				return nil, fmt.Errorf("%s: %q: %w", file, lines.Text(), err)
			}
		}
		name := path.Base(m[1])
		c[name] = append(c[name], block{n[0], n[1], n[2], n[3], n[4] > 0})
	}
	return c, lines.Err()
}

// reaches tells whether some test runs through the place. What is in no block, such as a table
// outside of any function, cannot be told, and counts as reached.
func (c coverage) reaches(file string, line, column int) bool {
	known := false
	for _, b := range c[path.Base(file)] {
		after := line > b.fromLine || line == b.fromLine && column >= b.fromColumn
		before := line < b.toLine || line == b.toLine && column < b.toColumn
		if after && before {
			if b.reached {
				return true
			}
			known = true
		}
	}
	return !known
}
