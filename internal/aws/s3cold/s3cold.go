// Package s3cold is a bucket with archives in the storage classes GLACIER, DEEP_ARCHIVE and
// GLACIER_IR of S3. A retrieval makes a temporary copy of the object, which S3 shows in the
// header x-amz-restore and deletes after some days. The copy has no id, and S3 has no list of
// copies: an object shows its own.
package s3cold

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Store is the bucket of the archives.
type Store struct {
	client *s3.Client
	bucket string
	days   int32
}

// New returns the store in the bucket. days is how long a temporary copy lives, from 1 on.
// With an endpoint of one's own, the bucket's name goes into the path instead of the host.
func New(cfg aws.Config, bucket string, days int) *Store {
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = cfg.BaseEndpoint != nil
		// The SDK has no checksum of a part of an object. The restorer compares the whole.
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	return &Store{client: client, bucket: bucket, days: int32(days)}
}

// once keeps the SDK from trying a call again: it takes the 503 of a tier without capacity for
// a passing fault. A second request could also be an upgrade, which S3 bills.
func once(o *s3.Options) { o.RetryMaxAttempts, o.Retryer = 1, aws.NopRetryer{} }

// The error codes that mean something else in each operation.
const (
	inProgress   = "RestoreAlreadyInProgress"
	invalidState = "InvalidObjectState"
	activeTier   = "ObjectAlreadyInActiveTierError"
)

// mine returns an error of kind Denied if the job's archive is in another bucket: a wrong
// locator must not make this service read or delete anything else.
func (s *Store) mine(at archive.Copy) error {
	if at.Bucket != s.bucket {
		return fault.Because(fault.Denied, "another archive bucket", fmt.Errorf("archive %s is not in the bucket of GAS_ARCHIVE_BUCKET, which is %q", at, s.bucket))
	}
	return nil
}

// version returns the version id for a request; nil if the object has none.
func version(at archive.Copy) *string {
	if at.Version == "" {
		return nil
	}
	return aws.String(at.Version)
}

// Retrieve requests a temporary copy of the job's archive, with one request. First it looks
// at the object. If there is a copy already, or one is on its way in any tier, then the
// retrieval is Found, and nothing is requested: a request in a faster tier would be an upgrade
// with a bill. The retrieval's id is the token of the job's intent.
//
// The error's kind is Capacity if the tier has no capacity, and NotFound if there is no such
// object.
func (s *Store) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	at := job.Copy
	if err := s.mine(at); err != nil {
		return archive.Retrieval{}, err
	}
	if at.Class == archive.Instant && job.ArchiveSize >= 0 {
		r := s.retrieval(job, archive.Succeeded)
		r.Tier = tier
		return r, nil
	}
	found, restored, err := s.look(ctx, job)
	switch {
	case err != nil:
		return archive.Retrieval{}, err
	case restored && at.Class == archive.Instant:
		found.Tier = tier // the look was only for the size
		return found, nil
	case restored:
		found.Found = true
		return found, nil
	}
	out, err := s.client.RestoreObject(ctx, s.request(at, tier), once)
	found.Tier = tier
	switch code := awsfault.Code(err); {
	case code == inProgress:
		found.Found, found.Tier, found.Status = true, "", archive.InProgress
		return found, nil
	case code == invalidState, code == activeTier:
		// The object is in a class that can be read. Somebody moved it since the look.
		found.Found, found.Tier, found.Status = true, "", archive.Succeeded
		return found, nil
	case err != nil:
		return archive.Retrieval{}, s.judge(ctx, awsfault.Wrap(err, "request %s copy of %s", tier, at))
	}
	if there(out) { // since the look
		found.Found, found.Tier, found.Status = true, "", archive.Succeeded
	}
	return found, nil
}

// Faster moves the temporary copy that is on its way for the job's archive to a faster tier.
// S3 bills this as another retrieval. The returned retrieval has the status Succeeded, and
// nothing was requested, if the copy is there already.
//
// The error's kind is NotFound if no copy is on its way, Conflict if S3 refuses because the
// copy is in that tier already, in a faster one, or was requested for another number of days,
// and Capacity if the tier has no capacity.
func (s *Store) Faster(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	at := job.Copy
	r, err := s.Describe(ctx, job)
	if err != nil || r.Status == archive.Succeeded {
		return r, err
	}
	out, err := s.client.RestoreObject(ctx, s.request(at, tier), once)
	switch code := awsfault.Code(err); {
	case code == inProgress:
		return r, fault.New(fault.Conflict, awsfault.Wrap(err, "move the copy of %s to %s", at, tier))
	case err != nil:
		return r, s.judge(ctx, awsfault.Wrap(err, "move the copy of %s to %s", at, tier))
	case there(out):
		r.Status = archive.Succeeded
		return r, nil
	}
	r.Tier = tier
	return r, nil
}

// request is the request for a temporary copy.
func (s *Store) request(at archive.Copy, tier archive.Tier) *s3.RestoreObjectInput {
	return &s3.RestoreObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, VersionId: version(at),
		RestoreRequest: &types.RestoreRequest{Days: aws.Int32(s.days), GlacierJobParameters: &types.GlacierJobParameters{Tier: types.Tier(tier)}},
	}
}

// there reports whether S3 answered a request with 200: the copy was there already, and only
// its expiry has moved.
func there(out *s3.RestoreObjectOutput) bool {
	resp, ok := middleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	return ok && resp.StatusCode == http.StatusOK
}

// retrieval returns a retrieval of the job's archive.
func (s *Store) retrieval(job archive.Job, status archive.RetrievalStatus) archive.Retrieval {
	r := archive.Retrieval{
		ID: job.RetrievalID, ArchiveID: job.ArchiveID, Copy: job.Copy, Description: string(job.ID), Tier: job.Tier,
		Status: status, Size: job.ArchiveSize, RequestedAt: job.RetrievalRequestedAt,
	}
	if job.RetrievalID == "" && job.Intent != nil {
		r.ID, r.RequestedAt = events.RetrievalID(job.Intent.Token), job.Intent.At
	}
	return r
}

// look looks at the job's object. restored is false if it has no temporary copy, none is on
// its way, and it can't be read without one.
func (s *Store) look(ctx context.Context, job archive.Job) (r archive.Retrieval, restored bool, err error) {
	at := job.Copy
	if err := s.mine(at); err != nil {
		return r, false, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, VersionId: version(at), IfMatch: etag(at), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return r, false, s.judge(ctx, awsfault.Wrap(err, "look at archive %s", at))
	}
	r = s.retrieval(job, archive.InProgress)
	r.Size = aws.ToInt64(out.ContentLength)
	if out.ChecksumType == types.ChecksumTypeFullObject {
		r.CRC = aws.ToString(out.ChecksumCRC64NVME)
	}
	switch class := archive.Class(out.StorageClass); {
	case class != archive.Glacier && class != archive.DeepArchive:
		r.Status = archive.Succeeded
		return r, true, nil
	case out.Restore == nil:
		return r, false, nil
	}
	ongoing, expires, err := parseRestore(*out.Restore)
	if err != nil {
		return r, false, fmt.Errorf("look at archive %s: %w", at, err)
	}
	if !ongoing {
		r.Status, r.ExpiresAt = archive.Succeeded, expires
	}
	return r, true, nil
}

// etag returns the condition of a request for an object without a version.
func etag(at archive.Copy) *string {
	if at.Version != "" || at.ETag == "" {
		return nil
	}
	return aws.String(`"` + at.ETag + `"`)
}

// parseRestore reads the header x-amz-restore: ongoing-request="true", or
// ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT".
func parseRestore(header string) (ongoing bool, expires time.Time, err error) {
	fields := map[string]string{}
	for rest := header; rest != ""; {
		name, after, ok := strings.Cut(rest, `="`)
		value, next, closed := strings.Cut(after, `"`)
		if !ok || !closed {
			return false, expires, fmt.Errorf("x-amz-restore is %.200q", header)
		}
		fields[strings.TrimSpace(name)] = value
		rest = strings.TrimLeft(next, ", ")
	}
	switch fields["ongoing-request"] {
	case "true":
		return true, expires, nil
	case "false":
	default:
		return false, expires, fmt.Errorf("x-amz-restore is %.200q", header)
	}
	expires, err = http.ParseTime(fields["expiry-date"])
	if err != nil {
		return false, expires, fmt.Errorf("x-amz-restore is %.200q: %w", header, err)
	}
	return false, expires.UTC(), nil
}

// judge tells a missing object from a missing bucket: HEAD answers both with 404 and no code.
// A wrong bucket must not make every archive look expired, and be paid for again.
func (s *Store) judge(ctx context.Context, err error) error {
	switch {
	case fault.Is(err, fault.Conflict):
		return fault.Because(fault.Invalid, "archive replaced", fmt.Errorf("another object is at the archive's key: %w", err))
	case !fault.Is(err, fault.NotFound):
		return err
	}
	switch there := s.Check(ctx); {
	case fault.Is(there, fault.NotFound):
		return fault.Because(fault.Denied, "no such archive bucket", fmt.Errorf("there is no bucket %s: %w", s.bucket, err))
	case there != nil:
		return fault.New(fault.KindOf(there), fmt.Errorf("%w; and whether the bucket is there can't be seen: %w", err, there))
	}
	return err
}

// Describe returns the retrieval of the job's archive. The error's kind is NotFound if the
// object has no temporary copy and none is on its way, or if there is no object.
func (s *Store) Describe(ctx context.Context, job archive.Job) (archive.Retrieval, error) {
	r, restored, err := s.look(ctx, job)
	if err == nil && !restored {
		return archive.Retrieval{}, fault.Errorf(fault.NotFound, "archive %s has no temporary copy, and none is on its way", job.Copy)
	}
	return r, err
}

// Retrievals yields the retrievals of the jobs, without their ids. It lists the bucket from
// key to key: one call shows up to a thousand objects, and the next call begins at the next
// key that is wanted. So it makes at most as many calls as there are jobs. It calls turn before
// each call, unless turn is nil. It leaves out an object without a temporary copy.
func (s *Store) Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	wanted := map[string]archive.Job{}
	for _, job := range jobs {
		if job.Copy.Bucket == s.bucket && job.Copy.Key != "" {
			wanted[job.Copy.Key] = job
		}
	}
	keys := slices.Sorted(maps.Keys(wanted))
	return func(yield func(archive.Retrieval, error) bool) {
		for len(keys) > 0 {
			if turn != nil {
				if err := turn(ctx); err != nil {
					yield(archive.Retrieval{}, err)
					return
				}
			}
			in := &s3.ListObjectsV2Input{Bucket: &s.bucket, OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}}
			if first := keys[0]; len(first) > 1 {
				in.StartAfter = aws.String(first[:len(first)-1]) // the list begins after this key
			}
			out, err := s.client.ListObjectsV2(ctx, in)
			if err != nil {
				yield(archive.Retrieval{}, s.judge(ctx, awsfault.Wrap(err, "list the archives of bucket %s", s.bucket)))
				return
			}
			last := ""
			for _, o := range out.Contents {
				last = aws.ToString(o.Key)
				job, is := wanted[last]
				if !is || o.RestoreStatus == nil || job.Copy.ETag != "" && strings.Trim(aws.ToString(o.ETag), `"`) != job.Copy.ETag {
					continue
				}
				r := s.retrieval(job, archive.InProgress)
				r.Size = aws.ToInt64(o.Size)
				if !aws.ToBool(o.RestoreStatus.IsRestoreInProgress) {
					r.Status, r.ExpiresAt = archive.Succeeded, aws.ToTime(o.RestoreStatus.RestoreExpiryDate).UTC()
				}
				if !yield(r, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			i, found := slices.BinarySearch(keys, last)
			if found {
				i++
			}
			keys = keys[i:]
		}
	}
}

// Output opens length bytes of the temporary copy of the job's archive, from offset on;
// length -1 is all. The error's kind is NotFound if the copy expired, and Wait if it is still
// on its way.
func (s *Store) Output(ctx context.Context, job archive.Job, offset, length int64) (archive.Output, error) {
	at := job.Copy
	if err := s.mine(at); err != nil {
		return archive.Output{}, err
	}
	in := &s3.GetObjectInput{Bucket: &at.Bucket, Key: &at.Key, VersionId: version(at), IfMatch: etag(at)}
	if length >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := s.client.GetObject(ctx, in)
	if awsfault.Code(err) == invalidState {
		r, derr := s.Describe(ctx, job)
		switch {
		case derr != nil:
			return archive.Output{}, derr
		case r.Status == archive.InProgress:
			return archive.Output{}, fault.Errorf(fault.Wait, "the temporary copy of %s is still on its way", at)
		}
		return archive.Output{}, fault.New(fault.Transient, awsfault.Wrap(err, "open %s", at))
	}
	if err != nil {
		return archive.Output{}, s.judge(ctx, awsfault.Wrap(err, "open %s", at))
	}
	got := archive.Output{Body: out.Body, Size: -1}
	if out.ContentLength != nil {
		got.Size = *out.ContentLength
	}
	if out.ChecksumType == types.ChecksumTypeFullObject && length < 0 {
		got.CRC = aws.ToString(out.ChecksumCRC64NVME)
	}
	return got, nil
}

// Delete deletes an archive that is proven to be elsewhere: the version of the proof, or an
// object without versions while it has the ETag of the proof. Deleting it twice is no error.
// The error's kind is Denied if Object Lock or a policy forbids it.
func (s *Store) Delete(ctx context.Context, proof archive.Verified) error {
	at := proof.Copy()
	if proof.Archive() == "" || at.Version == "" && at.ETag == "" {
		return fault.Errorf(fault.Invalid, "delete archive: no proof that it is elsewhere")
	}
	if err := s.mine(at); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &at.Bucket, Key: &at.Key, VersionId: version(at), IfMatch: etag(at)})
	err = awsfault.Wrap(err, "delete archive %s", at)
	if fault.Is(err, fault.Conflict) {
		return nil // another object is at the key: the archive is gone
	}
	err = s.judge(ctx, err)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Check returns an error if the bucket cannot be reached.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket})
	return awsfault.Wrap(err, "look at bucket %s", cmp.Or(s.bucket, "without a name"))
}
