package events

import "strings"

// Version is the newest event format that this package writes. An event carries the oldest
// version that can read it: 1, or 2 for a [RetrievalCompleted] with an Object. A reader takes
// any version up to its own, ignores fields it does not know, and refuses a newer version
// with [ErrNewerVersion].
const Version = 2

// The JetStream streams.
const (
	// StreamPremium is the work queue of upgrades.
	StreamPremium = "PREMIUM"
	// StreamThaw is the work queue of archives to ask Glacier for.
	StreamThaw = "THAW"
	// StreamRestore is the work queue of retrievals that Glacier finished.
	StreamRestore = "RESTORE"
	// StreamStatus keeps what happened to each job, for seven days.
	StreamStatus = "STATUS"
	// StreamDead keeps the dead letters, for ninety days.
	StreamDead = "DEAD"
	// StreamAudit keeps what operators did, for ever. Nothing can be removed from it.
	StreamAudit = "AUDIT"
)

// Subjects with a wildcard for the ids: what the streams hold.
const (
	SubjectPremium = "premium.upgraded.*"
	SubjectThaw    = "thaw.requested.*.*"
	// SubjectThawOld is where older releases published tasks, without the
	// user: some may still lie in the stream.
	SubjectThawOld = "thaw.requested.*"
	SubjectRestore = "restore.completed.*"
	// SubjectThawFirst and SubjectRestoreFirst have the files that users want first. They are
	// lanes of their own in THAW and RESTORE.
	SubjectThawFirst    = "thaw.first.*.*"
	SubjectRestoreFirst = "restore.first.*"
	SubjectStatus       = "status.*.*"
	SubjectDead         = "dead.>"
	SubjectAudit        = "audit.*"
)

// The headers of an event's message.
const (
	// HeaderMsgID is JetStream's de-duplication header.
	HeaderMsgID = "Nats-Msg-Id"
	// HeaderID repeats the id under a name that survives a scheduled or
	// replayed publication, where JetStream drops its own.
	HeaderID = "Gas-Id"
	// HeaderType is the event's type: [DecodeMessage] uses it.
	HeaderType = "Gas-Type"
	// HeaderVersion is the event's format version.
	HeaderVersion = "Gas-Version"
	// HeaderAttempts has, in JSON, the attempts of a message that was put aside; a message
	// that is new does not have it.
	HeaderAttempts = "Gas-Attempts"
	// HeaderTrace has the step that the message belongs to, in the form of W3C Trace Context.
	// Most messages do not have it.
	HeaderTrace = "traceparent"
	// HeaderReplayOf links a replayed message to its dead letters; see
	// [EncodeDeaths].
	HeaderReplayOf = "Gas-Replay-Of"
)

// MaxSize is the largest encoded event, in bytes. It has room for a dead letter
// around the largest SQS message (1 MiB) with every character escaped, and is
// below the max_payload of nats.conf.
const MaxSize = 3 << 20

// MaxIDLength is the longest id, in bytes, that an event may carry. A NATS
// subject has no hard limit, but the server's protocol line does (4 KiB by
// default), and an id escaped by [Token] may be three times its own length.
const MaxIDLength = 512

// MaxUpgradeMessage is the largest [UpgradeMessage] that is read, in bytes: SQS takes
// no larger message.
const MaxUpgradeMessage = 1 << 20

// SourceSQS stands in a dead letter's Stream when the message came from an SQS
// queue. The letter's Consumer is then the name of the queue.
const SourceSQS = "SQS"

// ThawSubject matches every task of one user.
func ThawSubject(user UserID) string { return "thaw.requested." + Token(string(user)) + ".*" }

// ThawFirstSubject matches every task of one user that is First.
func ThawFirstSubject(user UserID) string { return "thaw.first." + Token(string(user)) + ".*" }

// StatusSubject matches every status change of one user.
func StatusSubject(user UserID) string { return "status." + Token(string(user)) + ".*" }

// owner returns the tokens of a subject behind the two that name the event; empty if
// nothing can be published under them.
func owner(subject string) string {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 {
		return ""
	}
	for _, t := range tokens[2:] {
		if t == "" || strings.ContainsAny(t, "*> \t\r\n") {
			return ""
		}
	}
	return strings.Join(tokens[2:], ".")
}
