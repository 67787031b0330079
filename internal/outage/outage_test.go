package outage_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gas-restore/gas/internal/outage"
)

func TestAnOutageOfAnHourHasAFewLinesWithACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		var l outage.Log
		l.Worked(log, "works again")
		for range 3600 {
			l.Failed(log, "does not work", "err", "away")
			time.Sleep(time.Second)
		}
		l.Worked(log, "works again") // nobody knows yet
		time.Sleep(outage.Calm)
		l.Worked(log, "works again")
		l.Worked(log, "works again")
		want := `level=WARN msg="does not work" err=away
level=WARN msg="does not work" err=away failures=601 for=10m0s
level=WARN msg="does not work" err=away failures=1201 for=20m0s
level=WARN msg="does not work" err=away failures=1801 for=30m0s
level=WARN msg="does not work" err=away failures=2401 for=40m0s
level=WARN msg="does not work" err=away failures=3001 for=50m0s
level=INFO msg="works again" failures=3600 lasted=59m59s
`
		if text.String() != want {
			t.Errorf("got:\n%swant:\n%s", text.String(), want)
		}
	})
}

func TestTroubleThatComesBackSoonIsTheSameOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		var l, sharp outage.Log
		for range 100 {
			l.Failed(log, "one message fails")
			l.Worked(log, "messages work")
			time.Sleep(outage.Calm / 2)
		}
		if n := strings.Count(text.String(), "\n"); n != 5 { // 50 minutes, one line in ten
			t.Errorf("%d lines, want 5:\n%s", n, text.String())
		}
		text.Reset()
		sharp.Failed(log, "down")
		sharp.Over(log, "up")
		sharp.Over(log, "up")
		sharp.Failed(log, "down")
		if got := strings.Count(text.String(), "msg=down") + 10*strings.Count(text.String(), "msg=up"); got != 12 {
			t.Errorf("got:\n%s", text.String())
		}
	})
}
