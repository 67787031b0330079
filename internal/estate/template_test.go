package estate

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write deploy/aws/gas.yaml anew")

// TestTheTemplateIsThatOfTheDefinition compares deploy/aws/gas.yaml with the definition;
// with -update it writes the file anew.
func TestTheTemplateIsThatOfTheDefinition(t *testing.T) {
	const file = "../../deploy/aws/gas.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(Template()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Template() {
		t.Errorf("%s is not that of the definition: write it anew with go test ./internal/estate -update", file)
	}
}
