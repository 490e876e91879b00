# Everything that is done with the project by hand or in CI. `make` alone lists it.

SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

GOLANGCI_VERSION := 2.15.0
FUZZTIME ?= 10s
ARGS     ?=

# Build cgo's parts of -race once and let every target use them: all test targets share these flags.
TEST := CI=true go test -race

.DEFAULT_GOAL := help
.PHONY: bench-page help test test-long reconnect acceptance bench bench-quick bench-latency bench-deep bench-replay golden-history bench-compare bench-baseline bench-late bench-late-quick chaos chaos-broken soak scale fleet-test fuzz cover lint format check tools vuln release release-check build run demo pipeline compose-test manifests mutate clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: tools ## Unit, contract and short conformance tests, on a real redis-server (under five minutes)
	# A busy machine takes longer, which is no failure; what hangs ends all the same.
	$(TEST) -short -timeout 15m ./...

test-long: tools ## What `make test` shortens, in full length: the whole conformance suite and the long runs
	# With -short properties (rapid) are tried a fifth as often. One package at a time: they measure waits, and two cores
	# are for one of them. The chaos tests run processes of their own, which the race detector does not see into.
	$(TEST) -p 1 -timeout 15m $$(grep -rl --include='*_test.go' -e 'testing\.Short()' -e pgregory.net/rapid . | xargs -n 1 dirname | grep -v '^./chaos$$' | sort -u)
	CI=true go test -timeout 15m ./chaos/

# By itself, because Watermill's own test has a data race in which it loses count of what it sent, and may leave a
# goroutine of its own behind; kills and restarts of Redis are tested in stream and chaos besides.
reconnect: tools ## Watermill's reconnect test on a server that is killed and restarted; repeat it when it miscounts
	CI=true go test -count=1 -timeout 10m -run '^TestPubSub$$' ./stream/

acceptance: tools ## 20,000 plans through a real Redis, every observation accounted for
	HEAT_FULL=1 $(TEST) -count=1 -v -timeout 30m -run '^TestAcceptance' ./app/

bench-late: tools ## Late observation beside polling and the Python-like scheme: tables, JSON and a picture in bin/bench
	go run ./bench late $(ARGS)

bench-late-quick: tools ## The same in short, to see that it works
	go run ./bench late --quick $(ARGS)

SEED     ?= $(shell date +%s)
DURATION ?= 5m
RATE     ?= 500

chaos: tools ## Break everything under load and check the promise: SEED (printed), DURATION (5m), RATE (500 plans/s)
	CI=true CHAOS_SEED=$(SEED) CHAOS_DURATION=$(DURATION) CHAOS_RATE=$(RATE) \
		go test -count=1 -v -timeout 2h -run '^TestChaos$$' ./chaos/

soak: DURATION = 30m
soak: RATE = 200
soak: tools ## A small fleet under a steady load with slow faults: DURATION (30m), RATE (200 plans/s); fails when anything grows
	CI=true SOAK_DURATION=$(DURATION) SOAK_RATE=$(RATE) go test -count=1 -v -timeout 12h -run '^TestSoak$$' ./chaos/

scale: tools ## What a plan costs workers and Redis, with 1, 2, 4 workers and on 1, 2, 3 shards: PLANS (100000)
	CI=true SCALE_PLANS=$(or $(PLANS),100000) go test -count=1 -v -timeout 1h -run '^TestScaleCost$$' ./chaos/

chaos-broken: tools ## Workers without fence and dedupe keys, of which the same verdict must report duplicates
	CI=true go test -count=1 -v -timeout 5m -run '^TestBrokenFence$$' ./chaos/

bench: tools ## Throughput beside hand-written loops and the stock transport, interleaved (five minutes; figures in bin/bench)
	go run ./bench throughput $(ARGS)

bench-quick: tools ## The same with few plans and one round: does everything work?
	go run ./bench throughput --quick $(ARGS)

bench-latency: tools ## Publish to early observation at 10, 50 and 80 % of the maximum
	go run ./bench latency $(ARGS)

bench-deep: tools ## Ten million entries in the stream against 100,000 (needs 4 GB)
	go run ./bench deep $(ARGS)

bench-page: tools ## What 50 open status pages cost the observer: ARGS='--pages 200'
	go run ./bench page $(ARGS)

bench-replay: tools ## Replay of history from an archive and from Redis: plans/s, CPU, memory; ARGS='--quick', '--plans 10000000'
	go run ./bench replay $(ARGS)

golden-history: tools build ## Record the small history of the replay tests anew, by the pipeline itself, and its golden reports
	replay/testdata/record
	go test -count=1 -run Golden ./replay/ -update

bench-compare: ## Go benchmarks of the hot path against the committed baseline; more allocations fail
	.ci/bench-compare

bench-baseline: ## Write that baseline anew
	.ci/bench-compare update

fleet-test: tools ## On a machine of its own: the limit of the fleet, a failover by sentinels, a cluster of six servers
	HEAT_FULL=1 CI=true go test -count=1 -v -timeout 10m -run '^TestFleetLimit$$' ./chaos/
	HEAT_FULL=1 CI=true go test -count=1 -v -timeout 10m -run '^(TestSentinelFailover|TestCluster.*|TestFleetLimit.*)$$' ./app/

.PHONY: screenshots
screenshots: tools ## Pictures of the status page on a running demo, into docs/images
	HEAT_SCREENSHOTS=$(CURDIR)/docs/images CI=true go test -count=1 -v -timeout 5m -run '^TestScreenshots$$' ./web/webtest/

fuzz: ## Every fuzz target for FUZZTIME (10s)
	.ci/fuzz $(FUZZTIME)

mutate: tools ## Break six packages in small ways and count what their tests notice: ARGS='--sample 60 --seed 1', '--at queue.go:62 ./replay'
	go run ./tools/mutate $(ARGS)

cover: tools ## Statement coverage of the short tests, by package and in total
	CI=true go test -short -timeout 5m -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -1

# The linter is built once as a Go module: a copy of the right version in GOPATH/bin is taken as it is.
LINTER = $(shell for f in bin/golangci-lint "$$(go env GOPATH)/bin/golangci-lint"; do \
	if "$$f" version 2>/dev/null | grep -qF ' $(GOLANGCI_VERSION) '; then echo "$$f"; exit; fi; done)

lint: ## golangci-lint: code style and the order of dependencies
	@linter="$(LINTER)"; \
	if [ -z "$$linter" ]; then \
		echo "building golangci-lint $(GOLANGCI_VERSION) into bin/ (some minutes, once)"; \
		GOBIN="$(CURDIR)/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION); \
		linter=bin/golangci-lint; \
	fi; \
	"$$linter" run ./...

format: ## Format all Go files
	gofmt -w .

check: ## Formatting, go.mod and the container files
	.ci/check

vuln: ## Known vulnerabilities in what the processor calls; says so where the database is out of reach
	.ci/vuln

release: ## Static binaries for linux/amd64 and arm64 with bills of materials and checksums, in dist/
	.ci/release dist

release-check: ## Build a release twice in different folders and compare every byte (some minutes)
	.ci/release-check

tools: ## Install what the tests need beside Go: redis-server, promtool, Chromium, a C compiler
	@.ci/install

build: ## The static binary bin/processor
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/processor ./cmd/processor

run: ## Run the processor on a real Redis; settings in ARGS or in the environment
	go run ./cmd/processor run $(ARGS)

demo: ## See it work, with nothing but Go: in-process Redis, stand-ins, processor
	go run ./cmd/processor demo $(ARGS)

pipeline: build ## The local pipeline as processes, without containers: WORKERS (1), REDIS_PORT (6379)
	deploy/pipeline

compose-test: ## Bring docker-compose.yml up for real, scale it, kill a worker, take it down (needs a Docker engine)
	deploy/compose/test

manifests: ## Decode the Kubernetes manifests strictly (a module of its own; some minutes when its modules are cold)
	cd deploy/kubernetes && go vet ./... && go test ./...

clean: ## Remove what was built and measured
	rm -rf bin dist coverage.out
