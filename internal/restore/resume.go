package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/kv"
)

// proof is two checksums of the same part. The restorer saves the proof before it sends the
// part's last byte. S3 lists its own CRC of each part. If S3's CRC equals the saved CRC, the
// part in S3 has the saved tree hash.
type proof struct {
	tree treehash.Sum
	crc  crc64nvme.Sum
}

func (p proof) String() string { return p.tree.String() + " " + p.crc.String() }

func parseProof(value []byte) (p proof, ok bool) {
	tree, crc, _ := strings.Cut(string(value), " ")
	var okTree, okCRC bool
	p.tree, okTree = treehash.Parse(tree)
	p.crc, okCRC = crc64nvme.Parse(crc)
	return p, okTree && okCRC
}

// proofs are the saved proofs of one upload's parts, in the key-value store.
type proofs struct {
	kv   kv.Store
	name string
	log  *slog.Logger
}

// proofsOf makes the proofs' name from everything that decides a part's bytes. So an upload
// has no proofs here if another tool began it, if it belongs to another archive, or if its
// parts are cut differently.
func (c *copying) proofsOf(u archive.Upload) proofs {
	content := c.f.content
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %s %d", u.ID(), c.f.job.ArchiveID, content.Size, content.TreeHash, c.layout.part))
	return proofs{c.r.KV, hex.EncodeToString(sum[:16]), c.f.log}
}

func (p proofs) key(n int) string { return fmt.Sprintf("part.%s.%d", p.name, n) }

// save saves the proof of the part n. If that fails, the copy continues. After a crash, the
// next delivery copies the part again.
func (p proofs) save(ctx context.Context, n int, proven proof) {
	if p.kv == nil {
		return
	}
	if err := p.kv.Put(ctx, p.key(n), []byte(proven.String())); err != nil && ctx.Err() == nil {
		p.log.Warn("a part's proof not saved: after a crash the part would be copied again", "part", n, "err", err)
	}
}

// kept is a part that an earlier delivery uploaded, with its proof.
type kept struct {
	archive.Part
	proof
}

// find returns the uploaded parts that are proven, by their index.
func (p proofs) find(ctx context.Context, up []archive.Part, parts []part) map[int]kept {
	found := map[int]kept{}
	if p.kv == nil {
		return found
	}
	var mu sync.Mutex // guards found
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, u := range up {
		i := u.Number - 1
		if i >= len(parts) || parts[i].length != u.Size {
			continue
		}
		g.Go(func() error {
			value, _, err := p.kv.Get(ctx, p.key(u.Number))
			if err != nil {
				if !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
					p.log.Warn("a part's proof not read: the part is copied again", "part", u.Number, "err", err)
				}
				return nil
			}
			if proven, ok := parseProof(value); ok && proven.crc == u.Sum {
				mu.Lock()
				defer mu.Unlock()
				found[i] = kept{u, proven}
			}
			return nil
		})
	}
	g.Wait()
	return found
}

// resume sets the upload that the copy continues: the unfinished upload with the most proven
// parts. If no part is proven, it sets no upload. It returns the other uploads.
func (c *copying) resume(ctx context.Context) (others []archive.Upload, err error) {
	uploads, err := c.r.Uploads.Unfinished(ctx, c.f.job.Result)
	if fault.Is(err, fault.Denied) {
		c.f.log.Warn("unfinished uploads cannot be listed, so nothing is resumed: allow s3:ListBucketMultipartUploads", "err", err)
	} else if err != nil {
		return nil, err
	}
	var have map[int]kept
	for _, u := range uploads {
		up, err := u.Parts(ctx)
		if err != nil {
			return nil, err
		}
		proofs := c.proofsOf(u)
		if proven := proofs.find(ctx, up, c.parts); len(proven) > len(have) {
			c.upload, c.proofs, have = u, proofs, proven
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // not all proofs were read, so no upload is aborted on a guess
	}
	for i, k := range have {
		c.parts[i].proof, c.parts[i].up = k.proof, k.Part
		c.told.done += k.Size
	}
	if c.upload != nil {
		c.f.log.Info("the copy goes on", "upload", c.upload.ID(), "parts", len(have), "of", len(c.parts))
	}
	for _, u := range uploads {
		if u != c.upload {
			others = append(others, u)
		}
	}
	return others, nil
}
