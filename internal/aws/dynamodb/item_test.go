package dynamodb

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gas-restore/gas/internal/archive"
)

func TestWhatListsShowOfARestoredFileIsReadOnlyIfItMeansSomething(t *testing.T) {
	for _, c := range []struct {
		size, at     types.AttributeValue
		wantSize     int64
		wantRestored time.Time
	}{
		{nil, nil, 0, time.Time{}},
		{num(0), num(0), 0, time.Time{}},
		{num(1), num(1), 1, time.UnixMilli(1)},
		{num(-1), num(-1), 0, time.Time{}},
		{str("5"), str("5"), 0, time.Time{}},
		{num(1 << 40), num(253402300799000), 1 << 40, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{num(5), num(253402300799001), 5, time.Time{}},
	} {
		job := jobOf(item{attrResultSize: c.size, attrRestoredAt: c.at})
		if job.ResultSize != c.wantSize || !job.RestoredAt.Equal(c.wantRestored) || job.Doubt() != "" {
			t.Errorf("%v and %v are read as %d and %s, %q; want %d and %s", c.size, c.at, job.ResultSize, job.RestoredAt, job.Doubt(), c.wantSize, c.wantRestored)
		}
	}
}

func TestAnIntentIsReadWithItsTime(t *testing.T) {
	for _, c := range []struct {
		at   types.AttributeValue
		want time.Time
	}{{num(5000), time.UnixMilli(5000)}, {num(0), time.UnixMilli(0)}, {nil, time.Time{}}, {str("5000"), time.Time{}}} {
		job := jobOf(item{attrIntent: &types.AttributeValueMemberM{Value: item{"token": str("t"), "at": c.at}}, attrPlanOf: str("p")})
		if job.Intent == nil || job.Intent.Token != "t" || job.Intent.Plan != "p" || !job.Intent.At.Equal(c.want) {
			t.Errorf("at %v: read as %+v, want the time %s", c.at, job.Intent, c.want)
		}
	}
}

func TestALocatorOfAnotherKindHasOneFault(t *testing.T) {
	f := &fields{it: item{attrLocator: &types.AttributeValueMemberM{Value: item{locatorKind: str("tape"), locatorKey: str("k")}}}}
	if at := f.locator("j"); at != (archive.Copy{}) || len(f.unreadable) != 1 {
		t.Errorf("got %+v with %q, want no place and one fault", at, f.unreadable)
	}
}

func TestANumberIsReadWhole(t *testing.T) {
	for _, c := range []struct {
		value types.AttributeValue
		want  int64
		ok    bool
	}{
		{num(7), 7, true},
		{num(-7), -7, true},
		{num(1<<62 + 1), 1<<62 + 1, true},
		{&types.AttributeValueMemberN{Value: "7.9"}, 7, true},
		{&types.AttributeValueMemberN{Value: "-7.9"}, -7, true},
		{&types.AttributeValueMemberN{Value: "1.7E3"}, 1700, true},
		{&types.AttributeValueMemberN{Value: "1E30"}, 0, false},
		{&types.AttributeValueMemberN{Value: "-1E30"}, 0, false},
		{&types.AttributeValueMemberN{Value: "seven"}, 0, false},
		{str("7"), 0, false},
		{nil, 0, false},
	} {
		if got, ok := number(item{"n": c.value}, "n"); got != c.want || ok != c.ok {
			t.Errorf("number(%v) = %d, %v, want %d, %v", c.value, got, ok, c.want, c.ok)
		}
	}
}
