package web

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"mime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testclock"
	"github.com/gas-restore/gas/pkg/events"
)

// leaky is a stream that gives the changes of all users to each user, as a stream with a
// wrong subject does.
type leaky struct{ *fixturePorts }

func (l leaky) Kept(_ context.Context, _ events.UserID, after, upto events.Position) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		l.mu.Lock()
		kept := slices.Clone(l.statuses)
		l.mu.Unlock()
		for _, st := range kept {
			if st.Position.Seq > after.Seq && st.Position.Seq <= upto.Seq && !yield(st, nil) {
				return
			}
		}
	}
}

func TestFileNamesAreHarmless(t *testing.T) {
	for key, want := range map[string]string{
		"gas/ada/j1~sample.annot.vcf":   "sample.annot.vcf",
		"sample.vcf":                    "sample.vcf",
		"a/j1~x\"; filename=\"evil.exe": "x__ filename__evil.exe",
		"a/x\r\nSet-Cookie: a=b.vcf":    "xSet-Cookie_ a_b.vcf",
		"a/..":                          "result",
		"a/.htaccess":                   "htaccess",
		"a/-rf":                         "rf",
		`a\..\..\evil.vcf`:              "evil.vcf",
		"a/\u202Efcv.exe":               "fcv.exe",
		"a/пример é.vcf":                "пример é.vcf",
		"a/%2e%2e%2fx":                  "_2e_2e_2fx",
		"a/$(reboot)`x`.vcf":            "_(reboot)_x_.vcf",
		"":                              "result",
		"a/\xff\xfe.vcf":                "vcf",
		"a/" + strings.Repeat("é", 150): strings.Repeat("é", 100),
		"a/name. . ":                    "name",
		"a/" + strings.Repeat("x", 300) + ".annot.vcf.gz": strings.Repeat("x", 187) + ".annot.vcf.gz",
		"a/" + strings.Repeat("é", 150) + ".vcf":          strings.Repeat("é", 98) + ".vcf",
		"a/x." + strings.Repeat("y", 300):                 "x." + strings.Repeat("y", 198),
		"a/j1~":                                           "result",
	} {
		got := fileName(archive.Job{ID: "j1", Result: archive.Object{Key: key}})
		if got != want {
			t.Errorf("fileName(%q) is %q, want %q", key, got, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("j1", "a/j1~x\"\r\n.vcf")
	f.Fuzz(func(t *testing.T, id, key string) {
		got := fileName(archive.Job{ID: events.JobID(id), Result: archive.Object{Key: key}})
		if got == "" || len(got) > maxFileName || !utf8.ValidString(got) || strings.ContainsAny(got, "/\\\"';%<>|:*?`$&\r\n\x00") || strings.HasPrefix(got, ".") {
			t.Fatalf("fileName(%q) is %q", key, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Fatalf("fileName(%q) is %q", key, got)
			}
		}
		if mime.FormatMediaType("attachment", map[string]string{"filename": got}) == "" {
			t.Fatalf("%q makes no header", got)
		}
	})
}

func TestASecretDoesNotPrint(t *testing.T) {
	s := Secret("hunter2")
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "secret", s, "config", Config{ClientSecret: s})
	j, err := json.Marshal(struct{ S Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	all := b.String() + string(j) + fmt.Sprint(s) + fmt.Sprintf("%v %+v %#v %s %q", s, Config{ClientSecret: s}, Config{ClientSecret: s}, s, s)
	if strings.Contains(all, "hunter2") {
		t.Errorf("printed: %s", all)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	_, err := New(Config{BaseURL: "http://gas.example.org", Issuer: "nonsense", FormerIssuers: []string{"https://a.example", "http://b.example"}, PageSize: 1000}, Deps{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"base URL", "issuer is \"nonsense\"", `former issuer is "http://b.example"`, "client id", "client secret", "page size", "accounts", "jobs", "announcer", "downloads", "statuses"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name the %s: %v", want, err)
		}
	}
	for _, base := range []string{"https://gas.example.org/app", "https://u:p@gas.example.org", "gas.example.org", "ftp://gas.example.org", "https://gas.example.org?x"} {
		if checkURL("base URL", base, false) == nil {
			t.Errorf("base URL %q is taken", base)
		}
	}
}

func TestMemoryIsBoundedAndForgets(t *testing.T) {
	clk := testclock.At(time.Now())
	m := newMemoryStore(3)
	m.now = clk.Now
	for i := range 10 {
		if err := m.Set(t.Context(), fmt.Sprint(i), []byte{byte(i)}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.entries) != 3 || m.order.Len() != 3 {
		t.Fatalf("%d entries in order of %d, want 3", len(m.entries), m.order.Len())
	}
	if v, _ := m.Get(t.Context(), "6"); v != nil {
		t.Error("the oldest entry is there")
	}
	v, _ := m.Get(t.Context(), "9")
	if len(v) != 1 || v[0] != 9 {
		t.Errorf("the newest entry is %v", v)
	}
	v[0] = 0
	if v, _ = m.Get(t.Context(), "9"); v[0] != 9 {
		t.Error("an entry was changed from outside")
	}
	clk.Add(time.Minute)
	if v, _ = m.Get(t.Context(), "9"); v != nil {
		t.Error("an expired entry is there")
	}
	_ = m.Set(t.Context(), "a", []byte("x"), 0)
	clk.Add(1000 * time.Hour)
	if v, _ = m.Get(t.Context(), "a"); string(v) != "x" {
		t.Error("an entry without end ended")
	}
	_ = m.Set(t.Context(), "", []byte("x"), 0)
	_ = m.Set(t.Context(), "b", nil, 0)
	if v, _ = m.Get(t.Context(), "b"); v != nil {
		t.Error("an empty value was kept")
	}
	_ = m.Delete(t.Context(), "a")
	_ = m.Delete(t.Context(), "a")
	if v, _ = m.Get(t.Context(), "a"); v != nil {
		t.Error("a deleted entry is there")
	}
}

func TestEveryStateHasItsLook(t *testing.T) {
	tones := map[string]bool{"quiet": true, "cold": true, "plan": true, "work": true, "good": true, "bad": true}
	icons, err := templateFiles.ReadFile("templates/icons.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []archive.State{
		archive.Pending, archive.Errored, archive.Archived, archive.Planned, archive.Requested, archive.Available,
		archive.Ready, archive.Copying, archive.Verifying, archive.Restored, archive.Failed, archive.Expired, "of a newer release",
	} {
		l := lookOf(st)
		if l.Label == "" || l.Sentence == "" || !tones[l.Tone] || !strings.Contains(string(icons), `id="`+l.Icon+`"`) {
			t.Errorf("state %q looks like %+v", st, l)
		}
		if steps := stepsAt(lookOf(st).Step); steps != nil {
			now := 0
			for _, s := range steps {
				if s.Mark == "now" {
					now++
				}
			}
			if want := 1; st == archive.Restored && now != 0 || st != archive.Restored && now != want {
				t.Errorf("state %q has %d current steps", st, now)
			}
		}
	}
	if lookOf(archive.Requested).Sentence != archive.Restoring {
		t.Error("the sentence is another one")
	}
}

func TestBytesAreReadable(t *testing.T) {
	for n, want := range map[int64]string{-1: "", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 9940: "9.9 kB", 9960: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB", 1_234_567_890: "1.2 GB", 1 << 62: "4612 PB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) is %q, want %q", n, got, want)
		}
	}
}
