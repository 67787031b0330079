package model

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// recorder records the writes on their way to DynamoDB.
type recorder struct {
	aws.HTTPClient
	seen []Write
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ ConditionExpression, UpdateExpression string }
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".UpdateItem") {
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		r.seen = append(r.seen, Write{Condition: in.ConditionExpression, Change: in.UpdateExpression})
	}
	return r.HTTPClient.Do(req)
}

// TestTheWritesAreTheAdapters makes each write of the table, and compares the strings that
// the adapter sent. So the model evaluates the same conditions as DynamoDB.
func TestTheWritesAreTheAdapters(t *testing.T) {
	a := testenv.NewAWS(t)
	r := &recorder{HTTPClient: a.Config.HTTPClient}
	cfg := a.Config
	cfg.HTTPClient = r
	catalog := dynamodb.New(cfg, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans})

	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	intent := archive.Intent{Token: "t", At: at, Due: at, Plan: "p"}
	job := archive.Job{ID: "j", UserID: "u", ArchiveID: "a", RetrievalID: "r", RestoredAt: at}
	announcing := archive.Job{ID: "j", ArchiveID: "a", Intent: &intent}
	spent := announcing
	spent.Intent = &archive.Intent{Token: "t", Used: true}
	p := archive.Plan{ID: "p", UpgradedAt: at, Why: archive.Upgrade, State: archive.PlanOpen, OpenedAt: at, Due: at}
	role := func(role archive.Role) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := catalog.SetRole(ctx, "u", role, at)
			return err
		}
	}
	calls := map[string]func(context.Context) error{
		saveIntent: func(ctx context.Context) error {
			return catalog.SaveIntent(ctx, archive.Job{ID: "j", ArchiveID: "a"}, intent)
		},
		takeIntent: func(ctx context.Context) error { return catalog.SaveIntent(ctx, announcing, intent) },
		takeUsed:   func(ctx context.Context) error { return catalog.SaveIntent(ctx, spent, intent) },
		dropIntent: func(ctx context.Context) error { return catalog.DropIntent(ctx, announcing, intent) },
		saveRetrieval: func(ctx context.Context) error {
			return catalog.SaveRetrieval(ctx, announcing, intent, archive.Retrieval{ID: "r", Tier: archive.Standard, RequestedAt: at})
		},
		clearArchive: func(ctx context.Context) error { return catalog.ClearArchive(ctx, job) },
		clearTaken: func(ctx context.Context) error {
			return catalog.ClearArchive(ctx, archive.Job{ID: "j", ArchiveID: "a", RestoredBy: "r", RestoredAt: at})
		},
		clearFailed:  func(ctx context.Context) error { return catalog.ClearRetrieval(ctx, job, archive.GlacierFailed, at) },
		clearExpired: func(ctx context.Context) error { return catalog.ClearRetrieval(ctx, job, archive.OutputExpired, at) },
		order:        func(ctx context.Context) error { return catalog.Order(ctx, job, 0, at) },
		upgrade:      role(archive.Premium),
		downgrade:    role(archive.Free),
		planLooked:   func(ctx context.Context) error { return catalog.PlanLooked(ctx, "u", "p", time.Time{}, at) },
		planEmpty:    func(ctx context.Context) error { return catalog.PlanLooked(ctx, "u", "p", at, at) },
		closePlan:    func(ctx context.Context) error { return catalog.ClosePlan(ctx, "u", p, at) },
		announced:    func(ctx context.Context) error { return catalog.Announced(ctx, "u", at) },
	}
	for _, changed := range []bool{false, true} {
		for _, opened := range []bool{false, true} {
			account := archive.Account{ID: "u", Role: archive.Premium}
			if changed {
				account.RoleChangedAt = at
			}
			if opened {
				account.PlansOpened = 1
			}
			open := p
			open.ID = openPlan(changed, opened)
			calls[open.ID] = func(ctx context.Context) error { return catalog.OpenPlan(ctx, account, open) }
		}
	}
	for _, w := range Writes() {
		call, ok := calls[w.Name]
		if !ok {
			t.Errorf("%s: nobody makes this write", w.Name)
			continue
		}
		r.seen = nil
		_ = call(t.Context()) // refused or not, it was sent
		if len(r.seen) == 0 {
			t.Errorf("%s: nothing was sent", w.Name)
			continue
		}
		got := r.seen[len(r.seen)-1]
		if got.Condition != w.Condition {
			t.Errorf("%s: the adapter's condition is\n  %s\nand the model's\n  %s", w.Name, got.Condition, w.Condition)
		}
		if a, b := clauses(got.Change), clauses(w.Change); !slices.Equal(a, b) {
			t.Errorf("%s: the adapter's change is\n  %s\nand the model's\n  %s", w.Name, a, b)
		}
		delete(calls, w.Name)
	}
	for name := range calls {
		t.Errorf("%s: the table does not have it", name)
	}
}

// clauses are the sorted parts of a change. Their order does not matter to DynamoDB.
func clauses(change string) []string {
	for _, word := range []string{"SET ", "REMOVE ", "ADD "} {
		change = strings.ReplaceAll(change, word, "\n"+word)
	}
	var out []string
	for _, clause := range strings.Split(strings.TrimSpace(change), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(clause), " ")
		for _, part := range strings.Split(rest, ",") {
			out = append(out, word+" "+strings.TrimSpace(part))
		}
	}
	slices.Sort(out)
	return out
}
