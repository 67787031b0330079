package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
)

// Secret is a string that refuses to be printed. It stands in a variable, or in a file that
// the variable with the ending _FILE names: a file is read each time, so that a new
// secret in it services no restart. The zero Secret is none.
type Secret struct{ value, file string }

// NewSecret returns the secret with the value.
func NewSecret(value string) Secret { return Secret{value: value} }

// fileVariable is what the name of a variable ends with that names a file with a secret.
const fileVariable = "_FILE"

// maxSecret is the most that a file with a secret may have, in bytes.
const maxSecret = 64 << 10

// Read returns the secret itself, as it is now. A line's end behind it in a file does not
// belong to it.
func (s Secret) Read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch value := strings.TrimRight(string(b), "\r\n"); {
	case err != nil:
		return "", err
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s has more than %d bytes", s.file, maxSecret)
	case value == "":
		return "", fmt.Errorf("%s is empty", s.file)
	default:
		return value, nil
	}
}

// Reveal returns the secret itself, empty if it cannot be read.
func (s Secret) Reveal() string {
	value, _ := s.Read()
	return value
}

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s == Secret{} }

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "[secret]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it takes the value.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// takeFiles has each secret read from its file, where a variable names one. It returns a fault
// for each that cannot be read, or that has a value beside its file.
func takeFiles(c *Config, vars map[string]string) (faults []Fault) {
	ref := reflect.ValueOf(c).Elem()
	for i := range ref.NumField() {
		secret, ok := ref.Field(i).Addr().Interface().(*Secret)
		name := ref.Type().Field(i).Tag.Get("env")
		file := vars[name+fileVariable]
		if !ok || file == "" {
			continue
		}
		*secret = Secret{file: file}
		if vars[name] != "" {
			faults = append(faults, Fault{name + fileVariable, "is set, and " + name + " too: set one of them"})
		} else if _, err := secret.Read(); err != nil {
			faults = append(faults, Fault{name + fileVariable, "cannot be read: " + reason(err)})
		}
	}
	return faults
}

// reason returns what is wrong with a file, with its name once.
func reason(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
