package sitetest

import (
	"fmt"
	"testing"

	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/pkg/events"
)

func letterIsFound(t *testing.T, p Ports) {
	works := []struct {
		e        events.Event
		consumer string
	}{
		{events.UserUpgraded{ID: "m", UserID: "ada lovelace", Plan: "p", UpgradedAt: begin}, bus.ConsumerPlan},
		{events.ThawRequested{ID: "m", UserID: "ada lovelace", JobID: "a.1", ArchiveID: "a"}, bus.ConsumerRequest},
		{events.RetrievalCompleted{ID: "n", JobID: "a.1", ArchiveID: "a", RetrievalID: "r", Status: events.RetrievalSucceeded}, bus.ConsumerRestore},
	}
	for i, w := range works {
		m, err := events.Encode(w.e)
		if err != nil {
			t.Fatal(err)
		}
		for _, cause := range []string{"an earlier cause", "the last cause"} {
			p.GiveUp(events.DeadLetter{
				ID: fmt.Sprint(i, cause), Stream: bus.StreamOf(w.e.Subject()), Consumer: w.consumer, SourceSubject: w.e.Subject(),
				Payload: m.Data, Reason: "r", Kind: "invalid", Cause: cause, LastAt: begin,
			})
		}
	}
	for _, e := range []events.Event{
		events.UserUpgraded{UserID: "ada lovelace"}, events.ThawRequested{UserID: "ada lovelace", JobID: "a.1"}, events.RetrievalCompleted{JobID: "a.1"},
	} {
		if letter, ok, err := p.Letters.Letter(t.Context(), e); err != nil || !ok || letter.Cause != "the last cause" || letter.SourceSubject != e.Subject() || len(letter.Payload) == 0 {
			t.Errorf("of %s there is %+v, %v, %v", e.Subject(), letter, ok, err)
		}
	}
	for _, e := range []events.Event{
		events.UserUpgraded{UserID: "ada"}, events.ThawRequested{UserID: "bob", JobID: "a.1"}, events.RetrievalCompleted{JobID: "a"},
	} {
		if letter, ok, err := p.Letters.Letter(t.Context(), e); err != nil || ok {
			t.Errorf("of %s there is %+v, %v", e.Subject(), letter, err)
		}
	}
}
