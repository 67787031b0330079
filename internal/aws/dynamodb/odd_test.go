package dynamodb_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

type av = types.AttributeValue

func s(v string) av { return &types.AttributeValueMemberS{Value: v} }
func n(v string) av { return &types.AttributeValueMemberN{Value: v} }

var (
	null  av = &types.AttributeValueMemberNULL{Value: true}
	empty av = s("")
	list  av = &types.AttributeValueMemberL{Value: []av{s("x")}}
	yes   av = &types.AttributeValueMemberBOOL{Value: true}
)

// original is a job as the annotation service writes it: no size, no hash, and nothing
// of what this service keeps.
func original() map[string]av {
	return map[string]av{
		"job_id": s("j"), "user_id": s("u"), "input_file_name": s("panel.vcf"), "s3_inputs_bucket": s("gas-inputs"), "s3_key_input_file": s("gas/u/j~panel.vcf"),
		"submit_time": n("1790000000"), "job_status": s("COMPLETED"), "complete_time": n("1790000100"),
		"s3_results_bucket": s(testenv.BucketID), "s3_key_result_file": s("gas/u/j~panel.annot.vcf"), "s3_key_log_file": s("gas/u/j~panel.vcf.count.log"),
		"archive_id": s("a"),
	}
}

// put writes the item with the attribute, or without it if v is nil.
func put(t *testing.T, a *testenv.AWS, table, name string, v av, it map[string]av) {
	t.Helper()
	it[name] = v
	if v == nil {
		delete(it, name)
	}
	if _, err := ddb.NewFromConfig(a.Config).PutItem(t.Context(), &ddb.PutItemInput{TableName: aws.String(table), Item: it}); err != nil {
		t.Fatal(err)
	}
}

// ownNumbers are the attributes of a job that only this service writes, with an index
// on none of them.
var ownNumbers = []string{
	"retrieval_tries", "retrieval_allowed", "retrieval_not_before", "retrieval_failed", "retrieval_expired", "sweep_nudges", "billed_micro_usd",
}

// TestWhatSaysNothingIsAbsentToTheReaderAndToEachWrite has every attribute that may be
// absent as NULL, which boto3 makes of None, and as an empty string, and goes through all
// writes of a restore.
func TestWhatSaysNothingIsAbsentToTheReaderAndToEachWrite(t *testing.T) {
	absent := append([]string{
		"retrieval_request_id", "retrieval_intent", "retrieval_tier", "retrieval_requested_at", "retrieval_plan", "retrieval_ordered", "restored_by",
		"archive_size", "tree_hash", "billed_tier", "input_file_name", "complete_time", "s3_key_log_file",
	}, ownNumbers...)
	a := testenv.NewAWS(t)
	now := time.UnixMilli(1_790_000_500_000).UTC()
	for _, name := range absent {
		for form, v := range map[string]av{"NULL": null, "empty": empty} {
			t.Run(name+" is "+form, func(t *testing.T) {
				put(t, a, testenv.Jobs, name, nil, original())
				want, err := a.Catalog.Job(t.Context(), "j")
				if err != nil {
					t.Fatal(err)
				}
				put(t, a, testenv.Jobs, name, v, original())
				job, err := a.Catalog.Job(t.Context(), "j")
				if err != nil {
					t.Fatal(err)
				}
				if job.Doubt() != "" || job.State(archive.Free) != want.State(archive.Free) || job.RetrievalID != "" || job.Intent != nil {
					t.Fatalf("read as %+v, want %+v", job, want)
				}
				goThrough(t, a, job, now)
			})
		}
	}
}

// goThrough makes the writes of a retrieval that fails, and of one that brings the file back.
func goThrough(t *testing.T, a *testenv.AWS, job archive.Job, now time.Time) {
	t.Helper()
	ctx := t.Context()
	for _, id := range []string{"fails", "works"} {
		intent := archive.Intent{Token: "of-" + id, At: now, Plan: "p"}
		if err := a.Catalog.SaveIntent(ctx, job, intent); err != nil {
			t.Fatalf("save the intent: %v", err)
		}
		r := archive.Retrieval{ID: "fails", Tier: archive.Expedited, RequestedAt: now, Cost: 30_000}
		if err := a.Catalog.SaveRetrieval(ctx, job, intent, r); err != nil {
			t.Fatalf("save the retrieval: %v", err)
		}
		job.RetrievalID = r.ID
		if id == "works" {
			break
		}
		if err := a.Catalog.ClearRetrieval(ctx, job, archive.GlacierFailed, now); err != nil {
			t.Fatalf("clear the retrieval: %v", err)
		}
		job.RetrievalID = ""
	}
	if err := a.Catalog.ClearArchive(ctx, job); err != nil {
		t.Fatalf("clear the archive: %v", err)
	}
	after, err := a.Catalog.Job(ctx, "j")
	if err != nil || after.State(archive.Premium) != archive.Available || after.Billed != 60_000 {
		t.Errorf("in the end %s, billed %s, %v", after.State(archive.Premium), after.Billed, err)
	}
}

// TestWhatMeansTheSameIsReadAsTheSame has numbers as strings, and times in seconds and
// in milliseconds.
func TestWhatMeansTheSameIsReadAsTheSame(t *testing.T) {
	a := testenv.NewAWS(t)
	at := time.Unix(1_790_000_100, 0).UTC()
	const hash = "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	for _, c := range []struct {
		name string
		v    av
		same func(archive.Job) bool
	}{
		{"complete_time", n("1790000100"), func(j archive.Job) bool { return j.CompletedAt.Equal(at) }},
		{"complete_time", n("1790000100000"), func(j archive.Job) bool { return j.CompletedAt.Equal(at) }},
		{"complete_time", n("1790000100.25"), func(j archive.Job) bool { return j.CompletedAt.Equal(at) }},
		{"complete_time", s("1790000100"), func(j archive.Job) bool { return j.CompletedAt.Equal(at) }},
		{"retrieval_requested_at", n("1790000100"), func(j archive.Job) bool { return j.RetrievalRequestedAt.Equal(at) }},
		{"retrieval_requested_at", n("1790000100000"), func(j archive.Job) bool { return j.RetrievalRequestedAt.Equal(at) }},
		{"submit_time", n("1790000100000"), func(j archive.Job) bool { return j.SubmittedAt.Equal(at) }},
		{"archive_size", s("1048576"), func(j archive.Job) bool { return j.ArchiveSize == 1<<20 }},
		{"archive_size", n("1.048576E6"), func(j archive.Job) bool { return j.ArchiveSize == 1<<20 }},
		{"archive_size", nil, func(j archive.Job) bool { return j.ArchiveSize == -1 }},
		{"tree_hash", s(hash), func(j archive.Job) bool { return j.TreeHash == strings.ToLower(hash) }},
		{"job_status", s("completed"), func(j archive.Job) bool { return j.Status == "COMPLETED" }},
	} {
		put(t, a, testenv.Jobs, c.name, c.v, original())
		job, err := a.Catalog.Job(t.Context(), "j")
		if err != nil || job.Doubt() != "" || !c.same(job) {
			t.Errorf("%s = %+v is read as %+v, %v", c.name, c.v, job, err)
		}
	}
}

// TestWhatMeansNothingIsNamed has each attribute in a type or with a value that nobody
// can work with. The job says which one, and is not taken for one that is in S3.
func TestWhatMeansNothingIsNamed(t *testing.T) {
	a := testenv.NewAWS(t)
	type odd struct {
		name string
		v    av
	}
	cases := []odd{
		{"retrieval_request_id", n("7")}, {"retrieval_request_id", list}, {"retrieval_intent", s("x")}, {"retrieval_tier", n("1")},
		{"retrieval_requested_at", s("yesterday")}, {"retrieval_requested_at", n("-5")}, {"retrieval_requested_at", n("1e15")},
		{"retrieval_ordered", s("true")}, {"restored_by", list},
		{"archive_size", s("large")}, {"archive_size", n("-1")}, {"archive_size", n("1e20")}, {"archive_size", yes},
		{"tree_hash", s("5d41402abc4b2a76b9719d911017c592")}, {"tree_hash", n("1")}, {"job_status", n("1")},
		{"s3_results_bucket", list}, {"s3_key_result_file", n("3")}, {"billed_tier", list},
	}
	for _, name := range ownNumbers {
		cases = append(cases, odd{name, s("3")}, odd{name, list}, odd{name, n("1e30")})
	}
	for _, c := range cases {
		put(t, a, testenv.Jobs, c.name, c.v, original())
		job, err := a.Catalog.Job(t.Context(), "j")
		if err != nil || !strings.HasPrefix(job.Doubt(), c.name+" is ") {
			t.Errorf("%s = %+v: the doubt is %q, %v", c.name, c.v, job.Doubt(), err)
		}
	}
}

// TestAnArchiveUnderAnotherNameIsNotTakenForAvailable is the genuine service's table: its
// attribute is results_file_archive_id.
func TestAnArchiveUnderAnotherNameIsNotTakenForAvailable(t *testing.T) {
	a := testenv.NewAWS(t)
	it := original()
	it["results_file_archive_id"] = it["archive_id"]
	put(t, a, testenv.Jobs, "archive_id", nil, it)
	job, err := a.Catalog.Job(t.Context(), "j")
	if err != nil || job.State(archive.Premium) != archive.Unclear || !strings.Contains(job.Doubt(), "GAS_JOB_ATTRIBUTES=archive_id=results_file_archive_id") {
		t.Errorf("%s: %q, %v", job.State(archive.Premium), job.Doubt(), err)
	}
	it = original()
	delete(it, "archive_id")
	put(t, a, testenv.Jobs, "s3_key_result_file", null, it)
	if job, err = a.Catalog.Job(t.Context(), "j"); err != nil || job.State(archive.Premium) != archive.Unclear {
		t.Errorf("completed, with neither an archive nor an object: %s, %v", job.State(archive.Premium), err)
	}
}

// TestAnotherSystemsRoleGetsAPlan writes an account as another system does: the time of
// the role's change in seconds or as a string, and None where nothing is.
func TestAnotherSystemsRoleGetsAPlan(t *testing.T) {
	a := testenv.NewAWS(t)
	changed := time.Unix(1_790_000_000, 0).UTC()
	account := func() map[string]av { return map[string]av{"user_id": s("u"), "role": s("premium_user")} }
	for _, c := range []struct {
		name, form string
		v          av
		changed    time.Time
	}{
		{"role_changed_at", "in seconds", n("1790000000"), changed},
		{"role_changed_at", "in seconds with a fraction", n("1790000000.5"), changed},
		{"role_changed_at", "a string", s("1790000000"), changed},
		{"role_changed_at", "in milliseconds", n("1790000000000"), changed},
		{"role_changed_at", "NULL", null, time.Time{}},
		{"plan_id", "empty", empty, time.Time{}},
		{"plan_id", "NULL", null, time.Time{}},
		{"plans_opened", "NULL", null, time.Time{}},
		{"name", "a list", list, time.Time{}},
	} {
		t.Run(c.name+" "+c.form, func(t *testing.T) {
			put(t, a, testenv.Accounts, c.name, c.v, account())
			read, err := a.Catalog.Account(t.Context(), "u")
			if err != nil || read.Unreadable != "" || !read.RoleChangedAt.Equal(c.changed) || read.Plan != nil {
				t.Fatalf("read as %+v, %v", read, err)
			}
			plan := archive.Plan{ID: "p-" + strings.ReplaceAll(c.name+c.form, " ", ""), Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: changed, Due: changed}
			if err := a.Catalog.OpenPlan(t.Context(), read, plan); err != nil {
				t.Fatal(err)
			}
			after, err := a.Catalog.Account(t.Context(), "u")
			if err != nil || after.Plan == nil || after.Plan.ID != plan.ID {
				t.Fatalf("%+v, %v", after, err)
			}
			if err := a.Catalog.ClosePlan(t.Context(), "u", *after.Plan, changed); err != nil {
				t.Error(err)
			}
		})
	}
	put(t, a, testenv.Accounts, "plan_id", n("5"), account())
	if read, err := a.Catalog.Account(t.Context(), "u"); err != nil || read.Unreadable == "" {
		t.Errorf("a plan_id that is a number is read as %+v, %v", read, err)
	}
}

// TestATidiedItemKeepsWhatSaysMore lets a real conflict stay one: what another worker
// wrote is not tidied away.
func TestATidiedItemKeepsWhatSaysMore(t *testing.T) {
	a := testenv.NewAWS(t)
	it := original()
	it["retrieval_tier"] = null
	put(t, a, testenv.Jobs, "retrieval_request_id", s("another's"), it)
	job, err := a.Catalog.Job(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	stale := job
	stale.RetrievalID = ""
	if err := a.Catalog.SaveIntent(t.Context(), stale, archive.Intent{Token: "t", At: time.Unix(0, 0)}); !fault.Is(err, fault.Conflict) {
		t.Errorf("an intent beside another's retrieval: %v, want a conflict", err)
	}
	if job, err = a.Catalog.Job(t.Context(), "j"); err != nil || job.RetrievalID != "another's" || job.Intent != nil {
		t.Errorf("%+v, %v", job, err)
	}
}
