package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// UnmarshalExact reads the one JSON value in data into what v points to, as
// [json.Unmarshal] does, but matches the names of a struct's fields exactly, at every
// depth: encoding/json takes "ID" and "Id" for "id", and whoever wrote them may have
// meant something else. A member that is not a field is passed over. An embedded struct
// is not read. The error is [json.Unmarshal]'s; of a [json.UnmarshalTypeError] Field is
// the path from v.
func UnmarshalExact(data []byte, v any) error {
	return exact(data, reflect.ValueOf(v).Elem(), "")
}

// UnmarshalObject is [UnmarshalExact] for a message from outside, which is one JSON object. The
// error is a sentence for the sender and names the field at fault.
func UnmarshalObject(data []byte, v any) error {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 {
		return errors.New("message is empty, want a JSON object")
	}
	if trimmed[0] != '{' {
		return errors.New("message is not a JSON object")
	}
	if err := UnmarshalExact(trimmed, v); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fmt.Errorf("%s is a JSON %s, want a %s", te.Field, te.Value, te.Type)
		}
		return fmt.Errorf("message is not one JSON object: %w", err)
	}
	return nil
}

// exact reads data, one JSON value, into v; path leads there.
func exact(data []byte, v reflect.Value, path string) error {
	t := v.Type()
	null := bytes.Equal(bytes.TrimSpace(data), []byte("null"))
	switch {
	case null || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
	case t.Kind() == reflect.Struct:
		return exactStruct(data, v, path)
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		p := reflect.New(t.Elem())
		v.Set(p)
		return exact(data, p.Elem(), path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return exactSlice(data, v, path)
	}
	return placed(path, json.Unmarshal(data, v.Addr().Interface()))
}

func exactStruct(data []byte, v reflect.Value, path string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return placed(path, err)
	}
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		raw, ok := members[name]
		if !ok {
			continue
		}
		if err := exact(raw, v.Field(i), strings.TrimPrefix(path+"."+name, ".")); err != nil {
			return err
		}
	}
	return nil
}

func exactSlice(data []byte, v reflect.Value, path string) error {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return placed(path, err)
	}
	s := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, raw := range items {
		if err := exact(raw, s.Index(i), path); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}

// placed says in an error about a type where the value stands.
func placed(path string, err error) error {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		te.Field = path
	}
	return err
}
