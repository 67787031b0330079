package web

import (
	"context"

	"github.com/gas-restore/gas/internal/trace"
)

// request is what the log says about a request.
type request struct {
	id string
	// ip is the address of the browser.
	ip string
	// agent names the browser.
	agent string
}

// requestKey is the key of the request in a context.
type requestKey struct{}

func withRequest(ctx context.Context, r request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// requestOf returns the request that ctx belongs to. It is zero if ctx belongs to none.
func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// audit writes to the log what somebody did, or what was refused.
func (s *Server) audit(ctx context.Context, what string, args ...any) {
	r := requestOf(ctx)
	trace.Log(ctx, s.log).Info(what, append(args, "request", r.id, "ip", r.ip)...)
}
