package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/checksum/treehash"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	standin "github.com/gas-restore/gas/internal/local/aws/glacier"
	"github.com/gas-restore/gas/internal/local/aws/s3"
	"github.com/gas-restore/gas/pkg/events"
)

type world struct {
	*benchworld.World
	store benchworld.Store
	// The bare SDK's clients, for the pipe.
	glacier *glacier.Client
	plain   *awss3.Client
}

// planted is what the world answers to a name and a size: an archive.
type planted struct {
	ID, TreeHash string
	Copy         archive.Copy
}

// ask is a question to the world: put an archive for the job there.
type ask struct {
	Store benchworld.Store
	Job   string
	Size  int64
}

// serveWorld makes this process the world if the environment says so. Its argument is the
// folder for a profile.
func serveWorld() (was bool, err error) {
	end := func() {}
	defer func() { end() }()
	return benchworld.Serve(func(srv *localaws.Server) (err error) {
		srv.Glacier.SetDelay(standin.Expedited, 0, 0)
		srv.S3.SetRestoreDelay(string(archive.Glacier), s3.Expedited, 0, 0)
		end, err = profile(os.Args[1], "world")
		return err
	}, func(srv *localaws.Server, question string) (any, error) {
		var q ask
		if err := json.Unmarshal([]byte(question), &q); err != nil {
			return nil, err
		}
		var p planted
		var err error
		if q.Store == benchworld.InVault {
			p.ID, p.TreeHash, err = srv.Glacier.AddSparse(benchworld.Vault, q.Size)
			return p, err
		}
		p.ID, p.Copy = "cold-"+q.Job, coldCopy(q.Job)
		p.Copy.Version, p.Copy.ETag, p.TreeHash, err = srv.S3.AddSparse(p.Copy.Bucket, p.Copy.Key, string(p.Copy.Class), q.Size)
		return p, err
	})
}

// coldCopy is where a job's archive is in the bucket.
func coldCopy(job string) archive.Copy {
	return archive.Copy{Class: archive.Glacier, Bucket: benchworld.ColdBucket, Key: archive.KeyOf("cold/", events.JobID(job), "archive")}
}

func startWorld(ctx context.Context, store benchworld.Store, profiles string) (*world, error) {
	w, err := benchworld.Start(ctx, "bench-restore", profiles)
	if err != nil {
		return nil, err
	}
	return &world{w, store, glacier.NewFromConfig(w.Config), awss3.NewFromConfig(w.Config, plain)}, nil
}

// plant puts a sparse archive of a job into the cold storage.
func (w *world) plant(job string, size int64) (p planted, err error) {
	question, err := json.Marshal(ask{w.store, job, size})
	if err != nil {
		return p, err
	}
	return p, w.Ask(string(question), &p)
}

// upload puts a small archive of a job into the cold storage.
func (w *world) upload(ctx context.Context, job string, body []byte) (p planted, err error) {
	p.TreeHash = treehash.Of(body).String()
	if w.store == benchworld.InVault {
		out, err := glacier.NewFromConfig(w.Config).UploadArchive(ctx, &glacier.UploadArchiveInput{AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault), Body: bytes.NewReader(body)})
		if err == nil {
			p.ID = *out.ArchiveId
		}
		return p, err
	}
	p.ID, p.Copy = "cold-"+job, coldCopy(job)
	out, err := w.S3().PutObject(ctx, &awss3.PutObjectInput{Bucket: &p.Copy.Bucket, Key: &p.Copy.Key, StorageClass: types.StorageClassGlacier, Body: bytes.NewReader(body)})
	if err == nil {
		p.Copy.ETag = strings.Trim(*out.ETag, `"`)
	}
	return p, err
}

// read reads n bytes of the output of the job's retrieval into buf, with one call of the bare
// SDK.
func (w *world) read(ctx context.Context, job archive.Job, offset int64, buf []byte) error {
	part := aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(buf))-1))
	var body io.ReadCloser
	if w.store == benchworld.InVault {
		out, err := w.glacier.GetJobOutput(ctx, &glacier.GetJobOutputInput{
			AccountId: aws.String("-"), VaultName: aws.String(benchworld.Vault), JobId: aws.String(string(job.RetrievalID)), Range: part,
		})
		if err != nil {
			return err
		}
		body = out.Body
	} else {
		out, err := w.plain.GetObject(ctx, &awss3.GetObjectInput{Bucket: &job.Copy.Bucket, Key: &job.Copy.Key, Range: part})
		if err != nil {
			return err
		}
		body = out.Body
	}
	defer body.Close()
	_, err := io.ReadFull(body, buf)
	return err
}

// calls are the calls of a small restore, in the order of its steps.
func (w *world) calls() []string {
	if w.store == benchworld.InVault {
		return []string{"dynamodb.GetItem", "glacier.GetJobOutput", "s3.PutObject", "glacier.DeleteArchive", "dynamodb.UpdateItem"}
	}
	return []string{"dynamodb.GetItem", "s3.GetObject", "s3.PutObject", "s3.DeleteObject", "dynamodb.UpdateItem"}
}
