package sqs_test

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnOldClientCanReadThatItsProtocolIsRefused(t *testing.T) {
	s := open(t, "")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://sqs.test/", strings.NewReader("Action=CreateQueue&QueueName=q&Version=2012-11-05"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	_, refused := s.service.Operation(r)
	if refused == nil {
		t.Fatal("the query protocol is taken")
	}
	w := httptest.NewRecorder()
	s.service.WriteError(w, r, refused)
	var got struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if w.Code != http.StatusNotFound || got.Type != "Sender" || got.Code != "UnknownOperationException" || !strings.Contains(got.Message, "JSON protocol only") {
		t.Errorf("got %d, %+v", w.Code, got)
	}
}
