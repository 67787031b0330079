package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/localaws"
	standin "github.com/gas-restore/gas/internal/localaws/glacier"
	"github.com/gas-restore/gas/internal/localnats"
)

const (
	jobTable, accountTable = "gas-annotations", "gas-accounts"
	vault, bucket          = "gas-archive", "gas-results"
	topic                  = "arn:aws:sns:us-east-1:000000000000:gas-restore"
)

// address is what the world's process tells on its first line.
type address struct{ AWS, NATS, AccessKey, SecretKey, Region string }

// planted is what it answers to a size on its standard input: an archive.
type planted struct{ ID, TreeHash, Error string }

// serveWorld is the other process: the stand-in and NATS, so that their memory is
// not taken for the worker's. It ends with its standard input.
func serveWorld(profiles string) error {
	endProfile, err := profile(profiles, "world")
	if err != nil {
		return err
	}
	defer endProfile()
	dir, err := os.MkdirTemp("", "bench-restore-")
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
	srv.Glacier.SetDelay(standin.Expedited, 0, 0)
	go http.Serve(ln, srv)
	key, secret := srv.Credentials()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(address{srv.Endpoint(), ns.ClientURL(), key, secret, srv.Region()}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var p planted
		size, err := strconv.ParseInt(strings.TrimSpace(in.Text()), 10, 64)
		if err == nil {
			p.ID, p.TreeHash, err = srv.Glacier.AddSparse(vault, size)
		}
		if err != nil {
			p.Error = err.Error()
		}
		if err := out.Encode(p); err != nil {
			return err
		}
	}
	return nil
}

// world is the worker's side of it.
type world struct {
	address
	cfg      aws.Config
	catalog  *dynamodb.Catalog
	operator *bus.Bus
	in       *json.Decoder
	say      func(string) error
	stop     func()
	pid      int
}

// cpu returns how much of the processors this process and the world's have had.
func (w *world) cpu() (mine, theirs time.Duration) { return cpuOf(os.Getpid()), cpuOf(w.pid) }

// cpuOf reads proc(5)'s stat: utime and stime, in hundredths of a second, are the
// 14th and the 15th field. It returns 0 where there is none.
func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the 2nd field is a name in brackets
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var total time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total
}

func startWorld(ctx context.Context, profiles string) (*world, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "world", profiles)
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
	w := &world{
		pid:  cmd.Process.Pid,
		in:   json.NewDecoder(out),
		say:  func(s string) error { _, err := fmt.Fprintln(in, s); return err },
		stop: func() { in.Close(); cmd.Wait() },
	}
	if err := w.in.Decode(&w.address); err != nil {
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
	if _, err := w.s3().CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return nil, err
	}
	if w.operator, err = w.connect(ctx, "operator"); err != nil {
		return nil, err
	}
	return w, bus.Provision(ctx, w.operator.JS, bus.Settings{})
}

func (w *world) s3() *awss3.Client {
	return awss3.NewFromConfig(w.cfg, func(o *awss3.Options) { o.UsePathStyle = true })
}

// plant puts a sparse archive into the vault.
func (w *world) plant(size int64) (planted, error) {
	var p planted
	if err := w.say(strconv.FormatInt(size, 10)); err != nil {
		return p, err
	}
	if err := w.in.Decode(&p); err != nil {
		return p, err
	}
	if p.Error != "" {
		return p, fmt.Errorf("plant %d bytes: %s", size, p.Error)
	}
	return p, nil
}

// sdk returns a configuration with connections of its own, as a process has: the
// product's, for the pipe too.
func (w *world) sdk(ctx context.Context) (aws.Config, error) {
	return awsclient.Load(ctx, awsclient.Options{
		Region: w.Region, Endpoint: w.AWS, AccessKey: w.AccessKey, SecretKey: w.SecretKey,
	})
}

func (w *world) connect(ctx context.Context, user string) (*bus.Bus, error) {
	return bus.Connect(ctx, bus.Config{URL: w.NATS, User: user, Password: "dev-" + user, Name: "bench-restore"})
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
