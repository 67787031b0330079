package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Budgets and pauses are items of the table of plans. Amounts are added under a
// condition: if two workers spend at once, both amounts count, and the sum never passes
// the limit.

const attrSpent = "spent_micro_usd"

func planTableKey(id string) item { return item{attrLedgerID: str(id)} }

// add adds an amount to a budget, if the sum does not pass the limit. A limit of zero
// means no limit, and a negative amount gives money back. ok is false if the sum would
// pass the limit.
func (c *Catalog) add(ctx context.Context, id string, amount, limit archive.MicroUSD) (ok bool, err error) {
	in := &dynamodb.UpdateItemInput{
		TableName: &c.plans, Key: planTableKey(id), UpdateExpression: aws.String("ADD " + attrSpent + " :n"),
		ExpressionAttributeValues: item{":n": num(int64(amount))},
	}
	if limit > 0 && amount > 0 {
		if amount > limit {
			return false, nil
		}
		in.ConditionExpression = aws.String("attribute_not_exists(" + attrSpent + ") OR " + attrSpent + " <= :room")
		in.ExpressionAttributeValues[":room"] = num(int64(limit - amount))
	}
	_, err = c.client.UpdateItem(ctx, in)
	err = awsfault.Wrap(err, "spend from %s", id)
	if fault.Is(err, fault.Conflict) {
		return false, nil
	}
	return err == nil, err
}

func dayID(day string) string { return "spent." + day }
func userDayID(day string, user events.UserID) string {
	return dayID(day) + "." + events.Token(string(user))
}
func planSpentID(user events.UserID, plan string) string {
	return "spent-of." + events.Token(string(user)) + "." + events.Token(plan)
}

// Spend adds the highest price of a retrieval to the spending of the day, of the user and
// of the plan, before the retrieval is requested. refused is a sentence if a limit does
// not allow it; then nothing is added. If the process dies, the amount stays: so the
// limits hold in any case.
func (c *Catalog) Spend(ctx context.Context, s archive.Spending) (refused string, err error) {
	type entry struct {
		id    string
		limit archive.MicroUSD
		what  string
	}
	// The day comes last, so that nothing is ever taken back from the day. Otherwise a request
	// that the user's budget refuses could take the day's last room for a moment, and another
	// user's plan would be held for nothing.
	entries := []entry{
		{userDayID(s.Day, s.User), s.UserLimit, "for this user today"},
		{dayID(s.Day), s.DayLimit, "for all users today"},
	}
	if s.Approved > 0 {
		// The amount that an operator approved counts, and no budget holds it up.
		entries = []entry{{planSpentID(s.User, s.Plan), s.Approved, "for this plan"}, {dayID(s.Day), 0, ""}, {userDayID(s.Day, s.User), 0, ""}}
	}
	for i, e := range entries {
		ok, err := c.add(ctx, e.id, s.Amount, e.limit)
		if err == nil && ok {
			continue
		}
		for _, before := range entries[:i] {
			if _, undo := c.add(context.WithoutCancel(ctx), before.id, -s.Amount, 0); undo != nil && err == nil {
				err = undo
			}
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s are more than the rest of %s", s.Amount, e.what, e.limit), nil
	}
	return "", nil
}

// Return gives back an amount that was not spent.
func (c *Catalog) Return(ctx context.Context, s archive.Spending) error {
	if s.Amount <= 0 {
		return nil
	}
	ids := []string{dayID(s.Day), userDayID(s.Day, s.User)}
	if s.Approved > 0 {
		ids = append(ids, planSpentID(s.User, s.Plan))
	}
	for _, id := range ids {
		if _, err := c.add(ctx, id, -s.Amount, 0); err != nil {
			return err
		}
	}
	return nil
}

// Spent returns the spending of a day: of all users, and of this user.
func (c *Catalog) Spent(ctx context.Context, day string, user events.UserID) (all, ofUser archive.MicroUSD, err error) {
	read := func(id string) archive.MicroUSD {
		out, rerr := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.plans, Key: planTableKey(id), ConsistentRead: aws.Bool(true)})
		if rerr != nil {
			err = awsfault.Wrap(rerr, "read %s", id)
			return 0
		}
		n, _ := number(out.Item, attrSpent)
		return archive.MicroUSD(n)
	}
	return read(dayID(day)), read(userDayID(day, user)), err
}

const switchesID, attrSwitches, attrRevision = "switches", "switches", "revision"

// Switches returns the pauses of operators.
func (c *Catalog) Switches(ctx context.Context) (archive.Switches, error) {
	s, _, err := c.switches(ctx)
	return s, err
}

func (c *Catalog) switches(ctx context.Context) (s archive.Switches, revision int64, err error) {
	out, err := c.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.plans, Key: planTableKey(switchesID), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return s, 0, awsfault.Wrap(err, "read the pauses")
	}
	if out.Item == nil {
		return s, 0, nil
	}
	revision, _ = number(out.Item, attrRevision)
	if err := json.Unmarshal([]byte(text(out.Item, attrSwitches)), &s); err != nil {
		return s, 0, fault.Errorf(fault.Denied, "the pauses cannot be read (item %q of table %s): %w", switchesID, c.plans, err)
	}
	return s, revision, nil
}

// ChangeSwitches changes the pauses. If two operators change them at once, the second
// change sees the first.
func (c *Catalog) ChangeSwitches(ctx context.Context, change func(*archive.Switches)) (archive.Switches, error) {
	for {
		s, revision, err := c.switches(ctx)
		if err != nil {
			return s, err
		}
		change(&s)
		data, err := json.Marshal(s)
		if err != nil {
			return s, err
		}
		it := planTableKey(switchesID)
		it[attrSwitches], it[attrRevision] = str(string(data)), num(revision+1)
		_, err = c.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &c.plans, Item: it,
			ConditionExpression:       aws.String("attribute_not_exists(id) OR revision = :was"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":was": &types.AttributeValueMemberN{Value: strconv.FormatInt(revision, 10)}},
		})
		err = awsfault.Wrap(err, "change the pauses")
		if !fault.Is(err, fault.Conflict) {
			return s, err
		}
	}
}
