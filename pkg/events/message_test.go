package events

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestAMessageIsDecodedByItsHeader(t *testing.T) {
	for name, e := range examples() {
		m, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeMessage(m.Header, m.Data)
		if err != nil || reflect.TypeOf(back) != reflect.TypeOf(e) {
			t.Errorf("%s: got a %T, %v; want a %T", name, back, err, e)
			continue
		}
		if again, err := Encode(back); err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%s: got %+v, %v; want %+v", name, again, err, m)
		}
	}
}

func TestAMessageThatSaysNoTypeOfOursIsRefused(t *testing.T) {
	good, err := Encode(examples()["thaw_requested"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		header map[string][]string
		want   error
		says   string
	}{
		{nil, ErrMalformed, "0 headers Gas-Type"},
		{map[string][]string{"gas-type": {"thaw.requested"}}, ErrMalformed, "0 headers Gas-Type"},
		{map[string][]string{HeaderType: {"thaw.requested", "thaw.requested"}}, ErrMalformed, "2 headers Gas-Type"},
		{map[string][]string{HeaderType: {"thaw.refused"}}, ErrUnknownType, `"thaw.refused"`},
		{map[string][]string{HeaderType: {""}}, ErrUnknownType, `""`},
		{map[string][]string{HeaderType: {"status.changed"}}, ErrMalformed, `type is "thaw.requested", want "status.changed"`},
	} {
		if e, err := DecodeMessage(c.header, good.Data); e != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got %+v, %v; want %v that says %q", c.header, e, err, c.want, c.says)
		}
	}
	newer := bytes.Replace(good.Data, []byte(`"v":1`), []byte(`"v":3`), 1)
	if e, err := DecodeMessage(good.Header, newer); e != nil || !errors.Is(err, ErrNewerVersion) {
		t.Errorf("got %+v, %v; want ErrNewerVersion", e, err)
	}
}

func TestTheRegistryHasEveryTypeOnce(t *testing.T) {
	byType, events := map[string]TypeInfo{}, map[string]bool{}
	for _, info := range Types() {
		if _, twice := byType[info.Type]; twice {
			t.Errorf("%s stands twice", info.Type)
		}
		byType[info.Type] = info
	}
	for name, e := range examples() {
		info, ok := byType[e.Type()]
		if !ok {
			t.Errorf("%s: its type %s is not registered", name, e.Type())
			continue
		}
		events[e.Type()] = true
		if want := cmp.Or(map[bool]string{true: info.First}[strings.HasSuffix(name, "_first")], info.Subject); !under(e.Subject(), want) {
			t.Errorf("%s: its subject %s is none of %s", name, e.Subject(), want)
		}
	}
	if len(events) != len(byType) {
		t.Errorf("%d types are registered, and %d have an example", len(byType), len(events))
	}
	// The manual has the table too.
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range Types() {
		found := false
		for line := range strings.Lines(string(doc)) {
			found = found || strings.Contains(line, "\t"+info.Stream+" ") && strings.Contains(line, info.Type)
		}
		if !found {
			t.Errorf("doc.go has no line with %s and %s", info.Stream, info.Type)
		}
	}
}

// under reports whether subject is one that pattern matches.
func under(subject, pattern string) bool {
	s, p := strings.Split(subject, "."), strings.Split(pattern, ".")
	for i, token := range p {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || token != "*" && token != s[i] {
			return false
		}
	}
	return len(s) == len(p)
}

func FuzzDecodeMessageNeverPanicsAndReadsWhatItRead(f *testing.F) {
	for _, e := range examples() {
		if m, err := Encode(e); err == nil {
			f.Add(e.Type(), m.Data)
		}
	}
	f.Add("", []byte("{}"))
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		e, err := DecodeMessage(map[string][]string{HeaderType: {typ}}, data)
		if err != nil {
			if e != nil {
				t.Fatalf("got %+v and %v", e, err)
			}
			return
		}
		if e.Type() != typ {
			t.Fatalf("a %s was read as %s", typ, e.Type())
		}
		if e.Subject() == "" || e.MessageID() == "" {
			t.Fatalf("%+v has no subject or id", e)
		}
		m, err := Encode(e)
		if err != nil {
			return // a value of a newer release, or a time beyond what JSON holds
		}
		if back, err := DecodeMessage(m.Header, m.Data); err != nil || back.MessageID() != e.MessageID() {
			t.Fatalf("%+v was written as %s and read as %+v, %v", e, m.Data, back, err)
		}
	})
}
