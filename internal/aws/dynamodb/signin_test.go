package dynamodb_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

// writes counts what is written on its way to DynamoDB.
type writes struct {
	aws.HTTPClient
	n atomic.Int32
}

func (w *writes) Do(r *http.Request) (*http.Response, error) {
	if t := r.Header.Get("X-Amz-Target"); strings.HasSuffix(t, ".PutItem") || strings.HasSuffix(t, ".UpdateItem") {
		w.n.Add(1)
	}
	return w.HTTPClient.Do(r)
}

func TestASignInBringsTheAccountUpToDate(t *testing.T) {
	const here, before, other = "https://here.example", "https://before.example", "https://other.example"
	a := testenv.NewAWS(t)
	cfg := a.Config
	w := &writes{HTTPClient: cfg.HTTPClient}
	cfg.HTTPClient = w
	catalog := dynamodb.New(cfg, dynamodb.Tables{Jobs: testenv.Jobs, Accounts: testenv.Accounts, Plans: testenv.Plans})
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	for name, tt := range map[string]struct {
		kept   map[string]types.AttributeValue
		seen   archive.Account
		want   archive.Account
		writes int32
		err    error
	}{
		"a new account": {
			nil, archive.Account{Name: "N", Email: "e", Issuer: here, Role: archive.Free},
			archive.Account{Name: "N", Email: "e", Issuer: here, Role: archive.Free}, 1, nil,
		},
		"a new account of somebody nameless": {
			nil, archive.Account{Issuer: here, Role: archive.Free}, archive.Account{Issuer: here, Role: archive.Free}, 1, nil,
		},
		"nothing changed": {
			map[string]types.AttributeValue{"name": s("N"), "email": s("e"), "issuer": s(here), "role": s("premium_user")},
			archive.Account{Name: "N", Email: "e", Issuer: here, Role: archive.Free},
			archive.Account{Name: "N", Email: "e", Issuer: here, Role: archive.Premium}, 0, nil,
		},
		"the name and the address changed": {
			map[string]types.AttributeValue{"name": s("N"), "email": s("e"), "issuer": s(here), "role": s("free_user")},
			archive.Account{Name: "M", Email: "f", Issuer: here},
			archive.Account{Name: "M", Email: "f", Issuer: here, Role: archive.Free}, 1, nil,
		},
		"the provider tells no name any more": {
			map[string]types.AttributeValue{"name": s("N"), "issuer": s(here), "role": s("free_user")},
			archive.Account{Issuer: here}, archive.Account{Name: "N", Issuer: here, Role: archive.Free}, 0, nil,
		},
		"an account from before issuers were kept": {
			map[string]types.AttributeValue{"role": s("premium_user")},
			archive.Account{Issuer: here}, archive.Account{Issuer: here, Role: archive.Premium}, 1, nil,
		},
		"an issuer of NULL": {
			map[string]types.AttributeValue{"role": s("free_user"), "issuer": &types.AttributeValueMemberNULL{Value: true}},
			archive.Account{Issuer: here}, archive.Account{Issuer: here, Role: archive.Free}, 1, nil,
		},
		"an issuer that is empty": {
			map[string]types.AttributeValue{"role": s("free_user"), "issuer": s("")},
			archive.Account{Issuer: here}, archive.Account{Issuer: here, Role: archive.Free}, 1, nil,
		},
		"an issuer that is a number": {
			map[string]types.AttributeValue{"role": s("free_user"), "issuer": &types.AttributeValueMemberN{Value: "7"}},
			archive.Account{Issuer: here}, archive.Account{Issuer: here, Role: archive.Free}, 1, nil,
		},
		"the issuer from before": {
			map[string]types.AttributeValue{"role": s("free_user"), "issuer": s(before)},
			archive.Account{Issuer: here}, archive.Account{Issuer: here, Role: archive.Free}, 1, nil,
		},
		"another issuer": {
			map[string]types.AttributeValue{"name": s("N"), "role": s("free_user"), "issuer": s(other)},
			archive.Account{Name: "M", Issuer: here}, archive.Account{Name: "N", Issuer: other, Role: archive.Free}, 0, archive.ErrIssuer,
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := "user of " + name
			if tt.kept != nil {
				tt.kept["user_id"] = s(id)
				if _, err := sdk.NewFromConfig(a.Config).PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String(testenv.Accounts), Item: tt.kept}); err != nil {
					t.Fatal(err)
				}
			}
			tt.seen.ID, tt.want.ID = events.UserID(id), events.UserID(id)
			for again := range 2 {
				w.n.Store(0)
				err := catalog.SignIn(t.Context(), tt.seen, []string{before})
				if !errors.Is(err, tt.err) || (tt.err == nil) != (err == nil) {
					t.Fatalf("time %d: %v, want %v", again, err, tt.err)
				}
				if got, want := w.n.Load(), tt.writes*int32(1-again); got != want {
					t.Errorf("time %d: %d writes, want %d", again, got, want)
				}
			}
			got, err := catalog.Account(t.Context(), tt.want.ID)
			if err != nil || got != tt.want {
				t.Errorf("the account is %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

// TestOfTwoIssuersAtOnceOneIsRefused lets people with one subject of several issuers sign
// in at the same time: to an account from before issuers were kept, and to none.
func TestOfTwoIssuersAtOnceOneIsRefused(t *testing.T) {
	a := testenv.NewAWS(t)
	for _, there := range []bool{true, false} {
		id := archive.Account{ID: "new", Role: archive.Free}
		if there {
			id.ID = "old"
			if err := a.Catalog.EnsureAccount(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		const issuers = 8
		errs := make([]error, issuers)
		var all sync.WaitGroup
		for i := range issuers {
			all.Go(func() {
				seen := id
				seen.Issuer = "https://" + string(rune('a'+i)) + ".example"
				errs[i] = a.Catalog.SignIn(t.Context(), seen, nil)
			})
		}
		all.Wait()
		in := 0
		for i, err := range errs {
			switch {
			case err == nil:
				in++
			case !errors.Is(err, archive.ErrIssuer):
				t.Errorf("issuer %d: %v", i, err)
			}
		}
		if in != 1 {
			t.Errorf("account there %v: %d issuers are signed in, want 1", there, in)
		}
	}
}
