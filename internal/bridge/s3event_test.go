package bridge_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	restoreDone = `{"Records":[{"eventVersion":"2.6","eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"2026-11-27T10:00:00.123Z","eventName":"ObjectRestore:Completed",
		"userIdentity":{"principalId":"AmazonCustomer:A3"},"requestParameters":{"sourceIPAddress":"s3.amazonaws.com"},
		"s3":{"s3SchemaVersion":"1.0","configurationId":"gas","bucket":{"name":"gas-cold","arn":"arn:aws:s3:::gas-cold"},
			"object":{"key":"x/job-1/a+b%2Bc.vcf","size":7,"eTag":"e","versionId":"v1","sequencer":"00"}},
		"glacierEventData":{"restoreEventData":{"lifecycleRestorationExpiryTime":"2026-11-29T00:00:00.000Z","lifecycleRestoreStorageClass":"GLACIER"}}}]}`
	restoreGone = `{"Records":[{"eventVersion":"2.6","eventSource":"aws:s3","eventTime":"2026-11-29T00:00:00.000Z","eventName":"ObjectRestore:Delete",
		"s3":{"bucket":{"name":"gas-cold"},"object":{"key":"x/job-1/a+b%2Bc.vcf","size":7,"versionId":"v1"}}}]}`
	bridgeDone = `{"version":"0","id":"6a7e8feb","detail-type":"Object Restore Completed","source":"aws.s3","account":"1","time":"2026-11-27T10:00:00Z","region":"us-east-1","resources":["arn:aws:s3:::gas-cold"],
		"detail":{"version":"0","bucket":{"name":"gas-cold"},"object":{"key":"x/job-1/a b+c.vcf","size":7,"etag":"e","version-id":"v1"},"request-id":"r","requester":"s3.amazonaws.com","restore-expiry-time":"2026-11-29T00:00:00Z","source-storage-class":"GLACIER"}}`
)

func parse(body string) (events.RetrievalCompleted, error) {
	e, err := bridge.RestoreSource("arn:aws:sns:us-east-1:000000000000:gas-restore").Parse(bridge.Notification{ID: "n", At: time.Unix(0, 0), Body: body, Via: events.ViaSNS})
	if err != nil {
		return events.RetrievalCompleted{}, err
	}
	return e.(events.RetrievalCompleted), nil
}

func TestAnEventOfS3NamesTheJobAndTheObject(t *testing.T) {
	object := events.ObjectRef{Bucket: "gas-cold", Key: "x/job-1/a b+c.vcf", Version: "v1"}
	until := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		body   string
		status events.RetrievalStatus
		until  time.Time
		size   int64
	}{
		"a record":                 {restoreDone, events.RetrievalSucceeded, until, 7},
		"an event of EventBridge":  {bridgeDone, events.RetrievalSucceeded, until, 7},
		"a copy that expired":      {restoreGone, events.RetrievalFailed, time.Time{}, 7},
		"an empty object":          {strings.Replace(restoreDone, `"size":7`, `"size":0`, 1), events.RetrievalSucceeded, until, 0},
		"new fields":               {strings.Replace(restoreDone, `"size":7`, `"size":7,"new":{"a":1}`, 1), events.RetrievalSucceeded, until, 7},
		"a later minor number":     {strings.Replace(restoreDone, `"2.6"`, `"2.17"`, 1), events.RetrievalSucceeded, until, 7},
		"a name with s3: in front": {strings.Replace(restoreDone, `"ObjectRestore`, `"s3:ObjectRestore`, 1), events.RetrievalSucceeded, until, 7},
	} {
		e, err := parse(c.body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.JobID != "job-1" || e.Object == nil || *e.Object != object || e.Status != c.status || e.Size != c.size || !e.ExpiresAt.Equal(c.until) || e.ArchiveID != "" || e.RetrievalID != "" || !e.Foreign {
			t.Errorf("%s: got %+v", name, e)
		}
		if _, err := events.Encode(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneEventOfS3HasOneIDHoweverOftenItIsSent(t *testing.T) {
	id := func(body string) string {
		e, err := parse(body)
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	first := id(restoreDone)
	if want := "s3-a5c5ffbff07a2b127b98fdfec939837b"; first != want {
		t.Errorf("the id is %s, want %s: the release before gave the same event this id", first, want)
	}
	if again := id(strings.Replace(restoreDone, `"sequencer":"00"`, `"sequencer":"01"`, 1)); again != first {
		t.Errorf("the same event has ids %s and %s", first, again)
	}
	for name, body := range map[string]string{
		"another time":    strings.Replace(restoreDone, "T10:00:00.123Z", "T10:00:00.124Z", 1),
		"another version": strings.Replace(restoreDone, `"v1"`, `"v2"`, 1),
		"the expiry":      strings.Replace(restoreDone, "Completed", "Delete", 1),
	} {
		if id(body) == first {
			t.Errorf("%s: it has the same id", name)
		}
	}
}

func TestAnEventOfS3ThatIsWrongOrNotForUsSaysWhy(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(restoreDone, old) {
			t.Fatalf("the event has no %s", old)
		}
		return strings.Replace(restoreDone, old, new, 1)
	}
	for name, c := range map[string]struct {
		body, says string
		ours       bool
	}{
		"the test":                    {`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-27T10:00:00Z","Bucket":"b","RequestId":"r","HostId":"h"}`, "s3:TestEvent", false},
		"a copy was requested":        {change("ObjectRestore:Completed", "ObjectRestore:Post"), "was requested", false},
		"something new of a copy":     {change("ObjectRestore:Completed", "ObjectRestore:Paused"), "does not know it", false},
		"an object was created":       {change("ObjectRestore:Completed", "ObjectCreated:Put"), "a bucket notifies", false},
		"a key that names no job":     {change("x/job-1/a+b%2Bc.vcf", "a.vcf"), "no key of an archive", false},
		"EventBridge's other events":  {strings.Replace(bridgeDone, "Object Restore Completed", "Object Created", 1), "Object Created", false},
		"another major version":       {change(`"2.6"`, `"3.0"`), `eventVersion is "3.0"`, true},
		"no version":                  {change(`"2.6"`, `""`), `eventVersion is ""`, true},
		"two records":                 {strings.Replace(restoreDone, `{"Records":[`, `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectRestore:Completed","eventVersion":"2.6"},`, 1), "2 records", true},
		"a key with half an encoding": {change("%2B", "%zz"), "not form-encoded", true},
		"no bucket":                   {change(`"name":"gas-cold"`, `"name":""`), "no bucket", true},
		"no time":                     {change("2026-11-27T10:00:00.123Z", "yesterday"), `time is "yesterday"`, true},
		"a strange expiry":            {change("2026-11-29T00:00:00.000Z", "soon"), `expiry is "soon"`, true},
		"a negative size":             {change(`"size":7`, `"size":-1`), "size is -1", true},
		"a job with a long id":        {change("x/job-1/", "x/"+strings.Repeat("j", 600)+"/"), "the job's id in the key has 600 bytes", true},
	} {
		_, err := parse(c.body)
		other, dropped := errors.AsType[*bridge.NotOurs](err)
		if err == nil || !strings.Contains(err.Error(), c.says) || dropped == c.ours || dropped && other.Kind != bridge.S3Event {
			t.Errorf("%s: got %v, dropped %t; want %q, dropped %t", name, err, dropped, c.says, !c.ours)
		}
	}
}

func FuzzEventsOfS3(f *testing.F) {
	f.Add(restoreDone)
	f.Add(restoreGone)
	f.Add(bridgeDone)
	f.Fuzz(func(t *testing.T, body string) {
		e, err := parse(body)
		if err != nil {
			return
		}
		if _, err := events.Encode(e); err != nil {
			t.Errorf("an event that cannot be published: %+v: %v", e, err)
		}
	})
}
