package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/local/stack"
	"github.com/gas-restore/gas/internal/test/testenv"
)

func TestUpTellsOfNothingThatDoesNotRun(t *testing.T) {
	t.Parallel()
	// The words about each part. They must appear only if the part runs.
	of := map[string][]string{
		stack.Services: {"Web site", "The annotation service is up"},
		stack.IDP:      {"Sign in as", "Fern Fictive"},
		stack.AWS:      {"AWS_ENDPOINT_URL", "aws s3 ls", "aws sns publish"},
		stack.NATS:     {"NATS_URL", "nats stream ls"},
	}
	for _, only := range [][]string{{stack.NATS, stack.IDP}, {stack.AWS}, {stack.IDP}, {stack.AWS, stack.NATS, stack.IDP}, nil} {
		t.Run(strings.Join(only, ","), func(t *testing.T) {
			t.Parallel()
			const free = "127.0.0.1:0"
			people := stack.People(2, 10)
			s, err := stack.Start(t.Context(), stack.Options{Dir: testenv.Memory(t), Only: only, AWSAddr: free, NATSAddr: free, IDPAddr: free, WebAddr: free, WebhookAddr: free}, people)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				for _, p := range s.Parts {
					p.Close()
				}
				s.Close()
			}()
			var out bytes.Buffer
			(&upCmd{Dir: "state"}).welcome(streams{out: &out, err: &out}, s, people)
			for part, words := range of {
				runs := only == nil || slices.Contains(only, part)
				for _, w := range words {
					if strings.Contains(out.String(), w) != runs {
						t.Errorf("%s runs: %v, and %q is told: %v in\n%s", part, runs, w, !runs, &out)
					}
				}
			}
			files := only == nil || slices.Contains(only, stack.AWS) && slices.Contains(only, stack.IDP)
			if strings.Contains(out.String(), "archived files") != files {
				t.Errorf("there are files to be seen: %v, and told otherwise in\n%s", files, &out)
			}
		})
	}
}
