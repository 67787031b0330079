package checkup_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestATableWhoseAttributesHaveOtherNamesIsNamed has jobs as the genuine service writes them,
// and one that nobody can work with.
func TestATableWhoseAttributesHaveOtherNamesIsNamed(t *testing.T) {
	o := shared(t)
	for variable, c := range map[string]struct{ attribute, words string }{
		"GAS_JOB_ATTRIBUTES": {"results_file_archive_id", "have no archive_id, and an attribute that may be it by another name"},
		"GAS_JOB_TABLE":      {"retrieval_tries", "retrieval_tries is a string, not a number"},
	} {
		t.Run(variable, func(t *testing.T) {
			b := newFixture(t, o)
			s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
			_, err := ddb.NewFromConfig(b.Config).PutItem(t.Context(), &ddb.PutItemInput{TableName: aws.String(testenv.Jobs), Item: map[string]types.AttributeValue{
				"job_id": s("j"), "user_id": s("u"), "submit_time": &types.AttributeValueMemberN{Value: "1790000000"}, "job_status": s("COMPLETED"),
				"s3_results_bucket": s("b"), "s3_key_result_file": s("k"), c.attribute: s("a"),
			}})
			if err != nil {
				t.Fatal(err)
			}
			b.named(b.check(), variable, c.words)
		})
	}
}
