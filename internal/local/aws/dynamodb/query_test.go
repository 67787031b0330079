package dynamodb_test

import (
	"cmp"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

// order compares two keys as DynamoDB sorts them.
func order(a, b types.AttributeValue) int {
	switch a := a.(type) {
	case *types.AttributeValueMemberN:
		x, _ := new(big.Rat).SetString(a.Value)
		y, _ := new(big.Rat).SetString(b.(*types.AttributeValueMemberN).Value)
		return x.Cmp(y)
	case *types.AttributeValueMemberB:
		return cmp.Compare(string(a.Value), string(b.(*types.AttributeValueMemberB).Value))
	case *types.AttributeValueMemberS:
		return cmp.Compare(a.Value, b.(*types.AttributeValueMemberS).Value)
	}
	panic("not a key")
}

func prefixed(v, p types.AttributeValue) bool {
	switch v := v.(type) {
	case *types.AttributeValueMemberB:
		return strings.HasPrefix(string(v.Value), string(p.(*types.AttributeValueMemberB).Value))
	case *types.AttributeValueMemberS:
		return strings.HasPrefix(v.Value, p.(*types.AttributeValueMemberS).Value)
	}
	return false
}

// A query is compared with what a walk over all items finds.
func TestAQueryFindsWhatAWalkFinds(t *testing.T) {
	s := newStand(t, "")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		typ := rapid.SampledFrom([]types.ScalarAttributeType{"S", "N", "B"}).Draw(t, "type")
		table := fmt.Sprint("table", n)
		s.plain(table, "S", typ)
		sortKey := rapid.Custom(func(t *rapid.T) types.AttributeValue {
			text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01\x02é")), 1, 4, -1)
			switch typ {
			case "N":
				return nv(rapid.SampledFrom([]string{"0", "-1", "1", "-0.5", "0.5", "10", "9", "-10", "-9", "1e20", "-1e20", "1e-20", "-1e-20", "123.456", "123.4567", "-123.456", "-123.4567"}).Draw(t, "n"))
			case "B":
				return bv(text.Draw(t, "b"))
			}
			return sv(text.Draw(t, "s"))
		})
		var all []types.AttributeValue
		for range rapid.IntRange(0, 12).Draw(t, "items") {
			sk := sortKey.Draw(t, "sk")
			s.put(table, item{"pk": sv("p"), "sk": sk})
			if all == nil {
				s.put(table, item{"pk": sv("other"), "sk": sk})
			}
			all = append(all, sk)
		}
		slices.SortFunc(all, order)
		all = slices.CompactFunc(all, func(a, b types.AttributeValue) bool { return order(a, b) == 0 })
		x, y := sortKey.Draw(t, "x"), sortKey.Draw(t, "y")
		if order(x, y) > 0 {
			x, y = y, x
		}
		ops := map[string]func(v types.AttributeValue) bool{
			"": func(types.AttributeValue) bool { return true }, "sk = :x": func(v types.AttributeValue) bool { return order(v, x) == 0 },
			"sk < :x": func(v types.AttributeValue) bool { return order(v, x) < 0 }, "sk <= :x": func(v types.AttributeValue) bool { return order(v, x) <= 0 },
			"sk > :x": func(v types.AttributeValue) bool { return order(v, x) > 0 }, "sk >= :x": func(v types.AttributeValue) bool { return order(v, x) >= 0 },
			"sk BETWEEN :x AND :y": func(v types.AttributeValue) bool { return order(v, x) >= 0 && order(v, y) <= 0 },
		}
		if typ != "N" {
			ops["begins_with(sk, :x)"] = func(v types.AttributeValue) bool { return prefixed(v, x) }
		}
		op := rapid.SampledFrom(slices.Sorted(keysOf(ops))).Draw(t, "op")
		forward := rapid.Bool().Draw(t, "forward")
		var want []types.AttributeValue
		for _, v := range all {
			if ops[op](v) {
				want = append(want, v)
			}
		}
		if !forward {
			slices.Reverse(want)
		}
		in := &ddb.QueryInput{
			TableName: &table, KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": sv("p")},
			ScanIndexForward: &forward, Limit: aws.Int32(int32(rapid.IntRange(1, 5).Draw(t, "limit"))),
		}
		if op != "" {
			in.KeyConditionExpression = aws.String(op + " AND pk = :p")
			in.ExpressionAttributeValues[":x"] = x
			if strings.Contains(op, ":y") {
				in.ExpressionAttributeValues[":y"] = y
			}
		}
		var got []types.AttributeValue
		for p := ddb.NewQueryPaginator(s.Client, in); p.HasMorePages(); {
			out, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range out.Items {
				got = append(got, it["sk"])
			}
		}
		if !slices.EqualFunc(got, want, func(a, b types.AttributeValue) bool { return order(a, b) == 0 }) {
			t.Fatalf("%s %s forward=%v:\ngot  %v\nwant %v", typ, op, forward, reveal(lv(got...)), reveal(lv(want...)))
		}
	})
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestNumbersThatAreEqualAreOneKey(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "N", "")
	s.put(*table, item{"pk": nv("1.50"), "v": sv("old")})
	s.put(*table, item{"pk": nv("15e-1"), "v": sv("new")})
	got := s.get(*table, item{"pk": nv("+01.5")})
	if want := (item{"pk": nv("1.5"), "v": sv("new")}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", show(got), show(want))
	}
}

func TestParallelScanSegmentsShareTheTable(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	const n = 200
	for i := range n {
		s.put(table, item{"job_id": sv(fmt.Sprint("job", i)), "user_id": sv(fmt.Sprint(i % 7)), "submit_time": nv(fmt.Sprint(i))})
	}
	for _, index := range []*string{nil, aws.String("user_id_index")} {
		seen := map[string]int{}
		sizes := []int{}
		for segment := range 4 {
			size := 0
			p := ddb.NewScanPaginator(s.Client, &ddb.ScanInput{
				TableName: &table, IndexName: index, Segment: aws.Int32(int32(segment)), TotalSegments: aws.Int32(4), Limit: aws.Int32(7),
				FilterExpression: aws.String("submit_time >= :zero"), ExpressionAttributeValues: item{":zero": nv("0")},
			})
			for p.HasMorePages() {
				for _, it := range must[*ddb.ScanOutput](t)(p.NextPage(ctx)).Items {
					seen[it["job_id"].(*types.AttributeValueMemberS).Value]++
					size++
				}
			}
			sizes = append(sizes, size)
		}
		if len(seen) != n {
			t.Errorf("%d of %d items were seen; by segment %v", len(seen), n, sizes)
		}
		if index == nil && slices.Min(sizes) < n/10 {
			t.Errorf("the segments are uneven: %v", sizes)
		}
	}
}

func TestAPageEndsAtItsLimitsAndSaysWhereToGoOn(t *testing.T) {
	s := newStand(t, "")
	table := s.plain("things", "S", "N")
	for i := range 30 {
		s.put(*table, item{"pk": sv("p"), "sk": nv(fmt.Sprint(i)), "v": sv(strings.Repeat("x", 100<<10)), "odd": boolv(i%2 == 1)})
	}
	query := func(in ddb.QueryInput) *ddb.QueryOutput {
		t.Helper()
		in.TableName, in.KeyConditionExpression = table, aws.String("pk = :p")
		if in.ExpressionAttributeValues == nil {
			in.ExpressionAttributeValues = item{}
		}
		in.ExpressionAttributeValues[":p"] = sv("p")
		return must[*ddb.QueryOutput](t)(s.Query(ctx, &in))
	}
	out := query(ddb.QueryInput{Select: types.SelectCount, ReturnConsumedCapacity: "TOTAL"})
	if out.Count != 11 || len(out.Items) != 0 || !reflect.DeepEqual(out.LastEvaluatedKey, item{"pk": sv("p"), "sk": nv("10")}) {
		t.Errorf("a page of a megabyte: %d items, last %v", out.Count, show(out.LastEvaluatedKey))
	}
	if c := *out.ConsumedCapacity.CapacityUnits; c < 130 || c > 145 {
		t.Errorf("a megabyte read eventually costs %v units", c)
	}
	out = query(ddb.QueryInput{Limit: aws.Int32(4), FilterExpression: aws.String("odd = :t"), ExpressionAttributeValues: item{":t": boolv(true)}})
	if out.Count != 2 || out.ScannedCount != 4 || out.LastEvaluatedKey == nil {
		t.Errorf("got %d of %d", out.Count, out.ScannedCount)
	}
	out = query(ddb.QueryInput{ExclusiveStartKey: item{"pk": sv("p"), "sk": nv("28")}, Limit: aws.Int32(1), ProjectionExpression: aws.String("odd")})
	if len(out.Items) != 1 || !reflect.DeepEqual(out.Items[0], item{"odd": boolv(true)}) || out.LastEvaluatedKey == nil {
		t.Errorf("the last item: %v, then %v", out.Items, out.LastEvaluatedKey)
	}
	if out = query(ddb.QueryInput{ExclusiveStartKey: out.LastEvaluatedKey}); len(out.Items) != 0 || out.LastEvaluatedKey != nil {
		t.Errorf("after the last: %v, then %v", out.Items, out.LastEvaluatedKey)
	}
}

func TestQueriesThatAWSRefusesAreRefused(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	two := s.plain("things", "S", "N")
	for _, c := range []struct {
		name string
		in   ddb.QueryInput
		text string
	}{
		{"no key condition", ddb.QueryInput{TableName: two}, "Either the KeyConditions or KeyConditionExpression parameter must be specified"},
		{"no hash", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("sk = :n")}, "Query condition missed key schema element: pk"},
		{"hash range", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk > :s")}, "Query key condition not supported"},
		{"other attribute", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND v = :n")}, "Query condition missed key schema element: sk"},
		{"three", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND sk > :n AND v = :n")}, "Query key condition not supported"},
		{"twice", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND sk > :n AND sk < :n")}, "only contain one condition per key"},
		{"or", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s OR sk > :n")}, "Invalid operator used in KeyConditionExpression: OR"},
		{"in", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk IN (:s)")}, "Invalid operator used in KeyConditionExpression: IN"},
		{"exists", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND attribute_exists(sk)")}, "Invalid operator used in KeyConditionExpression: attribute_exists"},
		{"nested", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND sk.x = :n")}, "cannot have conditions on nested attributes"},
		{"begins with a number", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s AND begins_with(sk, :n)")}, "begins_with"},
		{"type", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :n")}, "Condition parameter type does not match schema type"},
		{"empty", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :e")}, "cannot contain an empty string value. Key: pk"},
		{"filter on key", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s"), FilterExpression: aws.String("sk > :n")}, "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"},
		{"no index", ddb.QueryInput{TableName: two, IndexName: aws.String("nope"), KeyConditionExpression: aws.String("pk = :s")}, "The table does not have the specified index: nope"},
		{"consistent index", ddb.QueryInput{TableName: &table, IndexName: aws.String("user_id_index"), ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("user_id = :s")}, "Consistent reads are not supported on global secondary indexes"},
		{"not projected", ddb.QueryInput{TableName: &table, IndexName: aws.String("archived_index"), ProjectionExpression: aws.String("input_file_name"), KeyConditionExpression: aws.String("user_id = :s")}, "Global secondary index archived_index does not project [input_file_name]"},
		{"all of a part", ddb.QueryInput{TableName: &table, IndexName: aws.String("archived_index"), Select: types.SelectAllAttributes, KeyConditionExpression: aws.String("user_id = :s")}, "Select type ALL_ATTRIBUTES is not supported"},
		{"limit", ddb.QueryInput{TableName: two, Limit: aws.Int32(0), KeyConditionExpression: aws.String("pk = :s")}, "Member must have value greater than or equal to 1"},
		{"start elsewhere", ddb.QueryInput{TableName: two, ExclusiveStartKey: item{"pk": sv("other"), "sk": nv("1")}, KeyConditionExpression: aws.String("pk = :s")}, "outside query boundaries"},
		{"start with less", ddb.QueryInput{TableName: two, ExclusiveStartKey: item{"pk": sv("s")}, KeyConditionExpression: aws.String("pk = :s")}, "The provided starting key is invalid"},
		{"start without base key", ddb.QueryInput{TableName: &table, IndexName: aws.String("user_id_index"), ExclusiveStartKey: item{"user_id": sv("s"), "submit_time": nv("1")}, KeyConditionExpression: aws.String("user_id = :s")}, "The provided starting key is invalid"},
		{"legacy", ddb.QueryInput{TableName: two, KeyConditionExpression: aws.String("pk = :s"), AttributesToGet: []string{"v"}}, "legacy parameter AttributesToGet"},
	} {
		if c.in.KeyConditionExpression != nil {
			c.in.ExpressionAttributeValues = item{}
			for k, v := range map[string]types.AttributeValue{":s": sv("s"), ":n": nv("1"), ":e": sv("")} {
				if strings.Contains(*c.in.KeyConditionExpression+" "+aws.ToString(c.in.FilterExpression), k) {
					c.in.ExpressionAttributeValues[k] = v
				}
			}
		}
		_, err := s.Query(ctx, &c.in)
		if err == nil {
			t.Errorf("%s: taken", c.name)
			continue
		}
		refused(t, err, "ValidationException", c.text)
	}
}

func TestAnIndexWithLagShowsThePast(t *testing.T) {
	s := newStand(t, "")
	table := s.catalog()
	s.service.SetIndexLag(time.Second)
	s.put(table, item{"job_id": sv("j"), "user_id": sv("u"), "archive_id": sv("a")})
	archived := func() int {
		t.Helper()
		return int(must[*ddb.QueryOutput](t)(s.Query(ctx, &ddb.QueryInput{
			TableName: &table, IndexName: aws.String("archived_index"), KeyConditionExpression: aws.String("user_id = :u"), ExpressionAttributeValues: item{":u": sv("u")},
		})).Count)
	}
	if n := archived(); n != 0 {
		t.Errorf("at once: %d", n)
	}
	s.world.Clock.Advance(2 * time.Second)
	if n := archived(); n != 1 {
		t.Errorf("later: %d", n)
	}
	must[*ddb.UpdateItemOutput](t)(s.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &table, Key: item{"job_id": sv("j")}, UpdateExpression: aws.String("REMOVE archive_id")}))
	if n := archived(); n != 1 {
		t.Errorf("removed, at once: %d", n)
	}
	if got := s.get(table, item{"job_id": sv("j")}); len(got) != 2 {
		t.Errorf("the table itself lags: %v", show(got))
	}
	s.service.SetIndexLag(0)
	s.world.Clock.Advance(2 * time.Second)
	if n := archived(); n != 0 {
		t.Errorf("removed, later: %d", n)
	}
}
