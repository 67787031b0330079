package wiring_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/bridge"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/internal/local/aws/access"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/internal/restore"
	"github.com/gas-restore/gas/internal/thaw"
	"github.com/gas-restore/gas/internal/web"
)

// The tests of roles do everything that a service can do at its ports, with the adapters
// and the role that it has in production. So they show which permission each thing needs,
// whether the role lacks one, and whether it has one too many.

// roles are the roles of the services, and the parts that have their ports.
var roles = map[string][]any{
	estate.BridgeRole:  {bridge.Drain{}, bridge.Webhook{}},
	estate.ThawRole:    {thaw.Planner{}, thaw.Requester{}, reconcile.Sweeper{}},
	estate.RestoreRole: {restore.Restorer{}},
	estate.WebRole:     {web.Deps{}},
}

// elsewhere are the ports behind which is no AWS.
var elsewhere = []string{
	"kv.Store", "bridge.Publisher", "bridge.Verifier", "thaw.Tasks", "thaw.Completions", "reconcile.Streams",
	"web.Statuses", "web.Lane", "web.Letters", "web.SessionStore", "web.Store",
}

// methods returns the methods of the ports to AWS that the service's parts have.
func methods(parts []any) (all []string) {
	add := func(port reflect.Type) {
		for m := range port.Methods() {
			all = append(all, port.String()+"."+m.Name)
		}
	}
	for _, part := range parts {
		of := reflect.TypeOf(part)
		for i := range of.NumField() {
			port := of.Field(i).Type
			if port.Kind() == reflect.Interface && !slices.Contains(elsewhere, port.String()) {
				add(port)
			}
		}
		if of == reflect.TypeFor[restore.Restorer]() {
			add(reflect.TypeFor[archive.Upload]()) // restore.Uploads hands them out
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deed is something that a service does at a port.
type deed struct {
	role, method string
	// when is a situation in which the method makes other calls than usual.
	when string
	do   func(context.Context, *scene) error
	// want is the kind of the error; nil if there is none.
	want *fault.Kind
}

func (d deed) String() string {
	if d.when != "" {
		return d.role + ": " + d.method + " " + d.when
	}
	return d.role + ": " + d.method
}

func wants(k fault.Kind) *fault.Kind { return &k }

// did makes the deed in the role with the permits, and returns what of them it used and what
// it was refused.
func (s *scene) did(d deed, permits []estate.Permit) (used, refused []access.Need, err error) {
	key := s.as(d.role, permits)
	before := s.Role(key)
	err = d.do(s.t.Context(), s)
	s.busy = false
	after := s.Role(key)
	for need, n := range after.Used {
		if n > before.Used[need] {
			used = append(used, need)
		}
	}
	for need, n := range after.Refused {
		if n > before.Refused[need] {
			refused = append(refused, need)
		}
	}
	return used, refused, err
}

// covers reports whether the permit, which has one action, allows the need.
func covers(p estate.Permit, n access.Need) bool {
	of, all := strings.CutSuffix(p.Resource, "*")
	return p.Actions[0] == n.Action && (p.Resource == n.Resource || all && strings.HasPrefix(n.Resource, of))
}

// singles returns the permits of the role, one action each.
func (s *scene) singles(name string) (all []estate.Permit) {
	role, ok := estate.RoleOf(name)
	if !ok {
		s.t.Fatalf("there is no role %s", name)
	}
	for _, p := range role.Permits(s.place) {
		for _, action := range p.Actions {
			all = append(all, estate.Permit{Actions: []string{action}, Resource: p.Resource})
		}
	}
	return all
}

// TestARoleAllowsWhatItsServiceDoesAndNothingElse makes all deeds of the services in their
// roles: none is refused, and no permission is left over. A port or a method that the list of
// deeds lacks fails it too.
func TestARoleAllowsWhatItsServiceDoesAndNothingElse(t *testing.T) {
	s := newScene(t)
	all := deeds()
	for role, parts := range roles {
		for _, method := range methods(parts) {
			if !slices.ContainsFunc(all, func(d deed) bool { return d.role == role && d.method == method }) {
				t.Errorf("%s: no deed calls %s", role, method)
			}
		}
	}
	unused := map[string][]estate.Permit{}
	for role := range roles {
		unused[role] = s.singles(role)
	}
	for _, d := range all {
		if !slices.Contains(methods(roles[d.role]), d.method) {
			t.Errorf("%s: the service has no such port", d)
		}
		used, refused, err := s.did(d, s.singles(d.role))
		if len(refused) > 0 {
			t.Errorf("%s: the role lacks %s", d, refused)
		} else if d.want == nil && err != nil || d.want != nil && (err == nil || !fault.Is(err, *d.want)) {
			t.Errorf("%s: got %v, want kind %v", d, err, d.want)
		}
		unused[d.role] = slices.DeleteFunc(unused[d.role], func(p estate.Permit) bool {
			return slices.ContainsFunc(used, func(n access.Need) bool { return covers(p, n) })
		})
	}
	for role, permits := range unused {
		for _, p := range permits {
			t.Errorf("%s: nothing that the service does needs %s on %s", role, p.Actions[0], p.Resource)
		}
	}
}

// TestAServiceWithoutAPermissionSaysWhichOne takes each permission of each service away: a
// deed that needs it ends with an error of kind Denied, which names the action and the resource.
func TestAServiceWithoutAPermissionSaysWhichOne(t *testing.T) {
	s := newScene(t)
	type needed struct {
		deed
		used []access.Need
	}
	var all []needed
	for _, d := range deeds() {
		used, _, _ := s.did(d, s.singles(d.role))
		all = append(all, needed{d, used})
	}
	taken := 0
	for role := range roles {
		permits := s.singles(role)
		for i, without := range permits {
			left := slices.Delete(slices.Clone(permits), i, i+1)
			of := slices.IndexFunc(all, func(n needed) bool {
				return n.role == role && slices.ContainsFunc(n.used, func(u access.Need) bool { return covers(without, u) })
			})
			if of < 0 {
				continue // the test above says so
			}
			taken++
			d := all[of].deed
			_, refused, err := s.did(d, left)
			if len(refused) == 0 || !covers(without, refused[0]) {
				t.Errorf("%s without %s on %s: AWS refused %v", d, without.Actions[0], without.Resource, refused)
				continue
			}
			says := strings.ToLower(fmt.Sprint(err))
			if !fault.Is(err, fault.Denied) || !strings.Contains(says, strings.ToLower(without.Actions[0])) || !strings.Contains(says, strings.ToLower(name(refused[0].Resource))) {
				t.Errorf("%s without %s on %s: the error does not say so: %v", d, without.Actions[0], without.Resource, err)
			}
		}
	}
	t.Logf("%d permissions were taken away, one at a time", taken)
}

// name is the part of an ARN that a person knows it by.
func name(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	return strings.TrimPrefix(parts[5], "table/")
}
