package contract

import (
	"bytes"
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/checksum/crc64nvme"
)

// objects returns a client of S3.
func (t Target) objects() *s3.Client {
	return s3.NewFromConfig(t.Config, func(o *s3.Options) { o.UsePathStyle = t.Config.BaseEndpoint != nil })
}

// unsigned leaves the body out of the signature, as the product does.
func unsigned(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// bucket makes a bucket, and tags it.
func (r *run) bucket(ctx context.Context, c *s3.Client, step, name string) error {
	in := &s3.CreateBucketInput{Bucket: &name}
	if r.Config.Region != "us-east-1" && r.Tags { // other servers know no regions
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(r.Config.Region)}
	}
	out, err := c.CreateBucket(ctx, in)
	if _, err := ask(r, step, "", out, err); err != nil || !r.Tags {
		return err
	}
	_, err = c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &name, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String(Tag), Value: aws.String("yes")}}}})
	return err
}

func (r *run) s3(ctx context.Context) error {
	c := r.objects()
	bucket, cold := r.name("results"), r.name("archives")
	if err := r.bucket(ctx, c, "s3: make a bucket", bucket); err != nil {
		return err
	}
	if err := r.bucket(ctx, c, "s3: make a bucket of archives", cold); err != nil {
		return err
	}
	r.plain(ctx, c, bucket)
	r.parts(ctx, c, bucket)
	r.settings(ctx, c, bucket, cold)
	r.classes(ctx, c, cold)
	return nil
}

const content = "what an annotation service finds out\n"

func sumOf(text string) string { return crc64nvme.Update(0, []byte(text)).String() }

const found = "ETag ContentLength ChecksumCRC64NVME ChecksumType StorageClass Restore Metadata Metadata.*"

// plain has whole objects.
func (r *run) plain(ctx context.Context, c *s3.Client, bucket string) {
	key, none := aws.String("gas/fern/1~a.annot.vcf"), aws.String("gas/fern/none")
	head := func(step string, in *s3.HeadObjectInput) {
		out, err := c.HeadObject(ctx, in)
		_, _ = ask(r, "s3: "+step, found, out, err)
	}
	hb, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	_, _ = ask(r, "s3: look at a bucket", "", hb, err)
	hb, err = c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(r.name("no-such-bucket"))})
	_, _ = ask(r, "s3: look at a bucket that is not there", "", hb, err)

	put := func(step, sum string) {
		out, err := c.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: key, Body: strings.NewReader(content), ContentLength: aws.Int64(int64(len(content))), IfNoneMatch: aws.String("*"),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumCRC64NVME: &sum, Metadata: map[string]string{"gas-archive": "a", "gas-size": "37"},
		}, unsigned)
		_, _ = ask(r, "s3: "+step, "ETag ChecksumCRC64NVME", out, err)
	}
	head("look at an object that is not there", &s3.HeadObjectInput{Bucket: &bucket, Key: none})
	put("put with a wrong checksum", sumOf("something else"))
	head("nothing is there after a wrong checksum", &s3.HeadObjectInput{Bucket: &bucket, Key: key})
	put("put", sumOf(content))
	put("put where something is", sumOf(content))
	head("look at an object", &s3.HeadObjectInput{Bucket: &bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	head("look at an object without its checksum", &s3.HeadObjectInput{Bucket: &bucket, Key: key})
	head("look at an object if it is another", &s3.HeadObjectInput{Bucket: &bucket, Key: key, IfMatch: aws.String(`"another"`)})

	get := func(step string, in *s3.GetObjectInput) {
		out, err := c.GetObject(ctx, in)
		text := ""
		if err == nil {
			var b bytes.Buffer
			_, err = b.ReadFrom(out.Body)
			out.Body.Close()
			text, out.Body = b.String(), nil
			out.Metadata = map[string]string{"body": text}
		}
		_, _ = ask(r, "s3: "+step, "ETag ContentLength ContentRange ChecksumCRC64NVME Metadata Metadata.*", out, err)
	}
	get("read", &s3.GetObjectInput{Bucket: &bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	get("read a range", &s3.GetObjectInput{Bucket: &bucket, Key: key, Range: aws.String("bytes=5-7")})
	get("read from a byte on", &s3.GetObjectInput{Bucket: &bucket, Key: key, Range: aws.String("bytes=30-")})
	get("read behind the end", &s3.GetObjectInput{Bucket: &bucket, Key: key, Range: aws.String("bytes=100-")})
	get("read if it is another", &s3.GetObjectInput{Bucket: &bucket, Key: key, IfMatch: aws.String(`"another"`)})
	get("read what is not there", &s3.GetObjectInput{Bucket: &bucket, Key: none})
	get("read from a bucket that is not there", &s3.GetObjectInput{Bucket: aws.String(r.name("no-such-bucket")), Key: none})
}

// parts has uploads in parts.
func (r *run) parts(ctx context.Context, c *s3.Client, bucket string) {
	taken, key := aws.String("gas/fern/1~a.annot.vcf"), aws.String("gas/fern/2~b.annot.vcf")
	begin := func(step string, key *string) *string {
		out, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject, Metadata: map[string]string{"gas-archive": "b"},
		})
		if _, err = ask(r, "s3: "+step, "Bucket Key ChecksumAlgorithm ChecksumType", out, err); err != nil {
			return aws.String("no-upload")
		}
		return out.UploadId
	}
	list := func(step string) {
		out, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: key})
		_, _ = ask(r, "s3: "+step, "Uploads Key", out, err)
	}
	part := func(step string, key, id *string, sum string) string {
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &bucket, Key: key, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader(content), ContentLength: aws.Int64(int64(len(content))),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumCRC64NVME: &sum,
		}, unsigned)
		if _, err = ask(r, "s3: "+step, "ETag ChecksumCRC64NVME", out, err); err != nil {
			return `"none"`
		}
		return aws.ToString(out.ETag)
	}
	complete := func(step string, key, id *string, etag, sum string) {
		out, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &bucket, Key: key, UploadId: id, IfNoneMatch: aws.String("*"), ChecksumCRC64NVME: &sum, ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: aws.Int64(int64(len(content))),
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: &etag, ChecksumCRC64NVME: aws.String(sumOf(content))}}},
		})
		_, _ = ask(r, "s3: "+step, "ETag ChecksumCRC64NVME ChecksumType Key", out, err)
	}
	abort := func(step string, key, id *string) {
		out, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: key, UploadId: id})
		_, _ = ask(r, "s3: "+step, "", out, err)
	}
	id := begin("begin an upload", key)
	list("list an upload")
	part("a part with a wrong checksum", key, id, sumOf("something else"))
	etag := part("a part", key, id, sumOf(content))
	parts, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: key, UploadId: id})
	_, _ = ask(r, "s3: list the parts", "Parts PartNumber Size ETag ChecksumCRC64NVME", parts, err)
	complete("complete with a wrong checksum", key, id, etag, sumOf("something else"))
	complete("complete with another part", key, id, `"0123456789abcdef0123456789abcdef"`, sumOf(content))
	complete("complete", key, id, etag, sumOf(content))
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	_, _ = ask(r, "s3: look at what was completed", found, head, err)
	list("list no upload")

	id = begin("begin an upload where something is", taken)
	etag = part("a part where something is", taken, id, sumOf(content))
	complete("complete where something is", taken, id, etag, sumOf(content))
	abort("abort", taken, id)
	abort("abort again", taken, id)
	part("a part of an upload that is gone", taken, id, sumOf(content))
}

// settings has what `gas provision aws` sets.
func (r *run) settings(ctx context.Context, c *s3.Client, bucket, cold string) {
	none, err := c.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
	_, _ = ask(r, "s3: no lifecycle rules", "Rules ID Status Filter Prefix AbortIncompleteMultipartUpload DaysAfterInitiation", none, err)
	put, err := c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
		ID: aws.String("unfinished"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}, AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(14)},
	}}}})
	_, _ = ask(r, "s3: set lifecycle rules", "", put, err)
	// At AWS, rules that were set are not always seen at once.
	var rules *s3.GetBucketLifecycleConfigurationOutput
	until(ctx, func() bool {
		rules, err = c.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
		return err == nil || put == nil
	})
	_, _ = ask(r, "s3: lifecycle rules", "Rules ID Status AbortIncompleteMultipartUpload DaysAfterInitiation", rules, err)

	v, err := c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &cold})
	_, _ = ask(r, "s3: no versions", "Status", v, err)
	on, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &cold, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	_, _ = ask(r, "s3: keep versions", "", on, err)
	v, err = c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &cold})
	_, _ = ask(r, "s3: versions", "Status", v, err)
	n, err := c.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &cold})
	_, _ = ask(r, "s3: no notifications", "TopicConfigurations", n, err)
}

// classes has archives in the class GLACIER: with versions, and one without a version's id.
func (r *run) classes(ctx context.Context, c *s3.Client, cold string) {
	key := aws.String("cold/1/a.annot.vcf")
	put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &cold, Key: key, Body: strings.NewReader(content), StorageClass: types.StorageClassGlacier, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if _, err := ask(r, "s3: archive in GLACIER", "ETag ChecksumCRC64NVME", put, err); err != nil {
		return
	}
	version := put.VersionId
	head := func(step string, in *s3.HeadObjectInput) {
		out, err := c.HeadObject(ctx, in)
		if err == nil && out.Restore != nil && strings.Contains(*out.Restore, "expiry-date") {
			out.Restore = aws.String("done")
		}
		_, _ = ask(r, "s3: "+step, found, out, err)
	}
	restore := func(step string, version *string, tier types.Tier) {
		out, err := c.RestoreObject(ctx, &s3.RestoreObjectInput{
			Bucket: &cold, Key: key, VersionId: version, RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1), GlacierJobParameters: &types.GlacierJobParameters{Tier: tier}},
		}, func(o *s3.Options) { o.RetryMaxAttempts, o.Retryer = 1, aws.NopRetryer{} })
		_, _ = ask(r, "s3: "+step, "", out, err)
	}
	list := func(step string) {
		out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &cold, OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}})
		_, _ = ask(r, "s3: "+step, "Contents Key Size StorageClass RestoreStatus IsRestoreInProgress IsTruncated KeyCount", out, err)
	}
	head("look at an archive", &s3.HeadObjectInput{Bucket: &cold, Key: key, VersionId: version, ChecksumMode: types.ChecksumModeEnabled})
	list("list an archive")
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &cold, Key: key, VersionId: version})
	if err == nil {
		out.Body.Close()
		out.Body = nil
	}
	_, _ = ask(r, "s3: read an archive", "", out, err)
	restore("retrieve an archive", version, types.TierBulk)
	head("look at an archive on its way", &s3.HeadObjectInput{Bucket: &cold, Key: key, VersionId: version})
	list("list an archive on its way")
	restore("retrieve an archive again", version, types.TierBulk)
	restore("retrieve a version that is not there", aws.String("3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"), types.TierBulk)

	warm, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &cold, Key: aws.String("cold/2/b.annot.vcf"), Body: strings.NewReader(content)})
	_, _ = ask(r, "s3: put in STANDARD", "ETag", warm, err)
	wrong, err := c.RestoreObject(ctx, &s3.RestoreObjectInput{Bucket: &cold, Key: aws.String("cold/2/b.annot.vcf"), RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)}})
	_, _ = ask(r, "s3: retrieve what is in STANDARD", "", wrong, err)

	remove := func(step string, in *s3.DeleteObjectInput) {
		out, err := c.DeleteObject(ctx, in)
		_, _ = ask(r, "s3: "+step, "DeleteMarker", out, err)
	}
	remove("delete if it is another", &s3.DeleteObjectInput{Bucket: &cold, Key: aws.String("cold/2/b.annot.vcf"), IfMatch: aws.String(`"0123456789abcdef0123456789abcdef"`)})
	if warm != nil {
		remove("delete if it is the same", &s3.DeleteObjectInput{Bucket: &cold, Key: aws.String("cold/2/b.annot.vcf"), IfMatch: warm.ETag})
	}
	remove("delete a version", &s3.DeleteObjectInput{Bucket: &cold, Key: key, VersionId: version})
	remove("delete a version again", &s3.DeleteObjectInput{Bucket: &cold, Key: key, VersionId: version})
	head("look at a version that was deleted", &s3.HeadObjectInput{Bucket: &cold, Key: key, VersionId: version})
}
