package restore

import (
	"fmt"

	"github.com/gas-restore/gas/internal/fault"
)

// Exit is a reason to leave the steps before the file is restored.
type Exit string

// The exits.
const (
	// ExpiresLater: other outputs expire sooner, and go first.
	ExpiresLater Exit = "others expire sooner"
	// Foreign: another tool asked for the retrieval.
	Foreign Exit = "not ours"
	// UnknownJob: the catalog has no such job.
	UnknownJob Exit = "unknown job"
	// UnreadableJob: an attribute of the job has a form that means nothing here.
	UnreadableJob Exit = "unreadable job"
	// RestoredAlready: this retrieval brought the file back before.
	RestoredAlready Exit = "restored already"
	// NotArchived: the file is not in the vault.
	NotArchived Exit = "not archived"
	// ArchivedAgain: this retrieval brought the file back, and it has another archive since.
	ArchivedAgain Exit = "archived again"
	// WrongArchive: the notice names another archive than the catalog.
	WrongArchive Exit = "wrong archive"
	// NotSaved: an intent stands; the retrieval's id is not in the catalog yet.
	NotSaved Exit = "not saved yet"
	// TakenBack: the catalog waits for no retrieval, and the file is not in S3.
	TakenBack Exit = "taken back"
	// OtherRetrieval: the catalog waits for another retrieval.
	OtherRetrieval Exit = "other retrieval"
	// NoKey: the catalog does not say where the file belongs.
	NoKey Exit = "no key"
	// Disagree: Glacier says another status than the notice.
	Disagree Exit = "Glacier says otherwise"
	// WrongRetrieval: Glacier's retrieval is of another archive.
	WrongRetrieval Exit = "wrong retrieval"
	// NoTreeHash: Glacier gives no tree hash of a large file.
	NoTreeHash Exit = "no tree hash"
	// TooLarge: no object of S3 can have so many bytes.
	TooLarge Exit = "too large"
	// Failed: Glacier failed the retrieval, and the file is not in S3.
	Failed Exit = "failed"
	// Expired: the output is gone, and the file is not in S3.
	Expired Exit = "expired"
	// Occupied: another object is at the key.
	Occupied Exit = "key occupied"
	// Mismatch: bytes are not what somebody says of them.
	Mismatch Exit = "mismatch"
)

// Action is what follows on an exit.
type Action int

// The actions.
const (
	// Drop acks the notice. Nothing is left to do.
	Drop Action = iota
	// TellAgain tells that the file is restored, and acks.
	TellAgain
	// Wait lets the notice come again. It burns no attempt.
	Wait
	// TryAgain lets the notice come again. After a few attempts it is a dead letter.
	TryAgain
	// AskAgain asks thaw for the archive once more, and acks.
	AskAgain
	// TakeBack removes the retrieval from the catalog, tells it, and then does AskAgain.
	TakeBack
	// DeadLetter makes the notice a dead letter.
	DeadLetter
)

// Rule is one row of the table: what follows on an exit.
type Rule struct {
	Exit   Exit
	Action Action
	// Cause names what has to be mended in a dead letter; empty if the error says enough.
	Cause string
	// Warn makes the log line of a dropped notice a warning.
	Warn bool
	Why  string
}

// Exits is the table. An error that is no exit goes to the bus as it is: its kind says
// when the notice comes again.
func Exits() []Rule {
	return []Rule{
		{Exit: ExpiresLater, Action: Wait, Why: "an output lives for a day: the one that ends first goes first"},
		{Exit: Foreign, Action: Drop, Why: "the vault tells our topic of every retrieval, also of those that other tools asked for"},
		{Exit: UnknownJob, Action: DeadLetter, Why: "somebody asked in our name, or the job was deleted: an operator has to look"},
		{Exit: UnreadableJob, Action: DeadLetter, Cause: "unreadable job in the catalog", Why: "nothing is put or deleted on a guess"},
		{Exit: RestoredAlready, Action: TellAgain, Why: "an earlier delivery may have died before it told"},
		{Exit: NotArchived, Action: Drop, Why: "nothing is to be restored"},
		{Exit: ArchivedAgain, Action: Drop, Why: "the notice is late: its file was back"},
		{Exit: WrongArchive, Action: DeadLetter, Why: "the notice and the catalog contradict each other"},
		{Exit: NotSaved, Action: Wait, Why: "thaw saves the id in a moment, or adopts the retrieval"},
		{Exit: TakenBack, Action: AskAgain, Why: "an earlier delivery may have died before it asked; to ask twice asks once, and the gate decides"},
		{Exit: OtherRetrieval, Action: Drop, Warn: true, Why: "the notice is late: its retrieval came to nothing before"},
		{Exit: NoKey, Action: DeadLetter, Why: "the catalog has to be mended first"},
		{Exit: Disagree, Action: Wait, Why: "the notice is a hint; Glacier decides, and may be behind"},
		{Exit: WrongRetrieval, Action: DeadLetter, Why: "Glacier and the catalog contradict each other"},
		{Exit: NoTreeHash, Action: DeadLetter, Why: "no copy can be proven without it"},
		{Exit: TooLarge, Action: DeadLetter, Why: "it will not fit tomorrow either"},
		{Exit: Failed, Action: TakeBack, Why: "another retrieval may succeed; the gate counts the tries"},
		{Exit: Expired, Action: TakeBack, Why: "another retrieval brings another output; the gate counts the tries"},
		{Exit: Occupied, Action: DeadLetter, Cause: "key occupied", Why: "nothing is written over: an operator decides which object is right"},
		{Exit: Mismatch, Action: TryAgain, Why: "a wire or a memory may have changed a bit; the archive stays in any case"},
	}
}

// RuleOf returns the row of an exit.
func RuleOf(at Exit) Rule {
	for _, rule := range Exits() {
		if rule.Exit == at {
			return rule
		}
	}
	return Rule{Exit: at, Action: DeadLetter, Why: "no row covers it: an operator has to look"}
}

// stopped is the error of a step that left by an exit.
type stopped struct {
	at Exit
	error
}

func (s *stopped) Unwrap() error { return s.error }

// stop returns the error that leaves by an exit. Its kind follows from the exit's action.
func stop(at Exit, err error) error {
	switch rule := RuleOf(at); rule.Action {
	case Wait:
		err = fault.After(fault.Wait, fault.DelayOf(err), err)
	case TryAgain:
		err = fault.New(fault.Corrupt, err)
	case DeadLetter:
		err = fault.Because(fault.Invalid, rule.Cause, err)
	}
	return &stopped{at, err}
}

// stopf is stop with a text.
func stopf(at Exit, format string, args ...any) error { return stop(at, fmt.Errorf(format, args...)) }
