package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Setting describes a variable that an operator can set.
type Setting struct {
	Name string
	// Default is the value of a variable that is not set. If Secret is true, nobody may
	// show the value.
	Default string
	Secret  bool
	// Empty says what an empty variable means. If it says nothing, an empty variable has
	// the default.
	Empty string
	// Help describes the setting in a few words.
	Help string
	// For are the services that read it; none means all.
	For []Service
}

// Settings returns all settings, in the order of [Config].
func Settings() []Setting {
	var all []Setting
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		s := Setting{
			Name: f.Tag.Get("env"), Default: f.Tag.Get("envDefault"), Secret: f.Type == reflect.TypeFor[Secret](),
			Empty: f.Tag.Get("empty"), Help: f.Tag.Get("help"),
		}
		for part := range strings.SplitSeq(f.Tag.Get("for"), ",") {
			if part != "" {
				s.For = append(s.For, Service(part))
			}
		}
		all = append(all, s)
		if s.Secret {
			all = append(all, Setting{Name: s.Name + fileVariable, Help: "a file with " + s.Help + ", which is read at each connection", For: s.For})
		}
	}
	return all
}

// Of returns the settings that the service reads.
func Of(part Service) []Setting {
	return slices.DeleteFunc(Settings(), func(s Setting) bool { return len(s.For) > 0 && !slices.Contains(s.For, part) })
}

// Lookup returns the setting called name; ok is false if there is none.
func Lookup(name string) (s Setting, ok bool) {
	all := Settings()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return all[i], true
}

// Fix says what to set the variable to.
func (s Setting) Fix() string {
	fix := fmt.Sprintf("set %s to %s", s.Name, s.Help)
	if s.Default != "" && !s.Secret {
		fix += fmt.Sprintf(" (default %s)", s.Default)
	}
	return fix
}

// Value returns what c has for the variable called name, as text; secrets are not shown.
func (c Config) Value(name string) string {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("env") == name {
			return fmt.Sprint(v.Field(i).Interface())
		}
	}
	return ""
}

// prefix is the beginning of our variables' names.
const prefix = "GAS_"

// servers are the variables that the NATS servers of deploy/nats read.
var servers = []string{
	"GAS_NATS_SERVER_NAME", "GAS_NATS_LISTEN", "GAS_NATS_MONITOR", "GAS_NATS_STORE", "GAS_NATS_CERT", "GAS_NATS_KEY",
	"GAS_NATS_CLUSTER_LISTEN", "GAS_NATS_CLUSTER_CA", "GAS_NATS_CLUSTER_ADVERTISE", "GAS_NATS_ROUTES",
}

// Unknown returns a fault for each variable that has our prefix and that nobody reads. The
// fault suggests the setting with the most similar name.
func Unknown(environ []string) []Fault {
	var faults []Fault
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		if _, known := Lookup(name); known || !strings.HasPrefix(name, prefix) || slices.Contains(servers, name) {
			continue
		}
		faults = append(faults, Fault{name, "no such setting; is " + nearest(name) + " meant?"})
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Variable, b.Variable) })
	return faults
}

// nearest returns the name of a setting that differs the least from name.
func nearest(name string) string {
	best, least := "", len(name)+100
	for _, s := range Settings() {
		if d := distance(name, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	return best
}

// distance returns the number of letters that must be added, removed or replaced to turn a
// into b (Levenshtein's distance).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
