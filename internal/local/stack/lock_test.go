package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// TestAFolderIsOfOneProcess: two servers would write into one another's streams and
// journal without a word.
func TestAFolderIsOfOneProcess(t *testing.T) {
	t.Parallel()
	dir := testenv.Memory(t)
	link := filepath.Join(testenv.Memory(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	start := func(dir string, only ...string) (*stack.Stack, error) {
		return stack.Start(t.Context(), stack.Options{Dir: dir, Only: only, Log: testenv.Log(t),
			AWSAddr: "127.0.0.1:0", NATSAddr: "127.0.0.1:0", IDPAddr: "127.0.0.1:0", WebAddr: "127.0.0.1:0", WebhookAddr: "127.0.0.1:0"}, stack.People(1, 100))
	}
	first, err := start(dir, stack.AWS, stack.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for _, c := range []struct {
		name, dir string
		only      []string
		refused   bool
	}{
		{"all parts", dir, []string{stack.AWS, stack.NATS, stack.IDP}, true},
		{"by another path", link, []string{stack.NATS}, true},
		{"the stand-in alone", dir, []string{stack.AWS}, true},
		{"what keeps nothing", dir, []string{stack.IDP}, false},
		{"another folder", testenv.Memory(t), []string{stack.AWS, stack.NATS}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := start(c.dir, c.only...)
			if err == nil {
				defer s.Close()
			}
			if (err != nil) != c.refused {
				t.Fatalf("got %v, want refused %v", err, c.refused)
			}
			if !c.refused {
				return
			}
			for _, word := range []string{c.dir, fmt.Sprintf("process %d", os.Getpid()), "--dir"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
	first.Close()
	second, err := start(dir, stack.AWS)
	if err != nil {
		t.Fatalf("after the first has stopped: %v", err)
	}
	defer second.Close()
	third, err := start(dir, stack.NATS)
	if err != nil {
		t.Fatalf("the parts of one folder in two processes: %v", err)
	}
	third.Close()
}
