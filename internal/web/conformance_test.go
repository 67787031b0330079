package web_test

import (
	"net/http"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/test/sitetest"
	"github.com/gas-restore/gas/internal/web"
)

// TestTheFixtureDoesWhatTheAdaptersDo runs the suite that the real adapters pass
// (internal/test/sitetest). It uses the ports in memory that most tests of the site use, and
// the store in memory.
func TestTheFixtureDoesWhatTheAdaptersDo(t *testing.T) {
	sitetest.Run(t, func(t *testing.T) sitetest.Ports {
		f := web.NewFixturePorts(t)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport}
		return sitetest.Ports{
			Accounts: f, Jobs: f, Downloads: f, Statuses: f, Sessions: web.NewMemoryStore(100), Bucket: "gas-results",
			AddJob:    f.AddJob,
			PutObject: func(o archive.Object, body string) { f.PutObject(o, body) },
			Get:       sitetest.Getter(client),
			Letters:   f,
			GiveUp:    f.GiveUp,
			Report:    f.Report,
			Remake:    func() { f.Remake("another") },
		}
	})
}
