//go:build browser

package browser

import (
	"fmt"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/local/stack"
)

// TestAPersonBringsOneFileFirst lets thaw request an archive each second, and chooses the file that
// would come last.
func TestAPersonBringsOneFileFirst(t *testing.T) {
	t.Setenv("GAS_THAW_RATE", "1")
	t.Setenv("GAS_THAW_SLOTS", "1")
	const files = 240
	s := up(t, 200*time.Millisecond, stack.Person{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: files, Size: 1 << 10})
	ada := person(t, s.Config.WebBaseURL)
	ada.signIn("Fern Fictive", "/subscribe")
	ada.press(`form[action="/subscribe"] button`)
	ada.until(`location.pathname === "/annotations"`)
	page := fmt.Sprintf("/annotation/fern-%04d", files-1)
	ada.open(page)
	ada.untilReloaded("Bring this one first")
	ada.seeInEveryLook("first-offered", true)
	ada.press(`form[action$="/first"] button`)
	ada.says("You chose this file to come first")
	ada.accessible("a file that goes first")
	ada.targets("a file that goes first")
	ada.says("ready to download") // live, without a reload
	account, err := catalogOf(s).Account(t.Context(), "fern")
	if err != nil || account.Plan == nil {
		t.Fatalf("the account is %+v, %v", account, err)
	}
	over := eval[int](ada, `fetch("/api/v1/archive").then(a => a.json()).then(a => a.coming)`)
	if over < files/2 {
		t.Errorf("%d of %d files are still to come: the chosen one did not come first", over, files)
	}
	ada.calm("a person who chose a file")
}
