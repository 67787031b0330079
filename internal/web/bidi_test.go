package web

import (
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
)

// TestANameDoesNotTurnTheTextAroundIt has characters that turn text, or end an isolate, in
// every name from outside, and looks for each place of the names in the pages.
func TestANameDoesNotTurnTheTextAroundIt(t *testing.T) {
	const turn = "evil\u2069\u202efcv"
	b := newFixture(t)
	b.ports.archived("ada", jobID(turn), b.clock.Now())
	b.ports.change(func() {
		j := b.ports.jobs[jobID(turn)]
		j.InputFileName = turn
		b.ports.jobs[jobID(turn)] = j
	})
	ada := b.signedIn("ada", "")
	b.ports.change(func() {
		a := b.ports.accounts["ada"]
		a.Name, a.Email = turn, turn
		b.ports.accounts["ada"] = a
	})
	link := viewJob(b.ports.jobs[jobID(turn)], owner{}).Link
	for _, path := range []string{"/", "/annotations", "/annotations?q=evil%E2%80%AE", link, link + "/download", "/account", "/subscribe"} {
		body := ada.get(path).body
		if !strings.Contains(body, "evil") {
			t.Errorf("%s does not show the name", path)
		}
		for rest := body; ; {
			before, after, ok := strings.Cut(rest, "\u202e")
			if !ok {
				break
			}
			tag := before[max(strings.LastIndexByte(before, '>'), 0):]
			switch {
			case strings.HasSuffix(before[:len(before)-len(tag)+1], "<bdi>"), strings.Contains(tag, "\u2068"):
			case strings.Count(tag, `"`)%2 == 1 || strings.HasSuffix(before[:strings.LastIndexByte(before, '<')], ">"):
				// within an attribute
			default:
				t.Errorf("%s: the name is not isolated after %q", path, before[max(len(before)-60, 0):])
			}
			rest = after
		}
		if strings.Contains(body, "evil\u2069") && !strings.Contains(body, `="evil`+"\u2069") && !strings.Contains(body, `data-job="evil`) {
			t.Errorf("%s: a name ends its own isolate", path)
		}
	}
	// The file is saved without them.
	if got := fileName(archive.Job{Result: archive.Object{Key: "a/" + turn + ".vcf"}}); got != "evilfcv.vcf" {
		t.Errorf("the file is saved as %q", got)
	}
}
