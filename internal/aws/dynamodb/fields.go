package dynamodb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// An item may have been written by anybody: boto3 writes None as NULL, a table that
// was imported from CSV has numbers as strings, and one program's times are in seconds
// where another's are in milliseconds. What means nothing else is read as what it means;
// NULL and an empty string are read as absent, and [Catalog.tidy] lets the conditions
// of our writes agree. What is left is named, and nobody acts on such a job.

// fields reads an item's attributes, and notes those that it cannot make sense of.
type fields struct {
	it item
	// unreadable names each attribute that decides about a file and could not be read,
	// odd each other one that could not.
	unreadable, odd []string
}

// blank reports whether the attribute says nothing: it is absent, NULL or empty.
func blank(v types.AttributeValue) bool {
	switch v := v.(type) {
	case nil:
		return true
	case *types.AttributeValueMemberNULL:
		return true
	case *types.AttributeValueMemberS:
		return v.Value == ""
	}
	return false
}

// typeName is how DynamoDB's documentation calls the attribute's type.
func typeName(v types.AttributeValue) string {
	switch v.(type) {
	case *types.AttributeValueMemberS:
		return "string"
	case *types.AttributeValueMemberN:
		return "number"
	case *types.AttributeValueMemberBOOL:
		return "boolean"
	case *types.AttributeValueMemberM:
		return "map"
	case *types.AttributeValueMemberL:
		return "list"
	case *types.AttributeValueMemberB:
		return "binary"
	}
	return "set"
}

func (f *fields) bad(name, format string, args ...any) {
	f.unreadable = append(f.unreadable, name+" "+fmt.Sprintf(format, args...))
}

// text returns a string that decides about a file.
func (f *fields) text(name string) string {
	v := f.it[name]
	if blank(v) {
		return ""
	}
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	f.bad(name, "is a %s, not a string", typeName(v))
	return ""
}

// shown returns a string that is only shown.
func (f *fields) shown(name string) string {
	kept := len(f.unreadable)
	s := f.text(name)
	f.demote(kept)
	return s
}

// demote moves what was found unreadable since then to what is only odd.
func (f *fields) demote(kept int) {
	f.odd = append(f.odd, f.unreadable[kept:]...)
	f.unreadable = f.unreadable[:kept]
}

// number returns a number that somebody else may have written: also one that is kept as
// a string, or with a fraction. ok is false if it is not there.
func (f *fields) number(name string) (n float64, ok bool) {
	v := f.it[name]
	if blank(v) {
		return 0, false
	}
	digits := ""
	switch v := v.(type) {
	case *types.AttributeValueMemberN:
		digits = v.Value
	case *types.AttributeValueMemberS:
		digits = strings.TrimSpace(v.Value)
	default:
		f.bad(name, "is a %s, not a number", typeName(v))
		return 0, false
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n < 0 || n > maxNumber {
		f.bad(name, "is %.40q, not a number from 0 on", digits)
		return 0, false
	}
	return n, true
}

// maxNumber is the largest whole number that a float64 has no gaps before.
const maxNumber = 1 << 53

// ours returns a number that only this service writes. Its writes add to it, which
// DynamoDB refuses for anything but a number.
func (f *fields) ours(name string) (n int64, ok bool) {
	v := f.it[name]
	if blank(v) {
		return 0, false
	}
	if _, is := v.(*types.AttributeValueMemberN); !is {
		f.bad(name, "is a %s, not a number", typeName(v))
		return 0, false
	}
	n, ok = number(f.it, name)
	if !ok {
		f.bad(name, "is no whole number that fits 64 bits")
	}
	return n, ok
}

// count returns a number that only this service writes, zero if it is not there.
func (f *fields) count(name string) int {
	n, _ := f.ours(name)
	return int(n)
}

// laterThanSeconds parts times in seconds from those in milliseconds: as seconds it is
// the year 5138, as milliseconds March 1973.
const laterThanSeconds = 100_000_000_000

// latest is the last moment that time.Time's JSON and our pages can show.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// instant returns a time that somebody else may have written, in Unix seconds or
// milliseconds; zero if it is not there.
func (f *fields) instant(name string) time.Time {
	n, ok := f.number(name)
	if !ok {
		return time.Time{}
	}
	at := time.UnixMilli(int64(n))
	if n < laterThanSeconds {
		at = time.Unix(int64(n), 0)
	}
	if at.After(latest) {
		f.bad(name, "is %.0f, which is no time in seconds or milliseconds", n)
		return time.Time{}
	}
	return at.UTC()
}

// shownInstant returns a time that is only shown, and sorted by.
func (f *fields) shownInstant(name string) time.Time {
	kept := len(f.unreadable)
	at := f.instant(name)
	f.demote(kept)
	return at
}

// own returns a time that only this service writes, in Unix milliseconds; zero if it is
// not there.
func (f *fields) own(name string) time.Time {
	n, ok := f.ours(name)
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// size returns a size in bytes, -1 if it is not there.
func (f *fields) size(name string) int64 {
	n, ok := f.number(name)
	if !ok {
		return -1
	}
	return int64(n)
}

// hash returns a tree hash in lower-case hex, empty if it is not there.
func (f *fields) hash(name string) string {
	s := strings.ToLower(f.text(name))
	if s == "" {
		return ""
	}
	if _, ok := treehash.Parse(s); !ok {
		f.bad(name, "is %.80q, not a SHA-256 tree hash in hex", s)
		return ""
	}
	return s
}

// yes returns a boolean that only this service writes.
func (f *fields) yes(name string) bool {
	v := f.it[name]
	if blank(v) {
		return false
	}
	b, ok := v.(*types.AttributeValueMemberBOOL)
	if !ok {
		f.bad(name, "is a %s, not a boolean", typeName(v))
		return false
	}
	return b.Value
}

// archiveID returns the archive's id. Where it is not there and another attribute
// looks as if it were the one, the table has another name for it, and a job would be
// taken for one that is in S3.
func (f *fields) archiveID() string {
	id := f.text(attrArchiveID)
	if id != "" || f.it[attrArchiveID] != nil {
		return id
	}
	for name, v := range f.it {
		if strings.HasSuffix(name, attrArchiveID) && !blank(v) {
			f.bad(attrArchiveID, "is not there, and %s is: set GAS_JOB_ATTRIBUTES=%s=%s if that is its name", name, attrArchiveID, name)
			return ""
		}
	}
	return ""
}
