package sns

import (
	"testing"

	"github.com/gas-restore/gas/internal/local/aws/sqs"
)

func FuzzFilterPoliciesNeverPanic(f *testing.F) {
	for _, policy := range []string{
		`{"k":["a",1,true,null,{"prefix":"a"},{"suffix":"b"},{"exists":false},{"anything-but":["a",1]},{"numeric":[">",0,"<=",1e3]}]}`,
		`{"a":{"b":[{"anything-but":{"prefix":"x"}}]}}`, `{"$or":[]}`, `{"k":[{"equals-ignore-case":"X"}]}`,
	} {
		f.Add(policy, `{"k":["a"],"a":[{"b":1}]}`)
	}
	f.Fuzz(func(t *testing.T, policy, message string) {
		for _, scope := range []string{attributesScope, bodyScope} {
			in, err := parseFilter(policy, scope)
			if err != nil {
				continue
			}
			in.passesBody(message)
			for _, kind := range []string{"String", "Number", "String.Array"} {
				in.passesAttributes(map[string]sqs.Attribute{"k": {DataType: kind, StringValue: message}})
			}
		}
	})
}
