// Package s3 is the bucket: where restored results go and users download them.
package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// The names of an object's mark in its user metadata.
const (
	metaArchive  = "gas-archive-id"
	metaTreeHash = "gas-tree-hash"
	metaSize     = "gas-size"
)

// Bucket is S3 as the pipeline uses it.
type Bucket struct {
	client  *s3.Client
	presign *s3.PresignClient
}

// New returns a Bucket. With an endpoint of one's own, the bucket's name goes
// into the path instead of the host.
func New(cfg aws.Config) *Bucket {
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = cfg.BaseEndpoint != nil
	})
	return &Bucket{client: client, presign: s3.NewPresignClient(client)}
}

// unsigned leaves the body out of the signature, as the SDK does over HTTPS. Otherwise
// every byte would need a SHA-256, although S3 compares a checksum of the body anyway.
func unsigned(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

func metadata(m archive.Mark) map[string]string {
	meta := map[string]string{metaArchive: string(m.Archive), metaSize: strconv.FormatInt(m.Content.Size, 10)}
	if m.Content.TreeHash != (treehash.Sum{}) { // not known yet, if S3's CRC proves the archive
		meta[metaTreeHash] = m.Content.TreeHash.String()
	}
	return meta
}

// Stat returns what is at o; the error's kind is NotFound if nothing is.
func (b *Bucket) Stat(ctx context.Context, o archive.Object) (archive.Found, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return archive.Found{}, awsfault.Wrap(err, "look at %s", o)
	}
	found := archive.Found{Object: o, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag), ModifiedAt: aws.ToTime(out.LastModified)}
	if out.ChecksumType == types.ChecksumTypeFullObject {
		found.Checksum = aws.ToString(out.ChecksumCRC64NVME)
	}
	sum, ok := treehash.Parse(out.Metadata[metaTreeHash])
	size, err := strconv.ParseInt(out.Metadata[metaSize], 10, 64)
	if id := out.Metadata[metaArchive]; id != "" && ok && err == nil {
		found.Mark = &archive.Mark{
			Archive: events.ArchiveID(id),
			Content: archive.Content{Size: size, TreeHash: sum},
		}
	}
	return found, nil
}

// Exists reports whether there is an object at o.
func (b *Bucket) Exists(ctx context.Context, o archive.Object) (bool, error) {
	_, err := b.Stat(ctx, o)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// Put stores body at o, with the mark. S3 computes the checksum of what it got,
// compares it with sum, and answers with its own. If something is at o, it is
// left as it is and the error is of kind Conflict.
func (b *Bucket) Put(ctx context.Context, o archive.Object, mark archive.Mark, body []byte, sum crc64nvme.Sum) (archive.Stored, error) {
	out, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:            &o.Bucket,
		Key:               &o.Key,
		Body:              bytes.NewReader(body),
		ContentLength:     aws.Int64(int64(len(body))),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
		ChecksumCRC64NVME: aws.String(sum.String()),
		IfNoneMatch:       aws.String("*"),
		Metadata:          metadata(mark),
	}, unsigned)
	if err != nil {
		return archive.Stored{}, awsfault.Wrap(err, "put %s", o)
	}
	return archive.Stored{
		Object: o,
		// S3 answers a Put with the checksum, not with the size; the checksum is of
		// exactly this many bytes or it would differ.
		Size:     int64(len(body)),
		Checksum: aws.ToString(out.ChecksumCRC64NVME),
		Sent:     sum.String(),
	}, nil
}

// Read opens the object that was found, from offset on. The error's kind is
// Conflict if another object is there by now.
func (b *Bucket) Read(ctx context.Context, found archive.Found, offset int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &found.Object.Bucket, Key: &found.Object.Key, IfMatch: aws.String(found.ETag)}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return nil, awsfault.Wrap(err, "read %s", found.Object)
	}
	return out.Body, nil
}

// PresignGet returns a link to download o, which works for the time valid. A browser saves
// the file as filename.
func (b *Bucket) PresignGet(ctx context.Context, o archive.Object, filename string, valid time.Duration) (string, error) {
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": filename})
	req, err := b.presign.PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket:                     &o.Bucket,
		Key:                        &o.Key,
		ResponseContentDisposition: aws.String(disposition),
	}, s3.WithPresignExpires(valid))
	if err != nil {
		return "", fmt.Errorf("presign %s: %w", o, err)
	}
	return req.URL, nil
}

// coldPages is how many pages of a thousand objects CountCold reads.
const coldPages = 10

// CountCold counts the objects of the bucket that cannot be read without a retrieval. It reads
// up to ten thousand objects, and returns how many it read.
func (b *Bucket) CountCold(ctx context.Context, bucket string) (cold, read int, err error) {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &bucket})
	for n := 0; n < coldPages && pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return cold, read, awsfault.Wrap(err, "list bucket %s", bucket)
		}
		for _, o := range page.Contents {
			if read++; o.StorageClass == types.ObjectStorageClassGlacier || o.StorageClass == types.ObjectStorageClassDeepArchive {
				cold++
			}
		}
	}
	return cold, read, nil
}

// Check returns an error if the bucket cannot be reached.
func (b *Bucket) Check(ctx context.Context, bucket string) error {
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	return awsfault.Wrap(err, "look at bucket %s", bucket)
}
