// Package events is the contract of the restore pipeline with other programs. They publish
// upgrades and read events with it, and so do the services of the pipeline. The package
// depends on the standard library alone: bring your own clients of SNS and NATS.
//
// # Streams and subjects
//
// An event is a fact that happened. Each event is one message in a stream of NATS JetStream.
// [Types] returns this table:
//
//	stream   subject                 Gas-Type            the event
//	PREMIUM  premium.upgraded.USER   premium.upgraded    UserUpgraded: a user became Premium
//	THAW     thaw.requested.USER.JOB thaw.requested      ThawRequested: an archive must be requested
//	RESTORE  restore.completed.JOB   restore.completed   [RetrievalCompleted]: Glacier finished a retrieval
//	STATUS   status.USER.JOB         status.changed      StatusChanged: a job came to a state
//	DEAD     dead.STREAM.CONSUMER.…  dead.letter         DeadLetter: a message could not be handled
//	AUDIT    audit.ACT               operator.acted      OperatorActed: an operator does something, or did it
//
// USER and JOB are ids as [Token] writes them, so that an id may have any character. PREMIUM,
// THAW and RESTORE are work queues: a message leaves the stream when a service has done its
// work. Do not consume from them. STATUS keeps seven days, DEAD ninety, and AUDIT everything:
// read those with consumers of your own.
//
// A work queue also has messages under aside.CLASS.SUBJECT. These wait for another try. THAW and
// RESTORE have a lane for the files that users want first: thaw.first.USER.JOB and
// restore.first.JOB. All these belong to the services.
//
// # Messages
//
// The body of a message is JSON, with the event in "data":
//
//	{"v":1,"type":"status.changed","data":{"job_id":"j1","user_id":"moss",…}}
//
// The headers repeat what a reader may want before it reads the body: [HeaderType],
// [HeaderVersion], [HeaderID], and [HeaderMsgID], by which JetStream drops repetitions for two
// hours. A replayed message has [HeaderReplayOf] too. [Encode] makes a message, and
// [DecodeMessage] and [Decode] read one. They match the names of fields exactly: "User_ID" is
// not "user_id". They refuse an event of more than [MaxSize] bytes, and an id of more than
// [MaxIDLength].
//
// Expect every event more than once, late, and out of order. [Event].MessageID is the same for
// all messages that tell the same fact.
//
// # Versions
//
// "v" is the version of the format. This package writes [Version] and reads all versions up to
// it. It refuses a newer one with [ErrNewerVersion]. A new field or a new value is no new
// version. A new version means that a release changed what a field means, removed a field, or
// moved a subject. Such a release reads the old version too: update the readers first, and
// then the writers. A service that meets a newer version tries the message again for a while,
// so that an updated replica may take it, and then writes a dead letter, which can be replayed
// after the update.
//
// # What stays, and what may change
//
// A minor release may add:
//
//   - fields: a reader ignores a field that it does not know;
//   - types of events, in streams and under subjects of their own: [DecodeMessage] returns
//     [ErrUnknownType], and a reader passes over the event;
//   - headers;
//   - values of [State], [Tier], [Via], [DeadKind], [Act] and [ActOutcome]. [Encode] refuses a value that its release
//     does not know, because it would be a mistake. [Decode] takes it, because a reader may
//     be older than the writer: STATUS decides nothing, a tier and a way are for people, and a
//     letter of any release can be shown and replayed. Ask the value's Known, and show an
//     unknown one as it is.
//
// It may also change the texts of errors, reasons and details, and raise the limits.
//
// A release with the same [Version] does not change: the meaning and the JSON type of a field,
// its name in JSON, the subject of a type, the names of headers and streams, how [Token] writes
// an id, the message ids, and the values that are there. The values of [RetrievalStatus] are
// Glacier's: there are no others, and [Decode] refuses others. The fields of an
// [UpgradeMessage] stay as they are, and only user_id is ever required.
//
// In Go, exported names stay within a major version of the module. Name the fields in
// composite literals, because structs grow.
//
// # Publish an upgrade
//
// A user becomes Premium in two steps. First write the role to the accounts table. Then
// publish an [UpgradeMessage] on the SNS premium topic: [UpgradeMessage.Encode] returns the
// text. SNS stores it durably, the bridge brings it into PREMIUM, and a plan is opened for all
// archives of the user. To publish it twice does no harm. The account has to be there: an upgrade of an
// unknown user becomes a dead letter. If the message is lost, an audit finds a Premium user
// without a plan, hours or days later.
//
// A program that has a NATS connection may publish a [UserUpgraded] into PREMIUM itself: encode
// it, publish Subject, Header and Data of the [Message], and wait for JetStream's ack. The event
// needs an ID that is the same for each try and new for each upgrade. The NATS user needs the
// permission to publish premium.upgraded.*; see nats.conf.
//
// # Read events
//
// Make a consumer on STATUS, DEAD or AUDIT with your own client, filtered by [SubjectStatus],
// [SubjectDead] or [SubjectAudit], and give the headers and the body of each message to [DecodeMessage]. (Without
// the filter DEAD also hands out what JetStream itself said, which is no event.) To follow one user, filter STATUS by [StatusSubject]. STATUS
// reports: the catalog in DynamoDB is the truth about a job. A program that keeps its place in
// STATUS keeps a [Position], not a number: a stream that was made anew counts from 1 again.
//
// # Replay a dead letter
//
// A [DeadLetter] has the message, the reason, and the cause to fix. Fix the cause first. `gas
// dead replay` then does the rest. A program does the same in this order: publish the message that
// [DeadLetter.Replay] returns, wait for JetStream's ack, and delete the letter from DEAD by its
// sequence. A program that dies in between does it again: JetStream stores the replay once,
// and work that is done already is harmless. A letter with [SourceSQS] in Stream goes
// back into its SQS queue.
package events
