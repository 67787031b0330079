package glacier

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxUpload is the size of the largest archive that is uploaded at once.
const maxUpload = 4 << 30

// archive is an archive as it is stored, by its vault's name and its id.
type archive struct {
	ID          string  `json:"id"`
	Vault       string  `json:"vault"`
	Description string  `json:"description,omitempty"`
	Created     int64   `json:"created"`
	Content     content `json:"content"`
}

func (a archive) key() string { return a.Vault + "/" + a.ID }

// newID returns n random characters of those that Glacier's ids have.
func newID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// The lengths of ids.
const (
	archiveIDLength = 138
	jobIDLength     = 92
	uploadIDLength  = 92
)

// checkDescription holds a description to 1,024 printable ASCII characters.
func checkDescription(what, text string) *world.Error {
	if len(text) > 1024 {
		return invalid("Invalid %s: longer than 1024 bytes", what)
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return invalid("Invalid %s: it has the byte 0x%02X; only ASCII 0x20 to 0x7E is allowed", what, text[i])
		}
	}
	return nil
}

// checkSize refuses archives that are too small or too large.
func (s *Service) checkSize(size, most int64) *world.Error {
	s.mu.Lock()
	empty := s.control.empty
	s.mu.Unlock()
	switch {
	case size < 0:
		return missing("Required parameter missing: Content-Length")
	case size == 0 && !empty:
		return invalid("Invalid Content-Length: 0")
	case size > most:
		return invalid("Invalid Content-Length: %d: at most %d", size, most)
	}
	return nil
}

func (s *Service) uploadArchive(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	description := c.r.Header.Get("X-Amz-Archive-Description")
	if e := checkDescription("archive description", description); e != nil {
		return e
	}
	size := c.r.ContentLength
	if e := s.checkSize(size, maxUpload); e != nil {
		return e
	}
	p, e := s.receive(c.r, size)
	if e != nil {
		return e
	}
	a := archive{
		ID: newID(archiveIDLength), Vault: v.Name, Description: description, Created: s.now(),
		Content: p.content(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold(a.Content)
	if _, e := s.vaultOf(c); e != nil { // deleted meanwhile
		s.release(a.Content)
		return e
	}
	s.archives.Put(a.key(), a)
	s.answerArchive(c, a)
	return nil
}

func (s *Service) answerArchive(c *call, a archive) {
	c.w.Header().Set("Location", s.location("vaults", a.Vault, "archives", a.ID))
	c.w.Header().Set("X-Amz-Archive-Id", a.ID)
	c.w.Header().Set("X-Amz-Sha256-Tree-Hash", a.Content.Hash)
	c.w.WriteHeader(http.StatusCreated)
}

// deleteArchive deletes an archive; one that is gone already is no error. Output
// that is prepared stays, a retrieval in progress will fail.
func (s *Service) deleteArchive(c *call) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	if len(c.id) != archiveIDLength || strings.Trim(c.id, idCharacters) != "" {
		return invalid("Invalid archive id: %s", c.id)
	}
	a, ok := s.archives.Get(v.Name + "/" + c.id)
	if e := s.denied(v, a, ok); e != nil {
		return e
	}
	if ok {
		s.archives.Delete(a.key())
		s.release(a.Content)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
