package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// started runs the command until the test ends, and returns the environment
// that it prints.
func started(t *testing.T, args ...string) (env map[string]string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, args, pw, &stderr)
		pw.Close()
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
	})
	t.Cleanup(stop)
	env = map[string]string{}
	var said strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(said.String(), "Ctrl-C"); {
		n, err := pr.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("it stopped after %q", said.String())
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)=(.*)$`).FindAllStringSubmatch(said.String(), -1) {
		env[m[1]] = m[2]
	}
	return env, stop
}

func config(env map[string]string) aws.Config {
	return aws.Config{
		Region: env["AWS_REGION"], BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials: credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
	}
}

func TestThePrintedEnvironmentWorks(t *testing.T) {
	env, _ := started(t, "--addr", "127.0.0.1:0")
	client := glacier.NewFromConfig(config(env))
	if _, err := client.CreateVault(t.Context(), &glacier.CreateVaultInput{AccountId: aws.String("-"), VaultName: aws.String("results")}); err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeVault(t.Context(), &glacier.DescribeVaultInput{AccountId: aws.String("-"), VaultName: aws.String("results")})
	if err != nil || aws.ToString(out.VaultName) != "results" {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestALaterRunContinuesWithTheFolder(t *testing.T) {
	dir := t.TempDir()
	env, stop := started(t, "--addr", "127.0.0.1:0", "--dir", dir, "--verbose")
	if _, err := s3.NewFromConfig(config(env)).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("kept")}); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--addr", "127.0.0.1:0", "--dir", dir}, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "in use by process") {
		t.Errorf("a second process in the folder: code %d, %q", code, stderr.String())
	}
	stop()
	env, _ = started(t, "--addr", "127.0.0.1:0", "--dir", dir)
	if _, err := s3.NewFromConfig(config(env)).HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("kept")}); err != nil {
		t.Error(err)
	}
}

func TestTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"--version"}, 0, "localaws ", ""},
		{[]string{"--help"}, 0, "--tier-delay", ""},
		{[]string{"--tier-delay=-1s"}, 2, "", "must not be negative"},
		{[]string{"extra"}, 2, "", "unexpected argument extra"},
		{[]string{"--addr", "nowhere"}, 1, "", "--addr"},
	} {
		var out, err bytes.Buffer
		if code := run(t.Context(), c.args, &out, &err); code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) {
			t.Errorf("%v: code %d, out %q, err %q; want %+v", c.args, code, out.String(), err.String(), c)
		}
	}
}

// TestTheDocNamesEveryOperation compares docs/localaws.md with the operations.
func TestTheDocNamesEveryOperation(t *testing.T) {
	doc, err := os.ReadFile("../../docs/localaws.md")
	if err != nil {
		t.Fatal(err)
	}
	operation := regexp.MustCompile(`(?m)^\s*(?:\{"|"[A-Z][A-Za-z ]*":\s+\{"|")([A-Z][A-Za-z]+)"[,:]\s*(?:"(?:GET|PUT|POST|DELETE)"|\(\*Service\)|s\.)`)
	for file, least := range map[string]int{"glacier/glacier.go": 25, "s3/route.go": 20, "sns/sns.go": 17, "sqs/sqs.go": 21} {
		src, err := os.ReadFile("../../internal/local/aws/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := operation.FindAllStringSubmatch(string(src), -1)
		if len(found) < least {
			t.Errorf("%s: found %d operations, want %d or more", file, len(found), least)
		}
		for _, m := range found {
			if !strings.Contains(string(doc), m[1]) {
				t.Errorf("docs/localaws.md does not name %s of %s", m[1], file)
			}
		}
	}
}
