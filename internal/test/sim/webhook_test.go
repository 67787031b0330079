package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/gas-restore/gas/internal/wait"
)

// certificates is the door to SNS's certificates.
type certificates struct{ p *process }

func (d certificates) RoundTrip(r *http.Request) (*http.Response, error) {
	return d.p.read(func() (*http.Response, error) {
		return d.p.over(r, func() (*http.Response, error) { return d.p.w.door.RoundTrip(r) })
	})
}

// dialHook connects SNS to a bridge's webhook.
func (w *world) dialHook(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := w.connect(ctx, &w.hooks, "webhook")
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.alive {
		if err == nil && p.service == "bridge" && p.has(frozen, deaf, mute) > 0 {
			conn.Close()
			return nil, errors.New("a bridge does not answer")
		}
	}
	return conn, err
}

// webhook has the bridges that start from now on listen for SNS, beside the queues. It
// subscribes them as soon as one listens, and again until SNS has its confirmation.
func (w *world) webhook() {
	w.t.Helper()
	w.trouble(webhooks, 1)
	w.cfg.SNSCAFile, w.cfg.SNSCertEndpoint = filepath.Join(w.t.TempDir(), "sns-ca.pem"), w.Endpoint()
	if err := os.WriteFile(w.cfg.SNSCAFile, w.SNS.CACertPEM(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	topics := sns.NewFromConfig(w.Config)
	for topic, path := range map[string]string{w.cfg.PremiumTopic: "premium", w.cfg.RestoreTopic: "restore"} {
		w.running.Go(func() {
			for w.ctx.Err() == nil {
				w.mu.Lock()
				there := len(w.hooks.sites) > 0
				w.mu.Unlock()
				if there {
					out, err := topics.Subscribe(w.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("http"), Endpoint: aws.String("http://127.0.0.1/sns/" + path)})
					if err == nil && strings.HasPrefix(aws.ToString(out.SubscriptionArn), "arn:") {
						return
					}
					w.log.Info("the webhook is not subscribed yet", "topic", topic, "err", err)
				}
				wait.For(w.ctx, 2*time.Second)
			}
		})
	}
}
