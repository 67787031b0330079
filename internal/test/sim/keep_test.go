package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// keepIn is the folder for what worlds reported, from the environment; empty for none. With
// it, a long run that was interrupted goes on where it was.
const keepIn = "GAS_SIM_KEEP"

// thisBuild identifies the test binary. Results of another build do not count.
var thisBuild = sync.OnceValues(func() (string, error) {
	f, err := os.Open(os.Args[0])
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})

// fileOf is this build's file in the folder. With the key *, it is the pattern of all files.
func fileOf(dir, key string) (string, error) {
	build, err := thisBuild()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, build[:16]+"-"+key+".json"), nil
}

// keptBefore is true if an earlier run of this build has left something.
func keptBefore() (bool, error) {
	dir := os.Getenv(keepIn)
	if dir == "" {
		return false, nil
	}
	pattern, err := fileOf(dir, "*")
	if err != nil {
		return false, err
	}
	files, err := filepath.Glob(pattern)
	return len(files) > 0, err
}

// kept returns what find found under the name, now or in an earlier run of the same build. An
// error is not kept.
func kept[T any](name string, find func() (T, error)) (T, error) {
	dir := os.Getenv(keepIn)
	if dir == "" {
		return find()
	}
	key := sha256.Sum256([]byte(name))
	file, err := fileOf(dir, hex.EncodeToString(key[:]))
	if err != nil {
		return *new(T), err
	}
	var found T
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &found) == nil {
		return found, nil
	}
	if found, err = find(); err != nil {
		return found, err
	}
	data, err := json.Marshal(found)
	if err != nil {
		return found, err
	}
	// Whole or not at all: the run may be killed at any moment.
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return found, err
	}
	return found, os.Rename(file+".new", file)
}

func TestWhatAWorldReportedIsKeptForTheSameBuild(t *testing.T) {
	t.Setenv(keepIn, t.TempDir())
	played := 0
	play := func() (report, error) {
		if played++; played == 1 {
			return report{}, errors.New("it went wrong")
		}
		return report{Files: 7, Came: &came{Retrievals: 2}}, nil
	}
	before := func(want bool) {
		t.Helper()
		if got, err := keptBefore(); got != want || err != nil {
			t.Errorf("something was kept before: %t, %v; want %t", got, err, want)
		}
	}
	// A file of another build does not count.
	if err := os.WriteFile(filepath.Join(os.Getenv(keepIn), "0123456789abcdef-00.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kept("seed=1", play); err == nil {
		t.Error("the error is lost")
	}
	before(false)
	for range 3 {
		if r, err := kept("seed=1", play); err != nil || r.Files != 7 || r.Came == nil || r.Came.Retrievals != 2 {
			t.Errorf("got %+v; %v", r, err)
		}
	}
	before(true)
	if played != 2 {
		t.Errorf("the world was played %d times, want twice: it went wrong the first time", played)
	}
	if _, err := kept("seed=2", play); err != nil || played != 3 {
		t.Errorf("another world was played %d times in all, want 3; %v", played, err)
	}
}
