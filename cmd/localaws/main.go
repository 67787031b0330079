// Localaws runs the AWS stand-in alone: Glacier, S3, DynamoDB, SNS and SQS for
// local tests. It begins empty; docs/localaws.md says what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"github.com/gas-restore/gas/internal/daemon"
	localaws "github.com/gas-restore/gas/internal/local/aws"
	"github.com/gas-restore/gas/internal/local/folder"
	"github.com/gas-restore/gas/internal/version"
)

// cli is the command line.
type cli struct {
	Addr      string        `default:"127.0.0.1:4566" help:"Where to listen. Port 0 takes a free port."`
	Dir       string        `placeholder:"DIR" type:"path" help:"Directory that keeps all state; a later run continues with it. Without it the state is in memory and is lost at the end."`
	TierDelay time.Duration `default:"5s" help:"How long an Expedited retrieval takes. Standard takes 3 to 5 times as long, Bulk 5 to 12 times. 0 means AWS's own pace of minutes and hours."`
	Verbose   bool          `short:"v" help:"Log each call."`

	Version kong.VersionFlag `help:"Tell which build this is."`
}

// grace is how long a stop waits for calls that have begun.
const grace = 2 * time.Second

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c,
		kong.Name("localaws"),
		kong.Description("A stand-in for Amazon Glacier, S3, DynamoDB, SNS and SQS, for local tests. It is strict, and Glacier works: tiers, notifications, ranges, tree hashes."),
		kong.Vars{"version": "localaws " + version.Read().String()},
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "localaws:", err)
		return daemon.ExitFailure
	}
	_, err = parser.Parse(args)
	if code >= 0 {
		return code // --help or --version
	}
	if err == nil && c.TierDelay < 0 {
		err = errors.New("--tier-delay must not be negative")
	}
	if err != nil {
		fmt.Fprintf(stderr, "localaws: %v (localaws --help tells more)\n", err)
		return daemon.ExitUsage
	}
	if err := c.serve(ctx, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "localaws:", err)
		return daemon.ExitFailure
	}
	return daemon.ExitOK
}

// serve runs the stand-in until a signal.
func (c *cli) serve(ctx context.Context, stdout, stderr io.Writer) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	log := daemon.Logger(stderr, "text", level)
	stopper, ctx := daemon.NewStopper(ctx)
	defer stopper.OnSignal(log, grace)()

	state := ""
	if c.Dir != "" {
		// The same places as those of `gas up`, so that both can use the folder.
		unlock, err := folder.Lock(c.Dir, "aws")
		if err != nil {
			return err
		}
		defer unlock()
		state = filepath.Join(c.Dir, "aws")
	}
	ln, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w (choose another address with --addr; port 0 takes a free one)", err)
	}
	s, err := localaws.New(localaws.Config{Dir: state, Endpoint: "http://" + ln.Addr().String()})
	if err != nil {
		ln.Close()
		return err
	}
	defer s.Close()
	if c.TierDelay > 0 {
		s.Glacier.SetDelays(c.TierDelay)
		s.S3.SetRestoreDelays(c.TierDelay)
	}
	c.welcome(stdout, s)

	srv := &http.Server{Handler: logged(log, s), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-stopper.Drain():
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(stopCtx) != nil {
		srv.Close() // long polls, for example
	}
	return nil
}

// welcome prints the endpoint, and the environment for the aws command and the SDKs.
func (c *cli) welcome(w io.Writer, s *localaws.Server) {
	state := c.Dir
	if state == "" {
		state = "memory, and is lost at the end"
	}
	key, secret := s.Credentials()
	fmt.Fprintf(w, "The AWS stand-in listens at %s. Its state is in %s.\n\n", s.Endpoint(), state)
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL", s.Endpoint()}, {"AWS_REGION", s.Region()}, {"AWS_DEFAULT_REGION", s.Region()},
		{"AWS_ACCESS_KEY_ID", key}, {"AWS_SECRET_ACCESS_KEY", secret},
	} {
		fmt.Fprintf(w, "export %s=%s\n", v[0], v[1])
	}
	fmt.Fprintf(w, "\nCtrl-C stops it.\n")
}

// logged logs each call with its status and its time.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			log.Debug("call", "method", r.Method, "path", r.URL.Path, "target", r.Header.Get("X-Amz-Target"), "status", sw.status, "took", time.Since(began))
		}()
		next.ServeHTTP(sw, r)
	})
}

// statusWriter keeps the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
