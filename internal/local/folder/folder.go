// Package folder locks a folder with state, so that two processes do not write
// into the same journal or streams.
package folder

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// Lock locks the state of a part in the folder dir for this process, and
// returns the function that unlocks it. The end of the process unlocks it too.
// If another process has the lock, the error names the folder and that process.
func Lock(dir, part string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
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
		return nil, fmt.Errorf("%s in folder %s is in use by %s: stop that process, or choose another folder with --dir", part, dir, who)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The file stays. If a process removed it, the process could remove a lock
	// that another one took meanwhile.
	return func() { l.Close() }, nil
}
