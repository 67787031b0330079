package dynamodb_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// record keeps each request with its body, and passes it on.
type record struct {
	aws.HTTPClient
	sent []string
}

func (r *record) Do(req *http.Request) (*http.Response, error) {
	_, call, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.sent = append(r.sent, call+" "+string(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
	return r.HTTPClient.Do(req)
}

// recorded returns the catalog behind a record.
func recorded(a *testenv.AWS) (*record, *dynamodb.Catalog) {
	cfg := a.Config
	r := &record{HTTPClient: cfg.HTTPClient}
	cfg.HTTPClient = r
	return r, dynamodb.New(cfg, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans})
}

func TestAnAccountThatIsWithdrawnKeepsNothingOfItsPlanAndItsPerson(t *testing.T) {
	a := testenv.NewAWS(t)
	key := map[string]av{"user_id": s("u")}
	if err := a.Catalog.Withdraw(t.Context(), "u"); !fault.Is(err, fault.NotFound) || kept(t, a, testenv.Accounts, key) != nil {
		t.Errorf("no account: got %v and %v, want that it is not found and not made", err, kept(t, a, testenv.Accounts, key))
	}
	stays := map[string]av{"user_id": s("u"), "role": s("free_user"), "role_changed_at": n("1"), "role_history": s("h"), "issuer": s("i"), "plans_opened": n("2")}
	set(t, a, testenv.Accounts, key, with(stays, map[string]av{
		"role": s("premium_user"), "name": s("N"), "email": s("e"), "announce_due": n("1"), "plan_id": s("p"), "plan_since": n("1"), "plan_why": s("audit"), "plan_state": s("open"), "plan_opened_at": n("1"),
		"plan_held_by": s("w"), "plan_approved_micro_usd": n("5"), "plan_empty_since": n("1"), "plan_first": s("j"), "plan_shard": shardOfU, "plan_due": n("1"),
	}))
	for range 2 {
		if err := a.Catalog.Withdraw(t.Context(), "u"); err != nil {
			t.Fatal(err)
		}
		if got, want := kept(t, a, testenv.Accounts, key), asText(stays); !maps.Equal(got, want) {
			t.Errorf("the account is\n%v\nwant\n%v", got, want)
		}
	}
}

// TestAJobIsDeletedIfItIsTheUsersAndItsArchiveIsGoneOrMayStay uses a table without indexes:
// the key of an index is never NULL.
func TestAJobIsDeletedIfItIsTheUsersAndItsArchiveIsGoneOrMayStay(t *testing.T) {
	a := testenv.NewAWS(t)
	catalog := dynamodb.New(a.Config, dynamodb.Tables{Jobs: "bare", Accounts: testenv.Accounts, Plans: testenv.Plans})
	if err := catalog.Make(t.Context(), estate.Table{Name: "bare", Hash: estate.Attribute{Name: "job_id", Type: "S"}}); err != nil {
		t.Fatal(err)
	}
	key := map[string]av{"job_id": s("j")}
	for name, c := range map[string]struct {
		it                map[string]av
		goes, goesWithout bool // with an archive that may stay, and with one that may not
	}{
		"no job":                        {nil, true, true},
		"a job in S3":                   {with(original(), map[string]av{"archive_id": nil}), true, true},
		"a job with NULL":               {with(original(), map[string]av{"archive_id": null}), true, true},
		"a job with an empty archive":   {with(original(), map[string]av{"archive_id": empty}), true, true},
		"a job with an archive":         {original(), true, false},
		"another's job with an archive": {with(original(), map[string]av{"user_id": s("v")}), false, false},
		"another's job in S3":           {with(original(), map[string]av{"user_id": s("v"), "archive_id": nil}), false, false},
		"nobody's job":                  {with(original(), map[string]av{"user_id": nil, "archive_id": nil}), false, false},
	} {
		for stays, goes := range map[bool]bool{true: c.goes, false: c.goesWithout} {
			set(t, a, "bare", key, c.it)
			err := catalog.DeleteJob(t.Context(), "u", "j", stays)
			if (err == nil) != goes || !goes && !fault.Is(err, fault.Conflict) {
				t.Errorf("%s, an archive may stay %v: got %v, want that it goes: %v", name, stays, err, goes)
			}
			want := asText(c.it)
			if goes {
				want = nil
			}
			if got := kept(t, a, "bare", key); !maps.Equal(got, want) {
				t.Errorf("%s, an archive may stay %v: the item is %v, want %v", name, stays, got, want)
			}
		}
	}
}

func TestAnAccountIsDeletedOnlyWithoutAPlan(t *testing.T) {
	a := testenv.NewAWS(t)
	key := map[string]av{"user_id": s("u")}
	for name, c := range map[string]struct {
		it   map[string]av
		goes bool
	}{
		"no account":                {nil, true},
		"an account without a plan": {map[string]av{"user_id": s("u"), "role": s("free_user")}, true},
		"an account with a plan":    {map[string]av{"user_id": s("u"), "role": s("free_user"), "plan_id": s("p")}, false},
	} {
		set(t, a, testenv.Accounts, key, c.it)
		err := a.Catalog.DeleteAccount(t.Context(), "u")
		if (err == nil) != c.goes || !c.goes && !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: got %v, want that it goes: %v", name, err, c.goes)
		}
		if got := kept(t, a, testenv.Accounts, key); (got == nil) != c.goes {
			t.Errorf("%s: the item is %v, want that it goes: %v", name, got, c.goes)
		}
	}
}

// TestTheLedgerOfAUserHasNothingOfAnother has ids in which the user's name stands elsewhere.
func TestTheLedgerOfAUserHasNothingOfAnother(t *testing.T) {
	a := testenv.NewAWS(t)
	ours := []string{"plan.u.p", "plan.u.u", "spent-of.u.p", "spent.2026-11-26.u", "spent.2026-11-27.u"}
	others := []string{
		"spent.2026-11-26", "spent.u", "spent.u.v", "spent.2026-11-26.v", "spent.2026-11-26.u2", "spent.2026.11.u", "plan.u", "plan.v.u", "plan.u.p.q", "plan.u2.p",
		"spent-of.v.u", "spent-of.u2.p", "other.u.p", "switches", "u.u.u",
	}
	for _, id := range slices.Concat(ours, others) {
		set(t, a, testenv.Plans, nil, map[string]av{"id": s(id)})
	}
	r, catalog := recorded(a)
	list := func(most int) (ids []string) {
		t.Helper()
		for id, err := range catalog.Ledger(t.Context(), "u") {
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, id); len(ids) == most {
				break
			}
		}
		slices.Sort(ids)
		return ids
	}
	if got := list(0); !slices.Equal(got, ours) {
		t.Errorf("got %v, want %v", got, ours)
	}
	// The list must have the spending of a moment ago, and must not transfer the items of all users.
	if len(r.sent) != 1 || !strings.Contains(r.sent[0], `"ConsistentRead":true`) || !strings.Contains(r.sent[0], `"FilterExpression":"contains(id, :user)"`) {
		t.Errorf("it sent %v", r.sent)
	}
	if got := list(1); len(got) != 1 || !slices.Contains(ours, got[0]) {
		t.Errorf("the reader stops after the first: got %v", got)
	}
	for _, id := range ours {
		if err := catalog.DeleteLedger(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(0); got != nil {
		t.Errorf("deleted items are still there: %v", got)
	}
	for _, id := range others {
		if kept(t, a, testenv.Plans, map[string]av{"id": s(id)}) == nil {
			t.Errorf("%s is gone", id)
		}
	}
	w, catalog := wired(a)
	w.deny = 1
	var got []string
	for id, err := range catalog.Ledger(t.Context(), "u") {
		got = append(got, fmt.Sprint(id, fault.KindOf(err)))
	}
	if !slices.Equal(got, []string{"denied"}) {
		t.Errorf("it is denied: got %v, want one error", got)
	}
}

func TestHoldingsHaveTheirInputsAndNoMissingJobs(t *testing.T) {
	a := testenv.NewAWS(t)
	set(t, a, testenv.Jobs, nil, original())
	got, err := a.Catalog.HoldingsOf(t.Context(), []events.JobID{"j", "none"})
	if err != nil || len(got) != 1 || got[0].ID != "j" || got[0].Input != (archive.Object{Bucket: "gas-inputs", Key: "gas/u/j~panel.vcf"}) {
		t.Errorf("got %+v, %v; want the job with its input", got, err)
	}
	// A batch without any item is whole all the same.
	if jobs, err := a.Catalog.JobsOf(t.Context(), []events.JobID{"none", "neither"}); err != nil || len(jobs) != 0 {
		t.Errorf("got %v, %v; want no jobs and no error", jobs, err)
	}
	if accounts, err := a.Catalog.AccountsOf(t.Context(), []events.UserID{"nobody"}); err != nil || !reflect.DeepEqual(accounts, map[events.UserID]archive.Account{}) {
		t.Errorf("got %v, %v; want no accounts and no error", accounts, err)
	}
}
