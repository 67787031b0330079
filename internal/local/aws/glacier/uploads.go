package glacier

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxParts is how many parts an upload has at most.
const maxParts = 10_000

// upload is a multipart upload as it is stored. Once it is completed it is kept
// for a second CompleteMultipartUpload, which answers the same archive.
type upload struct {
	ID          string `json:"id"`
	Vault       string `json:"vault"`
	Description string `json:"description,omitempty"`
	PartSize    int64  `json:"partSize"`
	Created     int64  `json:"created"`
	Archive     string `json:"archive,omitempty"` // its key, when completed
}

func (u upload) key() string { return u.Vault + "/" + u.ID }

// part is a part as it is stored, by its upload's id and its offset.
type part struct {
	Offset int64 `json:"offset"`
	Piece  piece `json:"piece"`
}

func partKey(upload string, offset int64) string { return fmt.Sprintf("%s/%016x", upload, offset) }

func (s *Service) initiateUpload(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	u := upload{ID: newID(uploadIDLength), Vault: v.Name, Description: c.r.Header.Get("X-Amz-Archive-Description"), Created: s.now()}
	if e := checkDescription("archive description", u.Description); e != nil {
		return e
	}
	text := c.r.Header.Get("X-Amz-Part-Size")
	if text == "" {
		return missing("Required parameter missing: PartSize")
	}
	var err error
	u.PartSize, err = strconv.ParseInt(text, 10, 64)
	if err != nil || u.PartSize < 1<<20 || u.PartSize > 4<<30 || u.PartSize&(u.PartSize-1) != 0 {
		return invalid("Invalid part size: %s. Part size must be a power of two between 1 MiB and 4 GiB.", text)
	}
	s.mu.Lock()
	_, e = s.vaultOf(c)
	if e == nil {
		s.uploads.Put(u.key(), u)
	}
	s.mu.Unlock()
	if e != nil {
		return e
	}
	c.w.Header().Set("Location", s.location("vaults", v.Name, "multipart-uploads", u.ID))
	c.w.Header().Set("X-Amz-Multipart-Upload-Id", u.ID)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// uploadOf returns the upload of a call that is not completed.
func (s *Service) uploadOf(c *call) (upload, *world.Error) {
	if _, e := s.vaultOf(c); e != nil {
		return upload{}, e
	}
	u, ok := s.uploads.Get(c.vault + "/" + c.id)
	if !ok || u.Archive != "" {
		return upload{}, notFound("The upload ID was not found: %s", c.id)
	}
	return u, nil
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,15})-(\d{1,15})/\*$`)

func (s *Service) uploadPart(c *call) *world.Error {
	u, e := s.uploadOf(c)
	if e != nil {
		return e
	}
	text := c.r.Header.Get("Content-Range")
	m := contentRange.FindStringSubmatch(text)
	if m == nil {
		if text == "" {
			return missing("Required parameter missing: Content-Range")
		}
		return invalid("Invalid Content-Range: %s", text)
	}
	from, _ := strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	size := to - from + 1
	switch {
	case from%u.PartSize != 0 || size < 1 || size > u.PartSize:
		return invalid("Content-Range: %s is incompatible with part size: %d", text, u.PartSize)
	case from/u.PartSize >= maxParts:
		return invalid("Content-Range: %s is beyond the %d parts that an upload may have", text, maxParts)
	case c.r.ContentLength != size:
		return invalid("Content-Length: %d is not the size of the Content-Range: %s", c.r.ContentLength, text)
	}
	p, e := s.receive(c.r, size)
	if e != nil {
		return e
	}
	s.mu.Lock()
	_, e = s.uploadOf(c)
	if e == nil {
		old, again := s.parts.Get(partKey(u.ID, from))
		s.parts.Put(partKey(u.ID, from), part{from, p})
		s.hold(p.content())
		if again {
			s.release(old.Piece.content())
		}
	}
	s.mu.Unlock()
	if e != nil {
		s.w.RemoveBlob(p.Blob)
		return e
	}
	c.w.Header().Set("X-Amz-Sha256-Tree-Hash", p.Hash)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) completeUpload(c *call) *world.Error {
	s.mu.Lock()
	if u, ok := s.uploads.Get(c.vault + "/" + c.id); ok && u.Archive != "" {
		a, there := s.archives.Get(u.Archive)
		s.mu.Unlock()
		if !there {
			return notFound("The upload ID was not found: %s", c.id)
		}
		s.answerArchive(c, a)
		return nil
	}
	u, e := s.uploadOf(c)
	parts := s.parts.Prefix(c.id + "/")
	s.mu.Unlock()
	if e != nil {
		return e
	}
	claimed, ok := treehash.Parse(c.r.Header.Get("X-Amz-Sha256-Tree-Hash"))
	if !ok {
		return missing("Required parameter missing: Checksum, 64 hexadecimal digits in x-amz-sha256-tree-hash")
	}
	wanted, err := strconv.ParseInt(c.r.Header.Get("X-Amz-Archive-Size"), 10, 64)
	if err != nil {
		return missing("Required parameter missing: Archive size, a number in x-amz-archive-size")
	}
	a := archive{ID: newID(archiveIDLength), Vault: u.Vault, Description: u.Description, Created: s.now()}
	var sums []treehash.Sum
	for i, p := range parts {
		if p.Offset != a.Content.Size || i < len(parts)-1 && p.Piece.Size != u.PartSize {
			return invalid("Missing content range: the parts do not cover byte %d, or one that is not the last is smaller than %d bytes", a.Content.Size, u.PartSize)
		}
		sum, _ := treehash.Parse(p.Piece.Hash)
		sums = append(sums, sum)
		a.Content.Pieces = append(a.Content.Pieces, p.Piece)
		a.Content.Size += p.Piece.Size
	}
	if len(parts) == 0 {
		return invalid("Archive size mismatch: no part was uploaded")
	}
	if a.Content.Size != wanted {
		return invalid("Archive size mismatch: %d bytes were uploaded, not %d", a.Content.Size, wanted)
	}
	sum := treehash.Combine(sums)
	if sum != claimed {
		return invalid("Checksum mismatch: expected %s but the parts have %s", claimed, sum)
	}
	a.Content.Hash = sum.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	// Between the two locks a part may have come again, or another complete.
	if _, e := s.uploadOf(c); e != nil {
		return e
	}
	for _, p := range parts {
		if now, _ := s.parts.Get(partKey(u.ID, p.Offset)); now != p {
			return world.Errorf(http.StatusInternalServerError, "ServiceUnavailableException", "the upload was changed meanwhile: complete it again")
		}
	}
	s.hold(a.Content)
	s.archives.Put(a.key(), a)
	u.Archive = a.key()
	s.uploads.Put(u.key(), u)
	s.dropParts(u.ID)
	s.answerArchive(c, a)
	return nil
}

// dropUpload forgets an upload and its parts. The caller holds s.mu.
func (s *Service) dropUpload(u upload) {
	s.dropParts(u.ID)
	s.uploads.Delete(u.key())
}

// dropParts forgets the parts of an upload. The caller holds s.mu.
func (s *Service) dropParts(upload string) {
	for _, p := range s.parts.Prefix(upload + "/") {
		s.parts.Delete(partKey(upload, p.Offset))
		s.release(p.Piece.content())
	}
}

// abortUpload forgets an upload; one that is gone already is no error, one that
// is completed is.
func (s *Service) abortUpload(c *call) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, e := s.vaultOf(c); e != nil {
		return e
	}
	if u, ok := s.uploads.Get(c.vault + "/" + c.id); ok {
		if u.Archive != "" {
			return notFound("The upload ID was not found: %s", c.id)
		}
		s.dropUpload(u)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

type listedUpload struct {
	ArchiveDescription *string
	CreationDate       string
	MultipartUploadId  string
	PartSizeInBytes    int64
	VaultARN           string
}

func (s *Service) listed(u upload) listedUpload {
	return listedUpload{nullable(u.Description), date(u.Created), u.ID, u.PartSize, s.vaultARN(u.Vault)}
}

func (s *Service) listUploads(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	n, e := c.limit(50)
	if e != nil {
		return e
	}
	uploads, next := page(s.uploads, v.Name+"/", c.query.Get("marker"), n, func(u upload) bool { return u.Archive == "" })
	out := struct {
		Marker      *string
		UploadsList []listedUpload
	}{next, []listedUpload{}}
	for _, u := range uploads {
		out.UploadsList = append(out.UploadsList, s.listed(u))
	}
	answer(c.w, http.StatusOK, out)
	return nil
}

func (s *Service) listParts(c *call) *world.Error {
	u, e := s.uploadOf(c)
	if e != nil {
		return e
	}
	n, e := c.limit(50)
	if e != nil {
		return e
	}
	parts, next := page(s.parts, u.ID+"/", c.query.Get("marker"), n, func(part) bool { return true })
	type listedPart struct {
		RangeInBytes   string
		SHA256TreeHash string
	}
	out := struct {
		listedUpload
		Marker *string
		Parts  []listedPart
	}{s.listed(u), next, []listedPart{}}
	for _, p := range parts {
		out.Parts = append(out.Parts, listedPart{fmt.Sprintf("%d-%d", p.Offset, p.Offset+p.Piece.Size-1), p.Piece.Hash})
	}
	answer(c.w, http.StatusOK, out)
	return nil
}
