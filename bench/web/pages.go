package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"

	"github.com/gas-restore/gas/bench/internal/benchtab"
)

// pageResult is what one page did.
type pageResult struct {
	Name string
	// Most is how many a second came when asked for as fast as they do.
	Most float64
	// Asked is the number of requests a second while the latency was measured.
	Asked int
	P50   time.Duration
	P99   time.Duration
	// Site, World and Load are what a page cost each process in CPU time.
	Site, World, Load time.Duration
	Bytes             int
	Calls             []callResult
}

// callResult is how often a page makes an AWS call.
type callResult struct {
	Name string
	N    float64
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

// page is something to ask for: the paths in turn, each with its cookie.
type page struct {
	name    string
	paths   []string
	cookies []string
}

// inTurn is how many the load asks for at a time to see how many come.
const inTurn = 32

func measurePages(ctx context.Context, s site, o options) (pages, deep []pageResult, err error) {
	cookie, err := signIn(ctx, s.url, reader)
	if err != nil {
		return nil, nil, err
	}
	var cookies, details []string
	for i := range o.persons {
		c, err := signIn(ctx, s.url, person(i))
		if err != nil {
			return nil, nil, err
		}
		cookies = append(cookies, c)
		details = append(details, fmt.Sprintf("/annotation/%s-%04d", person(i), i%jobsOfOthers))
	}
	at := func(name, path, cookie string) page { return page{name, []string{path}, []string{cookie}} }
	all := []page{
		at("start page of a stranger", "/", ""),
		at("list", "/annotations", cookie),
		at("detail, ready", "/annotation/"+reader+"-0001", cookie),
		at("detail, planned", "/annotation/"+reader+"-0000", cookie),
	}
	if o.persons > 0 {
		all = append(all, page{"list, of the others in turn", []string{"/annotations"}, cookies}, page{"detail, of the others in turn", details, cookies})
	}
	for _, p := range all {
		if !strings.Contains(p.name, o.only) {
			continue
		}
		r, err := p.measure(ctx, s, o, inTurn, .8)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.name, err)
		}
		pages = append(pages, r)
	}
	if o.deep == 0 {
		return pages, nil, nil
	}
	if cookie, err = signIn(ctx, s.url, searcher); err != nil {
		return nil, nil, err
	}
	middle, err := middleOf(ctx, s, cookie, o.deep)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range []page{
		at("first page", "/annotations", cookie),
		at("page in the middle", "/annotations?after="+url.QueryEscape(middle), cookie),
		at("page before it", "/annotations?before="+url.QueryEscape(middle), cookie),
		at("last page", "/annotations?sort=oldest", cookie),
		at("a state that most have", "/annotations?state=ready", cookie),
		at("a state that nobody has", "/annotations?state=failed", cookie),
		at("search, found once", "/annotations?q=panel_"+strconv.Itoa(o.deep-1), cookie),
		at("search, not found", "/annotations?q=nowhere", cookie),
		at("sort by name, too many", "/annotations?sort=name", cookie),
	} {
		if !strings.Contains(p.name, o.only) {
			continue
		}
		r, err := p.measure(ctx, s, o, 1, .5)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.name, err)
		}
		deep = append(deep, r)
	}
	// With no more jobs than can be sorted.
	if cookie, err = signIn(ctx, s.url, reader); err != nil {
		return nil, nil, err
	}
	for _, p := range []page{
		at(fmt.Sprintf("sort by name, of %d", o.jobs), "/annotations?sort=name", cookie),
		at(fmt.Sprintf("search, not found, of %d", o.jobs), "/annotations?q=nowhere", cookie),
	} {
		if !strings.Contains(p.name, o.only) {
			continue
		}
		r, err := p.measure(ctx, s, o, 1, .5)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.name, err)
		}
		deep = append(deep, r)
	}
	return pages, deep, nil
}

// middleOf follows the list to its middle and returns the cursor of the page there.
func middleOf(ctx context.Context, s site, cookie string, jobs int) (string, error) {
	path := "/api/v1/jobs"
	for seen := 0; ; {
		body, err := fetch(ctx, s.url+path, cookie)
		if err != nil {
			return "", err
		}
		var page struct {
			Jobs []struct{}
			Next string
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		to, err := url.Parse(page.Next)
		if err != nil || page.Next == "" {
			return "", fmt.Errorf("the list ends after %d of %d jobs", seen, jobs)
		}
		if seen += len(page.Jobs); seen >= jobs/2 {
			return to.Query().Get("after"), nil
		}
		path = page.Next
	}
}

func fetch(ctx context.Context, to, cookie string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return nil, err
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", to, resp.Status)
	}
	return body, err
}

// measure asks for the page as fast as it comes, n at a time, and then at the rate
// or, if that is less, at the share of the most.
func (p page) measure(ctx context.Context, s site, o options, n int, share float64) (r pageResult, err error) {
	r.Name = p.name
	l := newLoad(s.url, p)
	if r.Bytes, err = l.get(0); err != nil {
		return r, err
	}
	if r.Most, err = l.closed(ctx, n, o.lasts/2); err != nil {
		return r, err
	}
	if r.Asked = o.rate; share*r.Most < float64(r.Asked) && r.Most < 1.05*float64(o.rate) {
		r.Asked = max(int(share*r.Most), 1)
	}
	before, err := spentBy(ctx, s)
	if err != nil {
		return r, err
	}
	took, err := l.open(ctx, r.Asked, o.lasts)
	if err != nil {
		return r, err
	}
	after, err := spentBy(ctx, s)
	if err != nil {
		return r, err
	}
	pages := time.Duration(max(len(took), 1))
	r.P50, r.P99 = quantile(took, .5), quantile(took, .99)
	r.Site, r.World, r.Load = (after.site-before.site)/pages, (after.world-before.world)/pages, (after.load-before.load)/pages
	for _, name := range slices.Sorted(maps.Keys(after.calls)) {
		if c := after.calls[name] - before.calls[name]; c > 0 {
			r.Calls = append(r.Calls, callResult{name[strings.IndexByte(name, '.')+1:], float64(c) / float64(pages)})
		}
	}
	return r, nil
}

// spent is what was used up to a moment.
type spent struct {
	site, world, load time.Duration
	calls             map[string]int64
}

func spentBy(ctx context.Context, s site) (spent, error) {
	u := spent{site: benchtab.CPU(s.site), world: benchtab.CPU(s.world), load: benchtab.CPU(os.Getpid())}
	body, err := fetch(ctx, s.aws+"/_local/counts", "")
	if err == nil {
		err = json.Unmarshal(body, &u.calls)
	}
	return u, err
}

func cpus() string {
	if runtime.NumCPU() == 1 {
		return "one CPU"
	}
	return fmt.Sprintf("%d CPUs", runtime.NumCPU())
}

// load asks for a page.
type load struct {
	client *fasthttp.HostClient
	base   string
	page   page
	next   atomic.Int64
}

func newLoad(base string, p page) *load {
	return &load{
		client: &fasthttp.HostClient{Addr: strings.TrimPrefix(base, "http://"), MaxConns: 512, ReadTimeout: 30 * time.Second, MaxConnWaitTimeout: 30 * time.Second},
		base:   base, page: p,
	}
}

// get asks for the i-th path and returns how many bytes it has.
func (l *load) get(i int64) (int, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	uri := l.base + l.page.paths[i%int64(len(l.page.paths))]
	req.SetRequestURI(uri)
	if c := l.page.cookies[i%int64(len(l.page.cookies))]; c != "" {
		req.Header.Set("Cookie", c)
	}
	if err := l.client.Do(req, resp); err != nil {
		return 0, err
	}
	if resp.StatusCode() != http.StatusOK {
		return 0, fmt.Errorf("%s answers %d", uri, resp.StatusCode())
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
				_, e := l.get(l.next.Add(1))
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
			_, e := l.get(l.next.Add(1))
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
