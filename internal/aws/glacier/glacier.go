// Package glacier is the vault: retrievals, their output, and the deletion of
// archives that are proven to be elsewhere.
package glacier

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsfault"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// Vault is a Glacier vault.
type Vault struct {
	client *glacier.Client
	name   string
	topic  string
}

// New returns the vault called name. topic is the ARN of the SNS topic that
// Glacier tells of finished retrievals.
func New(cfg aws.Config, name, topic string) *Vault {
	return &Vault{client: glacier.NewFromConfig(cfg, hashSmallBodies), name: name, topic: topic}
}

// once keeps the SDK from trying a call again: it takes the 503 of a tier
// without capacity for a passing fault, and a second InitiateJob is a second
// retrieval to pay for.
func once(o *glacier.Options) { o.RetryMaxAttempts, o.Retryer = 1, aws.NopRetryer{} }

// account means the account of the credentials in Glacier's paths.
var account = aws.String("-")

// Retrieve requests the job's archive in the tier once, with the job's id as the description.
// The error's kind is Capacity if the tier has none, Policy if the data retrieval policy
// forbids it, and NotFound if the vault has no such archive. It is Denied if an operator
// must fix something: a permission, a parameter, or a missing vault.
func (v *Vault) Retrieve(ctx context.Context, job archive.Job, tier archive.Tier) (archive.Retrieval, error) {
	out, err := v.client.InitiateJob(ctx, &glacier.InitiateJobInput{
		AccountId: account,
		VaultName: &v.name,
		JobParameters: &types.JobParameters{
			Type:        aws.String("archive-retrieval"),
			ArchiveId:   aws.String(string(job.ArchiveID)),
			Description: aws.String(string(job.ID)),
			SNSTopic:    &v.topic,
			Tier:        aws.String(string(tier)),
		},
	}, once)
	if err != nil {
		err = awsfault.Wrap(err, "initiate %s retrieval of %s", tier, job.ArchiveID)
		return archive.Retrieval{}, v.judge(ctx, err)
	}
	if aws.ToString(out.JobId) == "" {
		return archive.Retrieval{}, fmt.Errorf("initiate %s retrieval of %s: answered without a job id", tier, job.ArchiveID)
	}
	return archive.Retrieval{ID: events.RetrievalID(*out.JobId), ArchiveID: job.ArchiveID, Tier: tier, Status: archive.InProgress}, nil
}

// judge tells the refusals of one archive from those of all. A vault's name that
// is wrong must not make a dead letter of every archive, nor must a parameter
// that Glacier does not take.
func (v *Vault) judge(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		// Glacier says "not found" for a retrieval, an archive and a vault alike. So the
		// code checks that the vault exists. Otherwise a wrong name would look like an
		// expired output, and each archive would be paid for again.
		switch there := v.Check(ctx); {
		case fault.Is(there, fault.NotFound):
			return fault.Because(fault.Denied, "no such vault", fmt.Errorf("there is no vault %s: %w", v.name, err))
		case there != nil:
			return fault.New(fault.KindOf(there), fmt.Errorf("%w; and whether the vault is there can't be seen: %w", err, there))
		}
	case fault.Unknown:
		if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.HTTPStatusCode() >= 400 && resp.HTTPStatusCode() < 500 {
			return fault.New(fault.Denied, err)
		}
	}
	return err
}

// Retrievals yields the vault's retrieval jobs, page by page: also those of other jobs, since
// Glacier has no other list. It calls turn before each call, unless turn is nil. An error ends
// it.
func (v *Vault) Retrievals(ctx context.Context, _ []archive.Job, turn func(context.Context) error) iter.Seq2[archive.Retrieval, error] {
	return func(yield func(archive.Retrieval, error) bool) {
		pages := glacier.NewListJobsPaginator(v.client, &glacier.ListJobsInput{AccountId: account, VaultName: &v.name})
		for pages.HasMorePages() {
			if turn != nil {
				if err := turn(ctx); err != nil {
					yield(archive.Retrieval{}, err)
					return
				}
			}
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(archive.Retrieval{}, v.judge(ctx, awsfault.Wrap(err, "list retrievals of vault %s", v.name)))
				return
			}
			for _, d := range page.JobList {
				if d.Action == types.ActionCodeArchiveRetrieval && !yield(retrieval(d), nil) {
					return
				}
			}
		}
	}
}

// Describe returns the job's retrieval; the error's kind is NotFound if it is gone.
func (v *Vault) Describe(ctx context.Context, job archive.Job) (archive.Retrieval, error) {
	out, err := v.client.DescribeJob(ctx, &glacier.DescribeJobInput{AccountId: account, VaultName: &v.name, JobId: aws.String(string(job.RetrievalID))})
	if err != nil {
		return archive.Retrieval{}, v.judge(ctx, awsfault.Wrap(err, "describe retrieval %s", job.RetrievalID))
	}
	return retrieval(types.GlacierJobDescription{
		Action: out.Action, ArchiveId: out.ArchiveId, ArchiveSHA256TreeHash: out.ArchiveSHA256TreeHash,
		ArchiveSizeInBytes: out.ArchiveSizeInBytes, CompletionDate: out.CompletionDate, CreationDate: out.CreationDate,
		JobDescription: out.JobDescription, JobId: out.JobId, StatusCode: out.StatusCode, StatusMessage: out.StatusMessage, Tier: out.Tier,
	}), nil
}

func retrieval(d types.GlacierJobDescription) archive.Retrieval {
	return archive.Retrieval{
		ID:          events.RetrievalID(aws.ToString(d.JobId)),
		ArchiveID:   events.ArchiveID(aws.ToString(d.ArchiveId)),
		Description: aws.ToString(d.JobDescription),
		Tier:        archive.Tier(aws.ToString(d.Tier)),
		Status:      archive.RetrievalStatus(d.StatusCode),
		Reason:      aws.ToString(d.StatusMessage),
		Size:        aws.ToInt64(d.ArchiveSizeInBytes),
		TreeHash:    aws.ToString(d.ArchiveSHA256TreeHash),
		RequestedAt: date(d.CreationDate),
		CompletedAt: date(d.CompletionDate),
	}
}

func date(s *string) time.Time {
	t, err := time.Parse(time.RFC3339, aws.ToString(s))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// Output opens length bytes of the output of the job's retrieval, from offset on; length -1
// is all. The error's kind is NotFound if the output expired.
func (v *Vault) Output(ctx context.Context, job archive.Job, offset, length int64) (archive.Output, error) {
	in := &glacier.GetJobOutputInput{AccountId: account, VaultName: &v.name, JobId: aws.String(string(job.RetrievalID))}
	if length >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	}
	out, err := v.client.GetJobOutput(ctx, in)
	if err != nil {
		return archive.Output{}, v.judge(ctx, awsfault.Wrap(err, "open output of retrieval %s", job.RetrievalID))
	}
	size := int64(-1)
	if resp, ok := middleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); ok {
		size = resp.ContentLength
	}
	return archive.Output{Body: out.Body, Size: size, TreeHash: aws.ToString(out.Checksum)}, nil
}

// Delete deletes an archive that is proven to be elsewhere. Deleting it twice is
// no error. The error's kind is Denied if a vault lock or a policy forbids it.
func (v *Vault) Delete(ctx context.Context, proof archive.Verified) error {
	if proof.Archive() == "" {
		return fault.Errorf(fault.Invalid, "delete archive: no proof that it is elsewhere")
	}
	_, err := v.client.DeleteArchive(ctx, &glacier.DeleteArchiveInput{
		AccountId: account, VaultName: &v.name, ArchiveId: aws.String(string(proof.Archive())),
	})
	err = v.judge(ctx, awsfault.Wrap(err, "delete archive %s", proof.Archive()))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Check returns an error if the vault cannot be reached.
func (v *Vault) Check(ctx context.Context) error {
	_, err := v.client.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: account, VaultName: &v.name})
	return awsfault.Wrap(err, "describe vault %s", v.name)
}
