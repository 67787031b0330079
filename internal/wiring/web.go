package wiring

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/aws/s3"
	"github.com/gas-restore/gas/internal/aws/sns"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/internal/wait"
	"github.com/gas-restore/gas/internal/web"
	"github.com/gas-restore/gas/pkg/events"
)

// Web returns the web site.
func Web(ctx context.Context, e Env) (daemon.Part, error) {
	base, err := e.connect(ctx, config.Web, e.Config.WebPassword)
	if err != nil {
		return daemon.Part{}, err
	}
	part, err := e.web(ctx, base.bus, base.aws)
	if err != nil {
		base.bus.Close()
	}
	part.Metrics = append(part.Metrics, base.metrics...)
	return part, err
}

func (e Env) web(ctx context.Context, b *bus.Bus, cfg aws.Config) (daemon.Part, error) {
	sessions, err := b.OpenTTLStore(ctx, bus.BucketSessions)
	if err != nil {
		return daemon.Part{}, err
	}
	logins, err := b.OpenTTLStore(ctx, bus.BucketLogins)
	if err != nil {
		return daemon.Part{}, err
	}
	catalog := dynamodb.New(cfg, Tables(e.Config))
	meter := newWebMetrics()
	server, err := web.New(web.Config{
		BaseURL:       e.Config.WebBaseURL,
		Issuer:        e.Config.OIDCIssuer,
		FormerIssuers: e.Config.OIDCFormer,
		ClientID:      e.Config.OIDCClientID,
		SecretFrom:    e.Config.OIDCSecret.Read,
		HTTPClient:    e.Provider,
		Tiers:         e.Config.TierOrder(),
		PremiumPrice:  e.Config.PremiumPrice,
		Support:       e.Config.Support, SecurityContact: e.Config.SecurityContact,
		APIAudience: e.Config.APIAudience, APIScope: e.Config.APIScope,
		Rate:       e.Config.WebRate,
		TrustProxy: e.Config.WebProxies,
		Drain:      e.Config.StopGrace,
		Now:        e.Now,
		Meter:      meter,
		Logger:     e.Log,
	}, web.Deps{
		Accounts:  catalog,
		Jobs:      catalog,
		Announcer: sns.New(cfg, e.Config.PremiumTopic),
		Lane:      streams{b},
		Downloads: s3.New(cfg),
		Statuses:  Statuses(b),
		Switches:  thaw.NewStops(catalog, time.Now),
		Letters:   Letters(b, time.Now),
		Sessions:  sessions,
		Logins:    logins,
	})
	if err != nil {
		return daemon.Part{}, err
	}
	meter.know(server.Routes())
	ln, err := listen(e.Web, "GAS_WEB_LISTEN", e.Config.WebListen, "the web site")
	if err != nil {
		return daemon.Part{}, err
	}
	e.Log.Info("web site", "url", e.Config.WebBaseURL, "listen", ln.Addr().String())
	return daemon.Part{
		Name: string(config.Web),
		Run: together(b.Watch, func(ctx context.Context, drain <-chan struct{}) error {
			serveCtx, stop := wait.Until(ctx, drain)
			defer stop()
			return server.Serve(serveCtx, ln)
		}),
		// A site without AWS still says what is wrong; no other replica could do more.
		Ready:   []daemon.Check{b.Outlook("web").Err},
		Metrics: meter.all(),
		Close:   b.Close,
	}, nil
}

// Letters returns the site's view of the stream DEAD.
func Letters(b *bus.Bus, now func() time.Time) web.Letters { return &letters{bus: b, now: now} }

const (
	// lettersAge is how long the site uses a list of the letters. lettersAway is how long it
	// does not ask again after an error: a page can do without letters, and should not wait for
	// them.
	lettersAge, lettersAway = 2 * time.Second, 30 * time.Second
	// lettersWait bounds the wait for the list.
	lettersWait = time.Second
)

// letters reads DEAD for the site. Most work has no letter, and a page asks for many pieces
// of work. So one list of subjects answers most questions.
type letters struct {
	bus *bus.Bus
	now func() time.Time

	mu       sync.Mutex // guards the fields below, and is held while one caller asks
	subjects map[string]uint64
	err      error
	at       time.Time // of the last answer
}

func (l *letters) Letter(ctx context.Context, e events.Event) (events.DeadLetter, bool, error) {
	subject, err := bus.LetterSubject(e)
	if err != nil {
		return events.DeadLetter{}, false, err
	}
	if there, err := l.there(ctx, subject); err != nil || !there {
		return events.DeadLetter{}, false, err
	}
	_, letter, ok, err := l.bus.LetterOf(ctx, e)
	return letter, ok, err
}

// there reports whether there are letters under the subject.
func (l *letters) there(ctx context.Context, subject string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	age, most := l.now().Sub(l.at), lettersAge
	if l.err != nil {
		most = lettersAway
	}
	if l.at.IsZero() || age < 0 || age >= most {
		// Others wait for the answer, so it does not end with the request that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lettersWait)
		defer cancel()
		l.subjects, l.err = l.bus.LetterSubjects(ctx)
		l.at = l.now()
	}
	return l.subjects[subject] > 0, l.err
}

// Statuses returns the site's view of the stream STATUS.
func Statuses(b *bus.Bus) web.Statuses { return statuses{b} }

type statuses struct{ bus *bus.Bus }

func (s statuses) Position(ctx context.Context) (events.Position, error) {
	return s.bus.LastStatus(ctx)
}

func (s statuses) Follow(ctx context.Context, after events.Position) iter.Seq2[web.Status, error] {
	return func(yield func(web.Status, error) bool) {
		for st, err := range s.bus.FollowStatuses(ctx, after) {
			if !yield(web.Status(st), err) {
				return
			}
		}
	}
}

func (s statuses) Kept(ctx context.Context, user events.UserID, after, upto events.Position) iter.Seq2[web.Status, error] {
	return func(yield func(web.Status, error) bool) {
		for st, err := range s.bus.StatusesOf(ctx, user, after, upto) {
			if !yield(web.Status(st), err) {
				return
			}
		}
	}
}

func (s statuses) Last(ctx context.Context, user events.UserID, job events.JobID) (events.StatusChanged, bool, error) {
	return s.bus.LastStatusOf(ctx, user, job)
}
