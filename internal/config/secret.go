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

// Secret is a string that refuses to be printed. Its value is in a variable, or in a file.
// The variable with the same name and _FILE at its end names the file. The file is read each
// time, so a new secret needs no restart. The zero Secret means that there is none.
type Secret struct{ value, file string }

// NewSecret returns the secret with the value.
func NewSecret(value string) Secret { return Secret{value: value} }

// fileVariable is the end of the name of each variable that names a secret's file.
const fileVariable = "_FILE"

// maxSecret is the size in bytes of the largest file with a secret.
const maxSecret = 64 << 10

// Read returns the secret as it is now. It drops the line's end that most editors put at the
// end of a file.
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

// IsZero reports whether there is no secret.
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

// takeFiles makes each secret read its file, if a variable names one. It returns a fault for
// each file that cannot be read, and for each secret that has both a value and a file.
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

// reason returns the error without the name of the call, which does not help an operator.
func reason(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
