//go:build browser

package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// TestAFileThatCannotBePutNeedsAttention puts another object at the key of one of two results.
// The real pipeline gives that file up.
func TestAFileThatCannotBePutNeedsAttention(t *testing.T) {
	t.Parallel()
	fern := stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 2, Size: 1 << 10}
	s := up(t, 200*time.Millisecond, fern)
	job, err := catalogOf(s).Job(t.Context(), fern.Job(s.Config.Bucket, 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: strings.NewReader("of somebody else")}); err != nil {
		t.Fatal(err)
	}
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	ada.untilReloaded("1 file needs the attention")
	ada.seeInEveryLook("attention-list", true)
	ada.click("panel_000.vcf")
	ada.says("Needs attention")
	ada.says(archive.Restoring)
	ada.seeInEveryLook("attention-file", true)
	ada.calm("a person with a file that needs attention")
}
