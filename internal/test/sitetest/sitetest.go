// Package sitetest says what the site relies on at its ports. The real adapters pass it, and
// so does the fixture of the site's own tests: so a test that passes with the fixture says
// something about the product.
package sitetest

import (
	"net/http"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

// Ports are the ports of a site, and the ways to change what is behind them.
type Ports struct {
	Accounts  web.Accounts
	Jobs      web.Jobs
	Downloads web.Downloads
	Statuses  web.Statuses
	Sessions  web.SessionStore
	Letters   web.Letters
	// Bucket is a bucket that is there.
	Bucket string
	// AddJob adds a job to the catalog.
	AddJob func(archive.Job)
	// PutObject stores body at the object.
	PutObject func(o archive.Object, body string)
	// Get asks for the URL of a download; ranges is the header Range, which may be empty.
	Get func(url, ranges string) (*http.Response, error)
	// GiveUp stores a dead letter.
	GiveUp func(events.DeadLetter)
	// Report adds a change to the stream of statuses.
	Report func(events.StatusChanged)
	// Remake deletes the stream of statuses and makes it anew.
	Remake func()
}

// begin is when everything here begins, in milliseconds, as the catalog stores times.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Run runs the suite. It asks for new ports for each part.
func Run(t *testing.T, ports func(*testing.T) Ports) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Ports)
	}{
		{"an account is made once", accountIsMadeOnce},
		{"an account belongs to its issuer", accountBelongsToItsIssuer},
		{"the role changes with the plan", roleChangesWithPlan},
		{"an announcement is due until it was made", announcementIsDue},
		{"a plan is opened once", planIsOpenedOnce},
		{"a plan has one first job", planHasOneFirst},
		{"a job is read with the account", jobIsReadWithAccount},
		{"pages add up to the list", pagesAddUp},
		{"a page in front is full", pageInFrontIsFull},
		{"a cursor leads to nobody else's jobs", cursorIsForOneUser},
		{"what is in the vault", archived},
		{"a download has its parameters", download},
		{"statuses are followed and looked up", statuses},
		{"a stream that was made anew is another one", remade},
		{"a dead letter is found by its work", letterIsFound},
		{"a store forgets what is over", stored},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, ports(t)) })
	}
}

// Getter returns the function for [Ports].Get with the client.
func Getter(client *http.Client) func(url, ranges string) (*http.Response, error) {
	return func(url, ranges string) (*http.Response, error) {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		return client.Do(req)
	}
}

// wantKind holds err to a kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v, want an error of kind %s", what, err, kind)
	}
}
