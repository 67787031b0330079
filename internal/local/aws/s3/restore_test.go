package s3_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/local/aws/s3"
)

// restoreBody is the body of a request to restore an object.
func restoreBody(days int, tier s3.Tier) string {
	return fmt.Sprintf(`<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>%d</Days><GlacierJobParameters><Tier>%s</Tier></GlacierJobParameters></RestoreRequest>`, days, tier)
}

// restore asks for a restore, and returns the status with the answer.
func (s *stand) restore(key string, days int, tier s3.Tier) (int, string) {
	s.t.Helper()
	status, body, _ := s.raw("POST", "/gas-results/"+key+"?restore", nil, restoreBody(days, tier))
	return status, body
}

// beginRestore begins a restore.
func (s *stand) beginRestore(key string, days int, tier s3.Tier) {
	s.t.Helper()
	if status, body := s.restore(key, days, tier); status != 202 {
		s.t.Fatalf("restore of %s in %s: got %d %s, want 202", key, tier, status, body)
	}
}

// shown is what HEAD says about the restore of an object.
func (s *stand) shown(key string) string {
	s.t.Helper()
	return aws.ToString(must[*sdk.HeadObjectOutput](s.t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &key})).Restore)
}

// restored lets the restores of all objects end.
func (s *stand) restored() { s.world.Clock.Advance(48 * time.Hour) }

const ongoing = `ongoing-request="true"`

// there is what HEAD says about a copy that expires then.
func there(expiry time.Time) string {
	return fmt.Sprintf(`ongoing-request="false", expiry-date="%s"`, expiry.UTC().Format(http.TimeFormat))
}

func TestARestoreTakesTheTimeOfItsClassAndTier(t *testing.T) {
	for _, c := range []struct {
		class    types.StorageClass
		tier     s3.Tier
		from, to time.Duration
	}{
		{"GLACIER", s3.Expedited, time.Minute, 5 * time.Minute},
		{"GLACIER", s3.Standard, 3 * time.Hour, 5 * time.Hour},
		{"GLACIER", s3.Bulk, 5 * time.Hour, 12 * time.Hour},
		{"DEEP_ARCHIVE", s3.Standard, 5 * time.Hour, 12 * time.Hour},
		{"DEEP_ARCHIVE", s3.Bulk, 12 * time.Hour, 48 * time.Hour},
	} {
		t.Run(fmt.Sprint(c.class, " ", c.tier), func(t *testing.T) {
			s := newStand(t, "")
			s.putIn(c.class, "k", "cold body")
			s.beginRestore("k", 2, c.tier)
			s.world.Clock.Advance(c.from - 5*time.Second)
			if got := s.shown("k"); got != ongoing {
				t.Errorf("too early: %q, want %q", got, ongoing)
			}
			_, err := s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("k")})
			refused(t, err, "InvalidObjectState", "")
			_, err = s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: aws.String("copy"), CopySource: aws.String("gas-results/k")})
			refused(t, err, "ObjectNotInActiveTierError", "")

			due := s.service.Restoring()[0].Due
			s.world.Clock.Advance(c.to - c.from + 5*time.Second)
			expiry := due.AddDate(0, 0, 2).Truncate(24*time.Hour).AddDate(0, 0, 1)
			if got := s.shown("k"); got != there(expiry) {
				t.Errorf("it was due at %v: %q, want %q", due, got, there(expiry))
			}
			if got := string(s.get("k")); got != "cold body" {
				t.Errorf("the copy is %q", got)
			}
			s.world.Clock.Advance(expiry.Sub(s.world.Clock.Now()) - time.Minute)
			if got := s.shown("k"); got != there(expiry) {
				t.Errorf("a minute before the expiry: %q", got)
			}
			s.world.Clock.Advance(time.Minute + 5*time.Second)
			if got := s.shown("k"); got != "" {
				t.Errorf("the copy outlives its expiry: %q", got)
			}
			_, err = s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("k")})
			refused(t, err, "InvalidObjectState", "")
			s.beginRestore("k", 1, c.tier)
			s.service.SetRestoreDelay(string(c.class), c.tier, 0, 0)
		})
	}
}

func TestATemporaryCopyIsReadAndCopiedLikeAnyObject(t *testing.T) {
	s := newStand(t, t.TempDir())
	s.putIn("GLACIER", "put", "0123456789")
	s.upload("DEEP_ARCHIVE", "uploaded", "0123456789")
	for _, key := range []string{"put", "uploaded"} {
		s.beginRestore(key, 3, s3.Standard)
	}
	s.world.Clock.Advance(13 * time.Hour)
	for key, class := range map[string]types.StorageClass{"put": "GLACIER", "uploaded": "DEEP_ARCHIVE"} {
		g := must[*sdk.GetObjectOutput](t)(s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: &key, Range: aws.String("bytes=2-4")}))
		body := must[[]byte](t)(io.ReadAll(g.Body))
		g.Body.Close()
		if string(body) != "234" || g.StorageClass != class || !strings.HasPrefix(aws.ToString(g.Restore), `ongoing-request="false", expiry-date="`) {
			t.Errorf("%s: got %q, class %q, restore %q", key, body, g.StorageClass, aws.ToString(g.Restore))
		}
		copied := key + " copy"
		must[*sdk.CopyObjectOutput](t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: &copied, CopySource: aws.String("gas-results/" + key)}))
		h := must[*sdk.HeadObjectOutput](t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &copied}))
		if h.StorageClass != "" || h.Restore != nil || string(s.get(copied)) != "0123456789" {
			t.Errorf("%s: class %q, restore %v, %q", copied, h.StorageClass, h.Restore, s.get(copied))
		}
		u := must[*sdk.CreateMultipartUploadOutput](t)(s.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: b, Key: aws.String("parts")}))
		must[*sdk.UploadPartCopyOutput](t)(s.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{
			Bucket: b, Key: aws.String("parts"), UploadId: u.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("gas-results/" + key), CopySourceRange: aws.String("bytes=0-3"),
		}))
	}
	// In place, the copy takes the place of the archived object and of its temporary copy.
	must[*sdk.CopyObjectOutput](t)(s.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: b, Key: aws.String("put"), CopySource: aws.String("gas-results/put")}))
	if h := must[*sdk.HeadObjectOutput](t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: aws.String("put")})); h.StorageClass != "" || h.Restore != nil {
		t.Errorf("class %q, restore %v", h.StorageClass, h.Restore)
	}
	if got := s.service.Restoring(); len(got) != 1 || got[0].Key != "uploaded" {
		t.Errorf("restores: %+v", got)
	}
}

func TestWrongRestoresAreRefused(t *testing.T) {
	s := newStand(t, "")
	for _, class := range []types.StorageClass{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY", "GLACIER", "DEEP_ARCHIVE"} {
		s.putIn(class, string(class), "x")
	}
	good := restoreBody(1, s3.Standard)
	in := func(inner string) string { return "<RestoreRequest>" + inner + "</RestoreRequest>" }
	for _, c := range []struct {
		name, key, body string
		status          int
		code            string
	}{
		{"no object", "nope", good, 404, "NoSuchKey"},
		{"STANDARD", "STANDARD", good, 403, "InvalidObjectState"},
		{"STANDARD_IA", "STANDARD_IA", good, 403, "InvalidObjectState"},
		{"ONEZONE_IA", "ONEZONE_IA", good, 403, "InvalidObjectState"},
		{"INTELLIGENT_TIERING", "INTELLIGENT_TIERING", good, 403, "InvalidObjectState"},
		{"GLACIER_IR", "GLACIER_IR", good, 403, "InvalidObjectState"},
		{"REDUCED_REDUNDANCY", "REDUCED_REDUNDANCY", good, 403, "InvalidObjectState"},
		{"Expedited of DEEP_ARCHIVE", "DEEP_ARCHIVE", restoreBody(1, s3.Expedited), 400, "InvalidArgument"},
		{"no body", "GLACIER", "", 400, "MalformedXML"},
		{"no Days", "GLACIER", in(""), 400, "MalformedXML"},
		{"no Days but a tier", "GLACIER", in("<GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>"), 400, "MalformedXML"},
		{"0 days", "GLACIER", restoreBody(0, s3.Bulk), 400, "InvalidArgument"},
		{"-1 days", "GLACIER", restoreBody(-1, s3.Bulk), 400, "InvalidArgument"},
		{"many days", "GLACIER", in("<Days>99999999999</Days>"), 400, "MalformedXML"},
		{"no number of days", "GLACIER", in("<Days>one</Days>"), 400, "MalformedXML"},
		{"no such tier", "GLACIER", restoreBody(1, "Fast"), 400, "MalformedXML"},
		{"an empty tier", "GLACIER", restoreBody(1, ""), 400, "MalformedXML"},
		{"parameters without a tier", "GLACIER", in("<Days>1</Days><GlacierJobParameters/>"), 400, "MalformedXML"},
		{"unknown parameters", "GLACIER", in("<Days>1</Days><GlacierJobParameters><Tier>Bulk</Tier><Topic>t</Topic></GlacierJobParameters>"), 400, "MalformedXML"},
		{"unknown element", "GLACIER", in("<Days>1</Days><SNSTopic>t</SNSTopic>"), 400, "MalformedXML"},
		{"Tier at the top", "GLACIER", in("<Days>1</Days><Tier>Bulk</Tier>"), 501, "NotImplemented"},
		{"a description", "GLACIER", in("<Days>1</Days><Description>x</Description>"), 501, "NotImplemented"},
		{"a select", "GLACIER", in("<Type>SELECT</Type>"), 501, "NotImplemented"},
		{"select parameters", "GLACIER", in("<SelectParameters/>"), 501, "NotImplemented"},
		{"an output location", "GLACIER", in("<Days>1</Days><OutputLocation/>"), 501, "NotImplemented"},
		{"another document", "GLACIER", "<Restore><Days>1</Days></Restore>", 400, "MalformedXML"},
		{"two documents", "GLACIER", good + good, 400, "MalformedXML"},
		{"no such version", "GLACIER?versionId=abc", good, 400, "InvalidArgument"},
	} {
		key, query, _ := strings.Cut(c.key, "?")
		status, body, _ := s.raw("POST", "/gas-results/"+key+"?restore&"+query, nil, c.body)
		if status != c.status || !strings.Contains(body, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: got %d %s, want %d %s", c.name, status, body, c.status, c.code)
		}
		if c.code == "InvalidObjectState" && !strings.Contains(body, "<StorageClass>"+c.name+"</StorageClass>") {
			t.Errorf("%s: the answer names another class: %s", c.name, body)
		}
	}
	if n := len(s.service.Restoring()) + len(s.service.Restores()); n != 0 {
		t.Errorf("%d restores are there or were billed", n)
	}
	if status, body, _ := s.raw("POST", "/gas-results/GLACIER?restore&versionId=null", nil, in("<Days>1</Days>")); status != 202 || s.service.Restoring()[0].Tier != s3.Standard {
		t.Errorf("without parameters: got %d %s, want a Standard restore", status, body)
	}
}

// A second request meets a restore that is under way, a copy, or nothing.
func TestASecondRequestIsRefusedOrAnUpgradeOrMovesTheExpiry(t *testing.T) {
	for _, c := range []struct {
		name   string
		class  types.StorageClass
		tier   s3.Tier // of the first request, for 2 days
		after  time.Duration
		days   int
		second s3.Tier
		status int
		jobs   map[s3.Tier]int64
	}{
		{"the same", "GLACIER", s3.Standard, 0, 2, s3.Standard, 409, map[s3.Tier]int64{s3.Standard: 1}},
		{"slower", "GLACIER", s3.Standard, 0, 2, s3.Bulk, 409, map[s3.Tier]int64{s3.Standard: 1}},
		{"faster", "GLACIER", s3.Standard, 0, 2, s3.Expedited, 202, map[s3.Tier]int64{s3.Standard: 1, s3.Expedited: 1}},
		{"faster with other days", "GLACIER", s3.Bulk, 0, 3, s3.Expedited, 409, map[s3.Tier]int64{s3.Bulk: 1}},
		{"faster from DEEP_ARCHIVE", "DEEP_ARCHIVE", s3.Bulk, 0, 2, s3.Standard, 202, map[s3.Tier]int64{s3.Bulk: 1, s3.Standard: 1}},
		{"the copy is there", "GLACIER", s3.Bulk, 12 * time.Hour, 9, s3.Bulk, 200, map[s3.Tier]int64{s3.Bulk: 1}},
		{"the copy is there for a faster tier", "GLACIER", s3.Bulk, 12 * time.Hour, 1, s3.Expedited, 200, map[s3.Tier]int64{s3.Bulk: 1}},
		{"the copy has expired", "GLACIER", s3.Bulk, 5 * 24 * time.Hour, 2, s3.Bulk, 202, map[s3.Tier]int64{s3.Bulk: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, "")
			s.putIn(c.class, "k", "12345")
			s.beginRestore("k", 2, c.tier)
			s.world.Clock.Advance(c.after)
			first := s.service.Restoring()
			now := s.world.Clock.Now()
			status, body := s.restore("k", c.days, c.second)
			if status != c.status || status == 409 && !strings.Contains(body, "<Code>RestoreAlreadyInProgress</Code>") {
				t.Fatalf("got %d %s, want %d", status, body, c.status)
			}
			got := s.service.Restoring()[0]
			switch c.status {
			case 409:
				if got != first[0] {
					t.Errorf("a refused request changed the restore: %+v", got)
				}
			case 202:
				if got.Tier != c.second || !got.Expiry.IsZero() || len(first) > 0 && got.Due.After(first[0].Due) {
					t.Errorf("got %+v, want a restore in %s that is due by %+v", got, c.second, first)
				}
			case 200:
				want := now.AddDate(0, 0, c.days).Truncate(24*time.Hour).AddDate(0, 0, 1)
				if got.Expiry != want || got.Tier != c.tier || s.shown("k") != there(want) {
					t.Errorf("got %+v, want the expiry %v", got, want)
				}
			}
			jobs, requests := map[s3.Tier]int64{}, int64(0)
			for r, n := range s.service.Billed() {
				if n.Bytes != 5*n.Jobs || r.Class != string(c.class) {
					t.Errorf("the bill of %v is %+v", r, n)
				}
				if requests += n.Requests; n.Jobs > 0 {
					jobs[r.Tier] = n.Jobs
				}
			}
			want := int64(1)
			if c.status != 409 {
				want = 2
			}
			if !maps.Equal(jobs, c.jobs) || requests != want {
				t.Errorf("billed %v and %d requests, want %v and %d", jobs, requests, c.jobs, want)
			}
		})
	}
}

func TestExpeditedRestoresAreRefusedWithoutCapacity(t *testing.T) {
	s := newStand(t, "")
	for _, key := range []string{"a", "b", "c"} {
		s.putIn("GLACIER", key, "x")
	}
	s.service.SetExpeditedCapacity(1, time.Hour)
	full := func(key string) {
		t.Helper()
		if status, body := s.restore(key, 1, s3.Expedited); status != 503 || !strings.Contains(body, "<Code>GlacierExpeditedRetrievalNotAvailable</Code>") {
			t.Errorf("%s: got %d %s, want 503", key, status, body)
		}
	}
	s.beginRestore("a", 1, s3.Expedited)
	full("b")
	s.beginRestore("b", 1, s3.Bulk)
	full("b") // an upgrade needs capacity too
	if got := s.service.Restores(); got[s3.Version{Bucket: "gas-results", Key: "b"}] != 1 {
		t.Errorf("billed %v", got)
	}
	s.world.Clock.Advance(time.Hour)
	s.beginRestore("c", 1, s3.Expedited)
	s.service.SetExpeditedCapacity(-1, 0)
	s.service.SetExpeditedRefusal(1)
	full("b")
	s.service.SetExpeditedRefusal(0)
	s.beginRestore("b", 1, s3.Expedited)
}

func TestAFailedRestoreVanishes(t *testing.T) {
	s := newStand(t, "")
	s.putIn("GLACIER", "k", "x")
	s.service.FailRestores(func(r s3.Restore) bool { return r.Key == "k" && r.Bucket == "gas-results" && r.Tier == s3.Bulk })
	s.beginRestore("k", 1, s3.Bulk)
	s.restored()
	if got := s.shown("k"); got != "" || len(s.service.Restoring()) != 0 {
		t.Errorf("it shows %q, %v", got, s.service.Restoring())
	}
	_, err := s.GetObject(ctx, &sdk.GetObjectInput{Bucket: b, Key: aws.String("k")})
	refused(t, err, "InvalidObjectState", "")
	s.service.FailNextRestores(1)
	for _, want := range []bool{false, true} {
		s.beginRestore("k", 5, s3.Standard)
		s.world.Clock.Advance(5 * time.Hour)
		if got := s.shown("k") != ""; got != want {
			t.Errorf("there is a copy: %v, want %v", got, want)
		}
	}
	if got := s.service.Restores()[s3.Version{Bucket: "gas-results", Key: "k"}]; got != 3 {
		t.Errorf("%d retrievals were billed, want 3: also those that failed", got)
	}
}

func TestARestoreGoesWithItsObject(t *testing.T) {
	for name, end := range map[string]func(s *stand){
		"deleted": func(s *stand) {
			must[*sdk.DeleteObjectOutput](s.t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")}))
			s.putIn("GLACIER", "k", "again")
		},
		"replaced": func(s *stand) { s.putIn("GLACIER", "k", "again") },
		"uploaded": func(s *stand) { s.upload("GLACIER", "k", "again") },
	} {
		for _, after := range []time.Duration{0, 5 * time.Hour} {
			s := newStand(t, "")
			s.putIn("GLACIER", "k", "x")
			s.beginRestore("k", 1, s3.Standard)
			s.world.Clock.Advance(after)
			s.shown("k")
			end(s)
			s.world.Clock.Advance(5 * time.Hour)
			if got := s.shown("k"); got != "" || len(s.service.Restoring()) != 0 {
				t.Errorf("%s after %v: the new object shows %q", name, after, got)
			}
		}
	}
}

func TestRestoresAndBillsSurviveARestart(t *testing.T) {
	s := newStand(t, t.TempDir())
	s.putIn("GLACIER", "there", "12")
	s.putIn("DEEP_ARCHIVE", "under way", "345")
	s.beginRestore("there", 9, s3.Expedited)
	s.world.Clock.Advance(5 * time.Minute)
	want := s.shown("there")
	s.beginRestore("under%20way", 9, s3.Standard)
	bill, restores, restoring := s.service.Billed(), s.service.Restores(), s.service.Restoring()
	s.close()
	s = newStand(t, s.dir)
	if got := s.shown("there"); got != want || s.shown("under way") != ongoing {
		t.Errorf("got %q and %q, want %q and %q", got, s.shown("under way"), want, ongoing)
	}
	if got := s.service.Restoring(); len(got) != 2 || got[0] != restoring[0] || got[1] != restoring[1] {
		t.Errorf("got %+v, want %+v", got, restoring)
	}
	if !maps.Equal(s.service.Billed(), bill) || !maps.Equal(s.service.Restores(), restores) || restores[s3.Version{Bucket: "gas-results", Key: "under way"}] != 1 {
		t.Errorf("billed %v, %v, want %v, %v", s.service.Billed(), s.service.Restores(), bill, restores)
	}
	s.world.Clock.Advance(13 * time.Hour)
	if got := string(s.get("under way")); got != "345" {
		t.Errorf("got %q", got)
	}
}

func TestRestoreDelaysScale(t *testing.T) {
	s := newStand(t, "")
	s.service.SetRestoreDelays(time.Second)
	for _, c := range []struct {
		class    types.StorageClass
		tier     s3.Tier
		from, to time.Duration
	}{
		{"GLACIER", s3.Expedited, time.Second, 1500 * time.Millisecond},
		{"GLACIER", s3.Standard, 3 * time.Second, 5 * time.Second},
		{"GLACIER", s3.Bulk, 5 * time.Second, 12 * time.Second},
		{"DEEP_ARCHIVE", s3.Standard, 5 * time.Second, 12 * time.Second},
		{"DEEP_ARCHIVE", s3.Bulk, 12 * time.Second, 48 * time.Second},
	} {
		s.putIn(c.class, "k", "x")
		s.beginRestore("k", 1, c.tier)
		if r := s.service.Restoring()[0]; r.Due.Sub(r.Begun) < c.from || r.Due.Sub(r.Begun) > c.to {
			t.Errorf("%s %s takes %v, want %v to %v", c.class, c.tier, r.Due.Sub(r.Begun), c.from, c.to)
		}
	}
}

func TestAListShowsRestoresToThoseWhoAsk(t *testing.T) {
	s := newStand(t, "")
	s.putIn("GLACIER", "a there", "x")
	s.putIn("GLACIER", "b cold", "x")
	s.putIn("", "c warm", "x")
	s.putIn("DEEP_ARCHIVE", "d under way", "x")
	s.beginRestore("a%20there", 3, s3.Expedited)
	s.world.Clock.Advance(5 * time.Minute)
	s.beginRestore("d%20under%20way", 3, s3.Standard)
	expiry := s.service.Restoring()[0].Expiry
	want := map[string]string{"a there": fmt.Sprint("false ", expiry), "d under way": "true"}
	tell := func(st *types.RestoreStatus) string {
		out := fmt.Sprint(aws.ToBool(st.IsRestoreInProgress))
		if st.RestoreExpiryDate != nil {
			out += fmt.Sprint(" ", *st.RestoreExpiryDate)
		}
		return out
	}
	for _, asked := range [][]types.OptionalObjectAttributes{nil, {"RestoreStatus"}} {
		got, old := map[string]string{}, map[string]string{}
		for p := sdk.NewListObjectsV2Paginator(s.Client, &sdk.ListObjectsV2Input{Bucket: b, MaxKeys: aws.Int32(1), OptionalObjectAttributes: asked}); p.HasMorePages(); {
			for _, o := range must[*sdk.ListObjectsV2Output](t)(p.NextPage(ctx)).Contents {
				if o.RestoreStatus != nil {
					got[*o.Key] = tell(o.RestoreStatus)
				}
			}
		}
		for _, o := range must[*sdk.ListObjectsOutput](t)(s.ListObjects(ctx, &sdk.ListObjectsInput{Bucket: b, OptionalObjectAttributes: asked})).Contents {
			if o.RestoreStatus != nil {
				old[*o.Key] = tell(o.RestoreStatus)
			}
		}
		if asked == nil && len(got)+len(old) > 0 || asked != nil && (!maps.Equal(got, want) || !maps.Equal(old, want)) {
			t.Errorf("asked %v: got %v and %v, want %v", asked, got, old, want)
		}
	}
	_, err := s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b, OptionalObjectAttributes: []types.OptionalObjectAttributes{"RestoreStatus", "Tags"}})
	refused(t, err, "InvalidArgument", "attribute")
	s.world.Clock.Advance(13 * time.Hour)
	out := must[*sdk.ListObjectsV2Output](t)(s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b, Prefix: aws.String("d"), OptionalObjectAttributes: []types.OptionalObjectAttributes{"RestoreStatus"}}))
	if st := out.Contents[0].RestoreStatus; st == nil || *st.IsRestoreInProgress || st.RestoreExpiryDate == nil {
		t.Errorf("it was due an hour ago: %+v", st)
	}
}
