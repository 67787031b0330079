package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/pkg/events"
)

// stored is a message as a NATS client hands it out.
type stored struct {
	header map[string][]string
	data   string
}

// show prints a message before it is published.
func show(m events.Message) {
	fmt.Println(m.Subject)
	for _, name := range []string{events.HeaderMsgID, events.HeaderID, events.HeaderType, events.HeaderVersion} {
		fmt.Println(name+":", strings.Join(m.Header[name], ", "))
	}
	fmt.Println(string(m.Data))
}

// The message for the SNS premium topic: the usual way to tell of an upgrade. Give the text to
// SNS's Publish as its Message.
func ExampleUpgradeMessage() {
	message, err := events.UpgradeMessage{
		UserID:     "moss",
		UpgradedAt: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC),
	}.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message)
	// Output:
	// {"user_id":"moss","upgraded_at":"2026-11-26T10:00:00Z"}
}

// The message for JetStream, of a program that has a connection to NATS.
func ExampleEncode() {
	m, err := events.Encode(events.UserUpgraded{
		ID:         "billing-2026-000017", // the same when this is tried again
		UserID:     "moss",
		UpgradedAt: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC),
		Via:        events.ViaOperator,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(m)
	// Output:
	// premium.upgraded.moss
	// Nats-Msg-Id: premium:billing-2026-000017
	// Gas-Id: premium:billing-2026-000017
	// Gas-Type: premium.upgraded
	// Gas-Version: 1
	// {"v":1,"type":"premium.upgraded","data":{"id":"billing-2026-000017","user_id":"moss","at":"2026-11-26T10:00:00Z","via":"operator"}}
}

// A mistake is found before anything is published.
func ExampleEncode_mistake() {
	_, err := events.Encode(events.StatusChanged{JobID: "j1", UserID: "moss", State: "thawed", At: time.Unix(0, 0)})
	fmt.Println(err)
	// Output:
	// encode status.changed: state is "thawed", want one of ["archived" "planned" "requested" "ready" "copying" "verifying" "restored" "failed" "expired"]
}

// A message of STATUS. A type or a value may be newer than the reader.
func ExampleDecodeMessage() {
	for _, m := range []stored{
		{
			header: map[string][]string{"Gas-Type": {"status.changed"}},
			data:   `{"v":1,"type":"status.changed","data":{"job_id":"j1","user_id":"moss","state":"copying","at":"2026-11-26T14:00:00Z","bytes":5,"size":10}}`,
		},
		{
			header: map[string][]string{"Gas-Type": {"status.changed"}},
			data:   `{"v":1,"type":"status.changed","data":{"job_id":"j1","user_id":"moss","state":"polished","at":"2026-11-26T14:01:00Z","shine":0.9}}`,
		},
		{
			header: map[string][]string{"Gas-Type": {"status.summed-up"}},
			data:   `{"v":1,"type":"status.summed-up","data":{}}`,
		},
	} {
		e, err := events.DecodeMessage(m.header, []byte(m.data))
		if errors.Is(err, events.ErrUnknownType) {
			fmt.Println("passed over:", err)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		if change, ok := e.(events.StatusChanged); ok {
			fmt.Printf("%s: %s (known: %v), %d of %d bytes\n", change.JobID, change.State, change.State.Known(), change.Bytes, change.Size)
		}
	}
	// Output:
	// j1: copying (known: true), 5 of 10 bytes
	// j1: polished (known: false), 0 of 0 bytes
	// passed over: event is of an unknown type: Gas-Type is "status.summed-up"
}

// To follow one user, filter STATUS by the user's subject. The last change of each job is
// where the job is.
func ExampleStatusSubject() {
	user := events.UserID("m.moss@example.org")
	fmt.Println("filter:", events.StatusSubject(user))

	status := map[string][]string{"Gas-Type": {"status.changed"}}
	last := map[events.JobID]events.StatusChanged{}
	for _, data := range []string{ // what the consumer hands out
		`{"v":1,"type":"status.changed","data":{"job_id":"j1","user_id":"m.moss@example.org","state":"requested","at":"2026-11-26T10:00:05Z","tier":"Standard"}}`,
		`{"v":1,"type":"status.changed","data":{"job_id":"j2","user_id":"m.moss@example.org","state":"requested","at":"2026-11-26T10:00:06Z","tier":"Standard"}}`,
		`{"v":1,"type":"status.changed","data":{"job_id":"j1","user_id":"m.moss@example.org","state":"restored","at":"2026-11-26T14:00:00Z","tier":"Standard","size":10}}`,
	} {
		e, err := events.DecodeMessage(status, []byte(data))
		if err != nil {
			fmt.Println(err)
			return
		}
		if change, ok := e.(events.StatusChanged); ok && !change.At.Before(last[change.JobID].At) {
			last[change.JobID] = change
		}
	}
	var lines []string
	for job, change := range last {
		lines = append(lines, fmt.Sprintf("%s: %s at %s", job, change.State, change.At.Format(time.Kitchen)))
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	// Output:
	// filter: status.m=2Emoss=40example=2Eorg.*
	// j1: restored at 2:00PM
	// j2: requested at 10:00AM
}

// A letter of DEAD, and the message that replays it. Publish the message, and delete the letter
// from DEAD when JetStream has stored the message.
func ExampleDeadLetter_Replay() {
	const sequence = 12 // the letter's, in DEAD
	e, err := events.DecodeMessage(map[string][]string{"Gas-Type": {"dead.letter"}}, []byte(`{"v":1,"type":"dead.letter","data":{
		"id":"7-abc", "reason":"put s3://results/j1: access denied", "kind":"denied", "attempts":60,
		"first_at":"2026-11-26T14:00:00Z", "last_at":"2026-11-27T02:00:00Z",
		"stream":"RESTORE", "consumer":"restore", "subject":"restore.completed.j1",
		"header":{"Gas-Id":["restore:n1"], "Gas-Type":["restore.completed"], "Gas-Version":["1"]},
		"payload":"{\"v\":1,\"type\":\"restore.completed\",\"data\":{}}"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	letter := e.(events.DeadLetter)
	fmt.Printf("%s after %d attempts: %s\n\n", letter.Kind, letter.Attempts, letter.Reason)
	if letter.Stream == events.SourceSQS {
		fmt.Println("send the payload to the queue", letter.Consumer)
		return
	}
	m, err := letter.Replay(sequence)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(m)
	fmt.Println("it died before:", len(events.Deaths(m.Header)))
	// Output:
	// denied after 60 attempts: put s3://results/j1: access denied
	//
	// restore.completed.j1
	// Nats-Msg-Id: replay:dead:RESTORE:restore:7-abc
	// Gas-Id: restore:n1
	// Gas-Type: restore.completed
	// Gas-Version: 1
	// {"v":1,"type":"restore.completed","data":{}}
	// it died before: 1
}

// The types of events, with their streams and subjects.
func ExampleTypes() {
	for _, t := range events.Types() {
		fmt.Printf("%-18s %-8s %s\n", t.Type, t.Stream, t.Subject)
	}
	// Output:
	// premium.upgraded   PREMIUM  premium.upgraded.*
	// thaw.requested     THAW     thaw.requested.*.*
	// restore.completed  RESTORE  restore.completed.*
	// status.changed     STATUS   status.*.*
	// dead.letter        DEAD     dead.>
	// operator.acted     AUDIT    audit.*
}
