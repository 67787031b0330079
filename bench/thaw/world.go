package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"golang.org/x/sync/errgroup"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/localaws"
	standin "github.com/gas-restore/gas/internal/localaws/glacier"
	"github.com/gas-restore/gas/internal/localnats"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	jobTable, accountTable = "gas-annotations", "gas-accounts"
	vault                  = "gas-archive"
	topic                  = "arn:aws:sns:us-east-1:000000000000:gas-restore"
)

// address is what the world's process tells on its first line.
type address struct{ AWS, NATS, AccessKey, SecretKey, Region string }

// serveWorld is the other process: the stand-in and NATS, so that their memory is
// not taken for the worker's. It ends with its standard input.
func serveWorld() error {
	dir, err := os.MkdirTemp("", "bench-thaw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ns, err := localnats.Start(dir, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer localnats.Stop(ns)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv, err := localaws.New(localaws.Config{Endpoint: "http://" + ln.Addr().String()})
	if err != nil {
		return err
	}
	defer srv.Close()
	for _, tier := range []standin.Tier{standin.Expedited, standin.Standard, standin.Bulk} {
		srv.Glacier.SetDelay(tier, 24*time.Hour, 24*time.Hour)
	}
	go http.Serve(ln, srv)
	key, secret := srv.Credentials()
	if err := json.NewEncoder(os.Stdout).Encode(address{srv.Endpoint(), ns.ClientURL(), key, secret, srv.Region()}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
	}
	return nil
}

// world is the worker's side of it.
type world struct {
	address
	cfg      aws.Config
	catalog  *dynamodb.Catalog
	operator *bus.Bus
	archives []events.ArchiveID
	stop     func()
}

func startWorld(ctx context.Context) (*world, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "world")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &world{stop: func() { in.Close(); cmd.Wait() }}
	if err := json.NewDecoder(out).Decode(&w.address); err != nil {
		return nil, fmt.Errorf("start the world: %w", err)
	}
	if w.cfg, err = w.sdk(ctx); err != nil {
		return nil, err
	}
	w.catalog = dynamodb.New(w.cfg, jobTable, accountTable)
	if err := w.catalog.CreateTables(ctx); err != nil {
		return nil, err
	}
	if _, err := glacier.NewFromConfig(w.cfg).CreateVault(ctx, &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: aws.String(vault)}); err != nil {
		return nil, err
	}
	if w.operator, err = w.connect(ctx, "operator"); err != nil {
		return nil, err
	}
	return w, bus.Provision(ctx, w.operator.JS, bus.Settings{})
}

// sdk returns a configuration with connections of its own, as a process has.
func (w *world) sdk(ctx context.Context) (aws.Config, error) {
	return awsclient.Load(ctx, awsclient.Options{
		Region: w.Region, Endpoint: w.AWS, AccessKey: w.AccessKey, SecretKey: w.SecretKey,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	})
}

func (w *world) connect(ctx context.Context, user string) (*bus.Bus, error) {
	return bus.Connect(ctx, bus.Config{URL: w.NATS, User: user, Password: "dev-" + user, Name: "bench-thaw"})
}

// local calls the stand-in's own interface.
func (w *world) local(method, path string, into any) error {
	req, err := http.NewRequest(method, w.AWS+"/_local/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func (w *world) latency(d time.Duration) error {
	return w.local("POST", "latency?d="+d.String(), nil)
}

func (w *world) counts() (map[string]int64, error) {
	m := map[string]int64{}
	return m, w.local("GET", "counts", &m)
}

// upload puts n archives into the vault.
func (w *world) upload(ctx context.Context, n int) error {
	client := glacier.NewFromConfig(w.cfg)
	w.archives = make([]events.ArchiveID, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			out, err := client.UploadArchive(ctx, &glacier.UploadArchiveInput{
				AccountId: aws.String("-"), VaultName: aws.String(vault), Body: newBody(i),
			})
			if err != nil {
				return err
			}
			w.archives[i] = events.ArchiveID(*out.ArchiveId)
			return nil
		})
	}
	return g.Wait()
}

// addJobs writes n jobs of a user, of which the first archived have an archive.
func (w *world) addJobs(ctx context.Context, user string, n, archived int, archiveOf func(int) string) error {
	client := ddb.NewFromConfig(w.cfg)
	if err := w.catalog.EnsureAccount(ctx, archive.Account{ID: events.UserID(user), Role: archive.Premium}); err != nil {
		return err
	}
	str := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	num := func(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: strconv.Itoa(n)} }
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	const batch = 25
	for from := 0; from < n; from += batch {
		g.Go(func() error {
			var puts []types.WriteRequest
			for i := from; i < min(from+batch, n); i++ {
				item := map[string]types.AttributeValue{
					"job_id": str(jobID(user, i)), "user_id": str(user), "submit_time": num(1_700_000_000 + i), "job_status": str("COMPLETED"),
					"input_file_name": str("panel.vcf"), "s3_results_bucket": str("gas-results"),
					"s3_key_result_file": str("gas/" + user + "/" + jobID(user, i) + "~panel.annot.vcf"),
				}
				if i < archived {
					item["archive_id"], item["archive_size"] = str(archiveOf(i)), num(1<<20)
				}
				puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
			}
			out, err := client.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{jobTable: puts}})
			if err == nil && len(out.UnprocessedItems) > 0 {
				err = errors.New("unprocessed items")
			}
			return err
		})
	}
	return g.Wait()
}

func jobID(user string, i int) string { return fmt.Sprintf("%s-%07d", user, i) }
