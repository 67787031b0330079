package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

func TestTheKindIsThatOfTheOutermostFault(t *testing.T) {
	cause := errors.New("no")
	for _, c := range []struct {
		name string
		err  error
		want Kind
	}{
		{"none", cause, Unknown},
		{"wrapped", fmt.Errorf("read: %w", New(NotFound, cause)), NotFound},
		{"reclassified", New(Invalid, fmt.Errorf("unknown job: %w", New(NotFound, cause))), Invalid},
		{"deadline", fmt.Errorf("call: %w", context.DeadlineExceeded), Transient},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if New(Invalid, nil) != nil || After(Wait, time.Second, nil) != nil {
		t.Error("no error became one")
	}
	if got := DelayOf(fmt.Errorf("x: %w", After(Wait, time.Minute, cause))); got != time.Minute {
		t.Errorf("delay: got %s", got)
	}
}

func TestTheCauseIsThatOfTheOutermostFaultThatHasOne(t *testing.T) {
	cause := errors.New("no")
	for _, c := range []struct {
		err  error
		want string
	}{
		{cause, ""},
		{nil, ""},
		{Because(Invalid, "key occupied", cause), "key occupied"},
		{New(Denied, fmt.Errorf("put: %w", Because(Invalid, "key occupied", cause))), "key occupied"},
		{Because(Denied, "outer", Because(Invalid, "inner", cause)), "outer"},
	} {
		if got := CauseOf(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
	if Because(Invalid, "x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := Unknown; k <= Corrupt; k++ {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", int(k), name)
		} else {
			seen[name] = true
		}
	}
}

func TestADeadLetterMayHaveEveryKind(t *testing.T) {
	for k := Unknown; k <= Corrupt; k++ {
		if !events.DeadKind(k.String()).Known() {
			t.Errorf("a letter of kind %s cannot be written", k)
		}
	}
}
