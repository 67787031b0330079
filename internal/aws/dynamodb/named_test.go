package dynamodb_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/fault"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// Each call, as it fails in the three ways that an operator must tell apart.
func TestEachErrorNamesTheTableThatItIsAbout(t *testing.T) {
	calls := map[string]struct {
		table string
		do    func(context.Context, *dynamodb.Catalog) error
	}{
		"read a job":      {"table JOBS", func(ctx context.Context, c *dynamodb.Catalog) error { _, err := c.Job(ctx, "j"); return err }},
		"read an account": {"table ACCOUNTS", func(ctx context.Context, c *dynamodb.Catalog) error { _, err := c.Account(ctx, "u"); return err }},
		"read both": {"table ACCOUNTS and JOBS", func(ctx context.Context, c *dynamodb.Catalog) error {
			_, _, err := c.AccountAndJob(ctx, "u", "j")
			return err
		}},
		"list jobs": {"table JOBS, index user_id_index", func(ctx context.Context, c *dynamodb.Catalog) error { _, _, err := c.Jobs(ctx, "u", "", 1); return err }},
		"list archives": {"table JOBS, index archived_index", func(ctx context.Context, c *dynamodb.Catalog) error {
			_, _, err := c.ArchivedPage(ctx, "u", "")
			return err
		}},
		"set a role": {"table ACCOUNTS", func(ctx context.Context, c *dynamodb.Catalog) error {
			_, err := c.SetRole(ctx, "u", archive.Premium, at)
			return err
		}},
		"close a plan": {"table PLANS", func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.ClosePlan(ctx, "u", archive.Plan{ID: "p", OpenedAt: at}, at)
		}},
		"read the pauses": {"table PLANS", func(ctx context.Context, c *dynamodb.Catalog) error { _, err := c.Switches(ctx); return err }},
		"order an archive": {"table JOBS", func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.Order(ctx, archive.Job{ID: "j", ArchiveID: "a"}, 0, at)
		}},
		"add a job": {"table JOBS", func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.AddJob(ctx, archive.Job{ID: "j", UserID: "u"})
		}},
		"due jobs": {"table JOBS, index due_index", func(ctx context.Context, c *dynamodb.Catalog) error {
			for _, err := range c.DueJobs(ctx, at) {
				return err
			}
			return nil
		}},
		"unannounced": {"table ACCOUNTS", func(ctx context.Context, c *dynamodb.Catalog) error {
			for _, err := range c.Unannounced(ctx) {
				return err
			}
			return nil
		}},
		"delete a job": {"table JOBS", func(ctx context.Context, c *dynamodb.Catalog) error { return c.DeleteJob(ctx, "u", "j", false) }},
	}
	a := testenv.NewAWS(t)
	for trouble, want := range map[string]struct {
		fault  localaws.Fault
		tables dynamodb.Tables
		kind   fault.Kind
	}{
		"missing": {tables: dynamodb.Tables{Jobs: "no-jobs", Accounts: "no-accounts", Plans: "no-plans"}, kind: fault.Denied},
		"denied":  {fault: localaws.Fault{Service: "dynamodb", Status: 400, Code: "AccessDeniedException"}, tables: dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans}, kind: fault.Denied},
		"away":    {fault: localaws.Fault{Service: "dynamodb", Cut: true}, tables: dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans}, kind: fault.Transient},
	} {
		if want.fault.Service != "" {
			if err := a.Faults.Add(want.fault); err != nil {
				t.Fatal(err)
			}
		}
		catalog := dynamodb.New(a.Config, want.tables)
		names := strings.NewReplacer("JOBS", want.tables.Jobs, "ACCOUNTS", want.tables.Accounts, "PLANS", want.tables.Plans)
		for name, call := range calls {
			err := call.do(t.Context(), catalog)
			if !fault.Is(err, want.kind) || !strings.Contains(err.Error(), names.Replace(call.table)+":") {
				t.Errorf("%s, %s: got kind %s, %v; want %s that names %s", trouble, name, fault.KindOf(err), err, want.kind, names.Replace(call.table))
			}
		}
		a.Faults.Clear()
	}
}
