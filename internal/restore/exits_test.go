package restore

import (
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/fault"
)

func TestEachExitHasOneRowThatSaysWhy(t *testing.T) {
	source, err := os.ReadFile("exits.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[Exit]int{}
	for _, rule := range Exits() {
		rows[rule.Exit]++
		if rule.Why == "" {
			t.Errorf("%s: the row does not say why", rule.Exit)
		}
	}
	exits := regexp.MustCompile(`(?m)^	\w+ +Exit = "(.+)"$`).FindAllStringSubmatch(string(source), -1)
	if len(exits) != len(rows) {
		t.Errorf("%d exits, %d have a row", len(exits), len(rows))
	}
	for _, m := range exits {
		if n := rows[Exit(m[1])]; n != 1 {
			t.Errorf("%s: %d rows, want 1", m[1], n)
		}
	}
}

func TestTheKindOfAnExitFollowsFromItsAction(t *testing.T) {
	for at, want := range map[Exit]fault.Kind{
		Disagree: fault.Wait, Mismatch: fault.Corrupt, WrongArchive: fault.Invalid, Occupied: fault.Invalid, "without a row": fault.Invalid,
	} {
		if err := stopf(at, "text"); !fault.Is(err, want) || err.Error() != "text" {
			t.Errorf("%s: got %v of kind %s, want %s", at, err, fault.KindOf(err), want)
		}
	}
	if err := stopf(Occupied, "text"); fault.CauseOf(err) != "key occupied" {
		t.Errorf("cause %q", fault.CauseOf(err))
	}
	if err := stop(ExpiresLater, fault.After(fault.Wait, time.Minute, errors.New("text"))); fault.DelayOf(err) != time.Minute {
		t.Errorf("it comes again after %s, want a minute", fault.DelayOf(err))
	}
	gone := fault.New(fault.NotFound, errors.New("gone"))
	if err := stop(Expired, gone); !errors.Is(err, gone) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("an exit that is acted on keeps its error: got %v", err)
	}
}
