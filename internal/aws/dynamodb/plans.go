package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// planFields are the attributes of a plan on its account.
const planFields = "plan_id, plan_since, plan_why, plan_state, plan_opened_at, plan_held_by, plan_approved_micro_usd, plan_empty_since, plan_first, plan_shard, plan_due"

// SetRole gives the user a role. A user who becomes Premium gets a plan, and its
// announcement becomes due. A user who becomes Free loses the plan. All this is one write,
// which also keeps the change in the account's history. changed is false if the user has the
// role already; then nothing is written. The error's kind is NotFound if there is no such
// account.
func (c *Catalog) SetRole(ctx context.Context, id events.UserID, role archive.Role, at time.Time) (changed bool, err error) {
	// The history decides nothing. So it may miss a change that another process makes now.
	before, err := c.Account(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	values := item{":role": str(string(role)), ":at": num(at.UnixMilli()), ":history": str(before.Changed(role, at))}
	change := "SET #r = :role, role_changed_at = :at, role_history = :history REMOVE announce_due, " + planFields
	if role == archive.Premium {
		set, plan := planValues(id, archive.Plan{ID: "upgrade-" + rand.Text(), UpgradedAt: at, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: at, Due: at})
		change = "SET #r = :role, role_changed_at = :at, role_history = :history, announce_due = :at, " + set + " REMOVE plan_held_by, plan_approved_micro_usd, plan_empty_since, plan_first"
		for k, v := range plan {
			values[k] = v
		}
	}
	_, err = c.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           &c.accounts,
		Key:                                 userKey(id),
		UpdateExpression:                    &change,
		ConditionExpression:                 aws.String("attribute_exists(user_id) AND #r <> :role"),
		ExpressionAttributeNames:            map[string]string{"#r": attrRole},
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if len(failed.Item) == 0 {
			return false, fault.Errorf(fault.NotFound, "no account %q", id)
		}
		return false, nil
	}
	return err == nil, awsfault.Wrap(err, "set role of %q", id)
}

// planValues returns the SET clause of a plan, without the word SET, and its values.
func planValues(user events.UserID, p archive.Plan) (set string, values item) {
	values = item{
		":plan": str(p.ID), ":why": str(string(p.Why)), ":state": str(string(p.State)),
		":opened": num(p.OpenedAt.UnixMilli()), ":shard": shardOf(string(user)), ":due": num(p.Due.UnixMilli()),
	}
	set = "plan_id = :plan, plan_why = :why, plan_state = :state, plan_opened_at = :opened, plan_shard = :shard, plan_due = :due"
	if !p.UpgradedAt.IsZero() {
		set += ", plan_since = :since"
		values[":since"] = num(p.UpgradedAt.UnixMilli())
	}
	return set, values
}

// historyKey is the key of a closed or cancelled plan in the table of plans.
func historyKey(user events.UserID, plan string) item {
	return item{attrLedgerID: str("plan." + events.Token(string(user)) + "." + events.Token(plan))}
}

const attrLedgerID = "id"

// OpenPlan puts a plan on the account. If the account has changed since it was read or
// has a plan, the error's kind is Conflict. If the plan is already closed or cancelled,
// it cannot be opened again, and the error's kind is Invalid.
func (c *Catalog) OpenPlan(ctx context.Context, account archive.Account, p archive.Plan) error {
	out, err := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.plans, Key: historyKey(account.ID, p.ID), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return awsfault.Wrap(err, "read plan %q", p.ID)
	}
	if out.Item != nil {
		return fault.Errorf(fault.Invalid, "plan %q of user %q is %s", p.ID, account.ID, text(out.Item, attrPlanState))
	}
	set, values := planValues(account.ID, p)
	condition := "attribute_exists(user_id) AND attribute_not_exists(plan_id) AND #r = :role AND "
	values[":role"] = str(string(account.Role))
	if account.RoleChangedAt.IsZero() {
		condition += "attribute_not_exists(role_changed_at)"
	} else {
		condition += "role_changed_at = :changed"
		values[":changed"] = num(account.RoleChangedAt.UnixMilli())
	}
	// The table of plans was read before this write. If a plan was opened and closed
	// between the two, the counter has changed.
	values[":one"] = num(1)
	if account.PlansOpened == 0 {
		condition += " AND attribute_not_exists(plans_opened)"
	} else {
		condition += " AND plans_opened = :opened_before"
		values[":opened_before"] = num(int64(account.PlansOpened))
	}
	err = c.change(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.accounts, Key: userKey(account.ID),
		UpdateExpression:          aws.String("SET " + set + " REMOVE plan_held_by, plan_approved_micro_usd, plan_empty_since, plan_first ADD plans_opened :one"),
		ConditionExpression:       &condition,
		ExpressionAttributeNames:  map[string]string{"#r": attrRole},
		ExpressionAttributeValues: values,
	})
	return awsfault.Wrap(err, "open plan %q of %q", p.ID, account.ID)
}

// onPlan changes the plan on the user's account, if it is this one and in one of the
// states. Otherwise the error's kind is Conflict.
func (c *Catalog) onPlan(ctx context.Context, what string, user events.UserID, plan, change string, values item, states ...archive.PlanState) error {
	values[":plan"] = str(plan)
	condition := "plan_id = :plan"
	if len(states) > 0 {
		var names []string
		for _, s := range states {
			name := ":was_" + string(s)
			names, values[name] = append(names, name), str(string(s))
		}
		condition += " AND plan_state IN (" + strings.Join(names, ", ") + ")"
	}
	err := c.change(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.accounts, Key: userKey(user), UpdateExpression: &change, ConditionExpression: &condition, ExpressionAttributeValues: values,
	})
	return awsfault.Wrap(err, "%s plan %q of %q", what, plan, user)
}

// HoldPlan holds the plan until the time, or until an operator approves it. why is a
// sentence. The error's kind is Conflict if the account has not this plan.
func (c *Catalog) HoldPlan(ctx context.Context, user events.UserID, plan, why string, until time.Time) error {
	return c.onPlan(ctx, "hold", user, plan, "SET plan_state = :held, plan_held_by = :why, plan_due = :due",
		item{":held": str(string(archive.PlanHeld)), ":why": str(why), ":due": num(until.UnixMilli())})
}

// ResumePlan lets a held plan continue. approved is an amount that it may cost beyond all
// budgets; zero keeps the earlier approval. The error's kind is Conflict if the account
// has not this plan.
func (c *Catalog) ResumePlan(ctx context.Context, user events.UserID, plan string, approved archive.MicroUSD, due time.Time) error {
	change, values := "SET plan_state = :open, plan_due = :due", item{":open": str(string(archive.PlanOpen)), ":due": num(due.UnixMilli())}
	if approved > 0 {
		change += ", plan_approved_micro_usd = :approved"
		values[":approved"] = num(int64(approved))
	}
	return c.onPlan(ctx, "resume", user, plan, change+" REMOVE plan_held_by", values)
}

// SetFirst makes the job the one that the plan's user wants before the others. The error's kind
// is Conflict if the account has not this plan.
func (c *Catalog) SetFirst(ctx context.Context, user events.UserID, plan string, job events.JobID) error {
	return c.onPlan(ctx, "set the first job of", user, plan, "SET plan_first = :first", item{":first": str(string(job))})
}

// PlanLooked records when the plan must be checked again, and since when the vault has
// nothing of the user; zero means that it has something. The error's kind is Conflict if
// the account has not this plan.
func (c *Catalog) PlanLooked(ctx context.Context, user events.UserID, plan string, emptySince, due time.Time) error {
	change, values := "SET plan_due = :due REMOVE plan_empty_since", item{":due": num(due.UnixMilli())}
	if !emptySince.IsZero() {
		change = "SET plan_due = :due, plan_empty_since = :empty"
		values[":empty"] = num(emptySince.UnixMilli())
	}
	return c.onPlan(ctx, "look at", user, plan, change, values)
}

// ClosePlan removes the plan from the account, and keeps it in the table of plans:
// everything is back. It writes to the table of plans first, so that a closed plan is
// never opened again.
func (c *Catalog) ClosePlan(ctx context.Context, user events.UserID, p archive.Plan, at time.Time) error {
	it := historyKey(user, p.ID)
	it[attrUserID], it[attrPlanID], it[attrPlanState] = str(string(user)), str(p.ID), str(string(archive.PlanClosed))
	it[attrPlanWhy], it[attrPlanOpen], it["closed_at"] = str(string(p.Why)), num(p.OpenedAt.UnixMilli()), num(at.UnixMilli())
	if !p.UpgradedAt.IsZero() {
		it[attrPlanSince] = num(p.UpgradedAt.UnixMilli())
	}
	if _, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &c.plans, Item: it}); err != nil {
		return awsfault.Wrap(err, "keep plan %q of %q", p.ID, user)
	}
	return c.onPlan(ctx, "close", user, p.ID, "REMOVE "+planFields, item{}, archive.PlanOpen)
}

// AccountsOf returns the accounts of up to a hundred users as they are now. Missing
// accounts are left out.
func (c *Catalog) AccountsOf(ctx context.Context, ids []events.UserID) (map[events.UserID]archive.Account, error) {
	keys := make([]item, len(ids))
	for i, id := range ids {
		keys[i] = userKey(id)
	}
	found := make(map[events.UserID]archive.Account, len(ids))
	err := c.batch(ctx, c.accounts, keys, func(it item) {
		a := accountOf(it)
		found[a.ID] = a
	})
	return found, err
}

// JobsOf returns up to a hundred jobs as they are now. Missing jobs are left out.
func (c *Catalog) JobsOf(ctx context.Context, ids []events.JobID) (map[events.JobID]archive.Job, error) {
	keys := make([]item, len(ids))
	for i, id := range ids {
		keys[i] = jobKey(id)
	}
	found := make(map[events.JobID]archive.Job, len(ids))
	err := c.batch(ctx, c.jobs, keys, func(it item) {
		j := jobOf(it)
		found[j.ID] = j
	})
	return found, err
}

// batch reads up to a hundred items of a table, and calls each for those that exist.
func (c *Catalog) batch(ctx context.Context, table string, keys []item, each func(item)) error {
	if len(keys) == 0 {
		return nil
	}
	for wanted := (map[string]types.KeysAndAttributes{table: {Keys: keys, ConsistentRead: aws.Bool(true)}}); len(wanted) > 0; {
		out, err := c.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: wanted})
		if err != nil {
			return awsfault.Wrap(err, "read %d items of table %s", len(keys), table)
		}
		for _, it := range out.Responses[table] {
			each(it)
		}
		if wanted = out.UnprocessedKeys; len(wanted) > 0 && len(out.Responses[table]) == 0 {
			return fault.Errorf(fault.Throttled, "read %d items of table %s: DynamoDB has no time for any of them", len(keys), table)
		}
	}
	return nil
}
