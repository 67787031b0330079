//go:build peers

package peers

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gas-restore/gas/internal/test/contract"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// fixtures is where the answers are kept.
const fixtures = "../contract/testdata/"

// accountOfMoto is the number of moto's account; the other servers have none.
const accountOfMoto = "123456789012"

// TestOtherServersAnswerTheContract asks each server of GAS_PEERS everything that it has of the
// contract, and compares the answers with the stand-in's. With GAS_CONTRACT_WRITE=1 it writes
// the fixtures anew.
func TestOtherServersAnswerTheContract(t *testing.T) {
	each(t, func(t *testing.T, name, program string, p peer) {
		cfg := p.serve(t, program)
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		target := contract.Target{Name: name, Config: cfg, Account: accountOfMoto, Services: p.services, Prefix: "gas-contract-", Archives: true}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		answers, err := contract.Run(ctx, target)
		if err != nil {
			// Some servers cannot remove what they can make.
			fmt.Printf("%s: %v\n", name, err)
		}
		own := testenv.NewAWS(t)
		mine, err := contract.Run(ctx, contract.Target{Name: "stand-in", Config: own.Config, Account: own.World.Account, Services: p.services, Prefix: "gas-contract-", Archives: true})
		if err != nil {
			t.Fatal(err)
		}
		reasons := contract.Differences(name)
		for _, step := range mine.Differ(answers) {
			if why, known := reasons[step]; known {
				fmt.Printf("%s: differs: %s: %s\n", name, step, why)
			} else {
				t.Errorf("%s: %s: it answers %s, and the stand-in %s", name, step, answers[step], mine[step])
			}
		}
		missing := 0
		for step := range mine {
			if _, there := answers[step]; !there {
				missing++
			}
		}
		fmt.Printf("%s: %d answers, %d steps could not be asked\n", name, len(answers), missing)
		if os.Getenv("GAS_CONTRACT_WRITE") != "" {
			if err := answers.Save(fixtures + name + ".json"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
