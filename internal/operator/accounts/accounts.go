// Package accounts reads files of accounts that another system exported. A file is CSV
// with a header, or JSON lines. An error names the line, the field and the fault. Reading
// needs little memory, however long the file is.
package accounts

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// maxLine is the length of the longest line in bytes, maxText that of the longest name or
// e-mail address.
const (
	maxLine = 64 << 10
	maxText = 1000
)

// The fields that are read. Upper and lower case differ.
const (
	fieldUser  = "user_id"
	fieldRole  = "role"
	fieldName  = "name"
	fieldEmail = "email"
)

func known() []string { return []string{fieldUser, fieldRole, fieldName, fieldEmail} }

// Read calls do for each account of the file, and returns the names of the other fields.
// The file's name gives the format: .csv or .jsonl. An error names the line, the field
// and the fault. An error of do ends the reading. A user who is listed twice is an error
// too.
func Read(r io.Reader, name string, do func(archive.Account) error) (ignored []string, err error) {
	f := file{name: filepath.Base(name), seen: map[events.UserID]int{}, ignored: map[string]bool{}, do: do}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		err = f.csv(r)
	case ".jsonl", ".ndjson":
		err = f.lines(r)
	default:
		err = fmt.Errorf("%s: the name ends neither in .csv nor in .jsonl", f.name)
	}
	return slices.Sorted(maps.Keys(f.ignored)), err
}

// file is a file that is being read.
type file struct {
	name    string
	seen    map[events.UserID]int // the line of each user
	ignored map[string]bool
	do      func(archive.Account) error
}

func (f *file) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s, line %d: %w", f.name, line, fmt.Errorf(format, args...))
}

// csv reads one line at a time: so an unclosed quote costs one line, and not the rest of
// the file in memory.
func (f *file) csv(r io.Reader) error {
	var header []string
	return f.eachLine(r, func(line int, text []byte) error {
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff")) // which spreadsheets write
		}
		row, err := csv.NewReader(bytes.NewReader(text)).Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil // an empty line
		case err != nil:
			return f.errorf(line, "is no CSV of one line: %w", errors.Unwrap(err))
		case header == nil:
			header = row
			return f.header(line, header)
		case len(row) != len(header):
			return f.errorf(line, "has %d fields, the header has %d", len(row), len(header))
		}
		values := map[string]string{}
		for i, v := range row {
			values[header[i]] = strings.TrimSpace(v)
		}
		return f.account(line, values)
	}, func() error {
		if header == nil {
			return fmt.Errorf("%s is empty: its first line names the fields, %s at least", f.name, fieldUser)
		}
		return nil
	})
}

func (f *file) header(line int, header []string) error {
	for i, name := range header {
		header[i] = strings.TrimSpace(name)
		if slices.Contains(header[:i], header[i]) {
			return f.errorf(line, "two columns are called %q", header[i])
		}
		if !slices.Contains(known(), header[i]) {
			f.ignored[header[i]] = true
		}
	}
	if !slices.Contains(header, fieldUser) {
		return f.errorf(line, "no column is called %s", fieldUser)
	}
	return nil
}

// eachLine passes on each line, and calls end after the last one.
func (f *file) eachLine(r io.Reader, do func(line int, text []byte) error, end func() error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	line := 0
	for s.Scan() {
		line++
		if err := do(line, s.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return f.errorf(line+1, "has more than %d bytes", maxLine)
	}
	if s.Err() != nil {
		return fmt.Errorf("read %s: %w", f.name, s.Err())
	}
	return end()
}

// lines reads one object on each line.
func (f *file) lines(r io.Reader) error {
	return f.eachLine(r, func(line int, text []byte) error {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			return nil
		}
		// This is a map because a struct would take "Role" for "role".
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil || object == nil {
			return f.errorf(line, "is no JSON object")
		}
		values := map[string]string{}
		for name, raw := range object {
			if !slices.Contains(known(), name) {
				f.ignored[name] = true
				continue
			}
			if string(raw) == "null" {
				continue
			}
			var v string
			if err := json.Unmarshal(raw, &v); err != nil {
				return f.errorf(line, "%s is no string", name)
			}
			values[name] = strings.TrimSpace(v)
		}
		return f.account(line, values)
	}, func() error { return nil })
}

// account checks a user's values, and passes the account on.
func (f *file) account(line int, values map[string]string) error {
	id := events.UserID(values[fieldUser])
	switch {
	case id == "":
		return f.errorf(line, "%s is missing", fieldUser)
	case len(id) > events.MaxIDLength || !utf8.ValidString(string(id)):
		return f.errorf(line, "%s has more than %d bytes, or is no text", fieldUser, events.MaxIDLength)
	}
	for _, name := range []string{fieldName, fieldEmail} {
		if v := values[name]; len(v) > maxText || !utf8.ValidString(v) {
			return f.errorf(line, "%s of user %q has more than %d bytes, or is no text", name, id, maxText)
		}
	}
	role := archive.Role(values[fieldRole])
	switch role {
	case "":
		role = archive.Free
	case archive.Free, archive.Premium:
	default:
		return f.errorf(line, "%s of user %q is %.40q: it is %s or %s", fieldRole, id, role, archive.Free, archive.Premium)
	}
	if before, twice := f.seen[id]; twice {
		return f.errorf(line, "user %q is in line %d already", id, before)
	}
	f.seen[id] = line
	return f.do(archive.Account{ID: id, Role: role, Name: values[fieldName], Email: values[fieldEmail]})
}
