package restore

import (
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

func TestWhatIsWrongWithATreeHashIsSaidInWords(t *testing.T) {
	for hash, want := range map[string]string{
		"":                       "Glacier describes retrieval r without the archive's tree hash. No copy can be proven without it: nothing is copied, and the archive stays",
		"abc":                    `Glacier gives "abc" as the tree hash of the archive of retrieval r: want 64 hex digits`,
		strings.Repeat("zz", 32): "want 64 hex digits",
	} {
		_, err := hashOf(archive.Retrieval{ID: "r", TreeHash: hash})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", hash, err, want)
		}
	}
	if sum, err := hashOf(archive.Retrieval{TreeHash: strings.Repeat("ab", 32)}); err != nil || sum.String() != strings.Repeat("ab", 32) {
		t.Errorf("got %s, %v", sum, err)
	}
}
