//go:build firefox

package firefox

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/local/stack"
)

func TestAPersonGetsTheirFilesBackInFirefox(t *testing.T) {
	browser, err := exec.LookPath("firefox-esr")
	if err != nil {
		t.Fatal(err)
	}
	const free = "127.0.0.1:0"
	s, err := stack.Start(t.Context(), stack.Options{
		Dir: t.TempDir(), ExpeditedDelay: 3 * time.Second, Log: slog.New(slog.DiscardHandler),
		AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free,
	}, []stack.Person{{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: 2, Stored: 1, Size: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	stopper, ctx := daemon.NewStopper(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, stopper, 10*time.Second, s.Parts...) }()
	t.Cleanup(func() {
		stopper.Stop(10 * time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	// The driver's folder has the script beside the packages that it imports.
	script := os.Getenv("GAS_FIREFOX_DRIVER") + "/journey.mjs"
	limit, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(limit, "node", script, s.Config.WebBaseURL, browser).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
