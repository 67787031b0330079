package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/local/aws/access"
)

// deeds are what the roles did at the stand-ins of all scripts.
type deeds struct {
	mu      sync.Mutex // guards what follows
	scripts int
	// permits has what the roles allow, as "role action resource", and whether it was used, or
	// has an occasion that no script plays.
	permits map[string]bool
	refused []string
}

func newDeeds() *deeds { return &deeds{permits: map[string]bool{}} }

// record asks the stand-in of the script for what the roles did.
func (d *deeds) record(ts *testscript.TestScript) {
	resp, err := http.Get(ts.Getenv("AWS_ENDPOINT_URL") + "/_local/roles")
	ts.Check(err)
	defer resp.Body.Close()
	var records map[string]access.Record
	ts.Check(json.NewDecoder(resp.Body).Decode(&records))
	place := estate.Place{
		Partition: "aws", Region: ts.Getenv("AWS_REGION"), Account: strings.Split(ts.Getenv("GAS_PREMIUM_TOPIC_ARN"), ":")[4],
		Tables:  estate.Names{Jobs: ts.Getenv("GAS_JOB_TABLE"), Accounts: ts.Getenv("GAS_ACCOUNT_TABLE"), Plans: ts.Getenv("GAS_PLAN_TABLE")},
		Results: ts.Getenv("GAS_RESULTS_BUCKET"), Archives: ts.Getenv("GAS_ARCHIVE_BUCKET"), Vault: ts.Getenv("GAS_VAULT"),
		PremiumTopic: estate.LastOf(ts.Getenv("GAS_PREMIUM_TOPIC_ARN")), RestoreTopic: estate.LastOf(ts.Getenv("GAS_RESTORE_TOPIC_ARN")),
		PremiumQueue: estate.LastOf(ts.Getenv("GAS_PREMIUM_QUEUE_URL")), RestoreQueue: estate.LastOf(ts.Getenv("GAS_RESTORE_QUEUE_URL")),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scripts++
	for _, role := range estate.Roles() {
		record := records[role.Name]
		for need := range record.Refused {
			d.refused = append(d.refused, ts.Name()+": "+role.Name+" "+need.Action+" "+need.Resource)
		}
		for _, p := range role.Permits(place) {
			of, all := strings.CutSuffix(p.Resource, "*")
			for _, action := range p.Actions {
				what := role.Name + " " + action + " " + p.Resource
				for need := range record.Used {
					if need.Action == action && (need.Resource == p.Resource || all && strings.HasPrefix(need.Resource, of)) {
						d.permits[what] = true
					}
				}
				d.permits[what] = d.permits[what] || role.Occasion(place, action, p.Resource) != ""
			}
		}
	}
}

// compare says which permits of the roles no script used, and what the roles refused.
func (d *deeds) compare(t *testing.T, roles ...string) {
	t.Helper()
	slices.Sort(d.refused)
	for _, what := range d.refused {
		t.Errorf("refused, although a command or a service does it: %s", what)
	}
	if d.scripts < withRoles {
		t.Logf("%d of %d scripts with roles ran: whether all permits are used is not known", d.scripts, withRoles)
		return
	}
	for what, used := range d.permits {
		if role, _, _ := strings.Cut(what, " "); slices.Contains(roles, role) && !used {
			t.Errorf("allowed, although no command did it: %s", what)
		}
	}
}

// withRoles is the number of scripts that record what the roles did.
const withRoles = 9
