package dynamodb

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

func digits(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

func TestANumberOfAnotherProgramIsReadUpToTheLargestExactOne(t *testing.T) {
	for _, c := range []struct {
		v    types.AttributeValue
		want float64
		ok   bool
		bad  string
	}{
		{nil, 0, false, ""},
		{digits("0"), 0, true, ""},
		{digits("0.5"), 0.5, true, ""},
		{digits("-0.5"), 0, false, `n is "-0.5", not a number from 0 on`},
		{str(" 7 "), 7, true, ""},
		{digits("9007199254740992"), 1 << 53, true, ""},
		{digits("9007199254740994"), 0, false, `n is "9007199254740994", not a number from 0 on`},
		{str("x"), 0, false, `n is "x", not a number from 0 on`},
		{&types.AttributeValueMemberBOOL{Value: true}, 0, false, "n is a boolean, not a number"},
	} {
		f := &fields{it: item{"n": c.v}}
		got, ok := f.number("n")
		if c.ok && got != c.want || ok != c.ok || strings.Join(f.unreadable, "; ") != c.bad {
			t.Errorf("%v: got %v, %v, %q; want %v, %v, %q", c.v, got, ok, f.unreadable, c.want, c.ok, c.bad)
		}
	}
	for s, want := range map[string]bool{"9.007199254740991E15": true, "9.007199254740992E15": false, "-9.007199254740991E15": true, "-9.007199254740992E15": false} {
		if n, ok := number(item{"n": digits(s)}, "n"); ok != want || !ok && n != 0 {
			t.Errorf("%s: got %d, %v, want %v", s, n, ok, want)
		}
	}
}

func TestEveryTypeHasItsName(t *testing.T) {
	for want, v := range map[string]types.AttributeValue{
		"string": str("x"), "number": num(1), "boolean": &types.AttributeValueMemberBOOL{}, "map": &types.AttributeValueMemberM{}, "list": &types.AttributeValueMemberL{},
		"binary": &types.AttributeValueMemberB{}, "set": &types.AttributeValueMemberSS{},
	} {
		if got := typeName(v); got != want {
			t.Errorf("%T: got %s, want %s", v, got, want)
		}
	}
	for _, v := range []types.AttributeValue{nil, str(""), &types.AttributeValueMemberNULL{Value: true}} {
		if !blank(v) {
			t.Errorf("%#v says something", v)
		}
	}
	for _, v := range []types.AttributeValue{str(" "), num(0), &types.AttributeValueMemberBOOL{}, &types.AttributeValueMemberL{}} {
		if blank(v) {
			t.Errorf("%#v says nothing", v)
		}
	}
}

func TestTimesAreInSecondsUntilTheYear5138AndEndWithTheYear9999(t *testing.T) {
	for _, c := range []struct {
		n    string
		want time.Time
		bad  bool
	}{
		{"99999999999", time.Unix(99_999_999_999, 0), false},
		{"100000000000", time.UnixMilli(100_000_000_000), false},
		{"253402300799000", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), false},
		{"253402300799001", time.Time{}, true},
		{"253402300800000", time.Time{}, true},
	} {
		f := &fields{it: item{"at": digits(c.n)}}
		if got := f.instant("at"); !got.Equal(c.want) || (len(f.unreadable) == 1) != c.bad {
			t.Errorf("%s: got %s, %q; want %s", c.n, got, f.unreadable, c.want)
		}
		// A time that is only shown makes nothing doubtful.
		f = &fields{it: item{"at": digits(c.n)}}
		if got := f.shownInstant("at"); !got.Equal(c.want) || len(f.unreadable) != 0 || (len(f.odd) == 1) != c.bad {
			t.Errorf("%s, only shown: got %s, %q and %q", c.n, got, f.unreadable, f.odd)
		}
	}
}

func TestWhatIsDoubtfulIsReadAsAbsentAndNamedOnce(t *testing.T) {
	wrong := &types.AttributeValueMemberL{}
	for name, read := range map[string]func(*fields) bool{
		"text":      func(f *fields) bool { return f.text("x") == "" },
		"ours":      func(f *fields) bool { n, ok := f.ours("x"); return n == 0 && !ok },
		"count":     func(f *fields) bool { return f.count("x") == 0 },
		"own":       func(f *fields) bool { return f.own("x").IsZero() },
		"size":      func(f *fields) bool { return f.size("x") == -1 },
		"hash":      func(f *fields) bool { return f.hash("x") == "" },
		"yes":       func(f *fields) bool { return !f.yes("x") },
		"instant":   func(f *fields) bool { return f.instant("x").IsZero() },
		"archiveID": func(f *fields) bool { f.it = item{attrArchiveID: wrong}; return f.archiveID() == "" },
		"intent":    func(f *fields) bool { f.it = item{attrIntent: wrong}; return f.intent() == nil },
	} {
		f := &fields{it: item{"x": wrong}}
		if !read(f) || len(f.unreadable) != 1 {
			t.Errorf("%s of a list: it is named %q", name, f.unreadable)
		}
		f = &fields{it: item{}}
		absent := read
		if name != "archiveID" && name != "intent" && (!absent(f) || len(f.unreadable) != 0) {
			t.Errorf("%s of nothing: it is named %q", name, f.unreadable)
		}
	}
	f := &fields{it: item{"x": str("no hash")}}
	if got := f.hash("x"); got != "" || len(f.unreadable) != 1 {
		t.Errorf("a hash that is none: got %q, %q", got, f.unreadable)
	}
	other := func(it item) *fields { return &fields{it: it} }
	for name, c := range map[string]struct {
		f   *fields
		bad int
	}{
		"another attribute looks like it":                    {other(item{"results_archive_id": str("a")}), 1},
		"two others look like it":                            {other(item{"results_archive_id": str("a"), "their_archive_id": str("b")}), 1},
		"another is blank":                                   {other(item{"results_archive_id": str("")}), 0},
		"there is none, and the attribute itself says so":    {other(item{attrArchiveID: str(""), "results_archive_id": str("a")}), 0},
		"there is none, and the attribute itself is NULL":    {other(item{attrArchiveID: &types.AttributeValueMemberNULL{Value: true}, "results_archive_id": str("a")}), 0},
		"there is none, and no attribute that looks like it": {other(item{"archive": str("a")}), 0},
	} {
		if got := c.f.archiveID(); got != "" || len(c.f.unreadable) != c.bad {
			t.Errorf("%s: got %q, %q; want %d faults", name, got, c.f.unreadable, c.bad)
		}
	}
	if h := historyOf(&fields{it: item{"retrieval_failed": num(1)}}); h.Failed[archive.GlacierFailed] != 1 || len(h.Failed) != 1 {
		t.Errorf("one failure is read as %v", h.Failed)
	}
	if h := historyOf(&fields{it: item{"retrieval_failed": num(0)}}); h.Failed != nil {
		t.Errorf("no failure is read as %v", h.Failed)
	}
}

// body is an answer's body that remembers whether it was closed.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestAnAnswerWithAnotherCRCIsAnError(t *testing.T) {
	const whole = "an answer"
	crc := fmt.Sprint(crc32.ChecksumIEEE([]byte(whole)))
	const most = 32 << 20
	long := strings.Repeat("x", most)
	for _, c := range []struct {
		name, crc, sent string
		length          int64
		readErr, err    error
		bad             bool
	}{
		{name: "it is whole", crc: crc, sent: whole, length: int64(len(whole))},
		{name: "nobody says how long it is", crc: crc, sent: whole, length: -1},
		{name: "it is said to be endless", crc: crc, sent: whole, length: 1 << 62},
		{name: "a letter is wrong", crc: crc, sent: "an Answer", length: int64(len(whole)), bad: true},
		{name: "it is cut", crc: crc, sent: whole[:3], length: int64(len(whole)), bad: true},
		{name: "the reading fails", crc: crc, sent: whole, readErr: io.ErrUnexpectedEOF, bad: true},
		{name: "no CRC was sent", sent: "an Answer"},
		{name: "the CRC is none", crc: "4294967296", sent: whole},
		{name: "the call failed", crc: crc, sent: "an Answer", err: errors.New("failed"), bad: true},
		{name: "it has the greatest length", crc: fmt.Sprint(crc32.ChecksumIEEE([]byte(long))), sent: long, length: most},
		{name: "it is longer than any answer", crc: fmt.Sprint(crc32.ChecksumIEEE([]byte(long + "x"))), sent: long + "x", bad: true},
	} {
		var from io.Reader = strings.NewReader(c.sent)
		if c.readErr != nil {
			from = io.MultiReader(from, errReader{c.readErr})
		}
		b := &body{Reader: from}
		header := http.Header{}
		if c.crc != "" {
			header.Set("X-Amz-Crc32", c.crc)
		}
		raw := &smithyhttp.Response{Response: &http.Response{Header: header, Body: b, ContentLength: c.length}}
		next := middleware.DeserializeHandlerFunc(func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
			return middleware.DeserializeOutput{RawResponse: raw}, middleware.Metadata{}, c.err
		})
		_, _, err := verifyAnswer(t.Context(), middleware.DeserializeInput{}, next)
		if (err != nil) != c.bad || c.err == nil && c.bad && !fault.Is(err, fault.Transient) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want an error: %v", c.name, err, c.bad)
		}
		if checked := c.crc != "" && c.crc != "4294967296" && c.err == nil; b.closed != checked {
			t.Errorf("%s: the body is closed: %v, want %v", c.name, b.closed, checked)
		}
		if got, rerr := io.ReadAll(raw.Body); err == nil && (rerr != nil || string(got) != c.sent) {
			t.Errorf("%s: afterwards the body has %d bytes, %v, want %d", c.name, len(got), rerr, len(c.sent))
		}
	}
	next := middleware.DeserializeHandlerFunc(func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
		return middleware.DeserializeOutput{}, middleware.Metadata{}, nil
	})
	if _, _, err := verifyAnswer(t.Context(), middleware.DeserializeInput{}, next); err != nil {
		t.Errorf("no answer over HTTP: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAnAnswerOfKnownLengthIsReadIntoOneBuffer(t *testing.T) {
	for _, size := range []int{1, 1 << 20, maxAnswer} {
		known, unknown := allocations(t, size, int64(size)), allocations(t, size, -1)
		if known >= unknown {
			t.Errorf("%d bytes: %v allocations where the length is known, %v where it is not", size, known, unknown)
		}
	}
}

// allocations returns the number of allocations of reading an answer with that size and that stated length.
func allocations(t *testing.T, size int, length int64) float64 {
	data := bytes.Repeat([]byte("x"), size)
	return testing.AllocsPerRun(2, func() {
		resp := &smithyhttp.Response{Response: &http.Response{Body: io.NopCloser(bytes.NewReader(data)), ContentLength: length}}
		if got, err := readAnswer(resp); err != nil || len(got) != len(data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

func TestACursorThatWasNotMadeHereIsRefused(t *testing.T) {
	of := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	long := func(n int) string { return of(`{"j":"` + strings.Repeat("x", n-16) + `","s":"1"}`) }
	if len(long(1536)) != 2048 || len(long(1537)) != 2050 {
		t.Fatalf("the cursors have %d and %d letters", len(long(1536)), len(long(1537)))
	}
	const jobs, archived, scan = 1, 2, 4 // the lists that take it
	for cursor, takers := range map[string]int{
		of(`{"j":"j","s":"1"}`): jobs, of(`{"j":"j","a":"a"}`): archived, of(`{"j":"j","a":"a","u":"u"}`): archived | scan, of(`{"j":"j","s":"1","u":"u"}`): jobs,
		of(`{"j":"j"}`): 0, of(`{"s":"1"}`): 0, of(`{"a":"a"}`): 0, of(`{"a":"a","u":"u"}`): 0, of(`{"j":"j","s":"1","a":"a"}`): 0, of(`{"j":"j","s":"1","a":"a","u":"u"}`): 0,
		of(`{}`): 0, of(`x`): 0, "%": 0, of(`{"j":"j","s":"1"}`) + "%": 0, of(`{"j":"j","s":"1"`): 0, long(1536): jobs, long(1537): 0, long(1536) + "\n": 0,
	} {
		_, jobsErr := jobsStart(cursor, "u")
		_, archivedErr := archivedStart(cursor, "u")
		c := offline(t)
		_, _, scanErr := c.ArchivedScan(t.Context(), cursor)
		for list, err := range map[int]error{jobs: jobsErr, archived: archivedErr, scan: scanErr} {
			// The scan itself fails in any case: there is no DynamoDB.
			if takes := !fault.Is(err, fault.Invalid); takes != (takers&list != 0) || list != scan && takes != (err == nil) {
				t.Errorf("%.40q: list %d takes it: %v (%v), want %v", cursor, list, takes, err, takers&list != 0)
			}
		}
	}
	for name, start := range map[string]func(string) (item, error){
		"jobs": func(c string) (item, error) { return jobsStart(c, "u") }, "archived": func(c string) (item, error) { return archivedStart(c, "u") },
	} {
		if it, err := start(""); it != nil || err != nil {
			t.Errorf("%s: from the beginning: %v, %v", name, it, err)
		}
	}
	if cursorOf(nil, attrSubmitTime) != "" {
		t.Error("there is a cursor after the end")
	}
}

// denying answers every request with a refusal, but what it has an answer for.
type denying map[string]string

func (d denying) RoundTrip(r *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if a, ok := d[call]; ok {
		return answers(a).RoundTrip(r)
	}
	return &http.Response{StatusCode: 400, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"__type":"AccessDeniedException","message":"not allowed"}`))}, nil
}

func over(t http.RoundTripper) *Catalog {
	return New(aws.Config{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: t}, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	}, Tables{Jobs: "jobs", Accounts: "accounts", Plans: "plans"})
}

func offline(*testing.T) *Catalog { return over(denying{}) }

func TestWhatABatchLeavesOutAndThenFailsIsAnError(t *testing.T) {
	const none = `{"Responses":{},"UnprocessedKeys":{"jobs":{"Keys":[{"job_id":{"S":"j"}}]}}}`
	c := over(denying{"BatchGetItem": none})
	if account, job, err := c.AccountAndJob(t.Context(), "u", "j"); !fault.Is(err, fault.Denied) || account.ID != "" || job.ID != "" {
		t.Errorf("an account and a job: got %+v, %+v, %v", account, job, err)
	}
	for name, call := range map[string]func() error{
		"jobs": func() error { _, err := c.JobsOf(t.Context(), []events.JobID{"j"}); return err },
	} {
		if err := call(); !fault.Is(err, fault.Throttled) {
			t.Errorf("%s: DynamoDB has no time for any: %v", name, err)
		}
	}
	if found, err := offline(t).JobsOf(t.Context(), nil); err != nil || len(found) != 0 {
		t.Errorf("no jobs: %v, %v", found, err)
	}
	// The account can be read, and the job cannot.
	if _, _, err := over(jobsDenied{}).AccountAndJob(t.Context(), "ada", "j1"); !fault.Is(err, fault.Denied) {
		t.Errorf("a job that is denied: %v", err)
	}
}

// jobsDenied throttles the batch, and denies the table of jobs.
type jobsDenied struct{}

func (jobsDenied) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Body = io.NopCloser(bytes.NewReader(data)); bytes.Contains(data, []byte(`"TableName":"jobs"`)) {
		return denying{}.RoundTrip(r)
	}
	return (&halves{}).RoundTrip(r)
}

func TestABatchIsAskedForUntilItIsWhole(t *testing.T) {
	d := &partly{}
	found, err := over(d).JobsOf(t.Context(), []events.JobID{"j1", "j2", "j3"})
	if err != nil || len(found) != 3 || d.calls != 3 {
		t.Errorf("%d calls found %v, %v; want three of each", d.calls, found, err)
	}
}

// partly answers for one job of a batch at a time.
type partly struct{ calls int }

func (p *partly) RoundTrip(r *http.Request) (*http.Response, error) {
	p.calls++
	var rest []string
	for i := p.calls + 1; i <= 3; i++ {
		rest = append(rest, fmt.Sprintf(`{"job_id":{"S":"j%d"}}`, i))
	}
	unprocessed := "{}"
	if len(rest) > 0 {
		unprocessed = `{"jobs":{"Keys":[` + strings.Join(rest, ",") + `]}}`
	}
	return answers(fmt.Sprintf(`{"Responses":{"jobs":[{"job_id":{"S":"j%d"}}]},"UnprocessedKeys":%s}`, p.calls, unprocessed)).RoundTrip(r)
}

func TestTheAttributesThatAreTidiedAreAllThatAConditionCompares(t *testing.T) {
	job, account := compared()
	for _, name := range []string{attrArchiveID, attrRetrievalID, attrIntent, attrTries} {
		if !slices.Contains(job, name) {
			t.Errorf("%s of a job is not tidied", name)
		}
	}
	for _, name := range []string{attrPlanID, attrPlanState, attrRoleChangedAt, attrPlansOpened, attrAnnounceDue} {
		if !slices.Contains(account, name) {
			t.Errorf("%s of an account is not tidied", name)
		}
	}
	for _, c := range []struct {
		a, b types.AttributeValue
		want bool
	}{{num(1), num(1), true}, {num(1), num(2), false}, {num(1), digits("1.0"), false}, {str("1"), num(1), false}, {num(1), str("1"), false}, {str("1"), str("1"), false}} {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%v and %v are the same: %v", c.a, c.b, got)
		}
	}
}
