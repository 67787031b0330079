package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gas-restore/gas/pkg/events"
)

func TestAnEventIsReadByTheExactNamesOfItsFields(t *testing.T) {
	const good = `{"v":1,"type":"premium.upgraded","data":{"id":"m","user_id":"u","at":"2026-11-27T00:00:00Z"}}`
	if _, err := events.Decode[events.UserUpgraded]([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v", "type", "data", "id", "user_id", "at"} {
		for _, variant := range []string{strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.Replace(name, "s", "ſ", 1)} {
			if variant == name {
				continue
			}
			renamed := strings.Replace(good, `"`+name+`"`, `"`+variant+`"`, 1)
			if e, err := events.Decode[events.UserUpgraded]([]byte(renamed)); !errors.Is(err, events.ErrMalformed) {
				t.Errorf("%s: got %+v, %v, want ErrMalformed", renamed, e, err)
			}
			added := strings.Replace(good, `"`+name+`"`, `"`+variant+`":["of another"],"`+name+`"`, 1)
			if e, err := events.Decode[events.UserUpgraded]([]byte(added)); err != nil || e.UserID != "u" || e.ID != "m" {
				t.Errorf("%s: got %+v, %v, want it read as if %s were not there", added, e, err, variant)
			}
		}
	}
}

func TestExactNamesGoAllTheWayDown(t *testing.T) {
	type inner struct {
		A int `json:"a"`
	}
	type outer struct {
		Plain  string
		In     inner               `json:"in"`
		Ptr    *inner              `json:"ptr,omitempty"`
		List   []inner             `json:"list"`
		Map    map[string][]string `json:"map"`
		Hidden int                 `json:"-"`
	}
	for _, c := range []struct {
		in   string
		want outer
	}{
		{`{"Plain":"x","plain":7}`, outer{Plain: "x"}},
		{`{"in":{"a":1,"A":2},"In":{"a":3}}`, outer{In: inner{1}}},
		{`{"ptr":{"A":2,"a":1}}`, outer{Ptr: &inner{1}}},
		{`{"ptr":null,"list":null,"in":null}`, outer{}},
		{`{"list":[{"a":1},{"A":2}]}`, outer{List: []inner{{1}, {0}}}},
		{`{"map":{"a":["1"],"A":["2"]},"-":4,"Hidden":5}`, outer{Map: map[string][]string{"a": {"1"}, "A": {"2"}}}},
		{` null `, outer{}},
	} {
		var got outer
		if err := events.UnmarshalExact([]byte(c.in), &got); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
	for in, field := range map[string]string{`{"in":{"a":"x"}}`: "in.a", `{"list":[{"a":1},{"a":[]}]}`: "list.a", `{"Plain":1}`: "Plain", `{"in":7}`: "in", `[]`: ""} {
		var got outer
		err := events.UnmarshalExact([]byte(in), &got)
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok || te.Field != field {
			t.Errorf("%s: got %v, want a type error of %q", in, err, field)
		}
	}
	for _, in := range []string{"", "{", `{"a":1}{}`, `{"a":1} x`} {
		if err := events.UnmarshalExact([]byte(in), new(outer)); err == nil {
			t.Errorf("%q is read without an error", in)
		}
	}
}

func FuzzUnmarshalExactReadsWhatWasWritten(f *testing.F) {
	f.Add([]byte(`{"id":"m","ID":"n","replay_of":[{"seq":1}],"header":{"a":["b"]}}`))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var exact, again events.DeadLetter
		if events.UnmarshalExact(data, &exact) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is no JSON and was read", data)
		}
		out, err := json.Marshal(exact)
		if err != nil {
			return // a time beyond what JSON holds
		}
		if err := events.UnmarshalExact(out, &again); err != nil {
			t.Errorf("%s, written from %q: %v", out, data, err)
		}
	})
}
