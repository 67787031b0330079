package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Person is an invented user of the local service.
type Person struct {
	ID   string
	Name string
	Role archive.Role
	// Archived is the number of result files in cold storage, Stored the number in S3.
	Archived, Stored int
	// Size is the size of each file in bytes; 0 takes a mix of small ones.
	Size int64
}

// note describes the person in a few words.
func (p Person) note() string {
	plan := "Free"
	if p.Role == archive.Premium {
		plan = "Premium"
	}
	return fmt.Sprintf("%s, %d archived files, %d in S3", plan, p.Archived, p.Stored)
}

// People returns the users that `gas up` makes. files and size are for the first of them.
func People(files int, size int64) []Person {
	return []Person{
		{ID: "fern", Name: "Fern Fictive", Role: archive.Free, Archived: files, Size: size},
		{ID: "moss", Name: "Moss Madeup", Role: archive.Free, Archived: 5, Stored: 2},
		{ID: "sorrel", Name: "Sorrel Sample", Role: archive.Premium, Stored: 6},
		{ID: "yarrow", Name: "Yarrow Young", Role: archive.Free},
	}
}

// mixed are the sizes of example files. Among ordinary sizes there are one byte, which is
// the least that Glacier takes, and the sizes around 1 MiB, a leaf of the tree hash.
var mixed = []int64{24_000, 310_000, 1, 1 << 20, 1<<20 + 1, 88_000, 1<<20 - 1, 2_500_000, 640_000}

func (p Person) size(i int) int64 {
	if p.Size > 0 {
		return p.Size
	}
	return mixed[i%len(mixed)]
}

// Job returns the person's job number i.
func (p Person) Job(bucket string, i int) archive.Job {
	id := fmt.Sprintf("%s-%04d", p.ID, i)
	input := fmt.Sprintf("panel_%03d.vcf", i)
	at := time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 37 * time.Minute)
	prefix := "gas/" + p.ID + "/" + id + "~panel_" + fmt.Sprintf("%03d", i)
	return archive.Job{
		ID: events.JobID(id), UserID: events.UserID(p.ID),
		SubmittedAt: at, InputFileName: input, Status: "COMPLETED", CompletedAt: at.Add(4 * time.Minute),
		Result: archive.Object{Bucket: bucket, Key: prefix + ".annot.vcf"},
		Log:    archive.Object{Bucket: bucket, Key: prefix + ".vcf.count.log"},
	}
}

// Result returns the content of the person's result file number i: lines of an invented
// annotated VCF. It is the same each time.
func (p Person) Result(i int) io.Reader {
	seed := sha256.Sum256([]byte(p.ID + strconv.Itoa(i)))
	r := &vcf{rand: mathrand.New(mathrand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])))}
	fmt.Fprintf(&r.buf, "##fileformat=VCFv4.3\n##source=example\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
	return io.LimitReader(r, p.size(i))
}

// ResultSize returns the size of result file number i in bytes.
func (p Person) ResultSize(i int) int64 { return p.size(i) }

// vcf makes endless lines.
type vcf struct {
	rand *mathrand.Rand
	buf  bytes.Buffer
	pos  int
}

func (v *vcf) Read(p []byte) (int, error) {
	const bases, effects = "ACGT", "synonymous missense  intron    intergenicstop"
	for v.buf.Len() < len(p) {
		r := v.rand.Uint64()
		v.pos += int(r%977) + 1
		line := v.buf.AvailableBuffer()
		line = append(line, "chr"...)
		line = strconv.AppendUint(line, r>>8%22+1, 10)
		line = append(line, '\t')
		line = strconv.AppendInt(line, int64(v.pos), 10)
		line = append(line, "\trs"...)
		line = strconv.AppendUint(line, r>>32, 10)
		line = append(line, '\t', bases[r>>16&3], '\t', bases[r>>18&3], '\t')
		line = strconv.AppendUint(line, r>>20%100, 10)
		line = append(line, "\tPASS\tEFFECT="...)
		n := int(r>>24%4) * 10
		line = append(line, bytes.TrimSpace([]byte(effects[n:n+10]))...)
		line = append(line, ";H="...)
		line = strconv.AppendUint(line, v.rand.Uint64(), 36)
		line = append(line, '\n')
		v.buf.Write(line)
	}
	return v.buf.Read(p)
}

// seed makes the people's missing accounts and files.
func (s *Stack) seed(ctx context.Context, people []Person) error {
	catalog := s.catalog()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, p := range people {
		if err := catalog.EnsureAccount(ctx, archive.Account{ID: events.UserID(p.ID), Name: p.Name, Email: p.ID + "@example.org", Role: p.Role}); err != nil {
			return err
		}
		for i := range p.Archived + p.Stored {
			g.Go(func() error {
				if err := s.seedJob(ctx, p, i); err != nil {
					return fmt.Errorf("make example file %d of %s: %w", i, p.ID, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

func (s *Stack) seedJob(ctx context.Context, p Person, i int) error {
	catalog, job := s.catalog(), p.Job(s.Config.Bucket, i)
	if _, err := catalog.Job(ctx, job.ID); err == nil || !fault.Is(err, fault.NotFound) {
		return err
	}
	objects := s3.NewFromConfig(s.AWSConfig, func(o *s3.Options) { o.UsePathStyle = true })
	log := fmt.Sprintf("variants counted for %s\n", job.InputFileName)
	if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Log.Bucket, Key: &job.Log.Key, Body: bytes.NewReader([]byte(log))}); err != nil {
		return err
	}
	// The archive may be large, and the SDK reads it three times: for two hashes, and to
	// send it. So it is in a file.
	f, err := os.CreateTemp("", "gas-example-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	hash := treehash.New()
	size, err := io.Copy(io.MultiWriter(f, hash), p.Result(i))
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if i >= p.Archived {
		if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &job.Result.Bucket, Key: &job.Result.Key, Body: f}); err != nil {
			return err
		}
		return ignoreConflict(catalog.AddJob(ctx, job))
	}
	job.ArchiveSize, job.TreeHash = size, hash.TreeHash().String()
	if class := s.opts.Store.Class(i); class == archive.Vault {
		err = s.archiveInVault(ctx, &job, f)
	} else {
		err = s.archiveObject(ctx, &job, class, objects, f)
	}
	if err != nil {
		return err
	}
	return ignoreConflict(catalog.AddJob(ctx, job))
}

func (s *Stack) archiveInVault(ctx context.Context, job *archive.Job, body io.ReadSeeker) error {
	out, err := glacier.NewFromConfig(s.AWSConfig).UploadArchive(ctx, &glacier.UploadArchiveInput{
		AccountId: aws.String("-"), VaultName: &s.Config.Vault, ArchiveDescription: aws.String(string(job.ID)), Body: body,
	})
	if err != nil {
		return err
	}
	job.ArchiveID = events.ArchiveID(*out.ArchiveId)
	if sum := aws.ToString(out.Checksum); sum != job.TreeHash {
		return errors.New("the stand-in's tree hash is " + sum + ", ours " + job.TreeHash)
	}
	return nil
}

func (s *Stack) archiveObject(ctx context.Context, job *archive.Job, class archive.Class, objects *s3.Client, body io.Reader) error {
	at := archive.Copy{Class: class, Bucket: s.Config.ArchiveBucket, Key: archive.KeyOf("cold/", job.ID, path.Base(job.Result.Key))}
	out, err := objects.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, Body: body, StorageClass: types.StorageClass(class), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	})
	if err != nil {
		return err
	}
	at.Version, at.ETag = aws.ToString(out.VersionId), strings.Trim(aws.ToString(out.ETag), `"`)
	job.ArchiveID, job.Copy = events.ArchiveID("s3-"+rand.Text()), at
	return nil
}

func ignoreConflict(err error) error {
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}
