package sns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/sqs"
)

// The scopes of a filter policy.
const (
	attributesScope = "MessageAttributes"
	bodyScope       = "MessageBody"
)

// Limits of filter policies.
const (
	maxFilterKeys   = 5
	maxFilterValues = 150 // combinations
	maxFilterSize   = 256 << 10
	maxFilterNumber = 1e9
)

// otherMatchTypes are those of SNS that the stand-in does not have.
var otherMatchTypes = []string{"wildcard", "cidr"}

// filter is a filter policy: each of its keys must match.
type filter map[string]filterNode

// filterNode is a key's conditions, or its nested policy. One condition must hold.
type filterNode struct {
	conditions []condition
	nested     filter
}

// condition tells whether a key with these values in a message fits; there says whether the
// message has the key.
type condition func(values []any, there bool) bool

// refusal is why SNS takes no policy, in its words.
type refusal string

func (r refusal) Error() string { return string(r) }

func wrong(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// one is the condition that a value fits.
func one(fits func(any) bool) condition {
	return func(values []any, _ bool) bool { return slices.ContainsFunc(values, fits) }
}

// parseFilter reads a policy. An empty policy, which lets all messages through, is nil.
func parseFilter(text, scope string) (filter, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxFilterSize {
		return nil, wrong("Filter policy is larger than 256 KB")
	}
	v, err := decodeJSON(text)
	if err != nil {
		return nil, wrong("failed to parse JSON. %v", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, wrong("Filter is not an object")
	}
	p := filterParser{scope: scope, combinations: 1}
	f, err := p.object(object, 1)
	switch {
	case err != nil:
		return nil, err
	case p.keys > maxFilterKeys:
		return nil, wrong("Filter policy can not have more than %d keys", maxFilterKeys)
	case p.combinations > maxFilterValues:
		return nil, wrong("Filter policy is too complex: it has %d combinations of values, more than %d", p.combinations, maxFilterValues)
	case len(f) == 0:
		return nil, nil
	}
	return f, nil
}

func decodeJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more after the value")
	}
	return v, nil
}

type filterParser struct {
	scope              string
	keys, combinations int
}

func (p *filterParser) object(in map[string]any, depth int) (filter, error) {
	out := filter{}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		if key == "$or" {
			return nil, wrong("the stand-in does not have the OR operator $or")
		}
		var node filterNode
		var err error
		switch v := in[key].(type) {
		case []any:
			if len(v) == 0 {
				return nil, wrong("Empty arrays are not allowed")
			}
			p.keys++
			p.combinations = min(p.combinations*len(v)*depth, 1<<30)
			for _, value := range v {
				c, err := parseCondition(value)
				if err != nil {
					return nil, err
				}
				node.conditions = append(node.conditions, c)
			}
		case map[string]any:
			if p.scope != bodyScope {
				return nil, wrong("Filter policy scope MessageAttributes does not support nested filter policy")
			}
			if len(v) == 0 {
				return nil, wrong("Empty objects are not allowed")
			}
			node.nested, err = p.object(v, depth+1)
		default:
			err = wrong("%q must be an object or an array", key)
		}
		if err != nil {
			return nil, err
		}
		out[key] = node
	}
	return out, nil
}

// number returns a JSON number's value.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

func bounded(v any) (float64, error) {
	n, ok := number(v)
	if !ok || n < -maxFilterNumber || n > maxFilterNumber {
		return 0, wrong("Value of numeric must be a number from -10^9 to 10^9, not %v", v)
	}
	return n, nil
}

// exactly returns the test of one plain value.
func exactly(v any) (func(any) bool, error) {
	switch v.(type) {
	case string, bool, nil:
		return func(got any) bool { return got == v }, nil
	case json.Number:
		want, err := bounded(v)
		return func(got any) bool {
			n, ok := number(got)
			return ok && n == want
		}, err
	}
	return nil, wrong("Match value must be String, number, true, false, or null")
}

func parseCondition(v any) (condition, error) {
	in, ok := v.(map[string]any)
	if !ok {
		fits, err := exactly(v)
		return one(fits), err
	}
	if len(in) != 1 {
		return nil, wrong("Only one key allowed in match expression")
	}
	for name, operand := range in {
		switch name {
		case "exists":
			want, ok := operand.(bool)
			if !ok {
				return nil, wrong("exists match pattern must be either true or false.")
			}
			return func(_ []any, there bool) bool { return there == want }, nil
		case "anything-but":
			fits, err := parseAnythingBut(operand)
			return one(fits), err
		case "numeric":
			fits, err := parseNumeric(operand)
			return one(fits), err
		}
		fits, err := parseAffix(name, operand)
		return one(fits), err
	}
	panic("unreachable")
}

// parseAffix reads the match types on the text of a value.
func parseAffix(name string, operand any) (func(any) bool, error) {
	var fits func(s, want string) bool
	switch name {
	case "prefix":
		fits = strings.HasPrefix
	case "suffix":
		fits = strings.HasSuffix
	case "equals-ignore-case":
		fits = strings.EqualFold
	default:
		if slices.Contains(otherMatchTypes, name) {
			return nil, wrong("the stand-in does not have the match type %s", name)
		}
		return nil, wrong("Unrecognized match type %s", name)
	}
	want, ok := operand.(string)
	if !ok || want == "" {
		return nil, wrong("%s match pattern must be a string, and not empty", name)
	}
	return func(v any) bool {
		s, ok := v.(string)
		return ok && fits(s, want)
	}, nil
}

// parseAnythingBut reads a value, several values, or a prefix or suffix that a value must
// not have.
func parseAnythingBut(operand any) (func(any) bool, error) {
	var not []func(any) bool
	switch v := operand.(type) {
	case []any:
		if len(v) == 0 {
			return nil, wrong("Empty arrays are not allowed")
		}
		for _, value := range v {
			fits, err := exactly(value)
			if err != nil {
				return nil, err
			}
			not = append(not, fits)
		}
	case map[string]any:
		for name, of := range v {
			if len(v) != 1 || name != "prefix" && name != "suffix" {
				return nil, wrong("Unsupported anything-but pattern: %s", name)
			}
			fits, err := parseAffix(name, of)
			if err != nil {
				return nil, err
			}
			not = append(not, fits)
		}
		if len(v) == 0 {
			return nil, wrong("Empty objects are not allowed")
		}
	default:
		fits, err := exactly(v)
		if err != nil {
			return nil, err
		}
		not = append(not, fits)
	}
	return func(got any) bool {
		return !slices.ContainsFunc(not, func(fits func(any) bool) bool { return fits(got) })
	}, nil
}

// parseNumeric reads one comparison, or the two of a range.
func parseNumeric(operand any) (func(any) bool, error) {
	in, ok := operand.([]any)
	if !ok || len(in) != 2 && len(in) != 4 {
		return nil, wrong("Value of numeric must be an array of one or two operators, each with its number")
	}
	var fits []func(float64) bool
	var operators []string
	for i := 0; i < len(in); i += 2 {
		want, err := bounded(in[i+1])
		if err != nil {
			return nil, err
		}
		operator, _ := in[i].(string)
		operators = append(operators, operator)
		switch operator {
		case "=":
			fits = append(fits, func(n float64) bool { return n == want })
		case "<":
			fits = append(fits, func(n float64) bool { return n < want })
		case "<=":
			fits = append(fits, func(n float64) bool { return n <= want })
		case ">":
			fits = append(fits, func(n float64) bool { return n > want })
		case ">=":
			fits = append(fits, func(n float64) bool { return n >= want })
		default:
			return nil, wrong("Unrecognized numeric range operator: %v", in[i])
		}
	}
	if len(operators) == 2 && (!strings.HasPrefix(operators[0], ">") || !strings.HasPrefix(operators[1], "<")) {
		return nil, wrong("a range begins with > or >=, and ends with < or <=")
	}
	return func(v any) bool {
		n, ok := number(v)
		return ok && !slices.ContainsFunc(fits, func(f func(float64) bool) bool { return !f(n) })
	}, nil
}

// holds tells whether one of the node's conditions holds.
func (n filterNode) holds(values []any, there bool) bool {
	return slices.ContainsFunc(n.conditions, func(c condition) bool { return c(values, there) })
}

// passesAttributes tells whether a message with these attributes comes through the filter.
func (f filter) passesAttributes(attributes map[string]sqs.Attribute) bool {
	for key, node := range f {
		a, there := attributes[key]
		if !node.holds(attributeValues(a), there) {
			return false
		}
	}
	return true
}

// attributeValues are the values that conditions see. A Binary attribute has none.
func attributeValues(a sqs.Attribute) []any {
	switch a.DataType {
	case "String":
		return []any{a.StringValue}
	case "Number":
		n, err := strconv.ParseFloat(a.StringValue, 64)
		if err != nil {
			return nil
		}
		return []any{json.Number(strconv.FormatFloat(n, 'f', -1, 64))}
	case "String.Array":
		if v, err := decodeJSON(a.StringValue); err == nil {
			if list, ok := v.([]any); ok {
				return list
			}
		}
	}
	return nil
}

// passesBody tells whether a message with this text comes through the filter. A text that
// is no JSON object does not.
func (f filter) passesBody(text string) bool {
	if !bytes.HasPrefix(bytes.TrimSpace([]byte(text)), []byte("{")) {
		return false
	}
	v, err := decodeJSON(text)
	object, ok := v.(map[string]any)
	return err == nil && ok && f.passesObject(object)
}

func (f filter) passesObject(in map[string]any) bool {
	for key, node := range f {
		v, there := in[key]
		list, isList := v.([]any)
		if !isList && there {
			list = []any{v}
		}
		if node.nested == nil {
			if _, isObject := v.(map[string]any); !node.holds(list, there && !isObject) {
				return false
			}
			continue
		}
		// Of a list of objects, one must fit. A key of an object that is not there is not
		// there either.
		if len(list) == 0 {
			list = []any{map[string]any{}}
		}
		if !slices.ContainsFunc(list, func(v any) bool {
			object, ok := v.(map[string]any)
			return ok && node.nested.passesObject(object)
		}) {
			return false
		}
	}
	return true
}
