// Package cold is the cold storage of a deployment: a Glacier vault, a bucket with archives in
// S3's storage classes, or both. Each job says in which of the two its archive is.
package cold

import (
	"context"
	"fmt"
	"iter"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
)

// Kind is one kind of cold storage.
type Kind interface {
	Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error)
	Describe(ctx context.Context, job archive.Job) (archive.Retrieval, error)
	Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error]
	Output(ctx context.Context, job archive.Job, offset, length int64) (archive.Output, error)
	Delete(ctx context.Context, proof archive.Verified) error
}

// Store hands each call to the kind of storage that the archive is in. Vault is nil if the
// deployment has no vault, and Objects is nil if it has no archive bucket.
type Store struct {
	Vault   Kind
	Objects Kind
}

// of returns the storage of the copy. The error's kind is Denied: an operator can set it up.
func (s Store) of(at archive.Copy) (Kind, error) {
	switch {
	case at.InVault() && s.Vault == nil:
		return nil, fault.Because(fault.Denied, "no vault", fmt.Errorf("the archive is in a Glacier vault, and GAS_VAULT is empty"))
	case at.InVault():
		return s.Vault, nil
	case s.Objects == nil:
		return nil, fault.Because(fault.Denied, "no archive bucket", fmt.Errorf("archive %s is in an S3 class, and GAS_ARCHIVE_BUCKET is not set", at))
	}
	return s.Objects, nil
}

// Retrieve requests the job's archive in the tier.
func (s Store) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	kind, err := s.of(job.Copy)
	if err != nil {
		return archive.Retrieval{}, err
	}
	return kind.Retrieve(ctx, job, tier)
}

// Describe returns the retrieval of the job's archive.
func (s Store) Describe(ctx context.Context, job archive.Job) (archive.Retrieval, error) {
	kind, err := s.of(job.Copy)
	if err != nil {
		return archive.Retrieval{}, err
	}
	return kind.Describe(ctx, job)
}

// Output opens a part of the output of the job's retrieval.
func (s Store) Output(ctx context.Context, job archive.Job, offset, length int64) (archive.Output, error) {
	kind, err := s.of(job.Copy)
	if err != nil {
		return archive.Output{}, err
	}
	return kind.Output(ctx, job, offset, length)
}

// Delete deletes an archive that is proven to be elsewhere.
func (s Store) Delete(ctx context.Context, proof archive.Verified) error {
	kind, err := s.of(proof.Copy())
	if err != nil {
		return err
	}
	return kind.Delete(ctx, proof)
}

// Faster moves the retrieval of the job's archive to a faster tier, see package s3cold.
// The error's kind is Invalid if the kind of storage cannot do that.
func (s Store) Faster(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	kind, err := s.of(job.Copy)
	if err != nil {
		return archive.Retrieval{}, err
	}
	faster, can := kind.(interface {
		Faster(context.Context, archive.Job, archive.Tier) (archive.Retrieval, error)
	})
	if !can {
		return archive.Retrieval{}, fault.Errorf(fault.Invalid, "a retrieval from %s cannot be made faster", job.Copy)
	}
	return faster.Faster(ctx, job, tier)
}

// Retrievals yields the retrievals that the lists of both kinds have. It reads a list only if
// some of the jobs are of its kind, or if there are no jobs: then it reads the vault's.
func (s Store) Retrievals(ctx context.Context, jobs []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	var vault, objects []archive.Job
	for _, job := range jobs {
		if job.Copy.InVault() {
			vault = append(vault, job)
		} else {
			objects = append(objects, job)
		}
	}
	return func(yield func(archive.Retrieval, error) bool) {
		goOn := true
		each := func(r archive.Retrieval, err error) bool {
			goOn = yield(r, err) && err == nil
			return goOn
		}
		if len(objects) > 0 && s.Objects != nil {
			s.Objects.Retrievals(ctx, objects, turn)(each)
		}
		if goOn && s.Vault != nil && (len(vault) > 0 || len(jobs) == 0) {
			s.Vault.Retrievals(ctx, vault, turn)(each)
		}
	}
}
