// Package world is what the services of the AWS stand-in share: the clock, the
// stored state, the files, the account they live in, and the shape of a
// service and of an error.
package world

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/gas-restore/gas/internal/local/aws/store"
)

// World is shared by all services of one stand-in.
type World struct {
	// Region and Account are those of every ARN.
	Region  string
	Account string
	Clock   *Clock
	DB      *store.DB

	blobs  string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New returns a world with its state in dir, or in memory if dir is empty (then its files
// are in a temporary folder that Close removes).
func New(dir, region, account string) (*World, error) {
	db, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	w := &World{Region: region, Account: account, Clock: NewClock(), DB: db}
	if dir == "" {
		w.blobs, err = os.MkdirTemp("", "localaws-")
	} else {
		w.blobs = filepath.Join(dir, "blobs")
		err = os.MkdirAll(w.blobs, 0o700)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("make blob folder: %w", err)
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

// ARN returns the Amazon resource name of a resource of service.
func (w *World) ARN(service, resource string) string {
	return "arn:aws:" + service + ":" + w.Region + ":" + w.Account + ":" + resource
}

// Go runs f in the background. Its context ends when the world is closed, and
// Close waits for it.
func (w *World) Go(f func(ctx context.Context)) {
	w.wg.Go(func() { f(w.ctx) })
}

// Context returns a context that ends when the world is closed.
func (w *World) Context() context.Context { return w.ctx }

// Close stops the background work and the timers and closes the state.
func (w *World) Close() error {
	w.Clock.stop()
	w.cancel()
	w.wg.Wait()
	if w.DB.Dir() == "" {
		os.RemoveAll(w.blobs)
	}
	return w.DB.Close()
}

// ID returns n random bytes in hex.
func ID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// UUID returns a random UUID.
func UUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// NewBlob returns a file to write to, which has a name of its own. Close it,
// keep the name, and open it again with OpenBlob; RemoveBlob when it is of no
// more use.
func (w *World) NewBlob() (name string, f *os.File, err error) {
	name = ID(16)
	f, err = os.OpenFile(filepath.Join(w.blobs, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	return name, f, err
}

// OpenBlob opens the file called name for reading.
func (w *World) OpenBlob(name string) (*os.File, error) {
	return os.Open(filepath.Join(w.blobs, filepath.Base(name)))
}

// RemoveBlob removes the file called name. An open file can still be read.
func (w *World) RemoveBlob(name string) { os.Remove(filepath.Join(w.blobs, filepath.Base(name))) }

// Service is one AWS service of the stand-in.
type Service interface {
	// Name is the service's name in a credential scope, "glacier" for example.
	Name() string
	// Operation finds out which operation r asks for. It may read the body only
	// if it puts an equal one in its place. A nil Serve with an error means that
	// r is refused before anything happened.
	Operation(r *http.Request) (Operation, *Error)
	// WriteError answers e in the service's wire format.
	WriteError(w http.ResponseWriter, r *http.Request, e *Error)
}

// Operation is one call that is about to be served.
type Operation struct {
	// Name as in the service's model, "InitiateJob" for example.
	Name string
	// Serve carries it out and answers, errors included.
	Serve func(w http.ResponseWriter, r *http.Request)
}

// Error is an error as AWS answers it.
type Error struct {
	Status  int
	Code    string
	Message string
	// Fields are additional members of the answer, for the services that have any.
	Fields map[string]any
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// Errorf returns an Error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// ReadBody returns r's body, which may have up to limit bytes, and puts it back
// so that it can be read again.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("body of more than %d bytes", limit)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// Notification is a message that one service of AWS publishes to a topic.
type Notification struct {
	// Service is the principal of who publishes, "glacier.amazonaws.com".
	Service string
	// Source is the ARN of what the notification is about: a vault.
	Source                  string
	Topic, Subject, Message string
}
