package web

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
)

const (
	// maxZip is how many files a zip has at most: the zip keeps the name of each until its end.
	maxZip = 10_000
	// zipTries is how often the site asks the store for the rest of a file before it gives the
	// zip up.
	zipTries = 3
	// leftOut is the name of the list of the files that are not in the zip.
	leftOut = "FILES-THAT-ARE-NOT-IN-THIS-ZIP.txt"
)

// writeZip writes the files of a set to w as a zip. It has one file at a time in memory, and of
// that a small part. The files are stored as they are, and the sizes and checksums follow the
// bytes. If writeZip fails, the zip has no directory: no program takes it for whole. writeZip calls
// goOn before each file.
func (s *Server) writeZip(ctx context.Context, w io.Writer, of owner, set string, goOn func() error) (files int, err error) {
	z := zip.NewWriter(w)
	names, buffer := newNames(), make([]byte, 64<<10)
	var missing []string
	for j, err := range s.files(ctx, of, set) {
		if err != nil {
			return files, err
		}
		if err := goOn(); err != nil {
			return files, err
		}
		if files+len(missing) == maxZip {
			missing = append(missing, fmt.Sprintf("... and all others: a zip has %d files at most. The manifest has all.", maxZip))
			break
		}
		found, there, err := s.stat(ctx, j.Result)
		if err != nil {
			return files, err
		}
		if !there {
			missing = append(missing, fileName(j)+" ("+string(j.ID)+"): it cannot be found at the moment")
			continue
		}
		head := &zip.FileHeader{Name: names.unique(fileName(j)), Method: zip.Store, Modified: found.ModifiedAt.UTC()}
		to, err := z.CreateHeader(head)
		if err != nil {
			return files, err
		}
		if files == 0 {
			// The browser sees at once that the download begins.
			if err := z.Flush(); err != nil {
				return files, err
			}
		}
		if err := s.copyObject(ctx, to, found, buffer); err != nil {
			return files, err
		}
		files++
	}
	if len(missing) > 0 {
		to, err := z.Create(names.unique(leftOut))
		if err != nil {
			return files, err
		}
		if _, err := io.WriteString(to, strings.Join(missing, "\n")+"\n"); err != nil {
			return files, err
		}
	}
	return files, z.Close()
}

// errOther means that an object has other bytes than its description says.
var errOther = errors.New("the store sent other bytes than it describes")

// copyObject writes the object's bytes to w, and compares them with the store's checksum. If the
// connection to the store breaks, copyObject asks for the rest.
func (s *Server) copyObject(ctx context.Context, w io.Writer, found archive.Found, buffer []byte) error {
	var done int64
	var sum crc64nvme.Sum
	for try := 1; done < found.Size; try++ {
		body, err := s.deps.Downloads.Read(ctx, found, done)
		if err == nil {
			for err == nil {
				var n int
				n, err = body.Read(buffer)
				if n > 0 {
					if done += int64(n); done > found.Size {
						err = errOther
						break
					}
					sum = crc64nvme.Update(sum, buffer[:n])
					if _, werr := w.Write(buffer[:n]); werr != nil {
						_ = body.Close()
						return werr
					}
				}
			}
			_ = body.Close()
		}
		if done < found.Size && (try == zipTries || ctx.Err() != nil || fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound)) {
			return fmt.Errorf("copy %s, %d of %d bytes: %w", found.Object, done, found.Size, err)
		}
		if done > found.Size {
			return fmt.Errorf("copy %s: %w", found.Object, errOther)
		}
	}
	if found.Checksum != "" && sum.String() != found.Checksum {
		return fmt.Errorf("copy %s: the bytes have CRC-64/NVME %s, the store says %s: %w", found.Object, sum, found.Checksum, errOther)
	}
	return nil
}

// names makes the names of files unique, also for systems to which upper and lower case are the
// same.
type names map[string]int

func newNames() names { return names{} }

// unique returns the name, with a number before its extension if it was taken. No name has a
// slash, and none is a device of Windows.
func (n names) unique(name string) string {
	ext := extension(name)
	stem := strings.TrimSuffix(name, ext)
	switch first, _, _ := strings.Cut(strings.ToUpper(name), "."); strings.TrimRight(first, " ") {
	case "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
		"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9":
		stem = "_" + stem
	}
	key := strings.ToLower(stem + ext)
	for {
		n[key]++
		if n[key] == 1 {
			return path.Base(stem + ext)
		}
		next := fmt.Sprintf("%s (%d)", stem, n[key])
		if lower := strings.ToLower(next + ext); n[lower] == 0 {
			n[lower] = 1
			return path.Base(next + ext)
		}
	}
}
