package stack

import (
	"context"
	"net"
	"time"

	"github.com/gas-restore/gas/internal/aws/awsestate"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/wiring"
)

// provisionAWS makes the things in [estate], the vault and the bucket in the stand-in. It
// can run again: it leaves existing things alone.
func (s *Stack) provisionAWS(ctx context.Context) error {
	c := &s.Config
	if err := s.catalog().CreateTables(ctx); err != nil {
		return err
	}
	account := awsestate.New(s.AWSConfig)
	if s.opts.Store.vault() {
		if err := account.MakeVault(ctx, c.Vault); err != nil {
			return err
		}
	}
	if err := account.MakeBucket(ctx, c.Bucket); err != nil {
		return err
	}
	hooks := map[string]string{} // the webhooks, by topic
	for _, channel := range estate.Channels() {
		topic, queue, err := account.MakeChannel(ctx, channel, channel.LocalName(), channel.LocalName())
		if err != nil {
			return err
		}
		if channel.Name == estate.Premium {
			c.PremiumTopic, c.PremiumQueue = topic, queue
		} else {
			c.RestoreTopic, c.RestoreQueue = topic, queue
		}
		hooks[topic] = "http://" + c.WebhookListen + channel.Webhook
	}
	if s.opts.Store.objects() {
		if err := account.MakeArchiveBucket(ctx, c.ArchiveBucket, c.RestoreTopic); err != nil {
			return err
		}
	}
	if s.opts.has(Services) {
		return subscribe(ctx, account, hooks)
	}
	s.subscribeLater(account, hooks)
	return nil
}

func subscribe(ctx context.Context, account *awsestate.Account, hooks map[string]string) error {
	for topic, endpoint := range hooks {
		if err := account.Subscribe(ctx, topic, "http", endpoint); err != nil {
			return err
		}
	}
	return nil
}

// lookEvery is the time from one try to reach a bridge outside this process to the next.
const lookEvery = 200 * time.Millisecond

// subscribeLater subscribes the webhooks as soon as a bridge listens for them. SNS asks for
// a confirmation during a few seconds only, and never calls an unconfirmed webhook.
func (s *Stack) subscribeLater(account *awsestate.Account, hooks map[string]string) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.onClose(func() { stop(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Config.WebhookListen); err == nil {
				conn.Close()
				if err = subscribe(ctx, account, hooks); err == nil {
					return
				}
				s.opts.Log.Warn("the webhooks are not subscribed", "err", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (s *Stack) catalog() *dynamodb.Catalog {
	return dynamodb.New(s.AWSConfig, wiring.Tables(s.Config))
}
