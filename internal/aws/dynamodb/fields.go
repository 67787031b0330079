package dynamodb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/checksum/treehash"
)

// Any program may have written an item: boto3 writes None as NULL, a table that was
// imported from CSV has numbers as strings, and some programs write times in seconds,
// others in milliseconds. A value with only one possible meaning is read with this
// meaning. NULL and an empty string count as absent, and [Catalog.tidy] makes the
// conditions of our writes agree. Other values are reported, and the pipeline leaves such
// a job alone.

// fields reads an item's attributes, and records those that it cannot understand.
type fields struct {
	it item
	// unreadable names each attribute that decides about a file and cannot be read. odd
	// names the other attributes that cannot be read.
	unreadable, odd []string
}

// blank reports whether the attribute is absent, NULL or empty.
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

// typeName returns the name of the attribute's type in DynamoDB's documentation.
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

// shown returns a string that is only shown to people.
func (f *fields) shown(name string) string {
	kept := len(f.unreadable)
	s := f.text(name)
	f.demote(kept)
	return s
}

// demote moves the attributes that became unreadable since then to odd.
func (f *fields) demote(kept int) {
	f.odd = append(f.odd, f.unreadable[kept:]...)
	f.unreadable = f.unreadable[:kept]
}

// number returns a number that another program may have written, perhaps as a string or
// with a fraction. ok is false if it is absent.
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

// maxNumber is the largest whole number up to which a float64 is exact.
const maxNumber = 1 << 53

// ours returns a number that only this service writes. The writes add to it, and DynamoDB
// adds only to a number.
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

// count returns a number that only this service writes, zero if it is absent.
func (f *fields) count(name string) int {
	n, _ := f.ours(name)
	return int(n)
}

// laterThanSeconds separates times in seconds from times in milliseconds: in seconds it
// is the year 5138, in milliseconds March 1973.
const laterThanSeconds = 100_000_000_000

// latest is the last moment that time.Time's JSON and our pages can show.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// instant returns a time that another program may have written, in Unix seconds or
// milliseconds; zero if it is absent.
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

// shownInstant returns a time that is only shown and sorted by.
func (f *fields) shownInstant(name string) time.Time {
	kept := len(f.unreadable)
	at := f.instant(name)
	f.demote(kept)
	return at
}

// own returns a time that only this service writes, in Unix milliseconds; zero if it is
// absent.
func (f *fields) own(name string) time.Time {
	n, ok := f.ours(name)
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// size returns a size in bytes, -1 if it is absent.
func (f *fields) size(name string) int64 {
	n, ok := f.number(name)
	if !ok {
		return -1
	}
	return int64(n)
}

// hash returns a tree hash in lower-case hex, empty if it is absent.
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

// archiveID returns the archive's id. If it is absent and another attribute looks like
// one, the table probably has another name for it. Without this check, the job would
// count as one that is in S3.
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
