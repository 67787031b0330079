package signin

import (
	"encoding/json"
	"time"
)

// fields are the members of a JSON object that the provider wrote. Each member is read
// alone: a member that nobody reads may have any type.
type fields map[string]json.RawMessage

// text returns the member called name. It is empty if the member is no string.
func (f fields) text(name string) string {
	var s string
	if json.Unmarshal(f[name], &s) != nil {
		return ""
	}
	return s
}

// texts returns the member called name. It is nil if the member is no list of strings.
func (f fields) texts(name string) []string {
	var s []string
	if json.Unmarshal(f[name], &s) != nil {
		return nil
	}
	return s
}

// time returns the member called name, in seconds since 1970. It is zero if the member is no
// number.
func (f fields) time(name string) time.Time {
	var s float64
	if json.Unmarshal(f[name], &s) != nil || s <= 0 || s > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0)
}

// only returns an object with the members called names.
func (f fields) only(names ...string) ([]byte, error) {
	few := fields{}
	for _, name := range names {
		if v, ok := f[name]; ok {
			few[name] = v
		}
	}
	return json.Marshal(few)
}
