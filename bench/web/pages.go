package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"
)

// pageResult is what one page did.
type pageResult struct {
	Name string
	// Most is how many a second came when asked for as fast as they do, with 32 at a
	// time.
	Most     float64
	P50      time.Duration
	P99      time.Duration
	Answered float64
	Bytes    int
}

// signIn returns the session's cookie.
func signIn(ctx context.Context, base, person string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/login", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	root, err := html.Parse(resp.Body)
	if err != nil {
		return "", err
	}
	form := url.Values{"subject": {person}}
	for n := range root.Descendants() {
		if n.Data == "input" && attr(n, "name") == "id" {
			form.Set("id", attr(n, "value"))
			break
		}
	}
	to := resp.Request.URL.Scheme + "://" + resp.Request.URL.Host + "/login"
	done, err := client.PostForm(to, form)
	if err != nil {
		return "", err
	}
	done.Body.Close()
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	for _, c := range jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "gas_session") {
			return c.Name + "=" + c.Value, nil
		}
	}
	return "", fmt.Errorf("%s got no session but %s at %s", person, done.Status, done.Request.URL)
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func measurePages(ctx context.Context, s site, o options) ([]pageResult, error) {
	cookie, err := signIn(ctx, s.url, reader)
	if err != nil {
		return nil, err
	}
	var results []pageResult
	for _, p := range []struct{ name, path, cookie string }{
		{"start page of a stranger", "/", ""},
		{"list", "/annotations", cookie},
		{"list, searched", "/annotations?q=panel_9999", cookie},
		{"detail, ready", "/annotation/" + reader + "-0001", cookie},
		{"detail, planned", "/annotation/" + reader + "-0000", cookie},
	} {
		l := newLoad(s.url, p.path, p.cookie)
		r := pageResult{Name: p.name}
		if r.Bytes, err = l.get(); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if r.Most, err = l.closed(ctx, 32, o.lasts/2); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		// What does not reach the rate in the closed loop only queues up in the open one.
		rate := min(o.rate, int(0.8*r.Most))
		took, err := l.open(ctx, rate, o.lasts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		r.P50, r.P99 = quantile(took, .5), quantile(took, .99)
		r.Answered = float64(len(took)) / o.lasts.Seconds()
		results = append(results, r)
	}
	return results, nil
}

// load asks for one page.
type load struct {
	client *fasthttp.HostClient
	uri    string
	cookie string
}

func newLoad(base, path, cookie string) *load {
	return &load{
		client: &fasthttp.HostClient{Addr: strings.TrimPrefix(base, "http://"), MaxConns: 512, ReadTimeout: 30 * time.Second, MaxConnWaitTimeout: 30 * time.Second},
		uri:    base + path, cookie: cookie,
	}
}

func (l *load) get() (int, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(l.uri)
	if l.cookie != "" {
		req.Header.Set("Cookie", l.cookie)
	}
	if err := l.client.Do(req, resp); err != nil {
		return 0, err
	}
	if resp.StatusCode() != http.StatusOK {
		return 0, fmt.Errorf("%s answers %d", l.uri, resp.StatusCode())
	}
	return len(resp.Body()), nil
}

// closed asks with n at a time, each as soon as the one before is answered.
func (l *load) closed(ctx context.Context, n int, lasts time.Duration) (perSecond float64, err error) {
	var mu sync.Mutex // guards count and err
	count := 0
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, e := l.get()
				mu.Lock()
				count++
				if e != nil {
					err = e
				}
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	begin := time.Now()
	wg.Wait()
	return float64(count) / time.Since(begin).Seconds(), err
}

// open asks at the rate, whether the ones before are answered or not, and returns
// how long each took from when it was due.
func (l *load) open(ctx context.Context, rate int, lasts time.Duration) (took []time.Duration, err error) {
	var mu sync.Mutex // guards took and err
	var wg sync.WaitGroup
	begin := time.Now()
	step := time.Second / time.Duration(max(rate, 1))
	for i := range int(lasts / step) {
		due := begin.Add(time.Duration(i) * step)
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			_, e := l.get()
			d := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
			if e != nil {
				err = e
			}
		})
	}
	wg.Wait()
	return took, err
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(int(q*float64(len(d))), len(d)-1)]
}
