package restore

import (
	"fmt"

	"github.com/gas-restore/gas/internal/fault"
)

// Exit is a reason to leave the steps before the file is restored.
type Exit string

// The exits.
const (
	// ExpiresLater: other outputs expire sooner, and are restored first.
	ExpiresLater Exit = "others expire sooner"
	// Foreign: another tool asked for the retrieval.
	Foreign Exit = "not ours"
	// UnknownJob: the catalog has no such job.
	UnknownJob Exit = "unknown job"
	// UnreadableJob: the restorer cannot understand an attribute of the job.
	UnreadableJob Exit = "unreadable job"
	// RestoredAlready: this retrieval brought the file back before.
	RestoredAlready Exit = "restored already"
	// NotArchived: the file is not in the vault.
	NotArchived Exit = "not archived"
	// BroughtBack: the catalog waits for this retrieval, and has no archive: another program
	// brought the file back.
	BroughtBack Exit = "brought back by another program"
	// Astray: the catalog waits for this retrieval and has no archive, and no object is at the
	// key.
	Astray Exit = "astray"
	// ArchivedAgain: this retrieval brought the file back, and the file was archived again
	// since.
	ArchivedAgain Exit = "archived again"
	// WrongArchive: the notification names another archive than the catalog.
	WrongArchive Exit = "wrong archive"
	// NotSaved: the job has an intent, but the catalog does not have the retrieval's id yet.
	NotSaved Exit = "not saved yet"
	// TakenBack: the catalog waits for no retrieval, and the file is not in S3.
	TakenBack Exit = "taken back"
	// OtherRetrieval: the catalog waits for another retrieval.
	OtherRetrieval Exit = "other retrieval"
	// OtherObject: S3's event is about another object than the job's archive.
	OtherObject Exit = "other object"
	// Outdated: S3's event is about an earlier temporary copy.
	Outdated Exit = "outdated"
	// NoKey: the catalog does not say where the file belongs.
	NoKey Exit = "no key"
	// NotYet: the user wants the file first, and its retrieval is still under way.
	NotYet Exit = "not yet"
	// Disagree: Glacier gives another status than the notification.
	Disagree Exit = "Glacier says otherwise"
	// WrongRetrieval: at Glacier, the job's retrieval belongs to another archive.
	WrongRetrieval Exit = "wrong retrieval"
	// NoTreeHash: Glacier gives no tree hash for a large file.
	NoTreeHash Exit = "no tree hash"
	// TooLarge: the file is larger than an object in S3 can be.
	TooLarge Exit = "too large"
	// Failed: Glacier failed the retrieval, and the file is not in S3.
	Failed Exit = "failed"
	// Expired: the output is gone, and the file is not in S3.
	Expired Exit = "expired"
	// Occupied: another object is at the key.
	Occupied Exit = "key occupied"
	// Mismatch: the bytes differ from a size, tree hash or checksum that was given for them.
	Mismatch Exit = "mismatch"
)

// Action says what the restorer does after an exit.
type Action int

// The actions.
const (
	// Drop acks the notification. Nothing is left to do.
	Drop Action = iota
	// TellAgain reports that the file is restored, and acks.
	TellAgain
	// Forget removes the retrieval from the catalog, and then does TellAgain.
	Forget
	// Wait lets the notification come again. This burns no attempt.
	Wait
	// TryAgain lets the notification come again. After a few attempts it becomes a dead
	// letter.
	TryAgain
	// AskAgain publishes a task for thaw, which requests the archive again, and acks.
	AskAgain
	// TakeBack removes the retrieval from the catalog, reports that, and then does AskAgain.
	TakeBack
	// DeadLetter makes the notification a dead letter.
	DeadLetter
)

// Rule is one row of the table: an exit, and the action that follows.
type Rule struct {
	Exit   Exit
	Action Action
	// Cause is the cause of the dead letter: what an operator must fix. It is empty if the
	// error says enough.
	Cause string
	// Warn makes the log line about a dropped notification a warning.
	Warn bool
	Why  string
}

// Exits is the table. An error that is no exit goes to the bus unchanged: the error's kind
// decides when the notification comes again.
func Exits() []Rule {
	return []Rule{
		{Exit: ExpiresLater, Action: Wait, Why: "an output lives for a day: the one that expires first is restored first"},
		{Exit: Foreign, Action: Drop, Why: "the vault reports every retrieval to our topic, also those of other tools"},
		{Exit: UnknownJob, Action: DeadLetter, Why: "somebody requested it in our name, or the job was deleted: an operator has to look"},
		{Exit: UnreadableJob, Action: DeadLetter, Cause: "unreadable job in the catalog", Why: "the restorer puts and deletes nothing on a guess"},
		{Exit: RestoredAlready, Action: TellAgain, Why: "an earlier delivery may have died before it reported"},
		{Exit: NotArchived, Action: Drop, Why: "there is nothing to restore"},
		{Exit: BroughtBack, Action: Forget, Why: "the file is there; while the retrieval stands in the catalog, the site says that the file is being restored"},
		{Exit: Astray, Action: DeadLetter, Cause: "archive_id is missing", Why: "the file may be in the vault only, and nothing but this notification names the archive"},
		{Exit: ArchivedAgain, Action: Drop, Why: "the notification is late: the file was already back"},
		{Exit: WrongArchive, Action: DeadLetter, Why: "the notification and the catalog contradict each other"},
		{Exit: NotSaved, Action: Wait, Why: "thaw saves the id in a moment, or adopts the retrieval"},
		{Exit: TakenBack, Action: AskAgain, Why: "an earlier delivery may have died before it asked; two equal tasks count as one, and the gate decides"},
		{Exit: OtherRetrieval, Action: Drop, Warn: true, Why: "the notification is late: its retrieval failed or expired before"},
		{Exit: OtherObject, Action: Drop, Why: "anybody may restore other objects of the bucket, and S3 tells our topic"},
		{Exit: Outdated, Action: Drop, Why: "the job has a newer temporary copy, or one on its way"},
		{Exit: NoKey, Action: DeadLetter, Why: "an operator must repair the catalog first"},
		{Exit: NotYet, Action: Wait, Why: "thaw sent the notification ahead: the output may come at any moment"},
		{Exit: Disagree, Action: Wait, Why: "the notification is a hint; Glacier decides, and its answer may lag behind"},
		{Exit: WrongRetrieval, Action: TakeBack, Why: "another program archived the file again and left the retrieval's id; the gate counts the tries"},
		{Exit: NoTreeHash, Action: DeadLetter, Why: "without a tree hash, no copy can be proven"},
		{Exit: TooLarge, Action: DeadLetter, Why: "a repetition changes nothing: the file stays too large"},
		{Exit: Failed, Action: TakeBack, Why: "another retrieval may succeed; the gate counts the tries"},
		{Exit: Expired, Action: TakeBack, Why: "another retrieval brings another output; the gate counts the tries"},
		{Exit: Occupied, Action: DeadLetter, Cause: "key occupied", Why: "the restorer overwrites nothing: an operator decides which object is right"},
		{Exit: Mismatch, Action: TryAgain, Why: "the network or memory may have changed a bit; the archive stays in any case"},
	}
}

// RuleOf returns the row of an exit.
func RuleOf(at Exit) Rule {
	for _, rule := range Exits() {
		if rule.Exit == at {
			return rule
		}
	}
	return Rule{Exit: at, Action: DeadLetter, Why: "the table has no row for this exit: an operator has to look"}
}

// stopped is the error of a step that ended with an exit.
type stopped struct {
	at Exit
	error
}

func (s *stopped) Unwrap() error { return s.error }

// stop returns the error for an exit. The exit's action decides the error's kind.
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

// stopf is stop with a formatted text.
func stopf(at Exit, format string, args ...any) error { return stop(at, fmt.Errorf(format, args...)) }
