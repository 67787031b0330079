package checkup

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/gas-restore/gas/internal/config"
)

// settings records variables with wrong values.
func (l *look) settings(environ []string, err error) {
	faults := config.Faults(err)
	for _, f := range faults {
		l.bad[f.Variable] = true
		fix := ""
		if s, ok := config.Lookup(f.Variable); ok {
			fix = s.Fix()
		}
		l.wrong(f.Variable, f.Problem, fix)
	}
	unknown := config.Unknown(environ)
	for _, f := range unknown {
		l.wrong(f.Variable, f.Problem, "correct its name, or unset it: nothing reads it")
	}
	if len(faults)+len(unknown) == 0 {
		set := 0
		for _, line := range environ {
			name, _, _ := strings.Cut(line, "=")
			if _, ok := config.Lookup(name); ok {
				set++
			}
		}
		l.ok("settings", "%d of %d variables are set, the others have their defaults", set, len(config.Settings()))
	}
}

// files opens each file that a setting names. The contents of a price list are checked
// with the region, see [look.prices].
func (l *look) files() {
	for _, s := range config.Settings() {
		path := l.cfg.Value(s.Name)
		if path == "" || s.Secret || !strings.HasSuffix(s.Name, "_FILE") || !l.reads(s) {
			continue
		}
		data, err := os.ReadFile(path)
		l.bad[s.Name] = true
		switch {
		case errors.Is(err, os.ErrNotExist):
			l.wrong(s.Name, fmt.Sprintf("there is no file %s", path), s.Fix())
		case err != nil:
			l.wrong(s.Name, err.Error(), s.Fix())
		case (strings.HasSuffix(s.Name, "_CA_FILE") || strings.HasSuffix(s.Name, "_CHAIN_FILE")) && !x509.NewCertPool().AppendCertsFromPEM(data):
			l.wrong(s.Name, fmt.Sprintf("there is no certificate in %s", path), s.Fix())
		default:
			l.bad[s.Name] = false
			l.ok(s.Name, "%s is there", path)
		}
	}
}

// reads reports whether one of the checked services reads the setting.
func (l *look) reads(s config.Setting) bool {
	return len(s.For) == 0 || l.has(s.For...) || l.operator && slices.Contains(s.For, config.Operator)
}

// addresses checks whether the listen addresses are free.
func (l *look) addresses() {
	for _, s := range config.Settings() {
		addr := l.cfg.Value(s.Name)
		if addr == "" || !strings.HasSuffix(s.Name, "_LISTEN") || !l.reads(s) || l.bad[s.Name] {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			ln.Close()
			l.ok(s.Name, "%s is free", addr)
		case errors.Is(err, syscall.EADDRINUSE):
			l.ok(s.Name, "%s is in use: by the service, if it runs", addr)
		default:
			l.wrong(s.Name, err.Error(), "name an address of the machine that the service runs on, and check there")
		}
	}
}

// certs checks whether a stand-in's certificates can be fetched: without them the webhook
// refuses everything.
func (l *look) certs(ctx context.Context) {
	const name = "GAS_SNS_CERT_ENDPOINT"
	at := l.cfg.SNSCertEndpoint
	if at == "" || l.bad[name] || !l.has(config.Bridge) {
		return
	}
	err := l.try(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	if err != nil {
		l.wrong(name, err.Error(), "set it to the address of the stand-in, or unset it for Amazon's")
		return
	}
	l.ok(name, "%s answers", at)
}
