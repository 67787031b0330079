package dynamodb

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

// slow is a DynamoDB with a table that becomes ready with the second call.
type slow struct{ deadlines []time.Time }

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	until, _ := r.Context().Deadline()
	status := "ACTIVE"
	if s.deadlines = append(s.deadlines, until); len(s.deadlines) == 1 {
		status = "CREATING"
	}
	return answers(`{"Table":{"TableName":"jobs","TableStatus":"` + status + `"}}`).RoundTrip(r)
}

func TestATableIsAwaitedForFiveMinutesWithALookAfterATenthOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, s := time.Now(), &slow{}
		table, err := over(s).active(t.Context(), "jobs")
		if took := time.Since(began); err != nil || table == nil || took != 100*time.Millisecond {
			t.Errorf("got %+v, %v after %s, want the table after 100 ms", table, err, took)
		}
		if want := began.Add(5 * time.Minute); len(s.deadlines) != 2 || !s.deadlines[0].Equal(want) || !s.deadlines[1].Equal(want) {
			t.Errorf("the calls may take until %v, want two until %s", s.deadlines, want)
		}
	})
}

func TestATableIsRecoverableOnlyIfDynamoDBSaysSo(t *testing.T) {
	for answer, want := range map[string]bool{
		`{}`: false,
		`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED"}}`:                                                                           false,
		`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{}}}`:                                       false,
		`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"DISABLED"}}}`: false,
		`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"ENABLED"}}}`:  true,
	} {
		if got, err := over(denying{"DescribeContinuousBackups": answer}).Recoverable(t.Context(), "jobs"); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", answer, got, err, want)
		}
	}
	if got, err := offline(t).Recoverable(t.Context(), "jobs"); got || !fault.Is(err, fault.Denied) {
		t.Errorf("it is denied: got %v, %v", got, err)
	}
	if err := offline(t).MakeRecoverable(t.Context(), "jobs"); !fault.Is(err, fault.Denied) {
		t.Errorf("turning it on is denied: got %v", err)
	}
}
