package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// equivalent is a mutation with a proof that it changes nothing that matters.
type equivalent struct {
	at  int // line of the file
	pkg string
	in  string // the function
	// line is the line of the source, change the mutation's name.
	line, change string
	// nth is which one it is of several that are the same so far; 1 is the first.
	nth int
	why string
}

// parseEquivalents reads the list: paragraphs of "package:", "in:", "line:", "change:",
// "nth:" where one is needed, and "why:", which may continue in indented lines. A line
// that begins with # is a comment.
func parseEquivalents(text string) ([]equivalent, error) {
	var all []equivalent
	var errs []error
	var now *equivalent
	var last *string
	end := func() {
		if now == nil {
			return
		}
		if now.pkg == "" || now.line == "" || now.change == "" || now.why == "" {
			errs = append(errs, fmt.Errorf("line %d: an entry needs package, line, change and why", now.at))
		}
		all = append(all, *now)
		now, last = nil, nil
	}
	n := 0
	for raw := range strings.Lines(text) {
		n++
		raw = strings.TrimRight(raw, "\r\n")
		if strings.HasPrefix(raw, "#") {
			continue
		}
		if strings.TrimSpace(raw) == "" {
			end()
			continue
		}
		if raw[0] == ' ' || raw[0] == '\t' {
			if last == nil {
				errs = append(errs, fmt.Errorf("line %d: nothing goes on here", n))
				continue
			}
			*last += " " + strings.TrimSpace(raw)
			continue
		}
		key, value, _ := strings.Cut(raw, ":")
		value = strings.TrimSpace(value)
		if now == nil {
			now = &equivalent{at: n, nth: 1}
		}
		fields := map[string]*string{"package": &now.pkg, "in": &now.in, "line": &now.line, "change": &now.change, "why": &now.why}
		if field, ok := fields[key]; ok {
			*field, last = value, field
			continue
		}
		if nth, err := strconv.Atoi(value); key == "nth" && err == nil && nth > 0 {
			now.nth, last = nth, nil
			continue
		}
		errs = append(errs, fmt.Errorf("line %d: %q is no field of an entry", n, key))
	}
	end()
	return all, errors.Join(errs...)
}

// match returns the proofs for a package's mutations, by the index of the mutation. An
// entry that fits no mutation is an error: the code has changed, and perhaps the proof no
// longer holds.
func match(pkg string, ms []mutation, list []equivalent) (map[int]string, error) {
	why := map[int]string{}
	var errs []error
	for _, e := range list {
		if e.pkg != pkg {
			continue
		}
		var fit []int
		for i, m := range ms {
			if m.in == e.in && m.source == e.line && m.change == e.change {
				fit = append(fit, i)
			}
		}
		switch {
		case len(fit) < e.nth:
			errs = append(errs, fmt.Errorf("line %d: %q in %s fits no mutation of %s any more", e.at, e.change, e.in, pkg))
		case why[fit[e.nth-1]] != "":
			errs = append(errs, fmt.Errorf("line %d: %q in %s is there twice", e.at, e.change, e.in))
		default:
			why[fit[e.nth-1]] = e.why
		}
	}
	return why, errors.Join(errs...)
}
