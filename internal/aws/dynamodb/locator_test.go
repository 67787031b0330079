package dynamodb_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAJobSaysWhereItsArchiveIs(t *testing.T) {
	a := testenv.NewAWS(t)
	place := func(change func(map[string]av)) av {
		m := map[string]av{"kind": s("object"), "class": s("GLACIER"), "bucket": s("cold"), "key": s("x/j/panel.vcf"), "version": s("v1")}
		change(m)
		return &types.AttributeValueMemberM{Value: m}
	}
	good := archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "x/j/panel.vcf", Version: "v1"}
	for name, c := range map[string]struct {
		locator av
		want    archive.Copy
		says    string
	}{
		"none":                     {nil, archive.Copy{}, ""},
		"NULL":                     {null, archive.Copy{}, ""},
		"a vault":                  {place(func(m map[string]av) { clear(m); m["kind"] = s("vault") }), archive.Copy{}, ""},
		"an object":                {place(func(map[string]av) {}), good, ""},
		"an ETag in quotes":        {place(func(m map[string]av) { delete(m, "version"); m["etag"] = s(`"e"`) }), archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "x/j/panel.vcf", ETag: "e"}, ""},
		"no map":                   {s("s3://cold/x"), archive.Copy{}, "archive_locator is a string, not a map"},
		"another kind":             {place(func(m map[string]av) { m["kind"] = s("tape") }), archive.Copy{}, `archive_locator has kind "tape"`},
		"no kind":                  {place(func(m map[string]av) { delete(m, "kind") }), archive.Copy{}, `archive_locator has kind ""`},
		"another class":            {place(func(m map[string]av) { m["class"] = s("STANDARD") }), archive.Copy{}, `"STANDARD" is no class`},
		"no class":                 {place(func(m map[string]av) { delete(m, "class") }), archive.Copy{}, `class is ""`},
		"the class of a vault":     {place(func(m map[string]av) { m["class"] = s("VAULT") }), archive.Copy{}, `class is "VAULT"`},
		"a number for a bucket":    {place(func(m map[string]av) { m["bucket"] = n("1") }), archive.Copy{}, "bucket is missing"},
		"the key of another job":   {place(func(m map[string]av) { m["key"] = s("x/k/panel.vcf") }), archive.Copy{}, "not the job's id"},
		"neither version nor ETag": {place(func(m map[string]av) { delete(m, "version") }), archive.Copy{}, "version and etag are missing"},
	} {
		put(t, a, testenv.Jobs, "archive_locator", c.locator, original())
		job, err := a.Catalog.Job(t.Context(), "j")
		if err != nil || (job.Doubt() == "") != (c.says == "") || !strings.Contains(job.Doubt(), c.says) {
			t.Errorf("%s: the doubt is %q, %v; want %q", name, job.Doubt(), err, c.says)
		}
		if (c.says == "" || name == "another kind") && job.Copy != c.want {
			t.Errorf("%s: got %+v, want %+v", name, job.Copy, c.want)
		}
	}
}

func TestTheLocatorKeepsTheVersionOrTheETagAndNothingEmpty(t *testing.T) {
	a := testenv.NewAWS(t)
	for id, c := range map[string]struct {
		version, etag, want string
	}{
		"version": {"v1", "", "{bucket=cold class=GLACIER key=x/version/f kind=object version=v1}"},
		"etag":    {"", "e", "{bucket=cold class=GLACIER etag=e key=x/etag/f kind=object}"},
		"both":    {"v1", "e", "{bucket=cold class=GLACIER etag=e key=x/both/f kind=object version=v1}"},
	} {
		at := archive.Copy{Class: archive.Glacier, Bucket: "cold", Key: "x/" + id + "/f", Version: c.version, ETag: c.etag}
		if err := a.Catalog.AddJob(t.Context(), archive.Job{ID: events.JobID(id), UserID: "u", Status: "COMPLETED", ArchiveID: "s3-1", Copy: at}); err != nil {
			t.Fatal(err)
		}
		if got := kept(t, a, testenv.Jobs, map[string]av{"job_id": s(id)})["archive_locator"]; got != c.want {
			t.Errorf("%s: got %s, want %s", id, got, c.want)
		}
		if job, err := a.Catalog.Job(t.Context(), events.JobID(id)); err != nil || job.Copy != at {
			t.Errorf("%s: read as %+v, %v; want %+v", id, job.Copy, err, at)
		}
	}
}

func TestTheLocatorGoesWithTheArchive(t *testing.T) {
	a := testenv.NewAWS(t)
	at := archive.Copy{Class: archive.DeepArchive, Bucket: "cold", Key: archive.KeyOf("", "j", "a"), ETag: "e"}
	job := archive.Job{ID: "j", UserID: "u", Status: "COMPLETED", SubmittedAt: time.Now(), ArchiveID: "s3-1", ArchiveSize: 3, Copy: at}
	ctx := t.Context()
	if err := a.Catalog.AddJob(ctx, job); err != nil {
		t.Fatal(err)
	}
	intent := archive.Intent{Token: "t", At: time.Now()}
	if err := a.Catalog.SaveIntent(ctx, job, intent); err != nil {
		t.Fatal(err)
	}
	// S3 does not tell the tier of a temporary copy.
	if err := a.Catalog.SaveRetrieval(ctx, job, intent, archive.Retrieval{ID: "t", RequestedAt: time.Now(), Status: archive.InProgress}); err != nil {
		t.Fatal(err)
	}
	got, err := a.Catalog.Job(ctx, "j")
	if err != nil || got.Copy != at || got.Tier != "" || got.Doubt() != "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if wait := got.Due.Sub(got.RetrievalRequestedAt); wait != 12*time.Hour {
		t.Errorf("the retrieval is due after %s, want the time of the fastest tier of its class", wait)
	}
	if err := a.Catalog.ClearArchive(ctx, got); err != nil {
		t.Fatal(err)
	}
	out, err := ddb.NewFromConfig(a.Config).GetItem(ctx, &ddb.GetItemInput{TableName: aws.String(testenv.Jobs), Key: map[string]av{"job_id": s("j")}})
	if err != nil || out.Item["archive_locator"] != nil || out.Item["archive_id"] != nil {
		t.Errorf("in the end %v, %v", out.Item, err)
	}
}
