package web

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/pkg/events"
)

// The sets of files that somebody can get at once, by their names in the address.
const (
	setBack  = "back"  // the files that came back from the archive
	setReady = "ready" // all files that are ready
)

// setOf returns the set with the name; the empty name is setBack.
func setOf(name string) (string, error) {
	switch name {
	case "", setBack:
		return setBack, nil
	case setReady:
		return setReady, nil
	}
	return "", &problem{status: 400, title: "The request cannot be read", sentence: "There is no such set of files.", link: listPath, linkText: "Go to your annotations"}
}

// filesPage is how many jobs are read at a time.
const filesPage = 500

// isBack reports whether the file was in the archive, and came back.
func isBack(j archive.Job) bool {
	return j.ArchiveID == "" && (j.RestoredBy != "" || j.BilledTier != "" || !j.RestoredAt.IsZero())
}

// files yields the user's jobs of the set, the newest first. It reads some jobs at a time. An
// error ends the sequence.
func (s *Server) files(ctx context.Context, of owner, set string) iter.Seq2[archive.Job, error] {
	match := func(j archive.Job) bool {
		return j.UserID == of.ID && of.state(j) == archive.Available && (set == setReady || isBack(j))
	}
	return func(yield func(archive.Job, error) bool) {
		for cursor := ""; ; {
			page, err := s.deps.Jobs.Select(ctx, of.ID, archive.Selection{Cursor: cursor, Limit: filesPage, Match: match, Look: maxLook})
			if err != nil {
				yield(archive.Job{}, err)
				return
			}
			for _, j := range page.Jobs {
				if !yield(j, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

// checks are the checksums of a file. An unknown one is left out.
type checks struct {
	// CRC is S3's CRC-64/NVME of all bytes, in base64.
	CRC string `json:"crc64nvme,omitempty"`
	// TreeHash is the SHA-256 tree hash of Glacier, in hexadecimal digits. For a file of up to
	// 1 MiB it is the SHA-256.
	TreeHash string `json:"sha256_tree_hash,omitempty"`
}

func checksOf(found archive.Found) checks {
	c := checks{CRC: found.Checksum}
	if found.Mark != nil {
		c.TreeHash = found.Mark.Content.TreeHash.String()
	}
	return c
}

// manifestFile is a file in a manifest.
type manifestFile struct {
	ID events.JobID `json:"id"`
	// Path is the file's name in a zip of the same set.
	Path string `json:"path"`
	// Input is the name of the file that was annotated.
	Input string `json:"input,omitempty"`
	Size  int64  `json:"size"`
	checks
	RestoredAt time.Time `json:"restored_at,omitzero"`
	// Link leads to the file, again and again, for whoever is signed in.
	Link string `json:"link"`
}

// manifestHead and manifestEnd are the text around the files. A manifest without its end was
// cut.
const manifestHead, manifestEnd = "{\"files\":[", "\n],\"complete\":true}\n"

// writeManifest writes the manifest of a set to w. It asks the store for eight files at a time.
// A file that is not in the store is left out.
func (s *Server) writeManifest(ctx context.Context, w io.Writer, of owner, set string) error {
	if _, err := io.WriteString(w, manifestHead); err != nil {
		return err
	}
	names, written := newNames(), false
	flush := func(batch []archive.Job) error {
		found := make([]*archive.Found, len(batch))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for i, j := range batch {
			g.Go(func() error {
				f, there, err := s.stat(ctx, j.Result)
				if there {
					found[i] = &f
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, j := range batch {
			if found[i] == nil {
				continue
			}
			data, err := json.Marshal(manifestFile{
				ID: j.ID, Path: names.unique(fileName(j)), Input: j.InputFileName, Size: found[i].Size, checks: checksOf(*found[i]),
				RestoredAt: restoredAt(j, *found[i]), Link: s.origin + apiDownload(j.ID),
			})
			if err != nil {
				return err
			}
			separator := "\n"
			if written {
				separator = ",\n"
			}
			written = true
			if _, err := w.Write(append([]byte(separator), data...)); err != nil {
				return err
			}
		}
		return nil
	}
	batch := make([]archive.Job, 0, 64)
	for j, err := range s.files(ctx, of, set) {
		if err != nil {
			return err
		}
		if batch = append(batch, j); len(batch) == cap(batch) {
			if err := flush(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := flush(batch); err != nil {
		return err
	}
	_, err := io.WriteString(w, manifestEnd)
	return err
}

// restoredAt returns when the file came back; zero if it never was in the archive. The catalog
// of earlier releases does not know it, and then the object does.
func restoredAt(j archive.Job, found archive.Found) time.Time {
	switch {
	case !isBack(j):
		return time.Time{}
	case j.RestoredAt.IsZero():
		return found.ModifiedAt.UTC()
	}
	return j.RestoredAt.UTC()
}
