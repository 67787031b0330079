package dynamodb

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestANumberIsReadWhole(t *testing.T) {
	for _, c := range []struct {
		value types.AttributeValue
		want  int64
		ok    bool
	}{
		{num(7), 7, true},
		{num(-7), -7, true},
		{num(1<<62 + 1), 1<<62 + 1, true},
		{&types.AttributeValueMemberN{Value: "7.9"}, 7, true},
		{&types.AttributeValueMemberN{Value: "-7.9"}, -7, true},
		{&types.AttributeValueMemberN{Value: "1.7E3"}, 1700, true},
		{&types.AttributeValueMemberN{Value: "1E30"}, 0, false},
		{&types.AttributeValueMemberN{Value: "-1E30"}, 0, false},
		{&types.AttributeValueMemberN{Value: "seven"}, 0, false},
		{str("7"), 0, false},
		{nil, 0, false},
	} {
		if got, ok := number(item{"n": c.value}, "n"); got != c.want || ok != c.ok {
			t.Errorf("number(%v) = %d, %v, want %d, %v", c.value, got, ok, c.want, c.ok)
		}
	}
}
