package s3_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/local/aws/s3"
)

// rules sets the lifecycle rules of the bucket.
func (s *stand) rules(small types.TransitionDefaultMinimumObjectSize, rules ...types.LifecycleRule) {
	s.t.Helper()
	for i := range rules {
		rules[i].Status = "Enabled"
	}
	must[*sdk.PutBucketLifecycleConfigurationOutput](s.t)(s.PutBucketLifecycleConfiguration(ctx, &sdk.PutBucketLifecycleConfigurationInput{
		Bucket: b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}, TransitionDefaultMinimumObjectSize: small,
	}))
}

// class is the class of an object, as HEAD has it.
func (s *stand) class(key string) types.StorageClass {
	s.t.Helper()
	return must[*sdk.HeadObjectOutput](s.t)(s.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: b, Key: &key})).StorageClass
}

func after(days int32, class types.TransitionStorageClass) types.Transition {
	return types.Transition{Days: &days, StorageClass: class}
}

func TestRulesMoveObjectsThatAreDue(t *testing.T) {
	prefix := func(p string) *types.LifecycleRuleFilter { return &types.LifecycleRuleFilter{Prefix: &p} }
	past, future := time.Now().UTC().Truncate(24*time.Hour), time.Now().UTC().Truncate(24*time.Hour).AddDate(1, 0, 0)
	for _, c := range []struct {
		name  string
		rules []types.LifecycleRule
		small types.TransitionDefaultMinimumObjectSize
		class types.StorageClass // before
		size  int
		days  int
		want  types.StorageClass
	}{
		{"due", []types.LifecycleRule{{Filter: prefix("k"), Transitions: []types.Transition{after(3, "GLACIER")}}}, "", "", 128 << 10, 4, "GLACIER"},
		{"not due", []types.LifecycleRule{{Filter: prefix("k"), Transitions: []types.Transition{after(3, "GLACIER")}}}, "", "", 128 << 10, 2, ""},
		{"at the next midnight", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(0, "DEEP_ARCHIVE")}}}, "", "", 128 << 10, 1, "DEEP_ARCHIVE"},
		{"another prefix", []types.LifecycleRule{{Filter: prefix("x"), Transitions: []types.Transition{after(0, "GLACIER")}}}, "", "", 128 << 10, 9, ""},
		{"both transitions are due", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER"), after(2, "DEEP_ARCHIVE")}}}, "", "", 128 << 10, 4, "DEEP_ARCHIVE"},
		{"the coldest of two rules", []types.LifecycleRule{
			{Filter: prefix("k"), Transitions: []types.Transition{after(1, "DEEP_ARCHIVE")}}, {Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER")}},
		}, "", "", 128 << 10, 4, "DEEP_ARCHIVE"},
		{"only forwards", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER_IR")}}}, "", "GLACIER", 128 << 10, 4, "GLACIER"},
		{"from GLACIER on", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "DEEP_ARCHIVE")}}}, "", "GLACIER", 128 << 10, 4, "DEEP_ARCHIVE"},
		{"a class to read at once", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER_IR")}}}, "", "", 128 << 10, 4, "GLACIER_IR"},
		{"small", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER")}}}, "", "", 128<<10 - 1, 4, ""},
		{"small, but that varies", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER")}}}, "varies_by_storage_class", "", 1, 4, "GLACIER"},
		{"small, and that varies for cold classes only", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{after(1, "GLACIER_IR")}}}, "varies_by_storage_class", "", 1, 4, ""},
		{"small by the rule's size", []types.LifecycleRule{{Filter: &types.LifecycleRuleFilter{ObjectSizeGreaterThan: aws.Int64(9)}, Transitions: []types.Transition{after(1, "GLACIER")}}}, "", "", 10, 4, "GLACIER"},
		{"too small for the rule", []types.LifecycleRule{{Filter: &types.LifecycleRuleFilter{ObjectSizeGreaterThan: aws.Int64(9)}, Transitions: []types.Transition{after(1, "GLACIER")}}}, "", "", 9, 4, ""},
		{"too large for the rule", []types.LifecycleRule{{Filter: &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: aws.String("k"), ObjectSizeLessThan: aws.Int64(9)}}, Transitions: []types.Transition{after(1, "GLACIER")}}}, "", "", 9, 4, ""},
		{"by a tag that no object has", []types.LifecycleRule{{Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{Key: aws.String("a"), Value: aws.String("b")}}, Transitions: []types.Transition{after(1, "GLACIER")}}}, "", "", 128 << 10, 4, ""},
		{"a past date", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{{Date: &past, StorageClass: "GLACIER"}}}}, "", "", 128 << 10, 0, "GLACIER"},
		{"a future date", []types.LifecycleRule{{Filter: prefix(""), Transitions: []types.Transition{{Date: &future, StorageClass: "GLACIER"}}}}, "", "", 128 << 10, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, t.TempDir())
			s.putIn(c.class, "k", strings.Repeat("x", c.size))
			s.rules(c.small, c.rules...)
			s.world.Clock.Advance(time.Duration(c.days) * 24 * time.Hour)
			s.service.RunLifecycle()
			if got := s.class("k"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if n := s.service.RunLifecycle(); n != 0 {
				t.Errorf("a second run moved %d", n)
			}
			want := c.small
			if want == "" {
				want = "all_storage_classes_128K"
			}
			out := must[*sdk.GetBucketLifecycleConfigurationOutput](t)(s.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: b}))
			if out.TransitionDefaultMinimumObjectSize != want || len(out.Rules) != len(c.rules) {
				t.Errorf("the configuration is %+v, %s", out.Rules, out.TransitionDefaultMinimumObjectSize)
			}
		})
	}
}

func TestRulesRunEachMidnight(t *testing.T) {
	s := newStand(t, t.TempDir())
	s.rules("varies_by_storage_class", types.LifecycleRule{Filter: &types.LifecycleRuleFilter{}, Transitions: []types.Transition{after(1, "GLACIER")}})
	etag := *s.put("k", []byte("cold")).ETag
	now := s.world.Clock.Now()
	midnight := now.Truncate(24*time.Hour).AddDate(0, 0, 2)
	s.world.Clock.Advance(midnight.Sub(now) - time.Minute)
	if got := s.class("k"); got != "" {
		t.Errorf("too early: %q", got)
	}
	s.world.Clock.Advance(time.Minute + time.Second)
	out := must[*sdk.ListObjectsV2Output](t)(s.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: b}))
	if o := out.Contents[0]; o.StorageClass != "GLACIER" || *o.ETag != etag || o.LastModified.After(now.Add(time.Minute)) {
		t.Errorf("listed %+v", o)
	}
	s.beginRestore("k", 30, s3.Standard)
	s.world.Clock.Advance(5 * time.Hour)
	if got := string(s.get("k")); got != "cold" {
		t.Errorf("got %q", got)
	}
	// A rule does not take the copy away from those who paid for it.
	s.rules("varies_by_storage_class", types.LifecycleRule{Filter: &types.LifecycleRuleFilter{}, Transitions: []types.Transition{after(1, "DEEP_ARCHIVE")}})
	s.world.Clock.Advance(48 * time.Hour)
	if got := s.class("k"); got != "GLACIER" || string(s.get("k")) != "cold" {
		t.Errorf("class %q", got)
	}
	s.world.Clock.Advance(40 * 24 * time.Hour)
	if got := s.class("k"); got != "DEEP_ARCHIVE" || s.blobs() != 1 {
		t.Errorf("class %q, %d files", got, s.blobs())
	}
	must[*sdk.DeleteObjectOutput](t)(s.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: b, Key: aws.String("k")}))
	if n := s.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestWrongTransitionsAreRefused(t *testing.T) {
	s := newStand(t, "")
	for _, c := range []struct{ name, inner, want string }{
		{"no time", "<StorageClass>GLACIER</StorageClass>", "MalformedXML"},
		{"two times", "<Days>1</Days><Date>2026-01-01T00:00:00Z</Date><StorageClass>GLACIER</StorageClass>", "MalformedXML"},
		{"no class", "<Days>1</Days>", "MalformedXML"},
		{"STANDARD", "<Days>1</Days><StorageClass>STANDARD</StorageClass>", "MalformedXML"},
		{"an unknown class", "<Days>1</Days><StorageClass>ICE</StorageClass>", "MalformedXML"},
		{"a negative number", "<Days>-1</Days><StorageClass>GLACIER</StorageClass>", "nonnegative"},
		{"IA too early", "<Days>29</Days><StorageClass>STANDARD_IA</StorageClass>", "greater than or equal to 30"},
		{"no date", "<Date>soon</Date><StorageClass>GLACIER</StorageClass>", "MalformedXML"},
		{"a date at noon", "<Date>2026-01-01T12:00:00Z</Date><StorageClass>GLACIER</StorageClass>", "midnight"},
		{"a class twice", "<Days>1</Days><StorageClass>GLACIER</StorageClass></Transition><Transition><Days>2</Days><StorageClass>GLACIER</StorageClass>", "must be different"},
	} {
		body := fmt.Sprintf("<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Transition>%s</Transition></Rule></LifecycleConfiguration>", c.inner)
		if status, answer, _ := s.raw("PUT", "/gas-results?lifecycle", nil, body); status != 400 || !strings.Contains(answer, c.want) {
			t.Errorf("%s: got %d %s, want %s", c.name, status, answer, c.want)
		}
	}
	body := "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/></Rule></LifecycleConfiguration>"
	if status, answer, _ := s.raw("PUT", "/gas-results?lifecycle", map[string]string{"X-Amz-Transition-Default-Minimum-Object-Size": "1"}, body); status != 400 {
		t.Errorf("an unknown size: got %d %s", status, answer)
	}
}
