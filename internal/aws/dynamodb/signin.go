package dynamodb

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
)

// maxSignIns is the number of tries of a sign-in while others change the same account.
const maxSignIns = 5

// SignIn makes the account if there is none. It changes an existing account as
// [archive.Account.SignedIn] says, or returns archive.ErrIssuer. It writes nothing if
// nothing changes. If two sign-ins from two issuers come at once to an account without an
// issuer, one is refused.
func (c *Catalog) SignIn(ctx context.Context, seen archive.Account, former []string) error {
	for range maxSignIns {
		was, err := c.Account(ctx, seen.ID)
		switch {
		case fault.Is(err, fault.NotFound):
			err = c.addAccount(ctx, seen)
		case err == nil:
			var now archive.Account
			if now, err = was.SignedIn(seen, former); err != nil {
				return err
			}
			err = c.describe(ctx, was, now)
		}
		if !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.Errorf(fault.Transient, "sign in to account %q: others changed it %d times", seen.ID, maxSignIns)
}

// addAccount makes the account. The error's kind is Conflict if it exists.
func (c *Catalog) addAccount(ctx context.Context, a archive.Account) error {
	it := item{attrUserID: str(string(a.ID)), attrRole: str(string(a.Role))}
	for name, value := range map[string]string{attrName: a.Name, attrEmail: a.Email, attrIssuer: a.Issuer} {
		if value != "" {
			it[name] = str(value)
		}
	}
	_, err := c.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.accounts, Item: it, ConditionExpression: aws.String("attribute_not_exists(user_id)"),
	})
	return awsfault.Wrap(err, "make account %q", a.ID)
}

// describe replaces name, e-mail address and issuer of was with those of now, if the
// issuer is still that of was. Otherwise the error's kind is Conflict.
func (c *Catalog) describe(ctx context.Context, was, now archive.Account) error {
	var changes []string
	names, values := map[string]string{}, item{":of": str(was.Issuer)}
	for _, f := range []struct{ attr, was, now string }{
		{attrIssuer, was.Issuer, now.Issuer}, {attrName, was.Name, now.Name}, {attrEmail, was.Email, now.Email},
	} {
		if f.was != f.now {
			changes = append(changes, "#"+f.attr+" = :"+f.attr)
			names["#"+f.attr], values[":"+f.attr] = f.attr, str(f.now) // "name" is a reserved word
		}
	}
	if changes == nil {
		return nil
	}
	condition := "issuer = :of" // no account, no issuer
	if was.Issuer == "" {
		// A value that is no string reads as absent too.
		condition = "attribute_exists(user_id) AND (issuer = :of OR NOT attribute_type(issuer, :string))"
		values[":string"] = str("S")
	}
	in := &dynamodb.UpdateItemInput{
		TableName: &c.accounts, Key: userKey(now.ID), ConditionExpression: &condition,
		UpdateExpression:         aws.String("SET " + strings.Join(changes, ", ")),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}
	_, err := c.client.UpdateItem(ctx, in)
	return awsfault.Wrap(err, "update account %q", now.ID)
}
