package web

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/pkg/events"
)

// restoredJob adds a job that came back, with the key and the bytes of its result.
func (b *fixture) restoredJob(id events.JobID, key, content string) archive.Job {
	j := b.ports.archived("ada", id, b.clock.Now())
	b.ports.change(func() {
		j = b.ports.jobs[id]
		j.Result.Key, j.RestoredBy = key, "retrieval"
		b.ports.jobs[id] = j
	})
	b.ports.restored(id, content)
	return j
}

func TestAZipHasEachFileThatIsBack(t *testing.T) {
	b := newFixture(t)
	want := map[string]string{
		"a.vcf": "one", "A (2).vcf": "two", "a (3).vcf": "three", "пример é.vcf": "four", "_CON.vcf": "five", "result": "six", "empty.vcf": "", "a (2) (2).vcf": "seven",
	}
	at := b.clock.Now()
	for i, f := range [][2]string{{"x~a.vcf", "one"}, {"x/j1~A.vcf", "two"}, {"x/j2~a.vcf", "three"}, {"x/пример é.vcf", "four"}, {"x/j4~CON.vcf", "five"}, {"x/...", "six"}, {"x/empty.vcf", ""}, {"x/a (2).vcf", "seven"}} {
		id := events.JobID(fmt.Sprint("j", i))
		b.restoredJob(id, f[0], f[1])
		b.ports.change(func() {
			j := b.ports.jobs[id]
			j.SubmittedAt = at.Add(-time.Duration(i) * time.Minute)
			b.ports.jobs[id] = j
		})
	}
	b.ports.change(func() { // the key of the first one has no folder
		j := b.ports.jobs["j0"]
		o := b.ports.objects[j.Result]
		j.Result.Key = "j0~a.vcf"
		b.ports.objects[j.Result] = o
		b.ports.jobs["j0"] = j
	})
	// Neither of these is back: one never was away, the object of the other is gone, the third is
	// in the archive, and the last one is Bob's.
	b.restoredJob("never", "never.vcf", "never")
	b.ports.change(func() {
		j := b.ports.jobs["never"]
		j.RestoredBy, j.RestoredAt = "", time.Time{}
		b.ports.jobs["never"] = j
		gone := b.ports.jobs["j2"]
		gone.ID, gone.Result.Key = "gone", "gone.vcf"
		b.ports.jobs["gone"] = gone
	})
	b.ports.archived("ada", "away", b.clock.Now())
	b.restoredJob("bobs", "bobs.vcf", "private")
	b.ports.change(func() {
		j := b.ports.jobs["bobs"]
		j.UserID = "bob"
		b.ports.jobs["bobs"] = j
	})
	ada := b.signedIn("ada", "")
	a := ada.get(zipPath)
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/zip" || !strings.Contains(a.Header.Get("Content-Disposition"), "results.zip") {
		t.Fatalf("the zip answers %s %v", a.Status, a.Header)
	}
	z, err := zip.NewReader(strings.NewReader(a.body), int64(len(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if _, twice := got[f.Name]; twice {
			t.Errorf("%s is there twice", f.Name)
		}
		got[f.Name] = string(data)
	}
	missing := got[leftOut]
	delete(got, leftOut)
	if !strings.Contains(missing, "gone.vcf (gone)") || strings.Count(missing, "\n") != 1 {
		t.Errorf("the list of what is missing has %q, want gone.vcf", missing)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the zip has\n%q, want\n%q", got, want)
	}
	if head, err := ada.http.Head(b.url + zipPath); err != nil || head.StatusCode != 200 || head.ContentLength > 0 {
		t.Errorf("HEAD answers %v, %v", head, err)
	}

	// The manifest has the same files under the same names, with what is needed to get and to
	// compare them.
	m := ada.manifest(t, "")
	if len(m) != len(want) {
		t.Errorf("the manifest has %d files, want %d", len(m), len(want))
	}
	for _, f := range m {
		if content, ok := want[f.Path]; !ok || f.Size != int64(len(content)) || f.CRC == "" || f.RestoredAt.IsZero() {
			t.Errorf("the manifest has %+v", f)
		}
		back := ada.get(f.Link)
		if back.StatusCode != 200 || back.body != want[f.Path] {
			t.Errorf("the link of %s answers %s %q, want %q", f.Path, back.Status, back.body, want[f.Path])
		}
	}
	if all := ada.manifest(t, "?set=ready"); len(all) != len(want)+1 {
		t.Errorf("the manifest of all that is ready has %d files, want %d", len(all), len(want)+1)
	}
	if a := ada.get(manifestPath + "?set=x"); a.StatusCode != 400 {
		t.Errorf("another set answers %s", a.Status)
	}
	ada.wants(ada.get(zipPath+"?set=x"), 400)
	if a := b.browser().get(manifestPath); a.StatusCode != 401 {
		t.Errorf("a stranger's manifest answers %s", a.Status)
	}
}

// manifest returns the files of a manifest.
func (b *browser) manifest(t *testing.T, query string) []manifestFile {
	t.Helper()
	a := b.get(manifestPath + query)
	var m struct {
		Files    []manifestFile
		Complete bool
	}
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.StatusCode != 200 || !m.Complete {
		t.Fatalf("the manifest answers %s, %v: %s", a.Status, err, a.body)
	}
	return m.Files
}

// TestALinkOfTheManifestGoesOnAfterACut asks for the rest of a file, as curl -C does.
func TestALinkOfTheManifestGoesOnAfterACut(t *testing.T) {
	b := newFixture(t)
	b.restoredJob("j1", "j1~a.vcf", "0123456789")
	ada := b.signedIn("ada", "")
	link := ada.manifest(t, "")[0].Link
	var signed []string
	for _, from := range []int{0, 4} {
		req, err := http.NewRequest(http.MethodGet, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		a := ada.do(req)
		if a.StatusCode != http.StatusPartialContent || a.body != "0123456789"[from:] {
			t.Errorf("from %d on the link answers %s %q", from, a.Status, a.body)
		}
		b.clock.Add(time.Hour - time.Minute)
		signed = append(signed, a.Request.URL.String())
		ada.get("/") // somebody is there
	}
	if !strings.HasPrefix(signed[0], b.ports.store.URL) || !strings.HasPrefix(signed[1], b.ports.store.URL) {
		t.Errorf("the links lead to %v, want the store", signed)
	}
}

// wild is a store with files of made-up bytes, without memory for them.
type wild struct {
	Downloads
	sizes map[archive.Object]int64
	// reads counts the calls of Read. breakAt breaks each n-th read after some bytes, if it is
	// not 0. stop, if set, is called with the number of bytes that were read.
	reads   atomic.Int64
	breakAt int64
	read    atomic.Int64
	stop    func(ctx context.Context, read int64) error
}

func (w *wild) Stat(_ context.Context, o archive.Object) (archive.Found, error) {
	return archive.Found{Object: o, Size: w.sizes[o], ETag: `"x"`}, nil
}

func (w *wild) Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error) {
	var body io.Reader = &made{seed: uint64(len(found.Object.Key)), at: offset, end: found.Size, of: w, ctx: ctx}
	if n := w.reads.Add(1); w.breakAt > 0 && n%w.breakAt == 0 {
		body = io.MultiReader(io.LimitReader(body, (found.Size-offset)/2), broken{})
	}
	return io.NopCloser(body), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

// made is made-up content.
type made struct {
	seed    uint64
	at, end int64
	of      *wild
	ctx     context.Context
}

func (m *made) Read(p []byte) (int, error) {
	if m.at == m.end {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && m.at < m.end {
		p[n] = byte((uint64(m.at) + m.seed) * 2654435761 >> 7)
		n++
		m.at++
	}
	if m.of != nil && m.of.stop != nil {
		if err := m.of.stop(m.ctx, m.of.read.Add(int64(n))); err != nil {
			return n, err
		}
	}
	return n, nil
}

// wildSite is a site with n files of total bytes for Ada.
func wildSite(t *testing.T, n int, total int64) (*fixture, *wild) {
	w := &wild{sizes: map[archive.Object]int64{}}
	b := newFixture(t, func(_ *Config, d *Deps) { d.Downloads = w })
	r := mathrand.New(mathrand.NewPCG(1, 2))
	b.ports.change(func() {
		for i := range n {
			id := events.JobID(fmt.Sprintf("j%05d", i))
			j := archive.Job{ID: id, UserID: "ada", Status: "COMPLETED", SubmittedAt: b.clock.Now().Add(-time.Duration(i) * time.Minute), RestoredBy: "r",
				Result: archive.Object{Bucket: "gas-results", Key: "gas/ada/" + string(id) + "~f" + strings.Repeat("x", i%40) + ".annot.vcf"}}
			size := total / int64(n)
			w.sizes[j.Result] = size/2 + r.Int64N(size)
			b.ports.jobs[id] = j
		}
	})
	return b, w
}

// TestAZipIsStreamedInFlatMemory downloads GAS_ZIP_FILES files of GAS_ZIP_BYTES bytes in all. The
// connection to the store breaks now and then. The bytes are compared as they arrive.
func TestAZipIsStreamedInFlatMemory(t *testing.T) {
	files, total := 300, int64(24<<20)
	if s := os.Getenv("GAS_ZIP_FILES"); s != "" {
		files, _ = strconv.Atoi(s)
		total, _ = strconv.ParseInt(os.Getenv("GAS_ZIP_BYTES"), 10, 64)
	}
	b, w := wildSite(t, files, total)
	w.breakAt = 7
	ada := b.signedIn("ada", "")
	ada.http.Timeout = 0
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	resp, err := ada.http.Get(b.url + zipPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// The zip goes to the disk, as a browser does it.
	to, err := os.Create(t.TempDir() + "/results.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	piece, got, next := make([]byte, 256<<10), int64(0), int64(0)
	for err == nil {
		var n int
		n, err = resp.Body.Read(piece)
		if _, err := to.Write(piece[:n]); err != nil {
			t.Fatal(err)
		}
		if got += int64(n); got >= next {
			next = got + total/12
			most = max(most, heap())
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	if most > before+16<<20 {
		t.Errorf("the heap grew from %d to %d kB during a zip of %d MB", before>>10, most>>10, got>>20)
	}
	z, err := zip.NewReader(to, got)
	if err != nil {
		t.Fatal(err)
	}
	bytesOf := map[string]int64{}
	for o, size := range w.sizes {
		bytesOf[o.Key[strings.IndexByte(o.Key, '~')+1:]] += size
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		plain := f.Name
		if i := strings.LastIndex(plain, " ("); i >= 0 {
			plain = plain[:i] + ".annot.vcf"
		}
		want := &made{seed: uint64(len("gas/ada/j00000~" + plain)), end: int64(f.UncompressedSize64)}
		if err := same(r, want); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		bytesOf[plain] -= int64(f.UncompressedSize64)
	}
	for name, left := range bytesOf {
		if left != 0 {
			t.Errorf("%d bytes of the files called %s are not in the zip", left, name)
		}
	}
	if len(z.File) != files {
		t.Errorf("the zip has %d files, want %d", len(z.File), files)
	}
	t.Logf("%d files, %d MB in %d reads; the heap had %d kB before and %d kB at most", len(z.File), got>>20, w.reads.Load(), before>>10, most>>10)
}

// same compares two streams.
func same(a, b io.Reader) error {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, aerr := io.ReadFull(a, x)
		m, berr := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("the bytes differ after %d", at)
		}
		if at += int64(n); aerr != nil || berr != nil {
			if ends := []error{io.EOF, io.ErrUnexpectedEOF}; (aerr != ends[0] && aerr != ends[1]) || (berr != ends[0] && berr != ends[1]) {
				return errors.Join(aerr, berr)
			}
			return nil
		}
	}
}

// TestAZipThatIsCutDoesNotLookWhole breaks the store for good, signs the user out, and stops the
// site, in the middle of a zip.
func TestAZipThatIsCutDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(context.Context, *fixture) error{
		"the store":    func(context.Context, *fixture) error { return errors.New("the store is away") },
		"the sign-out": func(_ context.Context, b *fixture) error { b.clock.Add(13 * time.Hour); return nil },
		"the stop": func(ctx context.Context, b *fixture) error {
			go func() { _ = b.stop() }()
			<-ctx.Done() // the site waits for a while, and then cuts
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := wildSite(t, 60, 24<<20)
			b.site.cfg.Drain = time.Second
			ada := b.signedIn("ada", "")
			var cuts atomic.Int64
			w.stop = func(ctx context.Context, read int64) error {
				if read < 4<<20 || name != "the store" && cuts.Add(1) > 1 {
					return nil
				}
				return cut(ctx, b)
			}
			resp, err := ada.http.Get(b.url + zipPath)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var data bytes.Buffer
			// The reader is slower than the site.
			_, err = io.Copy(&data, slow{resp.Body})
			if err == nil {
				t.Errorf("the answer of %d bytes ends as a whole one does", data.Len())
			}
			if data.Len() < 1<<20 {
				t.Errorf("only %d bytes came before the cut", data.Len())
			}
			if _, err := zip.NewReader(bytes.NewReader(data.Bytes()), int64(data.Len())); err == nil {
				t.Error("the zip looks whole")
			}
		})
	}
}

// slow reads little at a time.
type slow struct{ r io.Reader }

func (s slow) Read(p []byte) (int, error) {
	runtime.Gosched()
	return s.r.Read(p[:min(len(p), 4<<10)])
}

// TestOtherBytesEndAZip has a store that sends other bytes than it describes.
func TestOtherBytesEndAZip(t *testing.T) {
	b := newFixture(t)
	j := b.restoredJob("j1", "j1~a.vcf", "the bytes")
	lies := liar{b.ports, j.Result}
	b.site.deps.Downloads = lies
	resp, err := b.signedIn("ada", "").http.Get(b.url + zipPath)
	if err != nil {
		return // it was cut before its first byte
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a zip with other bytes looks whole")
	}
}

type liar struct {
	Downloads
	o archive.Object
}

func (l liar) Read(context.Context, archive.Found, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("the bites")), nil
}

func TestAUserGetsTwoZipsAtOnce(t *testing.T) {
	b, w := wildSite(t, 4, 4<<20)
	goOn := make(chan struct{})
	begun := make(chan struct{}, 10)
	var n atomic.Int64
	w.stop = func(context.Context, int64) error {
		if n.Add(1) <= 2 {
			begun <- struct{}{}
		}
		<-goOn
		return nil
	}
	ada := b.signedIn("ada", "")
	var open []*http.Response
	for range 2 {
		resp, err := ada.http.Get(b.url + zipPath)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		open = append(open, resp)
		<-begun
	}
	third := ada.get(zipPath)
	ada.wants(third, 429, "Two downloads are under way")
	if third.Header.Get("Retry-After") == "" || third.Header.Get("Content-Disposition") != "" || !strings.HasPrefix(third.Header.Get("Content-Type"), "text/html") {
		t.Errorf("the third answers %v", third.Header)
	}
	bob := b.signedIn("bob", "")
	if a := bob.get(zipPath); a.StatusCode != 200 {
		t.Errorf("another user's zip answers %s", a.Status)
	}
	close(goOn)
	for _, resp := range open {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
	}
	if a := ada.get(zipPath); a.StatusCode != 200 {
		t.Errorf("after the two, a zip answers %s", a.Status)
	}
}

func TestAFilesPageHasChecksumsLogAndReason(t *testing.T) {
	b := newFixture(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	j := b.restoredJob("j1", "j1~a.vcf", "the bytes")
	sum := treehash.Of([]byte("the bytes"))
	b.ports.change(func() {
		b.ports.marks[j.Result] = &archive.Mark{Archive: "a", Content: archive.Content{Size: 9, TreeHash: sum}}
		j := b.ports.jobs["j1"]
		j.RestoredAt = at
		j.Log = archive.Object{Bucket: "gas-results", Key: "gas/ada/j1~a.vcf.count.log"}
		b.ports.jobs["j1"] = j
		b.ports.objects[j.Log] = "all went well"
		failed := archive.Job{ID: "bad", UserID: "ada", Status: "FAILED", SubmittedAt: at, InputFileName: "bad.vcf", Log: archive.Object{Bucket: "gas-results", Key: "bad.log"}}
		b.ports.jobs["bad"] = failed
		b.ports.objects[failed.Log] = strings.Repeat("a line before\n", 1000) + "line 17: <b>REF</b> is missing\x1b[31m\u202e\n"
		failed.ID, failed.Log.Key = "worse", "no.log"
		b.ports.jobs["worse"] = failed
	})
	ada := b.signedIn("ada", "")
	page := ada.get("/annotation/j1")
	ada.wants(page, 200, "Restored 1 Mar 2026, 12:00 UTC", "SHA-256 tree hash "+sum.String(), "CRC-64/NVME", "compared with the tree hash of the archive", "Download the log")
	if a := ada.get("/annotation/j1/log"); a.body != "all went well" || !strings.Contains(a.Header.Get("Content-Disposition"), "a.vcf.count.log") {
		t.Errorf("the log answers %s %q %v", a.Status, a.body, a.Header)
	}
	bad := ada.get("/annotation/bad")
	ada.wants(bad, 200, "Why it failed", "line 17: <b>REF</b> is missing")
	if strings.Contains(bad.body, "<b>REF") || strings.Contains(bad.body, "\x1b") || strings.Count(bad.body, "a line before") > logTail/14 {
		t.Errorf("the log is shown as %s", bad.body)
	}
	ada.wants(ada.get("/annotation/worse"), 200, "There is no log")
	ada.wants(ada.get("/annotation/worse/log"), 404, "There is no log")
	bob := b.signedIn("bob", "")
	bob.wants(bob.get("/annotation/j1/log"), 404, "There is no such annotation")

	// The store may fail: the page is there without the log.
	b.clock.Add(2 * objectAge)
	b.ports.change(func() { b.ports.faults["Read"] = errors.New("away") })
	ada.wants(ada.get("/annotation/bad"), 200, "The log cannot be read")
}
