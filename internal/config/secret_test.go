package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecretInAFileIsReadEachTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	c, err := load([]string{"GAS_NATS_THAW_PASSWORD_FILE=" + file})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second", " with blanks "} {
		write(want + "\r\n")
		if got, err := c.ThawPassword.Read(); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if c.ThawPassword.String() != "[secret]" {
		t.Errorf("it is shown as %q", c.ThawPassword)
	}
	for content, says := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("x", maxSecret+1): "has more than 65536 bytes"} {
		write(content)
		if got, err := c.ThawPassword.Read(); err == nil || !strings.Contains(err.Error(), says) || got != "" {
			t.Errorf("%d bytes: %q, %v, want an error that says %q", len(content), got, err, says)
		}
	}
}

func TestAFileThatCannotBeASecretIsNamedWithItsVariable(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	if err := os.WriteFile(good, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ []string
		says    string
	}{
		{[]string{"GAS_NATS_WEB_PASSWORD_FILE=/nowhere"}, "GAS_NATS_WEB_PASSWORD_FILE: cannot be read: /nowhere: no such file or directory"},
		{[]string{"GAS_NATS_WEB_PASSWORD_FILE=" + filepath.Dir(good)}, "GAS_NATS_WEB_PASSWORD_FILE: cannot be read: "},
		{[]string{"GAS_NATS_WEB_PASSWORD_FILE=" + good, "GAS_NATS_WEB_PASSWORD=y"}, "GAS_NATS_WEB_PASSWORD_FILE: is set, and GAS_NATS_WEB_PASSWORD too: set one of them"},
		{[]string{"GAS_NATS_WEB_PASSWORD_FILE=" + good, "GAS_NATS_WEB_PASSWORD="}, ""},
		{[]string{"GAS_NATS_WEB_PASSWORD_FILE="}, ""},
	} {
		_, err := load(c.environ)
		if (err == nil) != (c.says == "") || err != nil && !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%v: got %v, want %q", c.environ, err, c.says)
		}
	}
	if faults := Unknown([]string{"GAS_OIDC_CLIENT_SECRET_FILE=x", "GAS_NATS_URL_FILE=x"}); len(faults) != 1 || faults[0].Variable != "GAS_NATS_URL_FILE" {
		t.Errorf("unknown: %v", faults)
	}
}
