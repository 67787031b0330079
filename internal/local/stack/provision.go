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
	account := awsestate.New(s.AWSConfig)
	at := wiring.Place(*c)
	at.Partition, at.Region, at.Account = "aws", s.AWS.Region(), s.AWS.World.Account
	if !s.opts.Store.objects() {
		at.Archives = ""
	}
	channels := estate.Channels()
	premium, restore := channels[0].LocalName(), channels[1].LocalName()
	at.PremiumTopic, at.PremiumQueue, at.RestoreTopic, at.RestoreQueue = premium, premium, restore, restore
	if err := account.Make(ctx, s.catalog(), at); err != nil {
		return err
	}
	c.PremiumTopic, c.PremiumQueue = at.ARN(estate.PremiumTopic), s.AWS.SQS.QueueURL(premium)
	c.RestoreTopic, c.RestoreQueue = at.ARN(estate.RestoreTopic), s.AWS.SQS.QueueURL(restore)
	hooks := map[string]string{ // the webhooks, by topic
		c.PremiumTopic: "http://" + c.WebhookListen + channels[0].Webhook,
		c.RestoreTopic: "http://" + c.WebhookListen + channels[1].Webhook,
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
