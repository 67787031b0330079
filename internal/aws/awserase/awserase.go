// Package awserase deletes what S3 and a Glacier vault have of a user who is erased. Nothing
// else deletes an archive without a proof that its bytes are elsewhere, so no service may use
// this package.
package awserase

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Store is a vault and the buckets.
type Store struct {
	vaults  *glacier.Client
	objects *s3.Client
	vault   string
}

// New returns the store. vault may be empty.
func New(cfg aws.Config, vault string) *Store {
	return &Store{
		vaults:  glacier.NewFromConfig(cfg),
		objects: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		vault:   vault,
	}
}

// Archive deletes an archive of the vault. It is no error if it is gone. The error's kind is
// Denied if a vault lock or a policy forbids it.
func (s *Store) Archive(ctx context.Context, id events.ArchiveID) error {
	if s.vault == "" {
		return fault.Errorf(fault.Denied, "archive %s is in a vault, and no vault is configured (GAS_VAULT)", id)
	}
	_, err := s.vaults.DeleteArchive(ctx, &glacier.DeleteArchiveInput{AccountId: aws.String("-"), VaultName: &s.vault, ArchiveId: aws.String(string(id))})
	if code := awsfault.Code(err); code == "ResourceNotFoundException" {
		// This is also the answer about a vault that does not exist.
		_, verr := s.vaults.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: aws.String("-"), VaultName: &s.vault})
		return awsfault.Wrap(verr, "look at vault %s", s.vault)
	}
	return awsfault.Wrap(err, "delete archive %s of vault %s", id, s.vault)
}

// Versions returns the ids of all versions and delete markers at exactly this key. A bucket
// without versions has one, "null", if the object is there.
func (s *Store) Versions(ctx context.Context, o archive.Object) ([]string, error) {
	var ids []string
	pages := s3.NewListObjectVersionsPaginator(s.objects, &s3.ListObjectVersionsInput{Bucket: &o.Bucket, Prefix: &o.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awsfault.Wrap(err, "list the versions of %s", o)
		}
		beyond := false // other keys that begin with this one come behind it
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == o.Key {
				ids = append(ids, aws.ToString(v.VersionId))
			} else {
				beyond = true
			}
		}
		for _, v := range page.DeleteMarkers {
			if aws.ToString(v.Key) == o.Key {
				ids = append(ids, aws.ToString(v.VersionId))
			} else {
				beyond = true
			}
		}
		if beyond {
			break
		}
	}
	return ids, nil
}

// Delete deletes a version. It is no error if it is gone. The error's kind is Denied if Object
// Lock or a policy forbids it.
func (s *Store) Delete(ctx context.Context, o archive.Object, version string) error {
	_, err := s.objects.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &o.Bucket, Key: &o.Key, VersionId: &version})
	err = awsfault.Wrap(err, "delete %s?versionId=%s", o, version)
	if fault.Is(err, fault.NotFound) && awsfault.Code(err) != "NoSuchBucket" {
		return nil
	}
	return err
}

// Uploads returns the ids of the unfinished uploads at exactly this key.
func (s *Store) Uploads(ctx context.Context, o archive.Object) ([]string, error) {
	var ids []string
	pages := s3.NewListMultipartUploadsPaginator(s.objects, &s3.ListMultipartUploadsInput{Bucket: &o.Bucket, Prefix: &o.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awsfault.Wrap(err, "list the uploads of %s", o)
		}
		for _, u := range page.Uploads {
			if aws.ToString(u.Key) == o.Key {
				ids = append(ids, aws.ToString(u.UploadId))
			}
		}
	}
	return ids, nil
}

// Abort ends an upload. It is no error if it is gone.
func (s *Store) Abort(ctx context.Context, o archive.Object, upload string) error {
	_, err := s.objects.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &o.Bucket, Key: &o.Key, UploadId: &upload})
	err = awsfault.Wrap(err, "abort upload %s of %s", upload, o)
	if fault.Is(err, fault.NotFound) && awsfault.Code(err) != "NoSuchBucket" {
		return nil
	}
	return err
}
