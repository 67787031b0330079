package restore

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
)

// values is a key-value store in memory.
type values struct {
	at  map[string]string
	get func() error // called by each Get; its error comes with the value
	put error
}

func (v values) Get(_ context.Context, key string) ([]byte, uint64, error) {
	var err error
	if v.get != nil {
		err = v.get()
	}
	value, ok := v.at[key]
	if !ok && err == nil {
		err = fault.New(fault.NotFound, errors.New("no value"))
	}
	return []byte(value), 1, err
}

func (v values) Put(_ context.Context, key string, value []byte) error {
	if v.put == nil {
		v.at[key] = string(value)
	}
	return v.put
}

func (v values) Swap(context.Context, string, []byte, uint64) error { return errors.ErrUnsupported }

func proofOf(text string) proof {
	return proof{treehash.Of([]byte(text)), crc64nvme.Update(0, []byte(text))}
}

func TestAProofThatIsSpoiltIsNone(t *testing.T) {
	good := proofOf("bytes")
	tree, crc, _ := strings.Cut(good.String(), " ")
	if got, ok := parseProof([]byte(good.String())); !ok || got != good {
		t.Errorf("got %v, %t, want %v", got, ok, good)
	}
	for name, value := range map[string]string{
		"empty": "", "half": tree, "a wrong tree hash": "x" + tree[1:] + " " + crc, "a wrong CRC": tree + " x", "both wrong": "x y",
	} {
		if got, ok := parseProof([]byte(value)); ok {
			t.Errorf("%s: got %v, want no proof", name, got)
		}
	}
}

// namedUpload is an upload with nothing but an id.
type namedUpload struct{ archive.Upload }

func (namedUpload) ID() string { return "upload" }

// TestAProofHasTheSameKeyInEachRelease: otherwise a new release would begin each unfinished copy
// anew.
func TestAProofHasTheSameKeyInEachRelease(t *testing.T) {
	c := &copying{r: &Restorer{}, f: &file{job: archive.Job{ArchiveID: "a"}, content: archive.Content{Size: 7}}, layout: layout{part: 4}}
	const want = "part.1ea6a9497d73541a83e65941636645e3.3"
	if got := c.proofsOf(namedUpload{}).key(3); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAProofThatIsNotSavedIsLoggedWhileTheCopyGoesOn(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		put    error
		logged bool
	}{
		{"it is saved", context.Background(), nil, false},
		{"it is not saved", context.Background(), errors.New("no server"), true},
		{"the copy ended", ended, errors.New("no server"), false},
		{"it is saved when the copy ended", ended, nil, false},
	} {
		var log bytes.Buffer
		store := values{at: map[string]string{}, put: c.put}
		p := proofs{store, "name", slog.New(slog.NewTextHandler(&log, nil))}
		p.save(c.ctx, 2, proofOf("bytes"))
		if logged := strings.Contains(log.String(), "proof not saved"); logged != c.logged {
			t.Errorf("%s: logged %t, want %t: %s", c.name, logged, c.logged, log.String())
		}
		if got := store.at["part.name.2"]; (got == proofOf("bytes").String()) != (c.put == nil) {
			t.Errorf("%s: the store has %q", c.name, got)
		}
	}
	proofs{}.save(context.Background(), 1, proofOf("bytes")) // without a store it does nothing
}

// TestOnlyAPartWithItsOwnProofIsFound has parts of three and of one byte.
func TestOnlyAPartWithItsOwnProofIsFound(t *testing.T) {
	parts := []part{{offset: 0, length: 3}, {offset: 3, length: 1}}
	abc, d := proofOf("abc"), proofOf("d")
	up := []archive.Part{{Number: 1, Size: 3, Sum: abc.crc}, {Number: 2, Size: 1, Sum: d.crc}}
	both := map[string]string{"part.name.1": abc.String(), "part.name.2": d.String(), "part.name.3": d.String()}
	busy, gone := fault.New(fault.Transient, errors.New("no server")), fault.New(fault.NotFound, errors.New("no value"))
	tree, _, _ := strings.Cut(abc.String(), " ")
	for _, c := range []struct {
		name   string
		up     []archive.Part
		values map[string]string
		get    error
		ended  bool
		want   []int // the indices that are found
		logged bool
	}{
		{name: "both", up: up, values: both, want: []int{0, 1}},
		{name: "the second", up: up[1:], values: both, want: []int{1}},
		{name: "one proof", up: up, values: map[string]string{"part.name.2": d.String()}, want: []int{1}},
		{name: "a part more than there are", up: []archive.Part{up[0], up[1], {Number: 3, Size: 1, Sum: d.crc}}, values: both, want: []int{0, 1}},
		{name: "a part of another size", up: []archive.Part{{Number: 1, Size: 2, Sum: abc.crc}, up[1]}, values: both, want: []int{1}},
		{name: "a part of other bytes", up: []archive.Part{{Number: 1, Size: 3, Sum: d.crc}, up[1]}, values: both, want: []int{1}},
		{name: "a proof without a CRC", up: up[:1], values: map[string]string{"part.name.1": tree}},
		{name: "a spoilt proof with the right CRC", up: up[:1], values: map[string]string{"part.name.1": "x " + abc.crc.String()}},
		{name: "no part", values: both},
		{name: "proofs that come with an error", up: up, values: both, get: busy, logged: true},
		{name: "proofs that are gone", up: up, values: both, get: gone},
		{name: "errors when the copy ended", up: up, values: both, get: busy, ended: true},
		{name: "proofs that are gone when the copy ended", up: up, values: both, get: gone, ended: true},
	} {
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		p := proofs{values{at: c.values, get: func() error {
			if c.ended {
				cancel()
			}
			return c.get
		}}, "name", slog.New(slog.NewTextHandler(&log, nil))}
		found := p.find(ctx, c.up, parts)
		var got []int
		for i, k := range found {
			got = append(got, i)
			if want := []proof{abc, d}[i]; k.proof != want || k.Number != i+1 {
				t.Errorf("%s: at %d is %+v", c.name, i, k)
			}
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %v, want %v", c.name, got, c.want)
		}
		if logged := strings.Contains(log.String(), "proof not read"); logged != c.logged {
			t.Errorf("%s: logged %t, want %t: %s", c.name, logged, c.logged, log.String())
		}
		cancel()
	}
	if found := (proofs{}).find(t.Context(), up, parts); len(found) != 0 {
		t.Errorf("without a store: found %v", found)
	}
}

// TestTheProofsOfALargeCopyAreNotAllReadAtOnce: an object has up to 10,000 parts.
func TestTheProofsOfALargeCopyAreNotAllReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		reading, goOn := make(chan bool, n), make(chan bool)
		p := proofs{values{get: func() error { reading <- true; <-goOn; return nil }}, "name", slog.New(slog.DiscardHandler)}
		var up []archive.Part
		parts := make([]part, n)
		for i := range parts {
			up = append(up, archive.Part{Number: i + 1})
		}
		found := make(chan map[int]kept)
		go func() { found <- p.find(t.Context(), up, parts) }()
		synctest.Wait()
		if got := len(reading); got < 2 || got > n/2 {
			t.Errorf("%d of %d proofs are read at once", got, n)
		}
		close(goOn)
		if got := <-found; len(got) != 0 || len(reading) != n {
			t.Errorf("found %v, %d proofs were read, want none, and %d", got, len(reading), n)
		}
	})
}
