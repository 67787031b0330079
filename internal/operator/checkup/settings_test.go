package checkup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gas-restore/gas/internal/config"
	"github.com/gas-restore/gas/internal/estate"
	"github.com/gas-restore/gas/internal/operator/checkup"
)

// breaks has values of each variable that cannot work, with the words of the report.
func breaks(t *testing.T) map[string][][2]string {
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	elsewhere := `{"as_of":"2027-01-01","regions":{"eu-west-1":{"Expedited":{"per_1000_requests":1,"per_gib":1},"Standard":{"per_1000_requests":1,"per_gib":1},"Bulk":{"per_1000_requests":1,"per_gib":1}}}}`
	password := [][2]string{{"wrong", "refuses user"}}
	fromFile := [][2]string{{"/nowhere", "nowhere"}}
	return map[string][][2]string{
		"GAS_NATS_URL":                    {{"nats://127.0.0.1:1", "connect to nats"}, {"http://x", "no URL"}},
		"GAS_NATS_CA_FILE":                {{"/nowhere", "there is no file"}, {file("a", "x"), "no certificate"}, {t.TempDir(), "is a directory"}},
		"GAS_NATS_BRIDGE_PASSWORD":        password,
		"GAS_NATS_THAW_PASSWORD":          password,
		"GAS_NATS_RESTORE_PASSWORD":       password,
		"GAS_NATS_SWEEP_PASSWORD":         password,
		"GAS_NATS_WEB_PASSWORD":           password,
		"GAS_NATS_OPERATOR_PASSWORD":      password,
		"GAS_NATS_BRIDGE_PASSWORD_FILE":   fromFile,
		"GAS_NATS_THAW_PASSWORD_FILE":     fromFile,
		"GAS_NATS_RESTORE_PASSWORD_FILE":  fromFile,
		"GAS_NATS_SWEEP_PASSWORD_FILE":    fromFile,
		"GAS_NATS_WEB_PASSWORD_FILE":      fromFile,
		"GAS_NATS_OPERATOR_PASSWORD_FILE": fromFile,
		"GAS_OIDC_CLIENT_SECRET_FILE":     {{"/nowhere", "set one of them"}},
		"GAS_NATS_REPLICAS":               {{"3", "cannot keep 3 copies"}, {"2", "not 1, 3 or 5"}, {"many", "whole number"}},
		"GAS_JOB_TABLE":                   {{"elsewhere", "there is no table"}, {"a b", "no name"}},
		"GAS_ACCOUNT_TABLE":               {{"elsewhere", "there is no table"}, {"gas-annotations", "that of GAS_JOB_TABLE too"}},
		"GAS_PLAN_TABLE":                  {{"elsewhere", "there is no table"}, {"gas-accounts", "that of GAS_ACCOUNT_TABLE too"}},
		"GAS_JOB_ATTRIBUTES":              {{"nothing=x", "is not one of"}, {"archive_id=user_id", "cannot both be called"}},
		"GAS_ACCOUNT_ATTRIBUTES":          {{"rolle=x", "is not one of"}, {"role=", "is no name"}},
		"GAS_VAULT":                       {{"elsewhere", "elsewhere"}, {"a:b", "no name"}},
		"GAS_ARCHIVE_BUCKET":              {{"elsewhere", "elsewhere"}, {"a:b", "no name"}, {"gas-results", "that of GAS_RESULTS_BUCKET too"}},
		"GAS_ARCHIVE_DAYS":                {{"0", "from 1 to 30"}, {"31", "from 1 to 30"}, {"few", "whole number"}},
		"GAS_RESULTS_BUCKET":              {{"elsewhere", "elsewhere"}},
		"GAS_PREMIUM_TOPIC_ARN":           {{"", "not set"}, {"arn:aws:sns:us-east-1:000000000000:elsewhere", "there is no topic"}, {"arn:aws:sns:eu-west-1:000000000000:gas-premium", "region"}},
		"GAS_RESTORE_TOPIC_ARN":           {{"", "not set"}, {"arn:aws:sns:us-east-1:000000000000:elsewhere", "there is no topic"}, {"arn:aws:sns:us-east-1:000000000000:gas-premium", "that of GAS_PREMIUM_TOPIC_ARN too"}},
		"GAS_PREMIUM_QUEUE_URL":           {{"", "not set"}, {"http://aws.test/000000000000/elsewhere", "there is no queue"}},
		"GAS_RESTORE_QUEUE_URL":           {{"", "not set"}, {"http://aws.test/000000000000/elsewhere", "there is no queue"}, {"http://aws.test/000000000000/gas-premium", "that of GAS_PREMIUM_QUEUE_URL too"}},
		"GAS_WEBHOOK_LISTEN":              {{"8081", "no host:port"}, {"192.0.2.1:8081", "cannot assign"}},
		"GAS_SNS_CA_FILE":                 {{"/nowhere", "there is no file"}, {file("b", "x"), "no certificate"}},
		"GAS_SNS_CHAIN_FILE":              {{"/nowhere", "there is no file"}, {file("f", "x"), "no certificate"}},
		"GAS_OIDC_FORMER_ISSUERS":         {{"globus", "no URL"}},
		"GAS_SNS_CERT_ENDPOINT":           {{"http://127.0.0.1:1", "refused"}, {"x", "no URL"}},
		"GAS_TIERS":                       {{"Fast", "no tier"}},
		"GAS_THAW_SLOTS":                  {{"0", "from 1"}, {"many", "whole number"}},
		"GAS_THAW_CALLS":                  {{"-1", "from 0"}},
		"GAS_THAW_RATE":                   {{"NaN", "from 0"}, {"fast", "a number"}},
		"GAS_THAW_CALL_TIME":              {{"1h", "from 1s"}, {"long", "a duration"}},
		"GAS_THAW_USER_BUDGET":            {{"much", "no amount"}},
		"GAS_THAW_DAY_BUDGET":             {{"-1", "no amount"}},
		"GAS_THAW_ASSUMED_SIZE":           {{"0", "from 1 byte"}},
		"GAS_PRICES_FILE":                 {{"/nowhere", "there is no file"}, {file("c", "root:x:0"), "price list"}, {file("d", `{"as_of":"2027-01-01","regions":{}}`), "regions is empty"}, {file("e", elsewhere), "no prices of region us-east-1"}},
		"GAS_SWEEP_EVERY":                 {{"1ms", "from 1s"}},
		"GAS_SWEEP_SLACK":                 {{"48h", "from 1s"}},
		"GAS_SWEEP_CALLS":                 {{"1", "from 60"}},
		"GAS_RESTORE_SLOTS":               {{"0", "from 1"}},
		"GAS_RESTORE_PART_SIZE":           {{"8388609", "power of two"}},
		"GAS_WEB_LISTEN":                  {{"x", "no host:port"}, {"192.0.2.1:8080", "cannot assign"}, {"127.0.0.1:99999", "no host:port"}},
		"GAS_WEB_BASE_URL":                {{"http://127.0.0.1:9", "does not send anybody back"}, {"http://gas.example.org", "loopback"}, {"https://gas.example.org/x", "path"}},
		"GAS_WEB_RATE":                    {{"0", "more than 0"}},
		"GAS_WEB_PROXIES":                 {{"nowhere", "no address"}},
		"GAS_PREMIUM_PRICE":               {{strings.Repeat("9", 101), "101 bytes"}},
		"GAS_SUPPORT_CONTACT":             {{"call us", "no e-mail address"}},
		"GAS_SECURITY_CONTACT":            {{"http://gas.example", "no e-mail address"}},
		"GAS_API_AUDIENCE":                {{"gas", "the client id"}},
		"GAS_API_SCOPE":                   {{"two scopes", "no single scope"}},
		"GAS_OIDC_ISSUER":                 {{"http://127.0.0.1:1", "refused"}, {"globus", "no URL"}},
		"GAS_OIDC_CLIENT_ID":              {{"", "not set"}, {"another", "does not know client"}},
		"GAS_OIDC_CLIENT_SECRET":          {{"", "not set"}, {"wrong", "refuses client"}},
		"GAS_HEALTH_LISTEN":               {{"nowhere", "no host:port"}, {"192.0.2.1:0", "cannot assign"}},
		"GAS_PPROF":                       {{"perhaps", "true or false"}},
		"GAS_LOG_LEVEL":                   {{"loud", "a level"}},
		"GAS_LOG_FORMAT":                  {{"xml", "neither text nor json"}},
		"GAS_STOP_GRACE":                  {{"-1s", "not positive"}, {"long", "a duration"}},
	}
}

// TestEachSettingThatIsWrongIsNamedWithItsFix breaks one setting at a time.
func TestEachSettingThatIsWrongIsNamedWithItsFix(t *testing.T) {
	b := newFixture(t, shared(t))
	all := breaks(t)
	// Words about a topic or a queue as well, because it depends on the wrong setting.
	also := map[string][]string{
		"GAS_PREMIUM_TOPIC_ARN": {"GAS_PREMIUM_QUEUE_URL"}, "GAS_RESTORE_TOPIC_ARN": {"GAS_RESTORE_QUEUE_URL"},
	}
	n := 0
	for _, s := range config.Settings() {
		if len(all[s.Name]) == 0 {
			t.Errorf("%s is not broken: say how", s.Name)
		}
		for _, c := range all[s.Name] {
			n++
			t.Run(s.Name+"="+c[0], func(t *testing.T) {
				b := *b // the checks only read what is behind it
				b.t = t
				b.named(b.check(s.Name+"="+c[0]), s.Name, c[1], also[s.Name]...)
			})
		}
	}
	t.Logf("%d settings broken in %d ways", len(config.Settings()), n)
	b.named(b.check("GAS_THAW_SLOT=3"), "GAS_THAW_SLOT", "is GAS_THAW_SLOTS meant?")
	b.named(b.check("GAS_PREMIUM_QUEUE_URL="+b.queues[estate.Restore], "GAS_RESTORE_QUEUE_URL="+b.queues[estate.Premium]),
		"GAS_PREMIUM_QUEUE_URL", "swapped", "GAS_RESTORE_QUEUE_URL")
	b.named(b.check("GAS_PREMIUM_TOPIC_ARN="+b.topics[estate.Restore], "GAS_RESTORE_TOPIC_ARN="+b.topics[estate.Premium]),
		"GAS_PREMIUM_QUEUE_URL", "swapped", "GAS_RESTORE_QUEUE_URL")
	for _, f := range b.check("GAS_WEBHOOK_LISTEN=") {
		if f.What == "GAS_WEBHOOK_LISTEN" || f.State == checkup.Wrong {
			t.Errorf("without a webhook: %+v", f)
		}
	}
}
