package s3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

func TestTheChecksumOfAWholeFollowsFromItsParts(t *testing.T) {
	c := new(crc64)
	c.Write([]byte("123456789"))
	if uint64(*c) != 0xae8b14860a799888 {
		t.Errorf("CRC-64/NVME of the check string is %x", uint64(*c))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range []algorithm{crc32Sum, crc32cSum, crc64Sum} {
		for _, sizes := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {9, 8}, {1000, 70001}} {
			body := make([]byte, sizes[0]+sizes[1])
			for i := range body {
				body[i] = byte(r.Uint32())
			}
			sum := func(b []byte) []byte {
				h := a.new()
				h.Write(b)
				return h.Sum(nil)
			}
			got := a.combine(sum(body[:sizes[0]]), sum(body[sizes[0]:]), int64(sizes[1]))
			if want := sum(body); !bytes.Equal(got, want) {
				t.Errorf("%s of %v: got %x, want %x", a, sizes, got, want)
			}
		}
	}
}

func FuzzChunkedBodiesNeverPanic(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", true, false)
	f.Add("5;chunk-signature="+strings.Repeat("a", 64)+"\r\nhello\r\n0;chunk-signature="+strings.Repeat("a", 64)+"\r\n\r\n", false, true)
	f.Fuzz(func(t *testing.T, s string, trailer, signed bool) {
		c := newChunked(strings.NewReader(s), signed, trailer)
		out, err := io.ReadAll(c)
		var e *world.Error
		if err != nil && !errors.As(err, &e) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v", s, err)
		}
		if len(out) > len(s) {
			t.Fatalf("%q became longer", s)
		}
	})
}

func FuzzRangesStayInside(f *testing.F) {
	f.Add("bytes=0-5", int64(3))
	f.Add("bytes=-5", int64(0))
	f.Fuzz(func(t *testing.T, spec string, size int64) {
		if size < 0 {
			return
		}
		from, to, ok := parseRange(spec, size)
		if ok && (from < 0 || to >= size) {
			t.Fatalf("%q of %d: %d-%d", spec, size, from, to)
		}
		pieces := []piece{{"a", 0, size / 2}, {"b", 7, size - size/2}}
		if ok && from < size && to >= from {
			var n int64
			for _, p := range cut(pieces, from, to-from+1) {
				n += p.Size
			}
			if n != to-from+1 {
				t.Fatalf("cut %d bytes of %d", n, to-from+1)
			}
		}
	})
}

// A crash between two changes of one call leaves one of these states.
func TestARestartPutsRightWhatACrashLeftOfVersions(t *testing.T) {
	obj := func(seq int64) *object { return &object{Seq: seq, Version: newVersion(seq)} }
	marker := func(seq int64) *object { return &object{Seq: seq, Version: newVersion(seq), Marker: true} }
	for _, c := range []struct {
		name    string
		current *object
		others  []*object
		want    int64   // the current one's number
		left    []int64 // of the others, the newest first
	}{
		{"nothing happened", obj(3), []*object{obj(1), marker(2)}, 3, []int64{2, 1}},
		{"a new object moved the current one, and did not replace it", obj(3), []*object{obj(1), obj(3)}, 3, []int64{1}},
		{"a new marker moved the current object, and did not hide it", obj(3), []*object{obj(1), obj(3), marker(4)}, 3, []int64{1}},
		{"a deletion took the current object, and made no other current", nil, []*object{obj(1), obj(2)}, 2, []int64{1}},
		{"a deletion took the current object above a marker", nil, []*object{obj(1), marker(2)}, 0, []int64{2, 1}},
		{"an older version was made current, and not taken from the others", obj(2), []*object{obj(1), obj(2)}, 2, []int64{1}},
	} {
		w, err := world.New("", "us-east-1", "123456789012")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(w, Config{})
		if err != nil {
			t.Fatal(err)
		}
		const place = "b/k"
		if c.current != nil {
			s.objects.Put(place, c.current)
		}
		for _, o := range c.others {
			s.versions.Put(versionRow(place, o.Seq), o)
		}
		s.repair()
		var got int64
		if o, ok := s.objects.Get(place); ok {
			got = o.Seq
		}
		var left []int64
		for _, o := range s.versions.Prefix("") {
			left = append(left, o.Seq)
		}
		if got != c.want || !slices.Equal(left, c.left) {
			t.Errorf("%s: current %d, others %v; want %d, %v", c.name, got, left, c.want, c.left)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzRestoresThatAreTakenHaveDaysAndATier(f *testing.F) {
	f.Add([]byte("<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>"))
	f.Add([]byte("<RestoreRequest><Days>2147483647</Days></RestoreRequest>"))
	f.Add([]byte("<RestoreRequest><Type>SELECT</Type></RestoreRequest>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		days, tier, err := parseRestore(body)
		if err != nil {
			return
		}
		if days < 1 || !slices.Contains(tiers, tier) {
			t.Fatalf("%s: %d days, tier %q", body, days, tier)
		}
		const now = 1_800_000_000_000
		if at := expiryOf(now, days); at%(24*3600*1000) != 0 || at < now+int64(days)*24*3600*1000 || at >= now+int64(days+1)*24*3600*1000 {
			t.Fatalf("%d days after %d is %d", days, now, at)
		}
	})
}

func FuzzNotificationConfigurationsNeverPanic(f *testing.F) {
	f.Add([]byte("<NotificationConfiguration><QueueConfiguration><Queue>q</Queue><Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>a</Value></FilterRule></S3Key></Filter></QueueConfiguration><EventBridgeConfiguration/></NotificationConfiguration>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in notification
		if parseXML(body, &in) != nil || in.check() != nil {
			return
		}
		for _, d := range in.all() {
			if len(d.Event) == 0 || d.target() == "" {
				t.Fatalf("%s: %+v", body, d)
			}
			d.wants("ObjectCreated:Put", "key")
		}
	})
}

func FuzzLifecycleRulesMoveForwards(f *testing.F) {
	f.Add([]byte("<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><And><Prefix>a</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in lifecycle
		if parseXML(body, &in) != nil || in.check() != nil {
			return
		}
		for _, r := range in.Rule {
			if to := r.target(&object{Size: smallest}, true, 1_800_000_000_000); to != "" && slices.Index(waterfall, to) < 1 {
				t.Fatalf("%s moves to %q", body, to)
			}
		}
	})
}
