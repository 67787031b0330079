.PHONY: help test lint verify demo up fuzz e2e soak-bridge kill-bridge cluster kill-leaders disk-full bench-bridge crash-thaw bench-thaw bench-sweep stall browser browser-firefox screenshots openapi zip bench-web long-restore crash-restore faults faults-bugs faults-report model stress mutants alerts-outages bench-restore faults-lasting peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

test: ## run the tests, with the race detector
	go test -race ./...

# The build tags of all tests that need more than Go. No file is left out because of a tag.
TAGS = alerts,awscontract,browser,disk,faults,firefox,natschart,peers,rehearse

lint: ## gofmt, go vet, staticcheck, go mod tidy, the words
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "not gofmt'ed"; exit 1; }
	go vet -tags $(TAGS) ./...
	GOGC=400 go tool staticcheck -tags $(TAGS) ./... # a quarter quicker, for 1.4 GB in place of 0.8
	go mod tidy -diff
	go test ./internal/test/words

verify: lint test ## most of what CI runs: it adds the simulation and the browser

.PHONY: ci-test ci-faults ci-seeds ci-lasting ci-browser ci-alerts newest vuln

ci-test: ## the tests as CI runs them: race detector, no skips (LONG="./internal/thaw ..." go first)
	@./scripts/ci-test $(LONG)

ci-faults: ## the simulation as CI runs it: each fault point in each mode once, 40 seeds, and the scenes that are not long
	@GAS_SIM_POINTS=first GAS_SIM_SEEDS=40 GAS_SIM_LASTING=most GAS_SIM_TIME=15m $(MAKE) --no-print-directory faults

SHARD = 1
FIRST = 1
ci-seeds: ## 250 of 1,000 seeds of the simulation: those of SHARD, 1 to 4, of the thousand that begins with FIRST
	cd internal/test/sim && GAS_SIM_SEED=$$(($(FIRST) + ($(SHARD) - 1) * 250)) GAS_SIM_SEEDS=250 go test -vet=off -count=1 -timeout 40m -run TestSeeds

ci-lasting: ## all scenes of lasting trouble, the long ones too
	cd internal/test/sim && GAS_SIM_LASTING=all go test -vet=off -timeout 25m -run TestWhatLasts

ci-browser: ## the site in Chromium, which is installed from Debian's packages if it is not there
	@./scripts/ci-browser

ci-alerts: ## promtool tests the alert rules; it is installed from Debian's packages if it is not there
	@./scripts/ci-alerts

newest: ## the tests with the newest release of every dependency; go.mod stays as it is
	@./scripts/newest

vuln: ## known vulnerabilities of what is called (needs the network: vuln.go.dev)
	go tool govulncheck ./...

demo: ## upgrade a user and watch every file come back
	go run ./cmd/gas demo

up: ## run everything on this machine
	go run ./cmd/gas up

fuzz: ## fuzz every parser for FUZZTIME (default 30s) each
	./scripts/fuzz $(or $(FUZZTIME),30s)

e2e: ## two thaws and two restores as processes, 1,000 files, kill -9 midway
	GAS_E2E_FILES=1000 go test -count=1 -run TestKilled -v ./internal/test/e2e

soak-bridge: ## 100,000 messages while SQS fails and JetStream is restarted
	GAS_BRIDGE_MESSAGES=100000 go test -count=1 -timeout 20m -run TestWhateverFails -v ./internal/bridge | grep -v level=

kill-bridge: ## kill -9 the bridge 50 times
	GAS_E2E_KILLS=50 go test -count=1 -timeout 20m -run TestAKilledBridge -v ./internal/test/e2e

cluster: ## three servers: leaders killed and cut off, each restarted, disks lost
	GAS_CLUSTER_ROUNDS=3 go test -count=1 -timeout 20m -run TestWhatIsAcknowledged -v ./deploy/nats | grep -v level=

kill-leaders: ## 10,000 files come back over three servers, whose leaders are killed all the time
	GAS_CLUSTER_FILES=10000 GAS_CLUSTER_KILLS=1000 go test -count=1 -timeout 60m -run TestFilesComeBackWhile -v ./internal/test/e2e

disk-full: ## take the last byte of JetStream's disk while files come back (needs Linux namespaces)
	go test -tags disk -count=1 -timeout 10m -run TestAFullDisk -v ./internal/test/e2e | grep -v level=

bench-bridge: ## messages/s from SQS to PubAck and deletion, beside its limits
	go run ./bench/bridge $(BENCHFLAGS)

crash-thaw: ## 10,000 archives, four thaws, 30 % without capacity, 5 % throttled, kill -9 at random
	GAS_CRASH_FILES=10000 GAS_CRASH_WORKERS=4 GAS_CRASH_KILLS=40 go test -count=1 -timeout 60m -run TestKilledThaws -v ./internal/test/e2e

bench-thaw: ## how fast archives are requested and planned, beside the bare SDK (BENCHFLAGS="--store s3")
	go run ./bench/thaw $(BENCHFLAGS)

bench-sweep: ## in what time the sweep makes up for what was lost, and what it reads, beside 1,000,000 Free users
	go run ./bench/sweep $(BENCHFLAGS)

stall: ## a million refused tasks, 10,050 plans and 10,050 notifications that wait, and another user's work beside each
	GAS_STALL_ARCHIVES=1000000 GAS_STALL_MINUTES=62 GAS_STALL_PLANS=10050 go test -count=1 -timeout 30m -run 'TestAUserWhose|TestPlansThatWait' -v ./internal/thaw | grep -v level=
	GAS_STALL_NOTIFICATIONS=10050 go test -count=1 -timeout 20m -run TestNotificationsThatWait -v ./internal/restore | grep -v level=

browser: ## see the site in Chromium (Debian's package), from sign-in to the bytes
	go test -tags browser -count=1 -parallel 6 -timeout 10m ./internal/test/browser

browser-firefox: ## five journeys in Firefox (Debian's firefox-esr), over WebDriver BiDi (puppeteer-core from npm)
	@./scripts/browser-firefox

screenshots: ## picture every page in every look, into screenshots/: the rare states too
	GAS_SCREENSHOTS=$(CURDIR)/screenshots go test -tags browser -count=1 -parallel 4 -timeout 20m ./internal/test/browser

openapi: ## hold the API's description, its examples and every described answer to validators from npm
	@./scripts/openapi/check

zip: ## a zip of 2,000 files, 1 GiB in all: bytes equal, flat memory
	GAS_ZIP_FILES=2000 GAS_ZIP_BYTES=1073741824 go test -count=1 -v -run TestAZipIsStreamed ./internal/web

bench-web: ## pages a second at 10,000 jobs, going through 100,000, and 10,000 live streams
	go run ./bench/web $(BENCHFLAGS)

long-restore: ## 1,000 files of every size, faults in every call, four restores, kill -9 at random
	GAS_RESTORE_FILES=1000 GAS_RESTORE_HUGE=6 GAS_RESTORE_WORKERS=4 GAS_RESTORE_KILLS=12 go test -count=1 -timeout 60m -run TestKilledRestores -v ./internal/test/e2e

crash-restore: ## break every call of a restore, and every call of the next one, for files of every shape
	GAS_CRASH_LONG=1 go test -race -count=1 -timeout 30m -run TestWhereverAWorkerDies -v ./internal/restore | grep -v level=

faults: ## the pipeline in simulated time: all fault points in all modes, 1,000 seeds (or GAS_SIM_SEEDS, from GAS_SIM_SEED on)
	cd internal/test/sim && GAS_SIM_POINTS=$(or $(GAS_SIM_POINTS),all) GAS_SIM_SEEDS=$(or $(GAS_SIM_SEEDS),1000) GAS_SIM_LASTING=$(or $(GAS_SIM_LASTING),all) go test -vet=off -timeout $(or $(GAS_SIM_TIME),48h) -run 'TestEvery|TestSeeds|TestWhatLasts|TestTheServices'

faults-bugs: ## plant each bug of the list, and see the simulation find it
	cd internal/test/sim && GAS_SIM_BUGS=1000 go test -vet=off -timeout 4h -run TestPlanted

alerts-outages: ## take away each dependency, and see a real Prometheus raise its alert and no other (18 min)
	go test -tags alerts -count=1 -timeout 60m -run TestAnOutage -v ./deploy/observability | grep -v level=

faults-report: ## all of both, written to docs/faults.md (with GAS_SIM_KEEP=FOLDER, an interrupted run goes on where it was)
	cd internal/test/sim && GAS_SIM_DOCS=$(CURDIR)/docs/faults.md go test -tags faults -vet=off -timeout 48h -run 'TestReport$$'

faults-lasting: ## play what lasts, and write what it came to into docs/faults.md
	cd internal/test/sim && GAS_SIM_DOCS=$(CURDIR)/docs/faults.md go test -tags faults -vet=off -timeout 2h -run TestReportOfWhatLasts

model: ## every interleaving of the protocol of one archive, within larger bounds, and without each planted bug
	GAS_MODEL=large go test -count=1 -timeout 60m -v ./internal/test/model

stress: ## each package's tests STRESS_ROUNDS times beside a load, at 1, 2, 4 and 8 processors (PKG="./internal/bus ..."); internal/test/browser needs Chromium
	go run ./scripts/stress -tags browser $(STRESSFLAGS) $(PKG)

mutants: ## mistakes of one line that no test notices (PKG="internal/thaw ...", MUTANTS_SAMPLE=50 of each)
	go run ./internal/test/mutants $(MUTANTSFLAGS) $(PKG)

bench-restore: ## how fast archives come back, with what memory and calls, beside a bare pipe (BENCHFLAGS="--store s3")
	go run ./bench/restore $(BENCHFLAGS)

peers: ## the S3 adapters, the restorer and the contract against servers that others wrote
	@./scripts/peers

.PHONY: aws-contract

aws-contract: ## ask real AWS, in your account, what the stand-in is compared with (about a cent; GAS_CONTRACT_AWS=in-my-account starts it)
	@./scripts/aws-contract

.PHONY: install image-test systemd-test chart ci-chart rehearse

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
COMMANDS = bridge thaw restore web

install: ## build gas, gas-bridge, gas-thaw, gas-restore and gas-web, and put them into BINDIR (or PREFIX/bin)
	install -d $(DESTDIR)$(BINDIR)
	go build -trimpath -o $(DESTDIR)$(BINDIR)/gas ./cmd/gas
	for name in $(COMMANDS); do go build -trimpath -o $(DESTDIR)$(BINDIR)/gas-$$name ./cmd/$$name || exit 1; done

image-test: ## build all images without an engine, push and pull them, and run what is in the layers
	./deploy/images/try

systemd-test: ## let systemd check the units of deploy/systemd
	./deploy/systemd/try

# The chart's tests are a module of their own: nothing else needs Helm, Kubernetes and KEDA.
chart: ## render the chart, hold it to the types of Kubernetes, and run KEDA's scaler (NATS_CHART=folder of the official chart)
	cd deploy/chart/test && go vet ./... && go test -count=1 -timeout 20m . && go test -count=1 -timeout 20m -v -run TestKEDA ./keda && go test -count=1 -timeout 20m -run TestServers ./keda
	$(if $(NATS_CHART),cd deploy/chart/test && GAS_NATS_CHART=$(abspath $(NATS_CHART)) go test -count=1 -tags natschart -run TestTheOfficial -v .)

ci-chart: ## the same without KEDA's scaler, which takes long to build
	cd deploy/chart/test && go vet . ./render && go test -count=1 .

rehearse: ## replicas as the chart says, as processes: killed, stopped, frozen, while NATS and AWS restart; all files come back
	cd deploy/chart/test && go vet -tags rehearse ./rehearse && go test -count=1 -tags rehearse -timeout 30m -v ./rehearse

.PHONY: moto-template try-aws-page

try-aws-page: ## run the commands of docs/aws.md, from nothing to a restored file, as they are written (needs Linux and the aws command)
	@./scripts/try-aws-page

moto-template: ## apply the CloudFormation template to moto, and print what moto leaves out (needs moto_server and aws)
	./scripts/moto-template

clean: ## remove the local state
	rm -rf .gas bench/results
