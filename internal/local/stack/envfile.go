package stack

import (
	"fmt"
	"os"
	"strings"

	"github.com/gas-restore/gas/internal/estate"
)

// Variable is a line of an environment file.
type Variable struct{ Name, Value string }

// Environment returns the variables with which the four services, `gas`, `aws` and `nats`
// work with this stack. With roles, the access key is that of the operator.
func (s *Stack) Environment() []Variable {
	c := s.Config
	vars := []Variable{}
	add := func(name, value string) {
		if value != "" {
			vars = append(vars, Variable{name, value})
		}
	}
	if s.AWS != nil {
		operator := s.optionsOf(estate.OperatorRole)
		add("AWS_ENDPOINT_URL", s.AWS.Endpoint())
		add("AWS_REGION", s.AWS.Region())
		add("AWS_DEFAULT_REGION", s.AWS.Region())
		add("AWS_ACCESS_KEY_ID", operator.AccessKey)
		add("AWS_SECRET_ACCESS_KEY", operator.SecretKey)
		add("GAS_JOB_TABLE", c.JobTable)
		add("GAS_ACCOUNT_TABLE", c.AccountTable)
		add("GAS_PLAN_TABLE", c.PlanTable)
		vars = append(vars, Variable{"GAS_VAULT", c.Vault}) // empty means that there is none
		add("GAS_ARCHIVE_BUCKET", c.ArchiveBucket)
		add("GAS_RESULTS_BUCKET", c.Bucket)
		add("GAS_PREMIUM_TOPIC_ARN", c.PremiumTopic)
		add("GAS_RESTORE_TOPIC_ARN", c.RestoreTopic)
		add("GAS_PREMIUM_QUEUE_URL", c.PremiumQueue)
		add("GAS_RESTORE_QUEUE_URL", c.RestoreQueue)
		add("GAS_SNS_CA_FILE", c.SNSCAFile)
		add("GAS_SNS_CERT_ENDPOINT", c.SNSCertEndpoint)
	}
	add("GAS_WEBHOOK_LISTEN", c.WebhookListen)
	add("GAS_WEB_LISTEN", c.WebListen)
	add("GAS_WEB_BASE_URL", c.WebBaseURL)
	if s.opts.has(IDP) {
		add("GAS_OIDC_ISSUER", c.OIDCIssuer)
		add("GAS_OIDC_CLIENT_ID", c.OIDCClientID)
		add("GAS_OIDC_CLIENT_SECRET", c.OIDCSecret.Reveal())
	}
	// If this process runs no NATS server, these are the values of nats.conf, for a server
	// that runs beside it.
	add("GAS_NATS_URL", c.NATSURL)
	add("GAS_NATS_BRIDGE_PASSWORD", c.BridgePassword.Reveal())
	add("GAS_NATS_THAW_PASSWORD", c.ThawPassword.Reveal())
	add("GAS_NATS_RESTORE_PASSWORD", c.RestorePassword.Reveal())
	add("GAS_NATS_SWEEP_PASSWORD", c.SweepPassword.Reveal())
	add("GAS_NATS_WEB_PASSWORD", c.WebPassword.Reveal())
	add("GAS_NATS_OPERATOR_PASSWORD", c.OperatorPassword.Reveal())
	// The variables of the nats command.
	add("NATS_URL", c.NATSURL)
	add("NATS_USER", "operator")
	add("NATS_PASSWORD", c.OperatorPassword.Reveal())
	return vars
}

// WriteEnvFile writes the environment to a file of KEY=VALUE lines, which a
// shell takes with `set -a; . FILE; set +a`. Only its owner can read it. With roles, it also
// writes the access key of each role to FILE.ROLE, which must be read after FILE.
func (s *Stack) WriteEnvFile(path string) error {
	for name, key := range s.Roles {
		if err := writeEnv(path+"."+name, []Variable{{"AWS_ACCESS_KEY_ID", key.Access}, {"AWS_SECRET_ACCESS_KEY", key.Secret}}); err != nil {
			return err
		}
	}
	return writeEnv(path, s.Environment())
}

func writeEnv(path string, vars []Variable) error {
	var b strings.Builder
	for _, v := range vars {
		fmt.Fprintf(&b, "%s=%s\n", v.Name, quote(v.Value))
	}
	// The rename is one step, so a program that waits for the file reads all its lines.
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the environment file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the environment file: %w", err)
	}
	return nil
}

// quote quotes s so that a shell reads it as one word.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,=", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
