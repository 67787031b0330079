package s3

import (
	"os"
	"sync"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// piece is a run of bytes in a file.
type piece struct {
	File   string
	Offset int64 `json:",omitempty"`
	Size   int64
}

// files counts the users of each file that holds bytes of objects: copies share
// them. A file without users is removed.
type files struct {
	world *world.World
	// loose are files that nobody uses yet or any more. After a crash they are
	// removed, unless a user is found.
	loose *store.Table[[]string]

	mu   sync.Mutex // guards what follows
	uses map[string]int
}

func (f *files) open(w *world.World) (err error) {
	f.world, f.uses = w, map[string]int{}
	f.loose, err = store.NewTable[[]string](w.DB, "s3.loose")
	return err
}

// use counts a user of the pieces' files.
func (f *files) use(pieces []piece) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pieces {
		f.uses[p.File]++
	}
}

// forget notes files that may have no users, for sweep.
func (f *files) forget(pieces []piece) {
	var names []string
	for _, p := range pieces {
		names = append(names, p.File)
	}
	f.loose.Put(world.ID(8), names)
}

// sweep removes what is loose and has no users.
func (f *files) sweep() {
	var ids []string
	f.loose.Ascend("", func(id string, names []string) bool {
		ids = append(ids, id)
		for _, name := range names {
			if f.uses[name] == 0 {
				f.world.RemoveBlob(name)
			}
		}
		return true
	})
	for _, id := range ids {
		f.loose.Delete(id)
	}
}

// draft is a file that is being written. Exactly one of keep and discard ends it.
type draft struct {
	*os.File
	files *files
	name  string
}

func (f *files) create() (*draft, *world.Error) {
	name, file, err := f.world.NewBlob()
	if err != nil {
		return nil, internal(err)
	}
	f.loose.Put(name, []string{name})
	return &draft{file, f, name}, nil
}

// close ends the writing.
func (d *draft) close() *world.Error {
	if err := d.Close(); err != nil {
		return internal(err)
	}
	return nil
}

// discard removes the file.
func (d *draft) discard() {
	d.Close()
	d.files.world.RemoveBlob(d.name)
	d.files.loose.Delete(d.name)
}

// keep says that the file has been counted and stored with its user.
func (d *draft) keep() { d.files.loose.Delete(d.name) }

// release takes back one use of each piece's file. The file goes with the last.
// No stored user may be left when this is called.
func (f *files) release(pieces []piece) {
	var names []string
	f.mu.Lock()
	for _, p := range pieces {
		if f.uses[p.File]--; f.uses[p.File] <= 0 {
			delete(f.uses, p.File)
			names = append(names, p.File)
		}
	}
	f.mu.Unlock()
	if names == nil {
		return
	}
	for _, name := range names {
		f.world.RemoveBlob(name)
	}
}
