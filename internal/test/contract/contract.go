// Package contract asks a server that speaks AWS's protocols what the pipeline asks AWS, and
// keeps the answers. Real AWS answers in somebody's account (`make aws-contract`), and so do
// servers that others wrote (`make peers`). The stand-in must answer as they did, except where a
// list of differences says why it does not.
package contract

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smiddleware "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/gas-restore/gas/internal/wait"
)

// Service is a part of the contract.
type Service string

// The services.
const (
	S3       Service = "s3"
	DynamoDB Service = "dynamodb"
	SQS      Service = "sqs"
	SNS      Service = "sns"
	Glacier  Service = "glacier"
)

// Target is a server that is asked.
type Target struct {
	// Name is the name of the fixture.
	Name string
	// Config has the endpoint, the region and the credentials.
	Config aws.Config
	// Account is the number of the account.
	Account string
	// Services are the parts that the server has.
	Services []Service
	// Prefix begins the names of all things that are made.
	Prefix string
	// Tags says that things get the tag [Tag]. Not every server knows tags.
	Tags bool
	// Archives says that archives are put into a vault. At AWS, the vault can be deleted only a
	// day later.
	Archives bool
}

// Tag is the tag of each thing that is made, with the value "yes".
const Tag = "gas-contract"

// Answer is the answer to one call: its status, its error code, and those fields that matter,
// with names in place of ids and times.
type Answer struct {
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"`
	Fields any    `json:"fields,omitempty"`
}

// String returns the answer as JSON.
func (a Answer) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Answers are a server's answers, by the step.
type Answers map[string]Answer

// Load reads the answers of a fixture.
func Load(file string) (Answers, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var a Answers
	return a, json.Unmarshal(text, &a)
}

// Save writes the answers to a fixture.
func (a Answers) Save(file string) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Differ returns the steps of the other answers to which these answers are not the same, in
// order.
func (a Answers) Differ(other Answers) (steps []string) {
	for _, step := range slices.Sorted(maps.Keys(other)) {
		if a[step].String() != other[step].String() {
			steps = append(steps, step)
		}
	}
	return steps
}

// run is one run of the contract at a target.
type run struct {
	Target
	answers Answers
	ids     map[string]string // the name of an id
	names   []string          // old, new: the names of the run, and those in the fixture
}

// Run asks the target everything, and removes what it made, also after an error or a panic. The
// error says what could not be made or removed.
func Run(ctx context.Context, t Target) (answers Answers, err error) {
	r := &run{Target: t, answers: Answers{}, ids: map[string]string{}}
	r.names = []string{t.Prefix, "PREFIX-", cmp.Or(t.Account, "no account"), "ACCOUNT", t.Config.Region, "REGION"}
	defer func() {
		// The run may have been interrupted.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		err = errors.Join(err, Clean(end, t))
	}()
	for _, part := range []struct {
		of  Service
		run func(context.Context) error
	}{{SNS, r.sns}, {SQS, r.sqs}, {S3, r.s3}, {DynamoDB, r.dynamodb}, {Glacier, r.glacier}} {
		if !slices.Contains(t.Services, part.of) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return r.answers, fmt.Errorf("%s: %w", part.of, err)
		}
	}
	return r.answers, nil
}

// cleanTime bounds the removal.
const cleanTime = 5 * time.Minute

// name returns the name of a thing that the run makes.
func (r *run) name(what string) string { return r.Prefix + what }

// ask records the answer to a call. fields are those that matter: their names at each depth,
// those of what they are in too. The error is the call's.
func ask[T any](r *run, step string, fields string, out T, err error) (T, error) {
	a := Answer{Status: statusOf(out, err)}
	if err != nil {
		a.Code = "no answer"
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			a.Code = api.ErrorCode()
			if i := strings.LastIndexByte(a.Code, '#'); i >= 0 {
				a.Code = a.Code[i+1:]
			}
		}
		if failed, ok := errors.AsType[*ddbtypes.ConditionalCheckFailedException](err); ok && failed.Item != nil {
			a.Fields = r.fields(step, map[string]any{"Item": failed.Item}, fields)
		}
	} else if fields != "" {
		a.Fields = r.fields(step, out, fields)
	}
	if _, twice := r.answers[step]; twice {
		panic("contract: two steps are called " + step)
	}
	r.answers[step] = a
	return out, err
}

// fields returns the fields of an answer that matter.
func (r *run) fields(step string, out any, fields string) any {
	text, err := json.Marshal(out)
	var all any
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		panic(fmt.Sprintf("contract: %s: %v", step, err)) // the SDK's outputs are plain structs
	}
	return r.normal("", all, strings.Fields(fields))
}

// statusOf returns the HTTP status of an answer.
func statusOf(out any, err error) int {
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return resp.HTTPStatusCode()
	}
	v := reflect.ValueOf(out)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		if m := v.Elem().FieldByName("ResultMetadata"); m.IsValid() {
			if resp, ok := middleware.GetRawResponse(m.Interface().(smiddleware.Metadata)).(*smithyhttp.Response); ok {
				return resp.StatusCode
			}
		}
	}
	return 0
}

var (
	timeLike = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`)
	// opaque are the fields with values that a server makes up.
	opaque = regexp.MustCompile(`(Id|Token|Handle|Timestamp|TimeStamp|ReceiveTimestamp|Marker)$`)
	// empty are the values that say nothing.
	empty = []string{"null", `""`, "{}", "[]"}
)

// normal returns the value with only the fields that matter, and with names in place of ids
// and times.
func (r *run) normal(field string, v any, fields []string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			if !slices.Contains(fields, k) && !slices.Contains(fields, field+".*") {
				continue
			}
			n := r.normal(k, inner, fields)
			if text, err := json.Marshal(n); err == nil && !slices.Contains(empty, string(text)) {
				out[k] = n
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.normal(field, v[i], fields)
		}
		return out
	case string:
		switch {
		case v == "":
			return v
		case timeLike.MatchString(v):
			return "TIME"
		case opaque.MatchString(field):
			if r.ids[v] == "" {
				r.ids[v] = fmt.Sprintf("%s %d", strings.ToUpper(field), r.count(field)+1)
			}
			return r.ids[v]
		}
		return strings.NewReplacer(r.names...).Replace(v)
	}
	return v
}

// count returns how many ids of the field have a name.
func (r *run) count(field string) (n int) {
	for _, name := range r.ids {
		if strings.HasPrefix(name, strings.ToUpper(field)+" ") {
			n++
		}
	}
	return n
}

// until calls look until it reports true: AWS may show a write only later. It gives up after a
// minute, and the answer that is recorded next shows that.
func until(ctx context.Context, look func() bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !look() {
		if wait.For(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}
