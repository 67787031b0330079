package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/caarlos0/env/v11"
)

// Fault is a variable with a wrong value, and what is wrong with it.
type Fault struct{ Variable, Problem string }

// Error returns the variable and what is wrong with it.
func (f Fault) Error() string { return f.Variable + ": " + f.Problem }

// Faults returns the faults in an error of [Load] or [Config.Check].
func Faults(err error) []Fault {
	if err == nil {
		return nil
	}
	if f, ok := err.(Fault); ok {
		return []Fault{f}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []Fault{{"the environment", err.Error()}}
	}
	var all []Fault
	for _, e := range joined.Unwrap() {
		all = append(all, Faults(e)...)
	}
	return all
}

// Load reads the environment, and checks the settings that these services read. The error
// joins a [Fault] for each variable that is wrong.
func Load(services ...Service) (Config, error) { return load(os.Environ(), services...) }

// From is [Load] for another environment, in the form of [os.Environ].
func From(environ []string, services ...Service) (Config, error) { return load(environ, services...) }

func load(environ []string, services ...Service) (Config, error) {
	var c Config
	vars := env.ToMap(environ)
	unread := unreadable(env.ParseWithOptions(&c, env.Options{Environment: vars}))
	takeEmpty(&c, vars)
	unread = append(unread, takeFiles(&c, vars)...)
	var errs []error
	for _, f := range unread {
		errs = append(errs, f)
	}
	for _, f := range Faults(c.Check(services...)) {
		// A variable that cannot be read already has a fault. Check saw only the default or zero
		// value in its place, so a fault of that value does not help.
		if !slices.ContainsFunc(unread, func(u Fault) bool { return u.Variable == f.Variable }) {
			errs = append(errs, f)
		}
	}
	return c, errors.Join(errs...)
}

// takeEmpty empties each field that an operator emptied on purpose: its variable is set to
// nothing, and that has a meaning. The library would take the default.
func takeEmpty(c *Config, vars map[string]string) {
	ref := reflect.ValueOf(c).Elem()
	for i := range ref.NumField() {
		tag := ref.Type().Field(i).Tag
		if value, set := vars[tag.Get("env")]; set && value == "" && tag.Get("empty") != "" {
			ref.Field(i).SetZero()
		}
	}
}

// unreadable returns a fault for each variable with a value of the wrong kind. The
// library names fields of the struct, and operators do not know these.
func unreadable(err error) []Fault {
	if err == nil {
		return nil
	}
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return []Fault{{"the environment", err.Error()}}
	}
	var faults []Fault
	for _, e := range all.Errors {
		p, ok := errors.AsType[env.ParseError](e)
		if !ok {
			faults = append(faults, Fault{"the environment", e.Error()})
			continue
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(p.Name)
		faults = append(faults, Fault{field.Tag.Get("env"), fmt.Sprintf("cannot be read as %s: %v", kindOf(p.Type), p.Err)})
	}
	return faults
}

// kindOf says, for an operator, what a variable of this type must contain.
func kindOf(t reflect.Type) string {
	switch {
	case t.String() == "time.Duration":
		return "a duration such as 90s"
	case t.String() == "slog.Level":
		return "a level: debug, info, warn or error"
	case t.Kind() == reflect.Map:
		return "name=value pairs with commas in between"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
