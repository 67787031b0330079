package localaws

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Transport returns an http.RoundTripper that hands requests to the stand-in
// without a network: the way that tests talk to it. Bodies are streamed both
// ways, and a cut connection is an error as it would be on a wire.
func (s *Server) Transport() http.RoundTripper { return roundTripper{s} }

type roundTripper struct{ h http.Handler }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:1"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.ContentLength >= 0 && in.ContentLength > 0 && in.Header.Get("Content-Length") == "" {
		in.Header.Set("Content-Length", strconv.FormatInt(in.ContentLength, 10))
	}
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: pw, started: make(chan struct{}), head: r.Method == http.MethodHead}
	go func() {
		defer in.Body.Close()
		defer func() {
			if v := recover(); v != nil {
				err := fmt.Errorf("stand-in: %v", v)
				if v == http.ErrAbortHandler {
					err = io.ErrUnexpectedEOF
				}
				w.abort(err)
				return
			}
			w.finish()
		}()
		t.h.ServeHTTP(w, in)
	}()
	select {
	case <-w.started:
	case <-r.Context().Done():
		pr.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	resp := &http.Response{
		Status:     strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.sent,
		ContentLength: w.want,
		Body:          pr,
		Request:       r,
	}
	if w.head {
		resp.Body = http.NoBody
	}
	return resp, nil
}

// pipeWriter is the http.ResponseWriter of one call. The handler's goroutine
// alone writes to it.
type pipeWriter struct {
	header  http.Header
	body    *io.PipeWriter
	head    bool
	started chan struct{}
	once    sync.Once
	n, want int64 // bytes written, and those that the header promises; -1 if it does not

	// Set before started is closed, read after.
	status int
	sent   http.Header
	err    error
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent, w.want = status, w.header.Clone(), -1
		if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
			w.want = n
		}
		close(w.started)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.head {
		return len(p), nil
	}
	n, err := w.body.Write(p)
	w.n += int64(n)
	return n, err
}

// Flush implements http.Flusher; the pipe keeps nothing back.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

func (w *pipeWriter) abort(err error) {
	w.once.Do(func() {
		w.err = fmt.Errorf("connection cut: %w", err)
		close(w.started)
	})
	w.body.CloseWithError(err)
}

var errShort = errors.New("stand-in: handler wrote fewer bytes than its Content-Length")

func (w *pipeWriter) finish() {
	w.WriteHeader(http.StatusOK)
	if !w.head && w.n < w.want {
		w.body.CloseWithError(fmt.Errorf("%w: %w", errShort, io.ErrUnexpectedEOF))
		return
	}
	w.body.Close()
}
