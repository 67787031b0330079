package contract

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"
)

// glacier has the vault's calls. An account of today gets NoLongerSupportedException, and that
// is then all that there is.
func (r *run) glacier(ctx context.Context) error {
	c, me, vault := glacier.NewFromConfig(r.Config), aws.String("-"), aws.String(r.name("vault"))
	none, err := c.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: me, VaultName: vault})
	_, _ = ask(r, "glacier: describe a vault that is not there", "", none, err)
	made, err := c.CreateVault(ctx, &glacier.CreateVaultInput{AccountId: me, VaultName: vault})
	if _, err := ask(r, "glacier: make a vault", "Location", made, err); err != nil {
		if r.answers["glacier: make a vault"].Code == "NoLongerSupportedException" {
			return nil
		}
		return err
	}
	if r.Tags {
		if _, err := c.AddTagsToVault(ctx, &glacier.AddTagsToVaultInput{AccountId: me, VaultName: vault, Tags: map[string]string{Tag: "yes"}}); err != nil {
			return err
		}
	}
	look, err := c.DescribeVault(ctx, &glacier.DescribeVaultInput{AccountId: me, VaultName: vault})
	_, _ = ask(r, "glacier: describe a vault", "VaultName NumberOfArchives", look, err)
	unknown := strings.Repeat("x", 138)
	initiate := func(step, archive, tier string) string {
		out, err := c.InitiateJob(ctx, &glacier.InitiateJobInput{AccountId: me, VaultName: vault, JobParameters: &types.JobParameters{
			Type: aws.String("archive-retrieval"), ArchiveId: &archive, Description: aws.String("job-1"), Tier: &tier,
		}}, func(o *glacier.Options) { o.RetryMaxAttempts, o.Retryer = 1, aws.NopRetryer{} })
		if _, err = ask(r, "glacier: "+step, "JobId", out, err); err != nil {
			return unknown[:92]
		}
		return *out.JobId
	}
	const job = "Action ArchiveSizeInBytes JobDescription Completed StatusCode Tier ArchiveSHA256TreeHash SHA256TreeHash RetrievalByteRange"
	describe := func(step, id string) {
		out, err := c.DescribeJob(ctx, &glacier.DescribeJobInput{AccountId: me, VaultName: vault, JobId: &id})
		_, _ = ask(r, "glacier: "+step, job, out, err)
	}
	remove := func(step, archive string) {
		out, err := c.DeleteArchive(ctx, &glacier.DeleteArchiveInput{AccountId: me, VaultName: vault, ArchiveId: &archive})
		_, _ = ask(r, "glacier: "+step, "", out, err)
	}
	initiate("retrieve an archive that is not there", unknown, "Standard")
	initiate("retrieve in a tier that is none", unknown, "Fast")
	describe("describe a retrieval that is not there", unknown[:92])
	out, err := c.GetJobOutput(ctx, &glacier.GetJobOutputInput{AccountId: me, VaultName: vault, JobId: aws.String(unknown[:92])})
	if err == nil {
		out.Body.Close()
		out.Body = nil
	}
	_, _ = ask(r, "glacier: the output of a retrieval that is not there", "", out, err)
	list, err := c.ListJobs(ctx, &glacier.ListJobsInput{AccountId: me, VaultName: vault})
	_, _ = ask(r, "glacier: list no retrievals", "JobList", list, err)
	remove("delete an archive that is not there", unknown)
	if !r.Archives {
		return nil
	}
	up, err := c.UploadArchive(ctx, &glacier.UploadArchiveInput{AccountId: me, VaultName: vault, Body: strings.NewReader(content), ArchiveDescription: aws.String("job-1")})
	if _, err := ask(r, "glacier: upload an archive", "ArchiveId Checksum", up, err); err != nil {
		return nil
	}
	id := initiate("retrieve an archive", *up.ArchiveId, "Standard")
	describe("describe a retrieval", id)
	out, err = c.GetJobOutput(ctx, &glacier.GetJobOutputInput{AccountId: me, VaultName: vault, JobId: &id})
	if err == nil {
		out.Body.Close()
		out.Body = nil
	}
	_, _ = ask(r, "glacier: the output of a retrieval on its way", "", out, err)
	list, err = c.ListJobs(ctx, &glacier.ListJobsInput{AccountId: me, VaultName: vault})
	_, _ = ask(r, "glacier: list a retrieval", "JobList "+job, list, err)
	remove("delete an archive", *up.ArchiveId)
	remove("delete an archive again", *up.ArchiveId)
	return nil
}
