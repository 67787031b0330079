// Package benchworld runs what a benchmark measures against, the AWS stand-in and
// NATS, in a process of their own, so that their memory and their share of the
// processors are not taken for the product's.
package benchworld

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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/aws/cold"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	glacieradapter "github.com/gas-restore/gas/internal/aws/glacier"
	"github.com/gas-restore/gas/internal/aws/s3cold"
	"github.com/gas-restore/gas/internal/bus"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	localnats "github.com/gas-restore/gas/internal/local/nats"
)

// The contents of the stand-in.
const (
	JobTable     = "gas-annotations"
	AccountTable = "gas-accounts"
	PlanTable    = "gas-plans"
	Vault        = "gas-archive"
	Bucket       = "gas-results"
	ColdBucket   = "gas-cold"
	RestoreTopic = "arn:aws:sns:us-east-1:000000000000:gas-restore"
)

// worldEnv is set in the process that is the world.
const worldEnv = "GAS_BENCH_WORLD"

// address is what the world's process tells on its first line.
type address struct{ AWS, NATS, AccessKey, SecretKey, Region string }

// answer is a line for each of [World.Ask]'s.
type answer struct {
	Value json.RawMessage
	Error string
}

// Serve makes this process the world if [Start] started it; then it returns true,
// after the benchmark has ended, and main is done. prepare may set the stand-in up,
// answers is told each question of [World.Ask].
func Serve(prepare func(*localaws.Server) error, answers func(srv *localaws.Server, question string) (any, error)) (bool, error) {
	if os.Getenv(worldEnv) == "" {
		return false, nil
	}
	return true, serve(prepare, answers)
}

func serve(prepare func(*localaws.Server) error, answers func(*localaws.Server, string) (any, error)) error {
	dir, err := os.MkdirTemp("", "bench-world-")
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
	if err := prepare(srv); err != nil {
		return err
	}
	go http.Serve(ln, srv)
	key, secret := srv.Credentials()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(address{srv.Endpoint(), ns.ClientURL(), key, secret, srv.Region()}); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var a answer
		value, err := answers(srv, in.Text())
		if err == nil {
			a.Value, err = json.Marshal(value)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return in.Err()
}

// World is the benchmark's handle on the other process. The caller must stop it.
type World struct {
	address
	Config   aws.Config // the SDK's
	Catalog  *dynamodb.Catalog
	Operator *bus.Bus

	name string
	cmd  *exec.Cmd
	say  func(string) error
	in   *json.Decoder
	end  func()
}

// Start starts this program again as the world, with an empty vault and
// empty buckets, the tables, and the streams. args are for the other process, name is the connections'.
func Start(ctx context.Context, name string, args ...string) (*World, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr, cmd.Env = os.Stderr, append(os.Environ(), worldEnv+"=1")
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
	w := &World{
		name: name, cmd: cmd, in: json.NewDecoder(out),
		say: func(s string) error { _, err := fmt.Fprintln(in, s); return err },
		end: func() { in.Close(); cmd.Wait() },
	}
	if err := w.start(ctx); err != nil {
		w.Stop()
		return nil, fmt.Errorf("start the world: %w", err)
	}
	return w, nil
}

// Tables returns the names of the catalog's tables.
func Tables() dynamodb.Tables {
	return dynamodb.Tables{Jobs: JobTable, Accounts: AccountTable, Plans: PlanTable}
}

func (w *World) start(ctx context.Context) (err error) {
	if err := w.in.Decode(&w.address); err != nil {
		return err
	}
	if w.Config, err = w.SDK(ctx); err != nil {
		return err
	}
	w.Catalog = dynamodb.New(w.Config, Tables())
	if err := w.Catalog.CreateTables(ctx); err != nil {
		return err
	}
	if _, err := glacier.NewFromConfig(w.Config).CreateVault(ctx, &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: aws.String(Vault)}); err != nil {
		return err
	}
	for _, name := range []string{Bucket, ColdBucket} {
		if _, err := w.S3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
			return err
		}
	}
	if w.Operator, err = w.Connect(ctx, "operator"); err != nil {
		return err
	}
	return bus.Provision(ctx, w.Operator.JS, bus.Settings{})
}

// Stop ends the world.
func (w *World) Stop() {
	if w.Operator != nil {
		w.Operator.Close()
	}
	w.end()
}

// Cold returns the product's cold storage, over a client of the configuration. A temporary
// copy lives for a day.
func (w *World) Cold(cfg aws.Config) cold.Store {
	return cold.Store{Vault: glacieradapter.New(cfg, Vault, RestoreTopic), Objects: s3cold.New(cfg, ColdBucket, 1)}
}

// SDK returns a configuration with connections of its own, as a process has.
func (w *World) SDK(ctx context.Context) (aws.Config, error) {
	return awsclient.Load(ctx, awsclient.Options{
		Region: w.Region, Endpoint: w.AWS, AccessKey: w.AccessKey, SecretKey: w.SecretKey,
	})
}

// S3 returns a client.
func (w *World) S3() *s3.Client {
	return s3.NewFromConfig(w.Config, func(o *s3.Options) { o.UsePathStyle = true })
}

// Connect connects to NATS as a user of nats.conf.
func (w *World) Connect(ctx context.Context, user string) (*bus.Bus, error) {
	return bus.Connect(ctx, bus.Config{URL: w.NATS, User: user, Password: "dev-" + user, Name: w.name})
}

// Ask has the world's process answer a question, a line, into what into points to.
func (w *World) Ask(question string, into any) error {
	if err := w.say(question); err != nil {
		return err
	}
	var a answer
	if err := w.in.Decode(&a); err != nil {
		return err
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %w", question, errors.New(a.Error))
	}
	return json.Unmarshal(a.Value, into)
}

// Local calls the stand-in's own interface; into may be nil.
func (w *World) Local(method, path string, into any) error {
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

// Latency makes every call of AWS take so much longer.
func (w *World) Latency(d time.Duration) error {
	return w.Local("POST", "latency?d="+d.String(), nil)
}

// Counts returns how often each operation of AWS was called.
func (w *World) Counts() (map[string]int64, error) {
	m := map[string]int64{}
	return m, w.Local("GET", "counts", &m)
}

// CPU returns how much of the processors this process and the world's have had.
func (w *World) CPU() (mine, theirs time.Duration) {
	return benchtab.CPU(os.Getpid()), benchtab.CPU(w.cmd.Process.Pid)
}
