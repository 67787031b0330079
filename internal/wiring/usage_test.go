package wiring

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/daemon"
)

func services() []config.Service {
	return []config.Service{config.Bridge, config.Thaw, config.Restore, config.Web}
}

func TestHelpListsTheVariablesOfTheServiceWithDefaultsAndStartsNothing(t *testing.T) {
	own := map[config.Service]string{config.Bridge: "GAS_WEBHOOK_LISTEN", config.Thaw: "GAS_THAW_SLOTS", config.Restore: "GAS_RESTORE_SLOTS", config.Web: "GAS_WEB_LISTEN"}
	for _, name := range services() {
		for _, arg := range []string{"--help", "-h", "-help", "help"} {
			var out, errs bytes.Buffer
			code, done := command(name, []string{arg}, &out, &errs)
			if !done || code != daemon.ExitOK || errs.Len() > 0 {
				t.Errorf("%s %s: done %v, code %d, says %q", name, arg, done, code, &errs)
			}
			for _, want := range []string{does[name], own[name], "GAS_NATS_URL", "nats://127.0.0.1:4222", "GAS_LOG_FORMAT"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%s %s does not tell %q:\n%s", name, arg, want, &out)
				}
			}
			for other, variable := range own {
				if other != name && strings.Contains(out.String(), variable) {
					t.Errorf("%s %s tells of %s, which is %s's", name, arg, variable, other)
				}
			}
			if strings.Contains(out.String(), "dev-") {
				t.Errorf("%s %s shows a password:\n%s", name, arg, &out)
			}
		}
	}
}

func TestVersionTellsTheBuildAndStartsNothing(t *testing.T) {
	for _, name := range services() {
		for _, arg := range []string{"--version", "-version", "version"} {
			var out, errs bytes.Buffer
			code, done := command(name, []string{arg}, &out, &errs)
			if !done || code != daemon.ExitOK || errs.Len() > 0 || !strings.HasPrefix(out.String(), string(name)+" ") || !strings.Contains(out.String(), ", go1.") {
				t.Errorf("%s %s: done %v, code %d, tells %q, says %q", name, arg, done, code, &out, &errs)
			}
		}
	}
}

func TestAnUnknownArgumentIsAMistakeAndStartsNothing(t *testing.T) {
	for _, name := range services() {
		for _, args := range [][]string{{"--slots=3"}, {"run"}, {"--help", "me"}, {"--version", "2"}, {""}} {
			var out, errs bytes.Buffer
			if code, done := command(name, args, &out, &errs); !done || code != daemon.ExitUsage || out.Len() > 0 || !strings.Contains(errs.String(), "unexpected argument") {
				t.Errorf("%s %q: done %v, code %d, says %q", name, args, done, code, &errs)
			}
		}
		if _, done := command(name, nil, nil, nil); done {
			t.Errorf("%s without arguments does not start", name)
		}
	}
}

func TestAMisspeltVariableIsLoggedWhenAServiceStarts(t *testing.T) {
	var told []string
	warnOfUnknown([]string{"GAS_THAW_SLOT=9", "GAS_THAW_SLOTS=9", "HOME=/"}, func(_ string, args ...any) {
		for _, a := range args {
			told = append(told, a.(string))
		}
	})
	if got := strings.Join(told, " "); got != "variable GAS_THAW_SLOT hint no such setting; is GAS_THAW_SLOTS meant" {
		t.Errorf("got %q", got)
	}
}
