package sqs_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func tempDir(t *rapid.T) (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "sqs-")
	if err != nil {
		t.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

func FuzzRequestsAreServedOrRefused(f *testing.F) {
	f.Add("SendMessage", `{"QueueUrl":"http://x/q","MessageBody":"a","DelaySeconds":1}`)
	f.Add("ReceiveMessage", `{"QueueUrl":"http://x/q","MaxNumberOfMessages":10,"MessageAttributeNames":["All"]}`)
	f.Add("DeleteMessageBatch", `{"QueueUrl":"http://x/q","Entries":[{"Id":"a","ReceiptHandle":"AQEB"}]}`)
	f.Add("CreateQueue", `{"QueueName":"z","Attributes":{"RedrivePolicy":"{}"},"tags":{"a":"b"}}`)
	f.Add("SetQueueAttributes", `{"QueueUrl":"http://x/q","Attributes":{"Policy":"{\"Statement\":[]}"}}`)
	f.Add("ListQueues", `{"NextToken":"00"}`)
	s := start(f)
	s.queue("q", nil)
	f.Fuzz(func(t *testing.T, operation, body string) {
		if strings.Contains(body, "WaitTimeSeconds") || strings.Contains(body, "waittimeseconds") {
			return
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
		rec := httptest.NewRecorder()
		if op, e := s.service.Operation(r); e != nil {
			s.service.WriteError(rec, r, e)
		} else {
			op.Serve(rec, r)
		}
		if rec.Code >= 500 {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
	})
}
