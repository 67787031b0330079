package bridge

import (
	"errors"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/queue"
	"github.com/gas-restore/gas/pkg/events"
)

func TestAMessageOfAMebibyteIsReadAndNoLargerOne(t *testing.T) {
	raw := func(n int) queue.Message {
		const frame = `{"x":""}`
		return queue.Message{ID: "m", Body: `{"x":"` + strings.Repeat("y", n-len(frame)) + `"}`}
	}
	for n, want := range map[int]bool{1<<20 - 1: true, 1 << 20: true, 1<<20 + 1: false} {
		got, err := unwrap(raw(n), "topic")
		if (err == nil) != want || want && (got.ID != "m" || len(got.Body) != n || got.Via != events.ViaSQSRaw) {
			t.Errorf("%d bytes: got %d bytes via %s, %v; want %v", n, len(got.Body), got.Via, err, want)
		}
	}
}

func TestWhichErrorsOfPublishingAreOfAllMessages(t *testing.T) {
	for _, c := range []struct {
		err          error
		alone, other bool // whether others were stored meanwhile
	}{
		{fault.Errorf(fault.Throttled, "no room"), true, true},
		{fault.Errorf(fault.Invalid, "too large"), false, false},
		{fault.Errorf(fault.Transient, "lost"), true, false},
		{fault.Errorf(fault.Denied, "not allowed"), true, false},
		{errors.New("of no kind"), true, false},
	} {
		if got := shared(c.err, false); got != c.alone {
			t.Errorf("%v, and nothing else was stored: got %v, want %v", c.err, got, c.alone)
		}
		if got := shared(c.err, true); got != c.other {
			t.Errorf("%v, and others were stored: got %v, want %v", c.err, got, c.other)
		}
	}
}

func TestAnEmptyArchiveHasASizeAndNoneHasLess(t *testing.T) {
	body := func(size string) string {
		return `{"Action":"ArchiveRetrieval","ArchiveId":"a","ArchiveSizeInBytes":` + size + `,"Completed":true,"JobDescription":"j","JobId":"r","SNSTopic":"topic","StatusCode":"Succeeded"}`
	}
	for size, want := range map[string]bool{"-1": false, "0": true, "1": true} {
		e, err := parseCompletion(Notification{ID: "n", Body: body(size)}, "topic")
		if (err == nil) != want {
			t.Errorf("%s bytes: got %+v, %v", size, e, err)
		}
	}
}
