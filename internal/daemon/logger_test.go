package daemon_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/fault"
)

func TestBothFormatsOfTheLogHaveWords(t *testing.T) {
	for format, want := range map[string]string{
		"json": `"kind":"denied","pause":"1m30s","err":"away","user":"fern","n":7}`,
		"text": `kind=denied pause=1m30s err=away user=fern n=7`,
	} {
		var b strings.Builder
		daemon.Logger(&b, format, slog.LevelInfo).Info("x", "kind", fault.Denied, "pause", 90*time.Second, "err", errors.New("away"), "user", "fern", "n", 7)
		if got := strings.TrimSpace(b.String()); !strings.HasSuffix(got, want) {
			t.Errorf("%s: got %s, want %s at the end", format, got, want)
		}
		if format == "json" && !json.Valid([]byte(b.String())) {
			t.Errorf("no JSON: %s", b.String())
		}
	}
}
