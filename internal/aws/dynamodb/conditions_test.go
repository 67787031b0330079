package dynamodb_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// shown returns an attribute as text.
func shown(v av) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return "#" + v.Value
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint("?", v.Value)
	case *types.AttributeValueMemberM:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v.Value)) {
			all = append(all, name+"="+shown(v.Value[name]))
		}
		return "{" + strings.Join(all, " ") + "}"
	}
	return fmt.Sprintf("%#v", v)
}

// kept returns the item of a table as text; nil if there is none.
func kept(t *testing.T, a *testenv.AWS, table string, key map[string]av) map[string]string {
	t.Helper()
	out, err := ddb.NewFromConfig(a.Config).GetItem(t.Context(), &ddb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return asText(out.Item)
}

func asText(it map[string]av) map[string]string {
	if it == nil {
		return nil
	}
	all := map[string]string{}
	for name, v := range it {
		all[name] = shown(v)
	}
	return all
}

// set puts an item in place of what the table has under its key; nil removes that.
func set(t *testing.T, a *testenv.AWS, table string, key, it map[string]av) {
	t.Helper()
	client := ddb.NewFromConfig(a.Config)
	var err error
	if it == nil {
		_, err = client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &table, Key: key})
	} else {
		_, err = client.PutItem(t.Context(), &ddb.PutItemInput{TableName: &table, Item: it})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// with returns the item with these attributes; nil takes one away.
func with(it map[string]av, changes map[string]av) map[string]av {
	it = maps.Clone(it)
	for name, v := range changes {
		if it[name] = v; v == nil {
			delete(it, name)
		}
	}
	return it
}

func token(of string) av {
	return &types.AttributeValueMemberM{Value: map[string]av{"token": s(of), "at": n("5000")}}
}

// write is a conditional write of the catalog.
type write struct {
	name   string
	table  string
	before map[string]av
	call   func(context.Context, *dynamodb.Catalog) error
	// after are the attributes that differ then; nil is one that is gone.
	after map[string]av
	// refused are changes of the item. The write expects none of them.
	refused map[string]map[string]av
	// quiet: that is no error.
	quiet bool
}

var (
	at    = time.UnixMilli(1_790_000_000_000).UTC()
	later = at.Add(time.Hour)
)

func millis(t time.Time) av { return n(fmt.Sprint(t.UnixMilli())) }

// The numbers of partitions may never change: an entry of another one would never leave the index.
var shardOfJ, shardOfU = n("13"), n("0")

// conditional returns all conditional writes of jobs and plans.
func conditional() []write {
	job := archive.Job{ID: "j", UserID: "u", Status: "COMPLETED", ArchiveID: "a", ArchiveSize: -1}
	retrieved := job
	retrieved.RetrievalID = "r"
	restored := job
	restored.RestoredBy = "r0"
	holding := func(used bool) archive.Job {
		j := job
		j.Intent = &archive.Intent{Token: "old", Used: used}
		return j
	}
	allowed := job
	allowed.History.Allowed = 2
	sized := job
	sized.ArchiveSize = 0
	ordered := job
	ordered.Ordered = true
	intending := holding(false)
	intent := archive.Intent{Token: "new", At: at, Plan: "p"}
	retrieval := archive.Retrieval{ID: "r", Tier: archive.Standard, RequestedAt: at, Cost: 70, Size: 1}

	bulk := retrieved
	bulk.Tier, bulk.RetrievalRequestedAt = archive.Bulk, later
	faster := map[string]av{
		"retrieval_tier": s("Expedited"), "billed_tier": s("Expedited"), "retrieval_requested_at": millis(at), "billed_micro_usd": n("70"),
		"due_at": millis(archive.Retrieval{Tier: archive.Expedited, RequestedAt: at}.Due()),
	}

	plain := original()
	withIntent := with(plain, map[string]av{"retrieval_intent": token("old"), "due_shard": shardOfJ, "due_at": n("1"), "sweep_nudges": n("2"), "retrieval_plan": s("p0"), "retrieval_tries": n("3")})
	withRetrieval := with(plain, map[string]av{
		"retrieval_request_id": s("r"), "retrieval_tier": s("Bulk"), "retrieval_requested_at": n("1"), "due_shard": shardOfJ, "due_at": n("1"), "sweep_nudges": n("2"),
		"retrieval_plan": s("p"), "retrieval_tries": n("3"), "retrieval_intent": token("stale"), "retrieval_failed": n("1"), "retrieval_expired": n("2"),
		"retrieval_allowed": n("4"), "retrieval_not_before": n("9"), "retrieval_ordered": yes, "archive_size": n("7"), "tree_hash": s("h"), "billed_micro_usd": n("30"), "billed_tier": s("Bulk"),
	})
	gone := func(names ...string) map[string]av {
		m := map[string]av{}
		for _, name := range names {
			m[name] = nil
		}
		return m
	}
	also := func(m map[string]av, more map[string]av) map[string]av { maps.Copy(m, more); return m }
	otherArchive := map[string]map[string]av{"no archive": {"archive_id": nil}, "another archive": {"archive_id": s("b")}}
	refused := func(more map[string]map[string]av) map[string]map[string]av {
		m := maps.Clone(otherArchive)
		maps.Copy(m, more)
		return m
	}
	saved := map[string]av{
		"retrieval_intent": &types.AttributeValueMemberM{Value: map[string]av{"token": s("new"), "at": millis(at)}},
		"retrieval_plan":   s("p"), "due_shard": shardOfJ, "due_at": millis(at.Add(time.Minute)),
	}
	saving := func(j archive.Job) func(context.Context, *dynamodb.Catalog) error {
		return func(ctx context.Context, c *dynamodb.Catalog) error { return c.SaveIntent(ctx, j, intent) }
	}
	tries := func(n_ string) map[string]av { return map[string]av{"retrieval_tries": n(n_)} }
	archiveGone := gone("archive_id", "retrieval_request_id", "archive_size", "tree_hash", "retrieval_tries", "retrieval_allowed", "retrieval_not_before", "retrieval_ordered",
		"retrieval_failed", "retrieval_expired", "retrieval_intent", "retrieval_tier", "retrieval_requested_at", "due_shard", "due_at", "sweep_nudges", "retrieval_plan")
	leftovers := maps.Clone(archiveGone)
	delete(leftovers, "archive_id")

	free := map[string]av{"user_id": s("u"), "role": s("free_user"), "name": s("N")}
	planned := with(free, map[string]av{
		"role": s("premium_user"), "role_changed_at": n("300000000000"), "announce_due": n("1"), "plan_id": s("p"), "plan_since": n("1"), "plan_why": s("audit"), "plan_state": s("open"), "plan_opened_at": n("1"),
		"plan_held_by": s("w"), "plan_approved_micro_usd": n("5"), "plan_empty_since": n("1"), "plan_first": s("k"), "plan_shard": shardOfU, "plan_due": n("1"), "plans_opened": n("3"),
	})
	planFields := []string{"plan_id", "plan_since", "plan_why", "plan_state", "plan_opened_at", "plan_held_by", "plan_approved_micro_usd", "plan_empty_since", "plan_first", "plan_shard", "plan_due"}
	otherPlan := map[string]map[string]av{"no plan": {"plan_id": nil}, "another plan": {"plan_id": s("q")}}
	opened := archive.Plan{ID: "p", Why: archive.Operator, State: archive.PlanOpen, OpenedAt: at, Due: later}
	fresh := map[string]av{"plan_id": s("p"), "plan_why": s("operator"), "plan_state": s("open"), "plan_opened_at": millis(at), "plan_shard": shardOfU, "plan_due": millis(later)}

	return []write{
		{"the first intent", testenv.Jobs, plain, saving(job), also(maps.Clone(saved), tries("1")), refused(map[string]map[string]av{
			"a retrieval": {"retrieval_request_id": s("x")}, "an intent": {"retrieval_intent": token("x")}, "five tries": tries("5"),
		}), false},
		{"the fifth intent", testenv.Jobs, with(plain, tries("4")), saving(job), also(maps.Clone(saved), tries("5")), nil, false},
		{"the seventh intent, two more were allowed", testenv.Jobs, with(plain, tries("6")), saving(allowed), also(maps.Clone(saved), tries("7")), map[string]map[string]av{"seven tries": tries("7")}, false},
		{"an intent that takes over another", testenv.Jobs, with(withIntent, tries("5")), saving(holding(false)), saved, refused(map[string]map[string]av{
			"a retrieval": {"retrieval_request_id": s("x")}, "another intent": {"retrieval_intent": token("x")}, "no intent": {"retrieval_intent": nil},
		}), false},
		{"an intent that takes over a spent try", testenv.Jobs, withIntent, saving(holding(true)), also(maps.Clone(saved), tries("4")), map[string]map[string]av{
			"five tries": tries("5"), "another intent": {"retrieval_intent": token("x")},
		}, false},
		{"an intent with a time of its own, and without a plan", testenv.Jobs, plain, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.SaveIntent(ctx, job, archive.Intent{Token: "new", At: at, Due: later})
		}, map[string]av{"retrieval_intent": saved["retrieval_intent"], "due_shard": shardOfJ, "due_at": millis(later), "retrieval_tries": n("1")}, nil, false},
		{"an intent that is dropped", testenv.Jobs, withIntent, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.DropIntent(ctx, job, archive.Intent{Token: "old"})
		}, also(gone("retrieval_intent", "due_shard", "due_at", "sweep_nudges", "retrieval_plan"), tries("2")), map[string]map[string]av{
			"another intent": {"retrieval_intent": token("x")}, "no intent": {"retrieval_intent": nil}, "a retrieval": {"retrieval_request_id": s("x")},
		}, true},
		{"a spent intent that is dropped", testenv.Jobs, withIntent, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.DropIntent(ctx, job, archive.Intent{Token: "old", Used: true})
		}, gone("retrieval_intent", "due_shard", "due_at", "sweep_nudges", "retrieval_plan"), nil, true},
		{"a retrieval", testenv.Jobs, withIntent, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.SaveRetrieval(ctx, job, archive.Intent{Token: "old"}, retrieval)
		}, map[string]av{
			"retrieval_request_id": s("r"), "retrieval_tier": s("Standard"), "retrieval_requested_at": millis(at), "billed_tier": s("Standard"), "billed_micro_usd": n("70"),
			"due_at": millis(retrieval.Due()), "archive_size": n("1"), "retrieval_intent": nil, "sweep_nudges": nil,
		}, refused(map[string]map[string]av{
			"a retrieval": {"retrieval_request_id": s("x")}, "another intent": {"retrieval_intent": token("x")}, "no intent": {"retrieval_intent": nil},
		}), false},
		{"a retrieval of an archive of known size", testenv.Jobs, with(withIntent, map[string]av{"archive_size": n("0"), "billed_micro_usd": n("5")}), func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.SaveRetrieval(ctx, sized, archive.Intent{Token: "old"}, retrieval)
		}, map[string]av{
			"retrieval_request_id": s("r"), "retrieval_tier": s("Standard"), "retrieval_requested_at": millis(at), "billed_tier": s("Standard"), "billed_micro_usd": n("75"),
			"due_at": millis(retrieval.Due()), "retrieval_intent": nil, "sweep_nudges": nil,
		}, nil, false},
		{"a file that is back", testenv.Jobs, withRetrieval, func(ctx context.Context, c *dynamodb.Catalog) error { return c.ClearArchive(ctx, retrieved) },
			with(archiveGone, map[string]av{"restored_by": s("r")}), refused(map[string]map[string]av{"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")}}), false},
		{"a file that is back although its retrieval was taken back", testenv.Jobs, with(withRetrieval, map[string]av{"retrieval_request_id": nil}),
			func(ctx context.Context, c *dynamodb.Catalog) error { return c.ClearArchive(ctx, restored) },
			with(archiveGone, map[string]av{"restored_by": s("r0")}), refused(map[string]map[string]av{"a retrieval": {"retrieval_request_id": s("x")}}), false},
		{"an empty file that is back", testenv.Jobs, withRetrieval, func(ctx context.Context, c *dynamodb.Catalog) error {
			back := retrieved
			back.ArchiveSize = 0
			return c.ClearArchive(ctx, back)
		}, with(archiveGone, map[string]av{"restored_by": s("r"), "restored_size": n("0")}), nil, false},
		{"a faster tier", testenv.Jobs, withRetrieval, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.SaveFaster(ctx, bulk, archive.Expedited, at, 40)
		}, faster, refused(map[string]map[string]av{
			"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")}, "another tier": {"retrieval_tier": s("Standard")}, "no tier": {"retrieval_tier": nil},
		}), false},
		{"a faster tier where none was known", testenv.Jobs, with(withRetrieval, map[string]av{"retrieval_tier": nil}), func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.SaveFaster(ctx, retrieved, archive.Expedited, at, 40)
		}, faster, refused(map[string]map[string]av{
			"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")}, "a tier": {"retrieval_tier": s("Bulk")},
		}), false},
		{"a faster tier that is taken back", testenv.Jobs, with(withRetrieval, faster), func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.TakeBackFaster(ctx, bulk, archive.Expedited, 40)
		}, map[string]av{
			"retrieval_tier": s("Bulk"), "billed_tier": s("Bulk"), "retrieval_requested_at": millis(later), "billed_micro_usd": n("30"),
			"due_at": millis(archive.Retrieval{Tier: archive.Bulk, RequestedAt: later}.Due()),
		}, refused(map[string]map[string]av{
			"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")}, "another tier": {"retrieval_tier": s("Bulk")}, "no tier": {"retrieval_tier": nil},
		}), false},
		{"a faster tier that is taken back where none was known", testenv.Jobs, with(withRetrieval, faster), func(ctx context.Context, c *dynamodb.Catalog) error {
			unknown := bulk
			unknown.Tier = ""
			return c.TakeBackFaster(ctx, unknown, archive.Expedited, 40)
		}, map[string]av{
			"retrieval_tier": nil, "retrieval_requested_at": millis(later), "billed_micro_usd": n("30"),
			"due_at": millis(archive.Retrieval{RequestedAt: later}.Due()),
		}, map[string]map[string]av{"another tier": {"retrieval_tier": s("Bulk")}, "no tier": {"retrieval_tier": nil}}, false},
		{"a retrieval that failed", testenv.Jobs, withRetrieval, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.ClearRetrieval(ctx, retrieved, archive.GlacierFailed, later)
		}, also(gone("retrieval_request_id", "retrieval_intent", "retrieval_tier", "retrieval_requested_at", "due_shard", "due_at", "sweep_nudges", "retrieval_plan"),
			map[string]av{"retrieval_not_before": millis(later), "retrieval_failed": n("2")}),
			refused(map[string]map[string]av{"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")}}), false},
		{"an output that expired", testenv.Jobs, withRetrieval, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.ClearRetrieval(ctx, retrieved, archive.OutputExpired, later)
		}, also(gone("retrieval_request_id", "retrieval_intent", "retrieval_tier", "retrieval_requested_at", "due_shard", "due_at", "sweep_nudges", "retrieval_plan"),
			map[string]av{"retrieval_not_before": millis(later), "retrieval_expired": n("3")}), nil, false},
		{"what is left of an intent when another program removed the archive", testenv.Jobs, with(withIntent, map[string]av{"archive_id": nil, "retrieval_ordered": yes}),
			func(ctx context.Context, c *dynamodb.Catalog) error {
				return c.ClearLeftovers(ctx, archive.Job{ID: "j"})
			}, leftovers,
			map[string]map[string]av{"an archive": {"archive_id": s("b")}, "a retrieval": {"retrieval_request_id": s("x")}, "nothing is under way": {"due_at": nil}}, false},
		{"what is left of a retrieval when another program removed the archive", testenv.Jobs, with(withRetrieval, map[string]av{"archive_id": nil}),
			func(ctx context.Context, c *dynamodb.Catalog) error { return c.ClearLeftovers(ctx, retrieved) }, leftovers,
			map[string]map[string]av{"an archive": {"archive_id": s("b")}, "another retrieval": {"retrieval_request_id": s("x")}, "no retrieval": {"retrieval_request_id": nil}}, false},
		{"an order", testenv.Jobs, with(plain, map[string]av{"retrieval_not_before": n("9")}), func(ctx context.Context, c *dynamodb.Catalog) error { return c.Order(ctx, job, 0, later) },
			map[string]av{"retrieval_ordered": yes, "due_shard": shardOfJ, "due_at": millis(later)}, refused(map[string]map[string]av{
				"a retrieval": {"retrieval_request_id": s("x")}, "an intent": {"retrieval_intent": token("x")},
			}), false},
		{"an order with one try more", testenv.Jobs, with(plain, map[string]av{"retrieval_not_before": n("9"), "retrieval_allowed": n("2")}),
			func(ctx context.Context, c *dynamodb.Catalog) error { return c.Order(ctx, job, 1, later) },
			map[string]av{"retrieval_ordered": yes, "due_shard": shardOfJ, "due_at": millis(later), "retrieval_not_before": nil, "retrieval_allowed": n("3")}, nil, false},
		{"a nudge of a retrieval", testenv.Jobs, with(plain, map[string]av{"retrieval_request_id": s("r"), "sweep_nudges": n("2")}),
			func(ctx context.Context, c *dynamodb.Catalog) error { return c.Nudged(ctx, retrieved, later, false) },
			map[string]av{"due_at": millis(later), "due_shard": shardOfJ, "sweep_nudges": n("3")}, refused(map[string]map[string]av{
				"no retrieval": {"retrieval_request_id": nil}, "another retrieval": {"retrieval_request_id": s("x")},
			}), true},
		{"a nudge that helped", testenv.Jobs, with(plain, map[string]av{"retrieval_request_id": s("r"), "sweep_nudges": n("2")}),
			func(ctx context.Context, c *dynamodb.Catalog) error { return c.Nudged(ctx, retrieved, later, true) },
			map[string]av{"due_at": millis(later), "due_shard": shardOfJ}, nil, true},
		{"a nudge of a retrieval when another program removed the archive", testenv.Jobs, with(plain, map[string]av{"archive_id": nil, "retrieval_request_id": s("r")}),
			func(ctx context.Context, c *dynamodb.Catalog) error {
				return c.Nudged(ctx, archive.Job{ID: "j", RetrievalID: "r"}, later, true)
			},
			map[string]av{"due_at": millis(later), "due_shard": shardOfJ}, map[string]map[string]av{"an archive": {"archive_id": s("b")}, "another retrieval": {"retrieval_request_id": s("x")}}, true},
		{"a nudge of an intent", testenv.Jobs, withIntent, func(ctx context.Context, c *dynamodb.Catalog) error { return c.Nudged(ctx, intending, later, false) },
			map[string]av{"due_at": millis(later), "sweep_nudges": n("3")}, refused(map[string]map[string]av{
				"no intent": {"retrieval_intent": nil}, "another intent": {"retrieval_intent": token("x")},
			}), true},
		{"a nudge of an order", testenv.Jobs, plain, func(ctx context.Context, c *dynamodb.Catalog) error { return c.Nudged(ctx, ordered, later, false) },
			map[string]av{"due_at": millis(later), "due_shard": shardOfJ, "sweep_nudges": n("1")}, refused(map[string]map[string]av{
				"a retrieval": {"retrieval_request_id": s("x")}, "an intent": {"retrieval_intent": token("x")},
			}), true},
		{"an announcement", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.Announced(ctx, "u", time.UnixMilli(1))
		}, gone("announce_due"), map[string]map[string]av{"another upgrade": {"announce_due": n("2")}, "none due": {"announce_due": nil}}, true},
		{"a plan on an account without the time of its role", testenv.Accounts, free, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.OpenPlan(ctx, archive.Account{ID: "u", Role: archive.Free}, opened)
		}, also(maps.Clone(fresh), map[string]av{"plans_opened": n("1")}), map[string]map[string]av{
			"a plan": {"plan_id": s("x")}, "another role": {"role": s("premium_user")}, "a change of the role": {"role_changed_at": n("300000000000")}, "a plan that came and went": {"plans_opened": n("1")},
		}, false},
		{"a plan on an account that had others", testenv.Accounts, with(free, map[string]av{
			"role_changed_at": n("200000000000"), "plans_opened": n("2"), "plan_held_by": s("w"), "plan_approved_micro_usd": n("5"), "plan_empty_since": n("1"), "plan_first": s("k"),
		}), func(ctx context.Context, c *dynamodb.Catalog) error {
			since := opened
			since.UpgradedAt = later
			return c.OpenPlan(ctx, archive.Account{ID: "u", Role: archive.Free, RoleChangedAt: time.UnixMilli(200_000_000_000), PlansOpened: 2}, since)
		}, also(maps.Clone(fresh), map[string]av{
			"plans_opened": n("3"), "plan_since": millis(later), "plan_held_by": nil, "plan_approved_micro_usd": nil, "plan_empty_since": nil, "plan_first": nil,
		}), map[string]map[string]av{
			"a plan": {"plan_id": s("x")}, "another role": {"role": s("premium_user")}, "another change of the role": {"role_changed_at": n("200000000001")}, "no change of the role": {"role_changed_at": nil},
			"another number of plans": {"plans_opened": n("3")}, "no plans yet": {"plans_opened": nil},
		}, false},
		{"a plan that is held", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error { return c.HoldPlan(ctx, "u", "p", "why", later) },
			map[string]av{"plan_state": s("held"), "plan_held_by": s("why"), "plan_due": millis(later)}, otherPlan, false},
		{"a plan that goes on", testenv.Accounts, with(planned, map[string]av{"plan_state": s("held")}), func(ctx context.Context, c *dynamodb.Catalog) error { return c.ResumePlan(ctx, "u", "p", 0, later) },
			map[string]av{"plan_state": s("open"), "plan_held_by": nil, "plan_due": millis(later)}, otherPlan, false},
		{"a plan that is approved", testenv.Accounts, with(planned, map[string]av{"plan_state": s("held")}), func(ctx context.Context, c *dynamodb.Catalog) error { return c.ResumePlan(ctx, "u", "p", 1, later) },
			map[string]av{"plan_state": s("open"), "plan_held_by": nil, "plan_due": millis(later), "plan_approved_micro_usd": n("1")}, otherPlan, false},
		{"a look at a plan with archives", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.PlanLooked(ctx, "u", "p", time.Time{}, later)
		}, map[string]av{"plan_due": millis(later), "plan_empty_since": nil}, otherPlan, false},
		{"a look at a plan without archives", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error {
			return c.PlanLooked(ctx, "u", "p", at, later)
		}, map[string]av{"plan_due": millis(later), "plan_empty_since": millis(at)}, otherPlan, false},
		{"a plan that is closed", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error { return c.ClosePlan(ctx, "u", opened, later) },
			gone(planFields...), map[string]map[string]av{"no plan": {"plan_id": nil}, "another plan": {"plan_id": s("q")}, "it is held": {"plan_state": s("held")}}, false},
		{"the first job of a plan", testenv.Accounts, planned, func(ctx context.Context, c *dynamodb.Catalog) error { return c.SetFirst(ctx, "u", "p", "j") },
			map[string]av{"plan_first": s("j")}, otherPlan, false},
	}
}

// TestAWriteThatExpectsSomethingElseChangesNothing breaks the clauses of each condition, one at a time.
func TestAWriteThatExpectsSomethingElseChangesNothing(t *testing.T) {
	a := testenv.NewAWS(t)
	for _, w := range conditional() {
		key := map[string]av{"job_id": s("j")}
		if w.table == testenv.Accounts {
			key = map[string]av{"user_id": s("u")}
		}
		cases := maps.Clone(w.refused)
		if cases == nil {
			cases = map[string]map[string]av{}
		}
		cases["no item"] = nil
		for name, change := range cases {
			t.Run(w.name+": "+name, func(t *testing.T) {
				var it map[string]av
				if change != nil {
					it = with(w.before, change)
				}
				set(t, a, w.table, key, it)
				err := w.call(t.Context(), a.Catalog)
				if w.quiet && err != nil || !w.quiet && !fault.Is(err, fault.Conflict) {
					t.Errorf("got %v; is it no error: %v", err, w.quiet)
				}
				if got, want := kept(t, a, w.table, key), asText(it); !maps.Equal(got, want) || (got == nil) != (want == nil) {
					t.Errorf("the item became\n%v\nfrom\n%v", got, want)
				}
			})
		}
	}
}

func TestAWriteChangesWhatItSays(t *testing.T) {
	a := testenv.NewAWS(t)
	for _, w := range conditional() {
		t.Run(w.name, func(t *testing.T) {
			key := map[string]av{"job_id": s("j")}
			if w.table == testenv.Accounts {
				key = map[string]av{"user_id": s("u")}
			}
			set(t, a, testenv.Plans, map[string]av{"id": s("plan.u.p")}, nil)
			set(t, a, w.table, key, w.before)
			if err := w.call(t.Context(), a.Catalog); err != nil {
				t.Fatal(err)
			}
			if got, want := kept(t, a, w.table, key), asText(with(w.before, w.after)); !maps.Equal(got, want) {
				t.Errorf("the item is\n%v\nwant\n%v", got, want)
			}
		})
	}
}

func TestARoleIsSetWithItsPlanInOneWrite(t *testing.T) {
	a := testenv.NewAWS(t)
	key := map[string]av{"user_id": s("u")}
	if changed, err := a.Catalog.SetRole(t.Context(), "u", archive.Premium, at); changed || !fault.Is(err, fault.NotFound) || kept(t, a, testenv.Accounts, key) != nil {
		t.Errorf("no account: %v, %v; want NotFound, and no account", changed, err)
	}
	free := map[string]av{"user_id": s("u"), "role": s("free_user"), "plan_held_by": s("w"), "plan_approved_micro_usd": n("5"), "plan_empty_since": n("1"), "plan_first": s("k"), "plans_opened": n("3")}
	set(t, a, testenv.Accounts, key, free)
	if changed, err := a.Catalog.SetRole(t.Context(), "u", archive.Free, later); changed || err != nil || !maps.Equal(kept(t, a, testenv.Accounts, key), asText(free)) {
		t.Errorf("the role that it has: %v, %v, %v", changed, err, kept(t, a, testenv.Accounts, key))
	}
	if changed, err := a.Catalog.SetRole(t.Context(), "u", archive.Premium, at); !changed || err != nil {
		t.Errorf("to Premium: %v, %v", changed, err)
	}
	got := kept(t, a, testenv.Accounts, key)
	plan := got["plan_id"]
	want := asText(map[string]av{
		"user_id": s("u"), "role": s("premium_user"), "role_changed_at": millis(at), "role_history": s(fmt.Sprint("premium_user ", at.UnixMilli())), "announce_due": millis(at), "plan_id": s(plan), "plan_why": s("upgrade"), "plan_state": s("open"),
		"plan_opened_at": millis(at), "plan_since": millis(at), "plan_shard": shardOfU, "plan_due": millis(at), "plans_opened": n("3"),
	})
	if !strings.HasPrefix(plan, "upgrade-") || !maps.Equal(got, want) {
		t.Errorf("a Premium account is\n%v\nwant\n%v", got, want)
	}
	if changed, err := a.Catalog.SetRole(t.Context(), "u", archive.Free, later); !changed || err != nil {
		t.Errorf("to Free: %v, %v", changed, err)
	}
	want = asText(map[string]av{"user_id": s("u"), "role": s("free_user"), "role_changed_at": millis(later), "role_history": s(fmt.Sprint("premium_user ", at.UnixMilli(), " free_user ", later.UnixMilli())), "plans_opened": n("3")})
	if got := kept(t, a, testenv.Accounts, key); !maps.Equal(got, want) {
		t.Errorf("a Free account is\n%v\nwant\n%v", got, want)
	}
}

func TestAClosedPlanIsKeptAndNeverOpenedAgain(t *testing.T) {
	a := testenv.NewAWS(t)
	if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: "u", Role: archive.Free}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []archive.Plan{
		{ID: "p", Why: archive.Operator, State: archive.PlanOpen, OpenedAt: at, Due: at},
		{ID: "q", Why: archive.Audit, State: archive.PlanOpen, OpenedAt: at, Due: at, UpgradedAt: later},
	} {
		account, err := a.Catalog.Account(t.Context(), "u")
		if err == nil {
			err = a.Catalog.OpenPlan(t.Context(), account, p)
		}
		if err == nil {
			err = a.Catalog.ClosePlan(t.Context(), "u", p, later)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]av{"id": s("plan.u." + p.ID), "user_id": s("u"), "plan_id": s(p.ID), "plan_state": s("closed"), "plan_why": s(string(p.Why)), "plan_opened_at": millis(at), "closed_at": millis(later)}
		if !p.UpgradedAt.IsZero() {
			want["plan_since"] = millis(later)
		}
		if got := kept(t, a, testenv.Plans, map[string]av{"id": want["id"]}); !maps.Equal(got, asText(want)) {
			t.Errorf("the plan is kept as\n%v\nwant\n%v", got, asText(want))
		}
		if account, err = a.Catalog.Account(t.Context(), "u"); err != nil {
			t.Fatal(err)
		}
		if err := a.Catalog.OpenPlan(t.Context(), account, p); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is closed") {
			t.Errorf("opened again: %v", err)
		}
	}
}

func TestWhatExistsIsNotMadeAgain(t *testing.T) {
	a := testenv.NewAWS(t)
	jobKey, userKey := map[string]av{"job_id": s("j")}, map[string]av{"user_id": s("u")}
	full := archive.Job{
		ID: "j", UserID: "u", SubmittedAt: time.Unix(5, 0), InputFileName: "in", Status: "COMPLETED", CompletedAt: time.Unix(6, 0), Result: archive.Object{Bucket: "b", Key: "k"},
		Log: archive.Object{Bucket: "b", Key: "l"}, ArchiveID: "a", RetrievalID: "r", TreeHash: "h", Tier: archive.Bulk,
	}
	if err := a.Catalog.AddJob(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	want := asText(map[string]av{
		"job_id": s("j"), "user_id": s("u"), "submit_time": n("5"), "input_file_name": s("in"), "job_status": s("COMPLETED"), "complete_time": n("6"), "s3_results_bucket": s("b"),
		"s3_key_result_file": s("k"), "s3_key_log_file": s("l"), "archive_id": s("a"), "archive_size": n("0"), "retrieval_request_id": s("r"), "tree_hash": s("h"), "retrieval_tier": s("Bulk"),
	})
	if got := kept(t, a, testenv.Jobs, jobKey); !maps.Equal(got, want) {
		t.Errorf("the job is\n%v\nwant\n%v", got, want)
	}
	if err := a.Catalog.AddJob(t.Context(), archive.Job{ID: "j"}); !fault.Is(err, fault.Conflict) || !maps.Equal(kept(t, a, testenv.Jobs, jobKey), want) {
		t.Errorf("the same job again: %v", err)
	}
	// A job without an archive has no size, and one of an unknown size neither.
	for id, job := range map[string]archive.Job{"in S3": {ArchiveSize: 5}, "of unknown size": {ArchiveID: "b", ArchiveSize: -1}} {
		job.ID, job.UserID = events.JobID(id), "u"
		if err := a.Catalog.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if size, ok := kept(t, a, testenv.Jobs, map[string]av{"job_id": s(id)})["archive_size"]; ok {
			t.Errorf("%s: the size is %s", id, size)
		}
	}
	if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: "u", Name: "N", Email: "e", Issuer: "i", Role: archive.Free}); err != nil {
		t.Fatal(err)
	}
	want = asText(map[string]av{"user_id": s("u"), "role": s("free_user"), "name": s("N"), "email": s("e"), "issuer": s("i")})
	if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: "u", Name: "M", Role: archive.Premium}); err != nil || !maps.Equal(kept(t, a, testenv.Accounts, userKey), want) {
		t.Errorf("the same account again: %v, %v; want %v", err, kept(t, a, testenv.Accounts, userKey), want)
	}
	if err := a.Catalog.Nudged(t.Context(), archive.Job{ID: "j", ArchiveID: "a"}, later, false); !fault.Is(err, fault.Invalid) {
		t.Errorf("a nudge of nothing: %v", err)
	}
}

func TestWorkIsSpreadOverSixteenPartitions(t *testing.T) {
	a := testenv.NewAWS(t)
	seen := map[string]bool{}
	for i := range 200 {
		id := events.UserID(fmt.Sprint("u", i))
		if err := a.Catalog.EnsureAccount(t.Context(), archive.Account{ID: id, Role: archive.Free}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Catalog.SetRole(t.Context(), id, archive.Premium, at); err != nil {
			t.Fatal(err)
		}
		seen[kept(t, a, testenv.Accounts, map[string]av{"user_id": s(string(id))})["plan_shard"]] = true
	}
	for n := range 17 {
		if got, want := seen[fmt.Sprint("#", n)], n < 16; got != want {
			t.Errorf("partition %d is used: %v, want %v", n, got, want)
		}
	}
}
