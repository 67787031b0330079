package dynamodb

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// maxNesting is how deep lists and maps may be in each other.
const maxNesting = 32

// errSyntax is what a scanner returns for what is not JSON or not a value.
var errSyntax = errors.New("unexpected JSON")

// scanner reads attribute values from JSON. It does not repeat the checks of the JSON
// decoder in front; on other input it fails or returns something wrong.
type scanner struct {
	s string
	i int
}

// parseItem reads a map of attribute values, as an item or a key is. An empty
// text is no attributes.
func parseItem(raw json.RawMessage) (attrs, *world.Error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	sc := scanner{s: string(raw)}
	a, err := sc.attrs(0)
	return a, wireError(err)
}

func wireError(err error) *world.Error {
	if err == nil {
		return nil
	}
	var e *world.Error
	if errors.As(err, &e) {
		return e
	}
	return world.Errorf(400, "SerializationException", "%s where an attribute value belongs", err)
}

func (sc *scanner) space() {
	for sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case ' ', '\t', '\n', '\r':
			sc.i++
		default:
			return
		}
	}
}

// take consumes c if it comes next.
func (sc *scanner) take(c byte) bool {
	sc.space()
	if sc.i < len(sc.s) && sc.s[sc.i] == c {
		sc.i++
		return true
	}
	return false
}

// word consumes w if it comes next.
func (sc *scanner) word(w string) bool {
	sc.space()
	if strings.HasPrefix(sc.s[sc.i:], w) {
		sc.i += len(w)
		return true
	}
	return false
}

func (sc *scanner) string() (string, error) {
	if !sc.take('"') {
		return "", errSyntax
	}
	start := sc.i
	escaped := false
	for sc.i < len(sc.s) {
		switch sc.s[sc.i] {
		case '\\':
			escaped = true
			sc.i++
		case '"':
			text := sc.s[start:sc.i]
			sc.i++
			if escaped {
				var out string
				if err := json.Unmarshal([]byte(sc.s[start-1:sc.i]), &out); err != nil {
					return "", errSyntax
				}
				return out, nil
			}
			if !utf8.ValidString(text) {
				return "", errors.New("invalid UTF-8")
			}
			return text, nil
		}
		sc.i++
	}
	return "", errSyntax
}

// object reads {"name": …}; member reads what follows each name.
func (sc *scanner) object(member func(name string) error) error {
	if !sc.take('{') {
		return errSyntax
	}
	if sc.take('}') {
		return nil
	}
	for {
		name, err := sc.string()
		if err != nil {
			return err
		}
		if !sc.take(':') {
			return errSyntax
		}
		if err := member(name); err != nil {
			return err
		}
		if sc.take('}') {
			return nil
		}
		if !sc.take(',') {
			return errSyntax
		}
	}
}

func (sc *scanner) array(element func() error) error {
	if !sc.take('[') {
		return errSyntax
	}
	if sc.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if sc.take(']') {
			return nil
		}
		if !sc.take(',') {
			return errSyntax
		}
	}
}

func (sc *scanner) attrs(depth int) (attrs, error) {
	if depth > maxNesting {
		return nil, invalid("Nesting Levels have exceeded supported limits: Attributes have nested %d levels", depth)
	}
	out := attrs{}
	var seen map[string]bool
	err := sc.object(func(name string) error {
		v, err := sc.value(depth)
		if err != nil {
			return err
		}
		// Few names are compared one by one; many would take too long.
		if len(out) == 16 {
			seen = make(map[string]bool, 64)
			for i := range out {
				seen[out[i].name] = true
			}
		}
		if seen[name] || seen == nil && out.get(name) != nil {
			return world.Errorf(400, "SerializationException", "attribute %q is there twice", clip(name))
		}
		if seen != nil {
			seen[name] = true
		}
		out = append(out, attr{name, v})
		return nil
	})
	return out, err
}

func (sc *scanner) value(depth int) (value, error) {
	var v value
	err := sc.object(func(typ string) error {
		if v.typ != "" {
			return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
		}
		v.typ = typ
		return sc.typed(&v, depth)
	})
	if err == nil && v.typ == "" {
		err = invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	return v, err
}

func (sc *scanner) typed(v *value, depth int) (err error) {
	switch v.typ {
	case "S", "N", "B":
		v.str, err = sc.scalar(v.typ)
	case "BOOL":
		switch {
		case sc.word("true"):
			v.bool = true
		case !sc.word("false"):
			err = errSyntax
		}
	case "NULL":
		if sc.word("false") {
			return invalid("One or more parameter values were invalid: Null attribute value types must have the value of true")
		}
		if !sc.word("true") {
			err = errSyntax
		}
	case "M":
		v.m, err = sc.attrs(depth + 1)
	case "L":
		if depth+1 > maxNesting {
			return invalid("Nesting Levels have exceeded supported limits: Attributes have nested %d levels", depth+1)
		}
		v.list = []value{}
		err = sc.array(func() error {
			e, err := sc.value(depth + 1)
			v.list = append(v.list, e)
			return err
		})
	case "SS", "NS", "BS":
		err = sc.set(v)
	default:
		err = invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes; there is no type %q", clip(v.typ))
	}
	return err
}

func (sc *scanner) scalar(typ string) (string, error) {
	s, err := sc.string()
	if err != nil {
		return "", err
	}
	switch typ {
	case "N":
		n, err := parseNumber(s)
		if err != nil {
			return "", err
		}
		return n.String(), nil
	case "B":
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil {
			return "", errors.New("invalid base64")
		}
		return string(b), nil
	}
	return s, nil
}

func (sc *scanner) set(v *value) error {
	seen := map[string]bool{}
	err := sc.array(func() error {
		s, err := sc.scalar(v.element())
		if err != nil {
			return err
		}
		if seen[s] {
			return invalid("One or more parameter values were invalid: Input collection contains duplicates: %s", clip(s))
		}
		seen[s] = true
		v.set = append(v.set, s)
		return nil
	})
	if err == nil && len(v.set) == 0 {
		kind := map[string]string{"SS": "string", "NS": "number", "BS": "binary"}[v.typ]
		return invalid("One or more parameter values were invalid: An %s set  may not be empty", kind)
	}
	return err
}
