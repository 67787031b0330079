package main

import (
	"bytes"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/test/bustest"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func TestStatusIsTrueOfWhatIsQueuedHeldAndBack(t *testing.T) {
	a := testenv.NewAWS(t)
	d := &deployment{catalog: a.Catalog, bus: testenv.Bus(t, testenv.NATS(t), "operator"), aws: a.Config}
	d.cfg.Tiers = []string{"Expedited", "Standard"}
	// Fern is Free; of moss, Free too, an operator's announcement waits; sorrel's plan is
	// held; the file of yarrow is back, and was paid for.
	for user, role := range map[events.UserID]archive.Role{"fern": archive.Free, "moss": archive.Free, "sorrel": archive.Premium, "yarrow": archive.Premium} {
		a.Account(user, role)
		if user != "yarrow" {
			a.Archive(user, events.JobID(user+"-1"), []byte("x"))
		}
	}
	if _, err := d.bus.Publish(t.Context(), events.UserUpgraded{ID: "m", UserID: "moss", UpgradedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := a.Catalog.HoldPlan(t.Context(), "sorrel", testenv.PlanOf("sorrel"), "over the budget", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := ddb.NewFromConfig(a.Config).PutItem(t.Context(), &ddb.PutItemInput{TableName: aws.String(testenv.Jobs), Item: map[string]types.AttributeValue{
		"job_id": &types.AttributeValueMemberS{Value: "yarrow-1"}, "user_id": &types.AttributeValueMemberS{Value: "yarrow"}, "job_status": &types.AttributeValueMemberS{Value: "COMPLETED"},
		"submit_time": &types.AttributeValueMemberN{Value: "1"}, "s3_results_bucket": &types.AttributeValueMemberS{Value: "gas-results"}, "s3_key_result_file": &types.AttributeValueMemberS{Value: "yarrow/1"}, "billed_micro_usd": &types.AttributeValueMemberN{Value: "10650000"},
	}}); err != nil {
		t.Fatal(err)
	}
	all := func(r *statusReport) error { return r.ofAll(t.Context(), d, true) }
	one := func(r *statusReport) error { return r.ofUser(t.Context(), d) }
	for _, c := range []struct {
		user events.UserID
		read func(*statusReport) error
		want []string
	}{
		{"", all, []string{`(?m)^archived +1 `, `(?m)^queued +1 `, `(?m)^held +1 `, `all back by +20.*, if the 1 that are not requested yet are requested now, without the 1 that are held`, `billed +\$10\.65`, `GAS_PREMIUM_QUEUE_URL is not set`}},
		{"fern", one, []string{`(?m)^archived +1 `, `all back by +-\n`}},
		{"moss", one, []string{`(?m)^queued +1 `}},
		{"sorrel", one, []string{`(?m)^held +1 `, `all back by +-, without the 1 that are held`}},
		{"yarrow", one, []string{`(?m)^available +1 `, `billed +\$10\.65`}},
	} {
		r := statusReport{At: time.Now().UTC(), User: c.user}
		if err := c.read(&r); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := r.print(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !regexp.MustCompile(want).Match(out.Bytes()) {
				t.Errorf("of %q, nothing matches %s in\n%s", c.user, want, &out)
			}
		}
	}
}

// TestStatusListsWhatTheSiteSaysNeedsAttention gives up the copy of one file of two.
func TestStatusListsWhatTheSiteSaysNeedsAttention(t *testing.T) {
	a, ns := testenv.NewAWS(t), testenv.NATS(t)
	d := &deployment{catalog: a.Catalog, bus: testenv.Bus(t, ns, "operator"), aws: a.Config}
	d.cfg.Tiers = []string{"Expedited", "Standard"}
	a.Account("fern", archive.Premium)
	for _, id := range []events.JobID{"fern-1", "fern-2"} {
		job := a.Archive("fern", id, []byte("x"))
		intent := archive.Intent{Token: "t", At: time.Now()}
		if err := a.Catalog.SaveIntent(t.Context(), job, intent); err != nil {
			t.Fatal(err)
		}
		if err := a.Catalog.SaveRetrieval(t.Context(), job, intent, archive.Retrieval{ID: "r-" + events.RetrievalID(id), Tier: archive.Expedited, RequestedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	e := events.RetrievalCompleted{ID: "n", JobID: "fern-1", ArchiveID: "a", RetrievalID: "r-fern-1", Status: events.RetrievalSucceeded}
	m, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	bustest.StoreLetters(t, d.bus, events.DeadLetter{ID: "1", Stream: events.StreamRestore, Consumer: bus.ConsumerRestore, SourceSubject: e.Subject(), Payload: m.Data, Kind: "invalid", Cause: "key occupied", Reason: "is there already", LastAt: time.Now()})
	for name, read := range map[string]func(*statusReport) error{
		"fern": func(r *statusReport) error { return r.ofUser(t.Context(), d) },
		"":     func(r *statusReport) error { return r.ofAll(t.Context(), d, false) },
	} {
		r := statusReport{At: time.Now().UTC(), User: events.UserID(name)}
		if err := read(&r); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := r.print(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`(?m)^needs attention +1 `, `(?m)^requested +1 `, `(?m)^fern-1 +fern +invalid +key occupied +gas dead show 1$`} {
			if !regexp.MustCompile(want).Match(out.Bytes()) {
				t.Errorf("of %q, nothing matches %s in\n%s", name, want, &out)
			}
		}
	}
}
