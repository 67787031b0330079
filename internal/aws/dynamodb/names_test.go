package dynamodb_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// theirs gives each attribute another name: a reserved word, one with a dot and a dash, and
// one in which ours stands.
func theirs(ours []string) dynamodb.Names {
	names := dynamodb.Names{}
	for i, name := range ours {
		names[name] = []string{"results_file_" + name, "their." + name + "-x", strings.ToUpper(name)}[i%3]
	}
	if names["role"] != "" {
		names["role"] = "value" // reserved
	}
	return names
}

// TestATableWithOtherNamesIsWorkedWithWhole goes through what the pipeline does with tables
// in which every attribute of the annotation service has another name.
func TestATableWithOtherNamesIsWorkedWithWhole(t *testing.T) {
	a := testenv.NewAWS(t)
	ctx, now := t.Context(), time.UnixMilli(1_790_000_500_000).UTC()
	tables := dynamodb.Tables{
		Jobs: "their-jobs", Accounts: "their-accounts", Plans: "plans",
		JobNames: theirs(config.JobAttributes()), AccountNames: theirs(config.AccountAttributes()),
	}
	catalog := dynamodb.New(a.Config, tables)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("make the tables", catalog.CreateTables(ctx))
	must("make the tables again", catalog.CreateTables(ctx))
	for _, want := range estate.Tables(estate.Names{Jobs: tables.Jobs, Accounts: tables.Accounts, Plans: tables.Plans}) {
		found, err := catalog.Look(ctx, want.Name)
		must("look at table "+want.Name, err)
		if faults := want.Compare(found); len(faults) != 0 {
			t.Errorf("table %s is not what it is made as: %v", want.Name, faults)
		}
	}

	must("make the account", catalog.EnsureAccount(ctx, archive.Account{ID: "u", Name: "U", Email: "u@example.org", Role: archive.Free}))
	var jobs []archive.Job
	for _, id := range []events.JobID{"j1", "j2", "j3"} {
		job := archive.Job{
			ID: id, UserID: "u", SubmittedAt: now, InputFileName: "panel.vcf", Status: "COMPLETED", CompletedAt: now, ArchiveID: events.ArchiveID("a-" + string(id)), ArchiveSize: 7,
			Result: archive.Object{Bucket: "results", Key: "k-" + string(id)}, Log: archive.Object{Bucket: "results", Key: "log"},
		}
		must("add a job", catalog.AddJob(ctx, job))
		jobs = append(jobs, job)
	}
	_, err := catalog.SetRole(ctx, "u", archive.Premium, now)
	must("set the role", err)
	account, first, err := catalog.AccountAndJob(ctx, "u", "j1")
	must("read both", err)
	if account.Name != "U" || account.Email != "u@example.org" || account.Role != archive.Premium || account.Plan == nil {
		t.Errorf("the account is %+v", account)
	}
	if first.Result != jobs[0].Result || first.Log != jobs[0].Log || first.ArchiveID != "a-j1" || !first.CompletedAt.Equal(now) || first.InputFileName != "panel.vcf" || first.UserID != "u" {
		t.Errorf("the job is %+v", first)
	}
	for _, page := range []int{1, 2, 1000} {
		var seen []events.JobID
		for cursor := ""; ; {
			found, next, err := catalog.Paged(page).ArchivedPage(ctx, "u", cursor)
			must("list the archived", err)
			for _, j := range found {
				seen = append(seen, j.ID)
			}
			if cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(seen, []events.JobID{"j1", "j2", "j3"}) {
			t.Errorf("pages of %d: archived are %v", page, seen)
		}
		scanned := 0
		for cursor := ""; ; {
			found, next, err := catalog.Paged(page).ArchivedScan(ctx, cursor)
			must("scan", err)
			scanned += len(found)
			if cursor = next; next == "" {
				break
			}
		}
		listed, _, err := catalog.Jobs(ctx, "u", "", 2)
		must("list", err)
		if scanned != 3 || len(listed) != 2 {
			t.Errorf("pages of %d: %d scanned, %d listed", page, scanned, len(listed))
		}
	}
	intent := archive.Intent{Token: "t", At: now, Plan: account.Plan.ID}
	must("save the intent", catalog.SaveIntent(ctx, first, intent))
	if again := catalog.SaveIntent(ctx, first, intent); again == nil {
		t.Error("two intents were saved")
	}
	must("save the retrieval", catalog.SaveRetrieval(ctx, first, intent, archive.Retrieval{ID: "r", Tier: archive.Expedited, RequestedAt: now, Cost: 5}))
	due := 0
	for id, err := range catalog.DueJobs(ctx, now.Add(24*time.Hour)) {
		must("list what is due", err)
		if due++; id != "j1" {
			t.Errorf("%s is due", id)
		}
	}
	for id, err := range catalog.DuePlans(ctx, now.Add(24*time.Hour)) {
		must("list plans that are due", err)
		if due++; id != "u" {
			t.Errorf("the plan of %s is due", id)
		}
	}
	if due != 2 {
		t.Errorf("%d entries are due, want a job and a plan", due)
	}
	all, err := catalog.JobsOf(ctx, []events.JobID{"j1", "j2", "none"})
	must("read several", err)
	if len(all) != 2 || all["j1"].RetrievalID != "r" {
		t.Errorf("several jobs: %+v", all)
	}
	must("clear the archive", catalog.ClearArchive(ctx, all["j1"]))
	if job, err := catalog.Job(ctx, "j1"); err != nil || job.State(archive.Premium) != archive.Available || job.RestoredBy != "r" {
		t.Errorf("in the end %+v, %v", job, err)
	}

	// And it is their names that are in the tables.
	out, err := ddb.NewFromConfig(a.Config).Scan(ctx, &ddb.ScanInput{TableName: aws.String("their-jobs")})
	must("scan", err)
	for _, it := range out.Items {
		for ours, name := range tables.JobNames {
			if it[ours] != nil {
				t.Errorf("the table has an attribute %s: %v", ours, slices.Sorted(maps.Keys(it)))
			}
			if it[name] == nil && !strings.Contains(ours, "retrieval") && ours != "archive_id" && ours != "archive_locator" {
				t.Errorf("the table has no attribute %s: %v", name, slices.Sorted(maps.Keys(it)))
			}
		}
	}
}

// TestASingleOtherNameIsUsedInEveryCall gives the key alone another name.
func TestASingleOtherNameIsUsedInEveryCall(t *testing.T) {
	a := testenv.NewAWS(t)
	ctx := t.Context()
	catalog := dynamodb.New(a.Config, dynamodb.Tables{
		Jobs: "their-jobs", Accounts: "their-accounts", Plans: testenv.Plans, JobNames: dynamodb.Names{"job_id": "no.of"}, AccountNames: dynamodb.Names{"user_id": "who"},
	})
	for _, table := range estate.Tables(estate.Names{Jobs: "their-jobs", Accounts: "their-accounts", Plans: testenv.Plans})[:2] {
		table.Indexes = nil
		if err := catalog.Make(ctx, table); err != nil {
			t.Fatal(err)
		}
	}
	// Each index that is missing is made with their names too.
	if err := catalog.CreateTables(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range estate.Tables(estate.Names{Jobs: "their-jobs", Accounts: "their-accounts", Plans: testenv.Plans}) {
		found, err := catalog.Look(ctx, table.Name)
		if faults := table.Compare(found); err != nil || len(faults) != 0 {
			t.Errorf("table %s: %v, %v", table.Name, faults, err)
		}
	}
	account, job := map[string]av{"who": s("u")}, map[string]av{"no.of": s("j")}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"make the account", func() error { return catalog.EnsureAccount(ctx, archive.Account{ID: "u", Role: archive.Free}) }},
		{"add the job", func() error { return catalog.AddJob(ctx, archive.Job{ID: "j", UserID: "u", Status: "COMPLETED"}) }},
		{"set the role", func() error { _, err := catalog.SetRole(ctx, "u", archive.Premium, at); return err }},
		{"read the account", func() error { _, err := catalog.Account(ctx, "u"); return err }},
		{"change the pauses", func() error {
			_, err := catalog.ChangeSwitches(ctx, func(*archive.Switches) {})
			return err
		}},
		{"withdraw the account", func() error { return catalog.Withdraw(ctx, "u") }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	if got := kept(t, a, "their-accounts", account); got["who"] != "u" || got["user_id"] != "" || kept(t, a, "their-jobs", job) == nil {
		t.Errorf("the account is %v, the job %v", got, kept(t, a, "their-jobs", job))
	}
	if err := catalog.DeleteJob(ctx, "v", "j", true); !fault.Is(err, fault.Conflict) {
		t.Errorf("another's job: got %v, want a conflict", err)
	}
	for _, err := range []error{catalog.DeleteJob(ctx, "u", "j", false), catalog.DeleteAccount(ctx, "u")} {
		if err != nil {
			t.Error(err)
		}
	}
	if kept(t, a, "their-accounts", account) != nil || kept(t, a, "their-jobs", job) != nil {
		t.Error("something is left of what was deleted")
	}
}

// TestWhatTheTableKeepsUnderOurNameIsNotWhatWeMean has an archive_id that is something
// else, beside the one that is meant.
func TestWhatTheTableKeepsUnderOurNameIsNotWhatWeMean(t *testing.T) {
	a := testenv.NewAWS(t)
	it := original()
	it["theirs"] = s("the archive")
	put(t, a, testenv.Jobs, "archive_id", s("something else"), it)
	catalog := dynamodb.New(a.Config, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans, JobNames: dynamodb.Names{"archive_id": "theirs"}})
	if job, err := catalog.Job(t.Context(), "j"); err != nil || job.ArchiveID != "the archive" {
		t.Errorf("%+v, %v", job, err)
	}
}
