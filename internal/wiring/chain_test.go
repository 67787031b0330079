package wiring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestTheChainFileHasCertificates(t *testing.T) {
	good := string(testenv.NewAWS(t).SNS.CACertPEM())
	for name, c := range map[string]struct {
		text string
		n    int
		says string
	}{
		"one":             {good, 1, ""},
		"two":             {good + good, 2, ""},
		"with words":      {"# Amazon RSA 2048 M01\n" + good, 1, ""},
		"none":            {"nothing", 0, "no certificate"},
		"one that is bad": {good + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0, "certificate 2"},
	} {
		file := filepath.Join(t.TempDir(), "chain.pem")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		chain, err := chainFrom(file)
		if len(chain) != c.n || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %d certificates and %v, want %d and %q", name, len(chain), err, c.n, c.says)
		}
	}
	if chain, err := chainFrom(""); chain != nil || err != nil {
		t.Errorf("without a file: %v, %v", chain, err)
	}
	if _, err := chainFrom("/nowhere.pem"); err == nil || !strings.Contains(err.Error(), "GAS_SNS_CHAIN_FILE") {
		t.Errorf("a file that is not there: %v", err)
	}
}
