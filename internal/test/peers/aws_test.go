//go:build awscontract

package peers

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/gas-restore/gas/internal/aws/awsclient"
	"github.com/gas-restore/gas/internal/test/contract"
	"github.com/gas-restore/gas/internal/test/testenv"
)

// mine is what GAS_CONTRACT_AWS must be.
const mine = "in-my-account"

// TestRealAWSAnswersTheContract asks AWS, in the account and the region of the environment,
// stores the answers as a fixture, and compares the stand-in with them. Everything that it
// makes has a prefix and a tag, and is removed at the end, also after an error or a signal.
//
// GAS_CONTRACT_CLEAN=1 only removes. With GAS_CONTRACT_ARCHIVES=1 it also puts an archive into
// a vault; the empty vault can be removed only a day later. With another name than aws in
// GAS_CONTRACT_FIXTURE it asks the server of AWS_ENDPOINT_URL.
func TestRealAWSAnswersTheContract(t *testing.T) {
	if os.Getenv("GAS_CONTRACT_AWS") != mine {
		t.Fatalf("this makes things in your account of AWS: set GAS_CONTRACT_AWS=%s", mine)
	}
	name := cmp.Or(os.Getenv("GAS_CONTRACT_FIXTURE"), contract.AWS)
	if os.Getenv("AWS_ENDPOINT_URL") != "" && name == contract.AWS {
		t.Fatal("AWS_ENDPOINT_URL is set, and its answers are not AWS's: name another fixture with GAS_CONTRACT_FIXTURE")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := awsclient.Load(ctx, awsclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	target := contract.Target{
		Name: name, Config: cfg, Account: aws.ToString(who.Account), Tags: true, Archives: os.Getenv("GAS_CONTRACT_ARCHIVES") == "1",
		Prefix:   cmp.Or(os.Getenv("GAS_CONTRACT_PREFIX"), "gas-contract-"+aws.ToString(who.Account)+"-"),
		Services: []contract.Service{contract.S3, contract.DynamoDB, contract.SQS, contract.SNS, contract.Glacier},
	}
	fmt.Printf("account %s, region %s: everything that is made begins with %s and has the tag %s\n", target.Account, cfg.Region, target.Prefix, contract.Tag)
	if err := contract.Clean(ctx, target); err != nil { // of a run that was killed
		t.Fatal(err)
	}
	if os.Getenv("GAS_CONTRACT_CLEAN") == "1" {
		return
	}
	answers, err := contract.Run(ctx, target)
	if err != nil {
		t.Error(err)
	}
	// A list of AWS may be behind, so that a thing was not in it.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	if err := contract.Clean(end, target); err != nil {
		t.Errorf("%v\nrun this again with GAS_CONTRACT_CLEAN=1", err)
	}
	if t.Failed() {
		return // half of the answers are no fixture
	}
	if err := answers.Save("../contract/testdata/" + name + ".json"); err != nil {
		t.Fatal(err)
	}
	own := testenv.NewAWS(t)
	standIn, err := contract.Run(ctx, contract.Target{Name: "stand-in", Config: own.Config, Account: own.World.Account, Services: target.Services, Prefix: "gas-contract-", Archives: target.Archives})
	if err != nil {
		t.Fatal(err)
	}
	reasons := contract.Differences(name)
	for _, step := range standIn.Differ(answers) {
		if reasons[step] == "" {
			t.Errorf("%s: it answers %s, and the stand-in %s", step, answers[step], standIn[step])
		}
	}
	fmt.Printf("%d answers are stored\n", len(answers))
}
