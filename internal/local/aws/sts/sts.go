// Package sts is the stand-in's AWS Security Token Service. It has one operation,
// GetCallerIdentity, with which a client finds out its account.
package sts

import (
	"encoding/xml"
	"net/http"
	"net/url"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// Service is AWS STS. It implements [world.Service].
type Service struct{ w *world.World }

var _ world.Service = (*Service)(nil)

// New returns the service.
func New(w *world.World) *Service { return &Service{w} }

// Name implements [world.Service].
func (s *Service) Name() string { return "sts" }

const maxRequest = 64 << 10

// Operation implements [world.Service].
func (s *Service) Operation(r *http.Request) (world.Operation, *world.Error) {
	body, err := world.ReadBody(r, maxRequest)
	if err != nil {
		return world.Operation{}, world.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "read the request: %v", err)
	}
	in, err := url.ParseQuery(string(body))
	if err != nil || in.Get("Version") != "2011-06-15" || in.Get("Action") != "GetCallerIdentity" {
		return world.Operation{}, world.Errorf(http.StatusBadRequest, "InvalidAction", "The stand-in has no operation %q of version %q.", in.Get("Action"), in.Get("Version"))
	}
	return world.Operation{Name: "GetCallerIdentity", Serve: func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, struct {
			XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
			ARN       string   `xml:"GetCallerIdentityResult>Arn"`
			UserID    string   `xml:"GetCallerIdentityResult>UserId"`
			Account   string   `xml:"GetCallerIdentityResult>Account"`
			RequestID string   `xml:"ResponseMetadata>RequestId"`
		}{ARN: "arn:aws:iam::" + s.w.Account + ":root", UserID: s.w.Account, Account: s.w.Account, RequestID: w.Header().Get("X-Amzn-Requestid")})
	}}, nil
}

// WriteError implements [world.Service].
func (s *Service) WriteError(w http.ResponseWriter, _ *http.Request, e *world.Error) {
	fault := "Sender"
	if e.Status >= 500 {
		fault = "Receiver"
	}
	write(w, e.Status, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}{Type: fault, Code: e.Code, Message: e.Message, RequestID: w.Header().Get("X-Amzn-Requestid")})
}

func write(w http.ResponseWriter, status int, body any) {
	raw, err := xml.Marshal(body)
	if err != nil {
		panic("sts: answer is not XML: " + err.Error()) // a programmer's mistake
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	w.Write(raw)
}
