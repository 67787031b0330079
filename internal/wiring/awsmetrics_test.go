package wiring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/fault"
)

func TestAServiceIsNotReadyWhileAWSAnswersNoCall(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := newAWSCalls(config.Thaw, func() time.Time { return now })
	call := func(service string, kind fault.Kind, failed bool) {
		a.observe(awsclient.Call{Service: service, Operation: "GetItem", Failed: failed, Kind: kind, Took: time.Second})
	}
	for _, c := range []struct {
		what string
		do   func()
		says string
	}{
		{"at first", func() {}, ""},
		{"one failure", func() { call(dynamoDB, fault.Transient, true) }, ""},
		{"failures for a while", func() { now = now.Add(silentAfter); call(dynamoDB, fault.Transient, true) }, "DynamoDB has answered no call for 15s: GetItem: no answer"},
		{"another service answers", func() { call(glacierA, fault.Unknown, false) }, "DynamoDB"},
		{"it refuses, so it answers", func() { call(dynamoDB, fault.Denied, true) }, ""},
		{"it is away again", func() {
			call(dynamoDB, fault.Transient, true)
			now = now.Add(time.Minute)
			call(dynamoDB, fault.Transient, true)
		}, "for 1m0s"},
		{"nobody has called for long", func() { now = now.Add(forgetAfter + 1) }, ""},
		{"a failure after that is the first", func() { call(dynamoDB, fault.Transient, true) }, ""},
	} {
		c.do()
		err := a.Err(t.Context())
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.says)
		}
	}
}

func TestALabelOfACallOfAWSComesFromAList(t *testing.T) {
	a := newAWSCalls(config.Bridge, time.Now)
	before := testutil.CollectAndCount(a.calls)
	for range 3 {
		a.observe(awsclient.Call{Service: sqsA, Operation: "ReceiveMessage", Took: time.Second})
		a.observe(awsclient.Call{Service: sqsA, Operation: "SomethingNew", Failed: true, Kind: fault.Denied, Code: "other"})
	}
	if got := testutil.CollectAndCount(a.calls); got != before {
		t.Errorf("%d series, want the %d from the start", got, before)
	}
	if got := testutil.ToFloat64(a.calls.WithLabelValues(sqsA, other, fault.Denied.String())); got != 3 {
		t.Errorf("%v calls of another operation, want 3", got)
	}
}

// TestEachCallOfTheAdaptersIsInTheList reads the adapters: an operation that is in no list
// would be counted as other.
func TestEachCallOfTheAdaptersIsInTheList(t *testing.T) {
	// gas alone calls these
	operators := []string{"CreateTable", "DeleteItem", "DescribeTable", "DescribeContinuousBackups", "DescribeVault", "UpdateContinuousBackups", "UpdateTable"}
	var known []string
	for _, of := range calls {
		for _, operations := range of {
			known = append(known, operations...)
		}
	}
	call := regexp.MustCompile(`\.client\.([A-Z]\w+)\(|New(\w+)Paginator\(`)
	found := 0
	for _, pattern := range []string{"dynamodb", "glacier", "s3", "s3cold", "sns", "sqs"} {
		files, err := filepath.Glob("../aws/" + pattern + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil || strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range call.FindAllStringSubmatch(string(text), -1) {
				operation := m[1] + m[2]
				found++
				if !slices.Contains(known, operation) && !slices.Contains(operators, operation) {
					t.Errorf("%s calls %s, which is in no list", file, operation)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("%d calls found: the adapters are written in another way", found)
	}
}
