package localidp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Endpoint is a part of the provider that can be in trouble.
type Endpoint string

// The endpoints.
const (
	Discovery Endpoint = "/.well-known/openid-configuration"
	Keys      Endpoint = "/keys"
	Authorize Endpoint = "/authorize"
	Token     Endpoint = "/oauth/token"
	UserInfo  Endpoint = "/userinfo"
)

// Mood is how an endpoint answers instead of doing its work, as real providers sometimes
// do. The zero Mood does the work.
type Mood struct {
	// Status is the status of the answer, and Error is the OAuth code in its body. If Status
	// is 0 and there is an Error, the status is 400. Authorize has no status: it leads the
	// browser back with the error (RFC 6749 4.1.2.1).
	Status int
	Error  string
	// RetryAfter is the header in seconds; 0 leaves it out.
	RetryAfter int
	// Body is the body of the answer, in place of an error in JSON.
	Body string
	// Hang answers nothing until the client goes away.
	Hang bool
	// Times is how often the endpoint is in this mood before it is well again; 0 means always.
	Times int
}

type moods struct {
	mu  sync.Mutex // guards the fields below
	of  map[Endpoint]Mood
	all map[Endpoint]int
}

// SetMood gives the endpoint a mood from now on.
func (p *Provider) SetMood(e Endpoint, mood Mood) {
	p.moods.mu.Lock()
	defer p.moods.mu.Unlock()
	if p.moods.of == nil {
		p.moods.of = map[Endpoint]Mood{}
	}
	p.moods.of[e] = mood
}

// Asked returns how often the endpoint was asked.
func (p *Provider) Asked(e Endpoint) int {
	p.moods.mu.Lock()
	defer p.moods.mu.Unlock()
	return p.moods.all[e]
}

// next counts a request to the endpoint and returns the mood for it.
func (m *moods) next(e Endpoint) Mood {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[Endpoint]int{}
	}
	m.all[e]++
	mood := m.of[e]
	if mood.Times == 1 {
		delete(m.of, e)
	} else if mood.Times > 1 {
		left := mood
		left.Times--
		m.of[e] = left
	}
	return mood
}

// answer reports whether the endpoint's mood has answered.
func (m *moods) answer(w http.ResponseWriter, r *http.Request) bool {
	e := Endpoint(r.URL.Path)
	if !slices.Contains([]Endpoint{Discovery, Keys, Authorize, Token, UserInfo}, e) {
		return false
	}
	mood := m.next(e)
	switch {
	case mood.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // net/http sees that the client is gone only after it has read the whole body
		<-r.Context().Done()
	case mood.Status == 0 && mood.Error == "":
		return false
	case e == Authorize:
		lead(w, r, mood.Error)
	default:
		mood.write(w)
	}
	return true
}

func (mood Mood) write(w http.ResponseWriter) {
	if mood.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(mood.RetryAfter))
	}
	body, kind := mood.Body, "text/html; charset=utf-8"
	if json.Valid([]byte(body)) {
		kind = "application/json"
	}
	if mood.Error != "" {
		data, _ := json.Marshal(map[string]string{"error": mood.Error}) // a map of strings cannot fail
		body, kind = string(data), "application/json"
	}
	w.Header().Set("Content-Type", kind)
	if mood.Status == 0 {
		mood.Status = http.StatusBadRequest
	}
	w.WriteHeader(mood.Status)
	_, _ = strings.NewReader(body).WriteTo(w)
}

// lead leads the browser back to the application, with the error.
func lead(w http.ResponseWriter, r *http.Request, code string) {
	to, err := url.Parse(r.FormValue("redirect_uri"))
	if err != nil || to.Host == "" {
		http.Error(w, "the redirect URI cannot be read", http.StatusBadRequest)
		return
	}
	to.RawQuery = url.Values{"error": {code}, "state": {r.FormValue("state")}}.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}
