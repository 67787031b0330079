package stack_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
)

type item = map[string]types.AttributeValue

func text(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func num(v string) types.AttributeValue  { return &types.AttributeValueMemberN{Value: v} }

func hashOf(body []byte) string {
	h := treehash.New()
	h.Write(body)
	return h.TreeHash().String()
}

// TestWhatTheOriginalServiceWroteComesBack has the items of the genuine annotation service,
// and those that boto3, a CSV import and other tools make of them: an upgrade brings each
// file back, byte for byte, and leaves none of the attributes that say it is archived.
func TestWhatTheOriginalServiceWroteComesBack(t *testing.T) {
	t.Parallel()
	comesBack(t, "archive_id")
}

// TestWhatTheOriginalServiceWroteUnderItsOwnNameComesBack has the same items, with the
// original's name of the attribute.
func TestWhatTheOriginalServiceWroteUnderItsOwnNameComesBack(t *testing.T) {
	const attribute = "results_file_archive_id"
	t.Setenv("GAS_JOB_ATTRIBUTES", "archive_id="+attribute)
	comesBack(t, attribute)
}

// comesBack brings files back that have the id of their archive under the attribute.
func comesBack(t *testing.T, attribute string) {
	t.Helper()
	null := &types.AttributeValueMemberNULL{Value: true}
	forms := map[string]item{
		"as-written":          {},
		"retrieval-null":      {"retrieval_request_id": null},
		"retrieval-empty":     {"retrieval_request_id": text("")},
		"all-null":            {"retrieval_request_id": null, "retrieval_intent": null, "billed_micro_usd": null, "retrieval_tries": null, "archive_size": null, "tree_hash": null, "s3_key_log_file": null},
		"milliseconds":        {"submit_time": num("1790000000000"), "complete_time": num("1790000100000")},
		"fractions":           {"submit_time": num("1790000000.25"), "complete_time": num("1790000100.75")},
		"numbers-as-strings":  {"complete_time": text("1790000100"), "archive_size": text("40007")},
		"lower-case":          {"job_status": text("completed")},
		"with-their-own":      {"execution_arn": text("arn:aws:states:us-east-1:127134666975:execution:x:y"), "tags": &types.AttributeValueMemberL{Value: []types.AttributeValue{null}}},
		"hash-in-upper-case":  {"tree_hash": text("upper")},
		"nothing-but-a-place": {"input_file_name": nil, "submit_time": num("0"), "complete_time": nil, "s3_key_log_file": nil},
	}
	s, _ := up(t, testenv.Memory(t), []stack.Person{{ID: "fern", Name: "Fern", Role: archive.Free}})
	ctx := t.Context()
	tables, vaults, objects := ddb.NewFromConfig(s.AWSConfig), glacier.NewFromConfig(s.AWSConfig), s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	// The account is another system's row: what the pipeline needs, and no more.
	if _, err := tables.PutItem(ctx, &ddb.PutItemInput{TableName: &s.Config.AccountTable, Item: item{
		"user_id": text("thyme"), "role": text("premium_user"), "role_changed_at": num("1790000000"), "name": null,
	}}); err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{}
	for form, change := range forms {
		body := []byte(strings.Repeat(form+"\n", 40007/len(form)))
		bodies[form] = body
		up, err := vaults.UploadArchive(ctx, &glacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: &s.Config.Vault, Body: bytes.NewReader(body), ArchiveDescription: aws.String(form)})
		if err != nil {
			t.Fatal(err)
		}
		it := item{
			"job_id": text(form), "user_id": text("thyme"), "input_file_name": text("panel.vcf"), "s3_inputs_bucket": text("gas-inputs"), "s3_key_input_file": text("gas/thyme/" + form + "~panel.vcf"),
			"submit_time": num("1790000000"), "job_status": text("COMPLETED"), "complete_time": num("1790000100"), "s3_results_bucket": text(s.Config.Bucket),
			"s3_key_result_file": text("gas/thyme/" + form + "~panel.annot.vcf"), "s3_key_log_file": text("gas/thyme/" + form + "~panel.vcf.count.log"), attribute: text(*up.ArchiveId),
		}
		maps.Copy(it, change)
		if v, ok := it["tree_hash"].(*types.AttributeValueMemberS); ok && v.Value == "upper" {
			it["tree_hash"] = text(strings.ToUpper(hashOf(body)))
		}
		if v, ok := it["archive_size"].(*types.AttributeValueMemberS); ok && v.Value != "" {
			it["archive_size"] = text(fmt.Sprint(len(body)))
		}
		maps.DeleteFunc(it, func(_ string, v types.AttributeValue) bool { return v == nil })
		if _, err := tables.PutItem(ctx, &ddb.PutItemInput{TableName: &s.Config.JobTable, Item: it}); err != nil {
			t.Fatal(form, err)
		}
	}
	if _, err := sns.NewFromConfig(s.AWSConfig).Publish(ctx, &sns.PublishInput{TopicArn: &s.Config.PremiumTopic, Message: aws.String(`{"user_id": "thyme"}`)}); err != nil {
		t.Fatal(err)
	}
	restored(t, s, "thyme", len(forms))
	for form, body := range bodies {
		out, err := objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Config.Bucket, Key: aws.String("gas/thyme/" + form + "~panel.annot.vcf")})
		if err != nil {
			t.Fatal(form, err)
		}
		got, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes are back, %v, want the %d that were archived", form, len(got), err, len(body))
		}
		row, err := tables.GetItem(ctx, &ddb.GetItemInput{TableName: &s.Config.JobTable, Key: item{"job_id": text(form)}, ConsistentRead: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		for _, gone := range []string{attribute, "retrieval_request_id", "retrieval_intent"} {
			if v, there := row.Item[gone]; there {
				t.Errorf("%s: %s is %v", form, gone, v)
			}
		}
	}
	if left := s.AWS.Glacier.Archives(s.Config.Vault); len(left) != 0 {
		t.Errorf("%d archives are left", len(left))
	}
}
