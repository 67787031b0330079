package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// lock takes what a part keeps in dir for this process, and returns what gives it up; so
// does the end of the process, however it ends. The error names the folder and the
// process that has it: two would write into one another's streams and journal.
func lock(dir, part string) (unlock func(), err error) {
	path := filepath.Join(dir, part+".lock")
	l := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	ours, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ours {
		who := "another process"
		if pid, err := os.ReadFile(path); err == nil && len(pid) > 0 {
			who = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("%s in folder %s is in use by %s: stop that, or choose another folder with --dir", part, dir, who)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The file stays: who removed it could remove that of somebody who has it by then.
	return func() { l.Close() }, nil
}

// lockFolder takes what the parts keep in the folder, until Close.
func (s *Stack) lockFolder() error {
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	for _, part := range []string{NATS, AWS} { // the others keep nothing
		if !s.opts.has(part) {
			continue
		}
		unlock, err := lock(s.opts.Dir, part)
		if err != nil {
			return err
		}
		s.onClose(unlock)
	}
	return nil
}
