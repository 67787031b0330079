package s3

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
	"github.com/gas-restore/gas/internal/fault"
)

// upload is a multipart upload. Only S3 stores its state.
type upload struct {
	client *s3.Client
	o      archive.Object
	id     string
}

var _ archive.Upload = (*upload)(nil)

// Begin begins an upload in parts to o, with the mark.
func (b *Bucket) Begin(ctx context.Context, o archive.Object, mark archive.Mark) (archive.Upload, error) {
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket:            &o.Bucket,
		Key:               &o.Key,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
		ChecksumType:      types.ChecksumTypeFullObject,
		Metadata:          metadata(mark),
	})
	if err != nil {
		return nil, awsfault.Wrap(err, "begin upload to %s", o)
	}
	return &upload{client: b.client, o: o, id: aws.ToString(out.UploadId)}, nil
}

// Unfinished returns the uploads to exactly o that were begun and neither
// completed nor aborted, whoever began them.
func (b *Bucket) Unfinished(ctx context.Context, o archive.Object) ([]archive.Upload, error) {
	var found []archive.Upload
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &o.Bucket, Prefix: &o.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awsfault.Wrap(err, "list uploads to %s", o)
		}
		for _, u := range page.Uploads {
			// Keys come in order, and o's is the first that begins with it.
			if aws.ToString(u.Key) != o.Key {
				return found, nil
			}
			found = append(found, &upload{client: b.client, o: o, id: aws.ToString(u.UploadId)})
		}
	}
	return found, nil
}

func (u *upload) ID() string { return u.id }

func (u *upload) Parts(ctx context.Context) ([]archive.Part, error) {
	var parts []archive.Part
	pages := s3.NewListPartsPaginator(u.client, &s3.ListPartsInput{Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if gone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, awsfault.Wrap(err, "list parts of %s", u.o)
		}
		for _, p := range page.Parts {
			sum, ok := crc64nvme.Parse(aws.ToString(p.ChecksumCRC64NVME))
			if !ok {
				continue // somebody else's: ours have one
			}
			parts = append(parts, archive.Part{Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size), Sum: sum, ETag: aws.ToString(p.ETag)})
		}
	}
	return parts, nil
}

func (u *upload) Put(ctx context.Context, n int, body io.ReadSeeker, size int64, sum *crc64nvme.Sum) (archive.Part, error) {
	in := &s3.UploadPartInput{
		Bucket:        &u.o.Bucket,
		Key:           &u.o.Key,
		UploadId:      &u.id,
		PartNumber:    aws.Int32(int32(n)),
		Body:          body,
		ContentLength: aws.Int64(size),
	}
	// Every part has its checksum with it: a bucket with Object Lock takes no other.
	how := trailer
	if sum != nil {
		how = unsigned
		in.ChecksumAlgorithm, in.ChecksumCRC64NVME = types.ChecksumAlgorithmCrc64nvme, aws.String(sum.String())
	}
	out, err := u.client.UploadPart(ctx, in, how)
	if err != nil {
		return archive.Part{}, awsfault.Wrap(err, "upload part %d of %s", n, u.o)
	}
	text := aws.ToString(out.ChecksumCRC64NVME)
	if text == "" {
		// Another server's answer needs not have the checksum; the list of parts has it.
		list, err := u.client.ListParts(ctx, &s3.ListPartsInput{
			Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id, PartNumberMarker: aws.String(strconv.Itoa(n - 1)), MaxParts: aws.Int32(1),
		})
		if err != nil {
			return archive.Part{}, awsfault.Wrap(err, "look at part %d of %s", n, u.o)
		}
		if len(list.Parts) == 1 && aws.ToString(list.Parts[0].ETag) == aws.ToString(out.ETag) {
			text = aws.ToString(list.Parts[0].ChecksumCRC64NVME)
		}
	}
	got, ok := crc64nvme.Parse(text)
	if !ok || sum != nil && got != *sum {
		return archive.Part{}, fault.Errorf(fault.Corrupt, "upload part %d of %s: S3 has checksum %q, sent %v", n, u.o, text, sum)
	}
	return archive.Part{Number: n, Size: size, Sum: got, ETag: aws.ToString(out.ETag)}, nil
}

func (u *upload) Complete(ctx context.Context, parts []archive.Part, sum crc64nvme.Sum) (archive.Stored, error) {
	var size int64
	list := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		list[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.ETag), ChecksumCRC64NVME: aws.String(p.Sum.String())}
		size += p.Size
	}
	_, err := u.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket:            &u.o.Bucket,
		Key:               &u.o.Key,
		UploadId:          &u.id,
		MultipartUpload:   &types.CompletedMultipartUpload{Parts: list},
		ChecksumCRC64NVME: aws.String(sum.String()),
		ChecksumType:      types.ChecksumTypeFullObject,
		MpuObjectSize:     aws.Int64(size),
		IfNoneMatch:       aws.String("*"),
	})
	if err != nil {
		return archive.Stored{}, awsfault.Wrap(err, "complete upload to %s", u.o)
	}
	// Read back what is there now: the whole object's size and checksum.
	head, err := u.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.o.Bucket, Key: &u.o.Key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return archive.Stored{}, awsfault.Wrap(err, "read back %s", u.o)
	}
	return archive.Stored{
		Object:   u.o,
		Size:     aws.ToInt64(head.ContentLength),
		Checksum: aws.ToString(head.ChecksumCRC64NVME),
		Sent:     sum.String(),
	}, nil
}

// abortTime is the longest that an abort may take, which is also done for a copy
// that was told to stop.
const abortTime = 10 * time.Second

func (u *upload) Abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, abortTime)
	defer cancel()
	_, err := u.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id})
	if gone(err) {
		return nil // completed, or aborted before
	}
	return awsfault.Wrap(err, "abort upload to %s", u.o)
}

// gone tells that the upload was completed or aborted.
func gone(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "NoSuchUpload"
}
