package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/testenv"
	"github.com/gas-restore/gas/pkg/events"
)

func newSurvey(from events.JobID) *surveyed {
	return &surveyed{Next: from, by: map[string]*surveyFinding{}, roles: map[events.UserID]string{}}
}

// TestASurveyCountsWhatCannotBeWorkedWith has a table with one of each fault, and looks
// over it whole, and in pieces.
func TestASurveyCountsWhatCannotBeWorkedWith(t *testing.T) {
	a := testenv.NewAWS(t)
	a.Account("fern", archive.Free)
	a.Account("odd", "premium")
	str := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	put := func(id string, change func(map[string]types.AttributeValue)) {
		it := map[string]types.AttributeValue{
			"job_id": str(id), "user_id": str("fern"), "submit_time": &types.AttributeValueMemberN{Value: "1790000000"}, "job_status": str("COMPLETED"),
			"s3_results_bucket": str("b"), "s3_key_result_file": str("k"), "archive_id": str("a"),
		}
		change(it)
		if _, err := ddb.NewFromConfig(a.Config).PutItem(t.Context(), &ddb.PutItemInput{TableName: aws.String(testenv.Jobs), Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		put(fmt.Sprint("good-", i), func(map[string]types.AttributeValue) {})
	}
	wrong := map[string]func(map[string]types.AttributeValue){
		"retrieval_request_id means nothing here": func(it map[string]types.AttributeValue) {
			it["retrieval_request_id"] = &types.AttributeValueMemberN{Value: "7"}
		},
		"archive_id means nothing here": func(it map[string]types.AttributeValue) {
			it["results_file_archive_id"] = it["archive_id"]
			delete(it, "archive_id")
		},
		"archived, and s3_results_bucket or s3_key_result_file is not there": func(it map[string]types.AttributeValue) { delete(it, "s3_key_result_file") },
		"completed, with neither an archive nor an object's key":             func(it map[string]types.AttributeValue) { delete(it, "archive_id"); delete(it, "s3_key_result_file") },
		"user_id is not there":                     func(it map[string]types.AttributeValue) { delete(it, "user_id") },
		"the user's account cannot be worked with": func(it map[string]types.AttributeValue) { it["user_id"] = str("odd") },
	}
	for what, change := range wrong {
		put("bad "+what, change)
	}
	put("nobody's", func(it map[string]types.AttributeValue) { it["user_id"] = str("nobody") })
	put("null", func(it map[string]types.AttributeValue) {
		it["retrieval_request_id"] = &types.AttributeValueMemberNULL{Value: true}
	})
	put("shown", func(it map[string]types.AttributeValue) { it["input_file_name"] = &types.AttributeValueMemberL{} })

	whole := newSurvey("")
	if err := whole.look(t.Context(), a.Catalog, 100); err != nil {
		t.Fatal(err)
	}
	if whole.Jobs != 14 || whole.Next != "" {
		t.Errorf("%d jobs, go on from %q", whole.Jobs, whole.Next)
	}
	blocking := map[string]bool{}
	for _, f := range whole.Findings {
		blocking[f.What] = f.Blocks
	}
	for what := range wrong {
		f := whole.by[what]
		if f == nil || !f.Blocks || !slices.ContainsFunc(f.Examples, func(e string) bool { return strings.HasPrefix(e, "bad "+what) }) && f.Jobs <= surveyExamples {
			t.Errorf("%q: %+v", what, f)
		}
	}
	for what, want := range map[string]bool{"retrieval_request_id is NULL or empty": false, "input_file_name means nothing here": false} {
		if blocks, there := blocking[what]; !there || blocks != want {
			t.Errorf("%q: there %t, blocks %t", what, there, blocks)
		}
	}
	if len(blocking) != len(wrong)+2 || whole.by["the user's account cannot be worked with"].Jobs != 2 {
		t.Errorf("findings: %v", blocking)
	}
	var out bytes.Buffer
	if err := whole.write(&out, true); err != nil || !strings.Contains(out.String(), "set GAS_JOB_ATTRIBUTES=archive_id=results_file_archive_id") || strings.Contains(out.String(), "can be worked with.") {
		t.Errorf("%v:\n%s", err, &out)
	}

	// In pieces of two, each from where the one before ended.
	jobs := 0
	for next := events.JobID(""); ; {
		piece := newSurvey(next)
		if err := piece.look(t.Context(), a.Catalog, 2); err != nil || piece.Jobs > 2 {
			t.Fatalf("%d jobs, %v", piece.Jobs, err)
		}
		jobs += piece.Jobs
		if next = piece.Next; next == "" {
			break
		}
	}
	if jobs != whole.Jobs {
		t.Errorf("%d jobs in pieces, %d at once", jobs, whole.Jobs)
	}
}
