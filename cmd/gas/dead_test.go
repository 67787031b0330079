package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/operator/deadletter"
	"github.com/gas-restore/gas/pkg/events"
)

// trouble is a program for the scripts: it makes messages that become dead letters, and
// fixes their causes.
func trouble() {
	if err := makeTrouble(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func makeTrouble(ctx context.Context, what string, args []string) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	// Trouble comes with a key that may do everything.
	sdk, err := awsclient.Load(ctx, awsclient.Options{AccessKey: localaws.DefaultAccessKey, SecretKey: localaws.DefaultSecretKey})
	if err != nil {
		return err
	}
	objects := s3.NewFromConfig(sdk, func(o *s3.Options) { o.UsePathStyle = true })
	b, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, User: "operator", PasswordFrom: cfg.OperatorPassword.Read, Name: "trouble"})
	if err != nil {
		return err
	}
	defer b.Close()
	switch what {
	case "put": // KEY BODY
		_, err = objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &cfg.Bucket, Key: &args[0], Body: strings.NewReader(args[1])})
	case "begin": // BUCKET KEY: an upload that nobody finishes
		_, err = objects.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &args[0], Key: &args[1]})
	case "remove": // KEY
		_, err = objects.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &cfg.Bucket, Key: &args[0]})
	case "send": // BODY, to the premium queue
		_, err = sqs.NewFromConfig(sdk).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &cfg.PremiumQueue, MessageBody: &args[0]})
	case "tell": // BODY, to the restore queue
		_, err = sqs.NewFromConfig(sdk).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &cfg.RestoreQueue, MessageBody: &args[0]})
	case "upgrade": // USER
		_, err = b.Publish(ctx, events.UserUpgraded{ID: "trouble-" + args[0], UserID: events.UserID(args[0]), UpgradedAt: time.Now().UTC()})
	case "again": // FILE, of gas dead show --json: the same letter once more
		var l deadletter.Letter
		data, rerr := os.ReadFile(args[0])
		if rerr != nil {
			return rerr
		}
		if err := json.Unmarshal(data, &l); err != nil {
			return err
		}
		l.ID += "-again"
		_, err = b.Publish(ctx, l.DeadLetter)
	default:
		err = fmt.Errorf("no trouble is called %q", what)
	}
	return err
}

func TestATimeIsAnAgeOrADate(t *testing.T) {
	now := time.Now()
	for in, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "7d": now.AddDate(0, 0, -7), "90m": now.Add(-90 * time.Minute),
		"2026-11-24":           time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
		"2026-11-24T10:00:00Z": time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		"2026-11-24 10:00:00Z": time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), // as the list shows it
	} {
		var m moment
		if err := m.UnmarshalText([]byte(in)); err != nil || m.Sub(want).Abs() > time.Minute {
			t.Errorf("%q: got %v, %v; want %v", in, m.Time, err, want)
		}
	}
	for _, bad := range []string{"", "yesterday", "-1h", "d", "-3d", "24", "2026-13-01"} {
		var m moment
		if err := m.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted as %v", bad, m.Time)
		}
	}
}

func TestARateIsANumberATime(t *testing.T) {
	for in, want := range map[string]float64{"20/s": 20, "5": 5, "300/m": 5, "1800/h": 0.5, "0": 0} {
		var p pace
		if err := p.UnmarshalText([]byte(in)); err != nil || p.perSecond != want {
			t.Errorf("%q: got %v, %v; want %v", in, p.perSecond, err, want)
		}
	}
	for _, bad := range []string{"", "/s", "-1/s", "many", "1/d", "NaN", "Inf", "1/s/s"} {
		var p pace
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted as %v", bad, p.perSecond)
		}
	}
}

func TestWhatIsShownCannotSpeakToTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, äöü, 日本\n\ttoo": "plain text, äöü, 日本\n\ttoo",
		"\x1b[2J":                    `\x1b[2J`,
		"a\rb\x00\u009b\u202e":       `a\rb\x00\u009b\u202e`,
		"\xff\xfe\uFFFD":             `\xff\xfe` + "\uFFFD",
	} {
		if got := safe(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got, want := pretty([]byte(`{"a":["x",1]}`)), "{\n  \"a\": [\n    \"x\",\n    1\n  ]\n}"; got != want {
		t.Errorf("got %s", got)
	}
	if got := oneLine(" a\nb\t  c"+strings.Repeat("ü", 50), 10); got != "a b cüüüü…" {
		t.Errorf("got %q", got)
	}
}

func TestEachLetterComesWithAdvice(t *testing.T) {
	dead := deadletter.Open(&bus.Bus{})
	letter := func(kind events.DeadKind, stream string, where deadletter.Where) deadletter.Letter {
		return deadletter.Letter{Seq: 7, Where: where, DeadLetter: events.DeadLetter{Kind: kind, Stream: stream, Consumer: "q", SourceSubject: "thaw.requested.u.j",
			Payload: []byte(`{"v":1,"type":"thaw.requested","data":{"id":"1","job_id":"j","user_id":"u","archive_id":"a","upgraded_at":"2026-11-24T10:00:00Z"}}`)}}
	}
	for _, c := range []struct {
		l    deadletter.Letter
		says string
	}{
		{letter(events.DeadKindInvalid, "THAW", deadletter.InLetter), "fix what the reason names"},
		{letter(events.DeadKindCorrupt, "THAW", deadletter.InLetter), "fetches them anew"},
		{letter(events.DeadKindDenied, "THAW", deadletter.InLetter), "allow what"},
		{letter(events.DeadKindNotFound, "THAW", deadletter.InLetter), "missing"},
		{letter(events.DeadKindUnknown, "THAW", deadletter.InLetter), "repeats no work"},
		{letter(events.DeadKindUndelivered, "THAW", deadletter.InStream), "gas provision"},
		{letter(events.DeadKindUndelivered, "THAW", deadletter.Gone), "needs no replay"},
		{letter(events.DeadKindInvalid, "SQS", deadletter.InLetter), "GAS_PREMIUM_QUEUE_URL"},
		{letter(events.DeadKindUnreadable, "THAW", deadletter.InLetter), "cannot be read"},
	} {
		got := advice(c.l, dead.Replayable(c.l))
		if !strings.Contains(got, c.says) || !strings.Contains(got, "gas dead ") || !strings.Contains(got, " 7`") {
			t.Errorf("%s of %s, %s: %s", c.l.Kind, c.l.Stream, c.l.Where, got)
		}
	}
}
