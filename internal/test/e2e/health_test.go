package e2e

import (
	"context"
	"io"
	"net/http"
	"regexp"
)

// notReady returns what a service says at /readyz if it is not ready; empty if it is.
func (p *process) notReady(ctx context.Context) string {
	m := healthURL.FindStringSubmatch(p.log.String())
	if m == nil {
		return p.name + " does not say where it tells of its health"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m[1], nil)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.Status + ": " + string(body)
	}
	return ""
}

var healthURL = regexp.MustCompile(`msg="health and metrics".* url=(http://\S+/readyz)`)
