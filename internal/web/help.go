package web

import (
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
)

// contact is where people reach the team.
type contact struct{ Link, Text string }

// contactOf returns the contact that the setting names: an e-mail address, or the address of a
// page. It is nil if the setting is empty.
func contactOf(setting string) (*contact, error) {
	if setting == "" {
		return nil, nil
	}
	if a, err := mail.ParseAddress(setting); err == nil && a.Name == "" {
		return &contact{(&url.URL{Scheme: "mailto", Opaque: a.Address}).String(), a.Address}, nil
	}
	u, err := url.Parse(setting)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("contact is %q, want an e-mail address or https://host/page", setting)
	}
	return &contact{u.String(), strings.TrimSuffix(u.Host+u.Path, "/")}, nil
}

type helpBody struct {
	States []helpState
	// Takes says how long the archive usually takes; empty if nobody knows.
	Takes string
	// TreeHash is a program that computes a tree hash.
	TreeHash string
	Origin   string
	// Bearer says that the API takes tokens of the sign-in provider.
	Bearer  bool
	Support *contact
}

type helpState struct {
	Look  look
	Means string
}

// help says what the archive is, how long things take, and what to do when.
func (s *Server) help(c fiber.Ctx) error {
	v, err := s.viewer(c, true)
	if err != nil {
		return err
	}
	body := helpBody{TreeHash: treeHashProgram, Origin: s.origin, Support: s.support, Bearer: s.cfg.APIAudience != ""}
	for _, st := range []struct {
		state archive.State
		means string
	}{
		{archive.Available, "You can download the file."},
		{archive.Archived, "The file is in the archive. Premium brings it back."},
		{archive.Requested, "The file is on its way back from the archive."},
		{summary.Held, "Our team has to approve the restore."},
		{summary.Attention, "Something went wrong, and our team has to look at it. Nothing is lost."},
		{archive.Pending, "The annotation has not finished."},
		{archive.Errored, "The annotation failed, so there is no result. A restore never has this state."},
	} {
		body.States = append(body.States, helpState{lookOf(st.state), st.means})
	}
	if len(s.cfg.Tiers) > 0 {
		from, to := within(s.cfg.Tiers, "")
		body.Takes = humanDuration(from) + " to " + humanDuration(to)
	}
	return s.show(c, "help", frame{Title: "Help", Viewer: v, Section: "help", Body: body})
}

// humanDuration writes a time in minutes or hours.
func humanDuration(d time.Duration) string {
	n, unit := d/time.Minute, "minute"
	if d >= time.Hour {
		n, unit = d/time.Hour, "hour"
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// treeHashProgram computes Glacier's tree hash.
const treeHashProgram = `import hashlib, sys
hashes = []
with open(sys.argv[1], "rb") as file:
    while piece := file.read(1 << 20):
        hashes.append(hashlib.sha256(piece).digest())
while len(hashes) > 1:
    pairs = [hashes[i:i + 2] for i in range(0, len(hashes), 2)]
    hashes = [hashlib.sha256(b"".join(p)).digest() if len(p) == 2 else p[0] for p in pairs]
print(hashes[0].hex())`

// securityLifetime is how long security.txt is valid from a request on, in whole days.
const securityLifetime = 180 * 24 * time.Hour

// securityText answers with /.well-known/security.txt (RFC 9116), if the operator has set a
// contact.
func (s *Server) securityText(c fiber.Ctx) error {
	if s.security == nil {
		return errNotFound
	}
	expires := s.cfg.Now().UTC().Truncate(24 * time.Hour).Add(securityLifetime)
	c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	return c.SendString("Contact: " + s.security.Link + "\nExpires: " + expires.Format(time.RFC3339) +
		"\nPreferred-Languages: en\nCanonical: " + s.origin + "/.well-known/security.txt\n")
}
