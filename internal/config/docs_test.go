package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestEachSettingIsInTheDocumentation compares the settings with the tables of
// docs/configuration.md.
func TestEachSettingIsInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		value := ""
		if s.Default != "" {
			value = " `" + s.Default + "`"
		}
		row := fmt.Sprintf("| `%s` |%s |", s.Name, value)
		if strings.Count(string(page), "\n"+row) != 1 {
			readers := strings.Trim(strings.ReplaceAll(fmt.Sprint(s.For), " ", ", "), "[]")
			t.Errorf("docs/configuration.md lacks, or has twice: %s %s | %s |", row, readers, s.Help)
		}
	}
	if got, want := strings.Count(string(page), "\n| `GAS_"), len(Settings()); got != want {
		t.Errorf("docs/configuration.md has %d variables, and there are %d", got, want)
	}
}
