package dynamodb_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// sample is the item that conditions are tried on.
var sample = item{
	"pk": sv("k"), "s": sv("hello"), "n": nv("5"), "big": nv("123456789012345678901234567890.5"), "b": bv("abc"), "yes": boolv(true),
	"null": &types.AttributeValueMemberNULL{Value: true}, "l": lv(nv("1"), sv("x"), mv(item{"d": nv("9")})),
	"m": mv(item{"a": nv("1"), "b-c": sv("q")}), "ss": ssv("x", "y"), "ns": nsv("1", "2"),
}

var values = item{
	":s": sv("hello"), ":he": sv("he"), ":x": sv("x"), ":S": sv("S"), ":five": nv("5.0"), ":one": nv("1"), ":nine": nv("9"), ":four": nv("4"), ":three": nv("3"),
	":big": nv("123456789012345678901234567890.4"), ":ab": bv("ab"), ":t": boolv(true), ":ss": ssv("y", "x"), ":l": lv(sv("l")), ":z": sv(""),
}

var names = map[string]string{"#bc": "b-c", "#name": "name", "#m": "m", "#k": "s"}

// used returns those of the placeholders that are in the expression.
func used(expression string) (map[string]string, item) {
	var n map[string]string
	var v item
	for k, name := range names {
		if mentions(expression, k) {
			if n == nil {
				n = map[string]string{}
			}
			n[k] = name
		}
	}
	for k, val := range values {
		if mentions(expression, k) {
			if v == nil {
				v = item{}
			}
			v[k] = val
		}
	}
	return n, v
}

func mentions(expression, k string) bool {
	for i := 0; ; {
		j := strings.Index(expression[i:], k)
		if j < 0 {
			return false
		}
		i += j + len(k)
		if i == len(expression) || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz", rune(expression[i])) {
			return true
		}
	}
}

func TestConditionsHoldAsDocumented(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	s.put(*table, sample)
	for expression, want := range map[string]bool{
		"s = :s": true, "s = :x": false, "n = :five": true, "n <> :five": false, "n < :nine": true, "n <= :five": true,
		"n > :four": true, "n >= :nine": false, "big > :big": true, "s < :five": false, "absent = :s": false, "absent <> :s": true, "absent < :five": false,
		"NOT absent = :s":        true,
		"attribute_exists(m.a)":  true,
		"attribute_exists(m.zz)": false, "attribute_not_exists(l[3])": true, "attribute_exists(l[2].d)": true, "l[2].d = :nine": true,
		"m.#bc = :s": false, "attribute_exists(#m.#bc)": true,
		"attribute_type(s, :S)": true, "attribute_type(n, :S)": false,
		"begins_with(s, :he)": true, "begins_with(b, :ab)": true, "begins_with(n, :he)": false, "begins_with(absent, :he)": false,
		"contains(s, :he)": true, "contains(l, :x)": true, "contains(ss, :x)": true, "contains(ns, :one)": true, "contains(ns, :x)": false, "contains(l, :one)": true,
		"size(s) = :five": true, "size(ss) < :nine": true, "size(n) < :nine": false, "size(m) = :one": false, "size(l) = :three": true,
		"n BETWEEN :four AND :nine": true, "n BETWEEN :one AND :four": false, "n IN (:one, :five)": true, "n IN (:one)": false,
		"s = :s AND n = :one": false, "s = :s OR n = :one": true, "NOT (s = :s AND n = :one)": true,
		"n = :one OR s = :s AND n = :five": true, "(n = :five OR s = :s) AND n = :one": false, "not n = :one and s = :s": true,
		"ss = :ss": true, "yes = :t": true, "#k = :s": true, "n = m.a": false, "NOT NOT s = :s": true,
	} {
		n, v := used(expression)
		out, err := s.PutItem(ctx, &ddb.PutItemInput{TableName: table, Item: sample, ConditionExpression: &expression, ExpressionAttributeNames: n, ExpressionAttributeValues: v})
		_ = out
		if want && err != nil {
			t.Errorf("%s: got %v, want it to hold", expression, err)
		} else if !want {
			if err == nil {
				t.Errorf("%s holds", expression)
			} else {
				refused(t, err, "ConditionalCheckFailedException", "The conditional request failed")
			}
		}
	}
}

func TestWhatTheGrammarRefusesIsRefused(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	for _, c := range []struct{ expression, text string }{
		{"", "The expression can not be empty"},
		{"s =", `Syntax error; token: "<EOF>"`},
		{"s = :s s", `Syntax error; token: "s"`},
		{"s = 5", `Syntax error; token: "5"`},
		{"s ! :s", `Syntax error; token: "!"`},
		{"s", "Syntax error"},
		{":s = :s AND", "Syntax error"},
		{"(s = :s", "Syntax error"},
		{"((s = :s))", "redundant parentheses"},
		{"name = :s", "Attribute name is a reserved keyword; reserved keyword: name"},
		{"#nope = :s", "An expression attribute name used in the document path is not defined; attribute name: #nope"},
		{"s = :nope", "An expression attribute value used in expression is not defined; attribute value: :nope"},
		{"attribute_exists(:s)", "requires a document path"},
		{"attribute_exists(s, n)", "Incorrect number of operands"},
		{"attribute_type(s, :x)", "Invalid attribute type name found; type: x"},
		{"attribute_type(s, :five)", "Incorrect operand type"},
		{"begins_with(s, :five)", "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"},
		{"nope(s)", "Invalid function name; function: nope"},
		{"size(s)", "Syntax error"},
		{"contains(s, s)", "The first operand must be distinct"},
		{"s = s", "The first operand must be distinct from the remaining operands"},
		{"s < :t", "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL"},
		{"n BETWEEN :nine AND :one", "upper bound to be greater than or equal to lower bound"},
		{"n BETWEEN :nine AND :s", "same data type"},
		{"n IN ()", "Syntax error"},
		{"if_not_exists(s, :s) = :s", "not allowed in a condition expression"},
		{"s[x] = :s", "Syntax error"},
		{"s[99999999999] = :s", "List index is not within the allowable range"},
		{strings.Repeat("x", 5000) + " = :s", "Expression size has exceeded the maximum allowed size"},
		{strings.Repeat("s = :s AND ", 300) + "s = :s", "too many operators"},
		{strings.Repeat("NOT ", 100) + "s = :s", "nested"},
	} {
		n, v := used(c.expression)
		_, err := s.PutItem(ctx, &ddb.PutItemInput{TableName: table, Item: sample, ConditionExpression: &c.expression, ExpressionAttributeNames: n, ExpressionAttributeValues: v})
		if err == nil {
			t.Errorf("%q is taken", c.expression)
			continue
		}
		refused(t, err, "ValidationException", c.text)
		if !strings.Contains(err.Error(), "Invalid ConditionExpression: ") {
			t.Errorf("%q: %v doesn't name the expression", c.expression, err)
		}
	}
}

func TestPlaceholdersMustAllBeUsed(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	put := func(e *string, n map[string]string, v item) error {
		_, err := s.PutItem(ctx, &ddb.PutItemInput{TableName: table, Item: sample, ConditionExpression: e, ExpressionAttributeNames: n, ExpressionAttributeValues: v})
		return err
	}
	ok := aws.String("attribute_not_exists(gone)")
	refused(t, put(ok, map[string]string{"#a": "a"}, nil), "ValidationException", "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}")
	refused(t, put(ok, nil, item{":b": sv(""), ":a": sv("")}), "ValidationException", "Value provided in ExpressionAttributeValues unused in expressions: keys: {:a, :b}")
	refused(t, put(nil, map[string]string{"#a": "a"}, nil), "ValidationException", "ExpressionAttributeNames can only be specified when using expressions")
	refused(t, put(nil, nil, item{":a": sv("")}), "ValidationException", "ExpressionAttributeValues can only be specified when using expressions")
	refused(t, put(ok, map[string]string{}, item{}), "ValidationException", "must not be empty")
	refused(t, put(ok, map[string]string{"a": "a"}, nil), "ValidationException", `contains invalid key: Syntax error; key: "a"`)
	refused(t, put(ok, nil, item{":a b": sv("")}), "ValidationException", "contains invalid key")
}

func TestUpdatesDoAsDocumented(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	for _, c := range []struct {
		expression string
		want       item // the difference from the sample; nil values are gone
	}{
		{"SET n = n + :one", item{"n": nv("6")}},
		{"SET n = :one - n", item{"n": nv("-4")}},
		{"SET fresh = if_not_exists(fresh, :one) + :four", item{"fresh": nv("5")}},
		{"SET s = if_not_exists(s, :x)", item{}},
		{"SET l = list_append(l, :l)", item{"l": lv(nv("1"), sv("x"), mv(item{"d": nv("9")}), sv("l"))}},
		{"SET l = list_append(:l, if_not_exists(nothing, :l))", item{"l": lv(sv("l"), sv("l"))}},
		{"SET m.a = :x, m.zz = s, s = m.a", item{"m": mv(item{"a": sv("x"), "b-c": sv("q"), "zz": sv("hello")}), "s": nv("1")}},
		{"SET l[9] = :x, l[0] = :nine, l[7] = :z", item{"l": lv(nv("9"), sv("x"), mv(item{"d": nv("9")}), sv(""), sv("x"))}},
		{"REMOVE l[0], l[2], s, absent, l[8]", item{"l": lv(sv("x")), "s": nil}},
		{"REMOVE l[2].d, m.#bc", item{"l": lv(nv("1"), sv("x"), mv(item{})), "m": mv(item{"a": nv("1")})}},
		{"ADD n :four, fresh :one, ss :ss", item{"n": nv("9"), "fresh": nv("1")}},
		{"DELETE ss :ss", item{"ss": nil}},
		{"ADD m.a :four", item{"m": mv(item{"a": nv("5"), "b-c": sv("q")})}},
		{"SET big = big + :one REMOVE s DELETE absent :ss", item{"big": nv("123456789012345678901234567891.5"), "s": nil}},
	} {
		s.put(*table, sample)
		n, v := used(c.expression)
		out, err := s.UpdateItem(ctx, &ddb.UpdateItemInput{
			TableName: table, Key: item{"pk": sv("k")}, UpdateExpression: &c.expression, ExpressionAttributeNames: n, ExpressionAttributeValues: v,
			ReturnValues: types.ReturnValueAllNew,
		})
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		want := item{}
		for k, v := range sample {
			want[k] = v
		}
		for k, v := range c.want {
			want[k] = v
			if v == nil {
				delete(want, k)
			}
		}
		if !reflect.DeepEqual(out.Attributes, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", c.expression, show(out.Attributes), show(want))
		}
		if got := s.get(*table, item{"pk": sv("k")}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: stored %v", c.expression, show(got))
		}
	}
}

func TestUpdatesThatAWSRefusesAreRefused(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	s.put(*table, sample)
	for _, c := range []struct{ expression, text string }{
		{"SET pk = :s", "Cannot update attribute pk. This attribute is part of the key"},
		{"SET m = :s, m.a = :x", "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [m], path two: [m, a]"},
		{"SET m.a = :s REMOVE m[0]", "Two document paths conflict with each other"},
		{"SET s = :s SET n = :one", `The "SET" section can only be used once`},
		{"s = :s", "Syntax error"},
		{"SET REMOVE s", "Invalid UpdateExpression"},
		{"SET s = :s REMOVE", "Invalid UpdateExpression"},
		{"SET s = :s, ", "Syntax error"},
		{"ADD n :s", "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"},
		{"ADD s :one", "An operand in the update expression has an incorrect data type"},
		{"DELETE ss :one", "operator: DELETE, operand type: NUMBER"},
		{"DELETE s :ss", "incorrect data type"},
		{"SET x = absent", "The provided expression refers to an attribute that does not exist in the item"},
		{"SET x = n + s", "An operand in the update expression has an incorrect data type"},
		{"SET x = n + :s", "Incorrect operand type for operator or function; operator or function: +, operand type: S"},
		{"SET absent.x = :s", "The document path provided in the update expression is invalid for update"},
		{"SET s.x = :s", "invalid for update"},
		{"SET l.x = :s", "invalid for update"},
		{"REMOVE absent.x", "invalid for update"},
		{"SET x = if_not_exists(:s, :x)", "requires a document path"},
		{"SET x = list_append(l)", "Incorrect number of operands"},
		{"SET x = list_append(l, :s)", "Incorrect operand type"},
		{"SET x = size(l)", "not allowed in an update expression"},
		{"SET x = nope(l)", "Invalid function name; function: nope"},
		{"SET name = :s", "reserved keyword: name"},
	} {
		n, v := used(c.expression)
		_, err := s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: table, Key: item{"pk": sv("k")}, UpdateExpression: &c.expression, ExpressionAttributeNames: n, ExpressionAttributeValues: v})
		if err == nil {
			t.Errorf("%q is taken", c.expression)
			continue
		}
		refused(t, err, "ValidationException", c.text)
	}
	if got := s.get(*table, item{"pk": sv("k")}); !reflect.DeepEqual(got, sample) {
		t.Errorf("a refused update changed the item: %v", show(got))
	}
}

func TestReturnValuesAndProjectionsCutTheItem(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "")
	s.put(*table, sample)
	update := func(rv types.ReturnValue) item {
		t.Helper()
		return must[*ddb.UpdateItemOutput](t)(s.UpdateItem(ctx, &ddb.UpdateItemInput{
			TableName: table, Key: item{"pk": sv("k")}, ReturnValues: rv,
			UpdateExpression: aws.String("SET m.a = m.a + :one, l[1] = :one REMOVE s"), ExpressionAttributeValues: item{":one": nv("1")},
		})).Attributes
	}
	for _, c := range []struct {
		rv   types.ReturnValue
		want item
	}{
		{types.ReturnValueUpdatedOld, item{"m": mv(item{"a": nv("1")}), "l": lv(sv("x")), "s": sv("hello")}},
		{types.ReturnValueUpdatedNew, item{"m": mv(item{"a": nv("3")}), "l": lv(nv("1"))}},
		{types.ReturnValueNone, nil},
	} {
		if got := update(c.rv); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.rv, show(got), show(c.want))
		}
	}
	get := func(p string, n map[string]string) (item, error) {
		out, err := s.GetItem(ctx, &ddb.GetItemInput{TableName: table, Key: item{"pk": sv("k")}, ProjectionExpression: &p, ExpressionAttributeNames: n})
		if err != nil {
			return nil, err
		}
		return out.Item, nil
	}
	got := must[item](t)(get("l[2].d, m.#b, n, nothing, l[0]", map[string]string{"#b": "b-c"}))
	if want := (item{"l": lv(nv("1"), mv(item{"d": nv("9")})), "m": mv(item{"b-c": sv("q")}), "n": nv("5")}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", show(got), show(want))
	}
	_, err := get("m, m.a", nil)
	refused(t, err, "ValidationException", "Invalid ProjectionExpression: Two document paths overlap")
	_, err = get("status", nil)
	refused(t, err, "ValidationException", "reserved keyword: status")
	_, err = s.PutItem(ctx, &ddb.PutItemInput{TableName: table, Item: sample, ReturnValues: types.ReturnValueAllNew})
	refused(t, err, "ValidationException", "ReturnValues can only be ALL_OLD or NONE")
	out := must[*ddb.DeleteItemOutput](t)(s.DeleteItem(ctx, &ddb.DeleteItemInput{TableName: table, Key: item{"pk": sv("k")}, ReturnValues: types.ReturnValueAllOld}))
	if len(out.Attributes) != len(sample)-1 {
		t.Errorf("a deletion returned %v", show(out.Attributes))
	}
}
