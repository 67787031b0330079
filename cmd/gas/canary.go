package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/operator/canary"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/pkg/events"
)

type canaryCmd struct {
	Within time.Duration `default:"26h" help:"How long an archive may take to come back."`
	Wait   time.Duration `help:"Wait so long for the archive of the day. Without it, a later run checks it." placeholder:"TIME"`
}

// Run prints one line of JSON. The exit code is 1 if an archive did not come back in time.
func (c *canaryCmd) Run(ctx context.Context, std streams) error {
	d, err := deployed(ctx, "gas-canary", config.Thaw, config.Restore)
	if err != nil {
		return err
	}
	defer d.close()
	look := &canary.Canary{
		Catalog: d.catalog, Files: newCanaryFiles(d), Bucket: d.cfg.Bucket, Now: time.Now, Within: c.Within,
		Publish: func(ctx context.Context, e events.Event) error { _, err := d.bus.Publish(ctx, e); return err },
	}
	r, err := look.Look(ctx)
	for late := time.Now().Add(c.Wait); err == nil && r.Back != r.Job && time.Now().Before(late) && ctx.Err() == nil; {
		wait.For(ctx, min(5*time.Second, time.Until(late)))
		r, err = look.Look(ctx)
	}
	if err != nil {
		return err
	}
	if c.Wait > 0 && r.Back != r.Job && r.OK {
		r.OK, r.Why = false, fmt.Sprintf("%s is %s after %s", r.Job, r.State, c.Wait)
	}
	if err := json.NewEncoder(std.out).Encode(r); err != nil {
		return err
	}
	if !r.OK {
		return errReported
	}
	return nil
}

// canaryFiles makes archives in the deployment's cold storage.
type canaryFiles struct {
	vault   *glacier.Client
	objects *s3.Client
	cfg     config.Config
}

func newCanaryFiles(d *deployment) canaryFiles {
	return canaryFiles{glacier.NewFromConfig(d.aws), s3.NewFromConfig(d.aws, func(o *s3.Options) { o.UsePathStyle = true }), d.cfg}
}

func (f canaryFiles) Archive(ctx context.Context, job *archive.Job, body []byte) error {
	if f.cfg.Vault != "" {
		out, err := f.vault.UploadArchive(ctx, &glacier.UploadArchiveInput{
			AccountId: aws.String("-"), VaultName: &f.cfg.Vault, ArchiveDescription: aws.String(string(job.ID)), Body: bytes.NewReader(body),
		})
		if err != nil {
			return awsfault.Wrap(err, "archive %s in vault %s", job.ID, f.cfg.Vault)
		}
		job.ArchiveID = events.ArchiveID(*out.ArchiveId)
		return nil
	}
	at := archive.Copy{Class: archive.Glacier, Bucket: f.cfg.ArchiveBucket, Key: archive.KeyOf("canary/", job.ID, "canary.txt")}
	out, err := f.objects.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, Body: bytes.NewReader(body), StorageClass: types.StorageClass(at.Class), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	})
	if err != nil {
		return awsfault.Wrap(err, "archive %s at s3://%s/%s", job.ID, at.Bucket, at.Key)
	}
	at.Version, at.ETag = aws.ToString(out.VersionId), strings.Trim(aws.ToString(out.ETag), `"`)
	job.ArchiveID, job.Copy = events.ArchiveID("s3-"+rand.Text()), at
	return nil
}

// mostCanary bounds the file that is read back.
const mostCanary = 1 << 20

func (f canaryFiles) Read(ctx context.Context, at archive.Object) ([]byte, time.Time, error) {
	out, err := f.objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &at.Bucket, Key: &at.Key})
	if err != nil {
		return nil, time.Time{}, awsfault.Wrap(err, "read s3://%s/%s", at.Bucket, at.Key)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, mostCanary))
	return body, aws.ToTime(out.LastModified), err
}
