package sqs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/aws/sqs"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestEachErrorNamesTheURLOfTheQueue(t *testing.T) {
	a := testenv.NewAWS(t)
	const url = "http://aws.test/000000000000/nowhere"
	q := sqs.New(a.Config, url)
	_, err := q.Receive(t.Context(), 0, time.Minute)
	receipts := []string{"receipt"}
	for what, err := range map[string]error{
		"receive": err,
		"delete":  errors.Join(q.Delete(t.Context(), receipts)...),
		"return":  errors.Join(q.Return(t.Context(), receipts, time.Second)...),
		"extend":  errors.Join(q.Extend(t.Context(), receipts, time.Second)...),
	} {
		if !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), url) {
			t.Errorf("%s: got kind %s, %v; want the URL", what, fault.KindOf(err), err)
		}
	}
}
