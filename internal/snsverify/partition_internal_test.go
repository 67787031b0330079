package snsverify

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestThePartitionsAreTheSDKs fails when AWS has a partition more: give it a line, and
// look up what its certificates are called.
func TestThePartitionsAreTheSDKs(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatalf("where is the SDK? %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "internal", "endpoints", "awsrulesfn", "partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sdk struct {
		Partitions []struct {
			ID      string                                  `json:"id"`
			Outputs struct{ DNSSuffix string }              `json:"outputs"`
			Regions map[string]struct{ Description string } `json:"regions"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(data, &sdk); err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{}
	for _, p := range partitions() {
		ours[p.name] = p.suffix
	}
	regions := 0
	for _, p := range sdk.Partitions {
		if ours[p.ID] != p.Outputs.DNSSuffix {
			t.Errorf("partition %s: the suffix is %q, the SDK says %q", p.ID, ours[p.ID], p.Outputs.DNSSuffix)
		}
		delete(ours, p.ID)
		for region := range p.Regions {
			if strings.HasSuffix(region, "-global") {
				continue // of services without regions
			}
			regions++
			if got, at, err := place("arn:" + p.ID + ":sns:" + region + ":123456789012:t"); err != nil || got.name != p.ID || at != region {
				t.Errorf("a topic in %s of %s: got %s of %s, %v", region, p.ID, at, got.name, err)
			}
			for _, other := range partitions() {
				if other.name != p.ID && CheckTopic("arn:"+other.name+":sns:"+region+":123456789012:t") == nil {
					t.Errorf("a topic in %s of %s is accepted, the region is of %s", region, other.name, p.ID)
				}
			}
		}
	}
	if len(ours) > 0 || regions < 30 {
		t.Errorf("the SDK does not know %v; %d regions", ours, regions)
	}
}
