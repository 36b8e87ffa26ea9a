# make help lists the targets.

# Packages without goroutines: the race detector finds nothing in them and
# makes their heavy tests slow.
PURE := ./internal/arch/... ./pkg/ber/... ./pkg/ldif/... ./pkg/schema/... ./pkg/dit/... ./pkg/rewrite/... ./pkg/queue/...
RACE  = $(filter-out $(shell go list $(PURE)),$(shell go list ./...))

FUZZTIME ?= 30s
TIMEOUT  ?= 10m

.PHONY: help build setup test test-long soak race fuzz bench bench-check mib-check lint requirements e2e-zabbix demo clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## bin/shaft
	go build -o bin/shaft ./cmd/shaft

setup: ## install what tests and demo need (as root), or say what
	@tools/setup.sh

# Mirrors of 100,000 entries take minutes under the race detector, which has seen smaller ones.
test: setup ## all tests, the race detector on where there are goroutines
	go vet ./...
	go test -timeout $(TIMEOUT) $(PURE)
	go test -race -timeout $(TIMEOUT) $(RACE)
	go test -timeout $(TIMEOUT) -run '^TestMirrors$$' ./test -mirrored 100000

test-long: ## long random histories under the race detector, 500 rounds of kill -9, faults at every message of sources and their connections (minutes)
	go test -race -timeout 60m -run '^TestRandomHistories$$' ./pkg/queue -steps 1000000
	go test -race -timeout 60m -run '^TestWholeHistories$$' ./pkg/engine -steps 2000
	go test -timeout 60m -run '^TestR12KillRounds$$' ./test -rounds 500
	go test -timeout 60m -run '^TestR12KilledAtAnyMoment$$' ./pkg/store -rounds 500
	go test -count 1 -timeout 10m -run '^TestFleet$$' ./test -fleet 1000
	go test -race -timeout 30m -run '^TestEveryMessage$$' ./pkg/engine -every
	go test -race -timeout 30m -parallel 8 -run '^TestEveryPDU$$' ./pkg/engine -every

soak: setup ## ten minutes of hostile clients of all kinds, and ten of four slapds that are cut, stopped and killed
	go test -count 1 -timeout 30m -run '^TestSoak$$' -v ./test -soak 10m
	go test -count 1 -timeout 30m -run '^TestSoakSources$$' -v ./test -trouble 10m

race: setup ## all tests under the race detector
	go test -race -timeout $(TIMEOUT) ./...

fuzz: ## each fuzz target for FUZZTIME (30s)
	tools/fuzz.sh $(FUZZTIME)

bench: setup ## the figures of docs/benchmarks.md, beside slapd's
	go run ./test/bench -rounds 3

bench-check: setup ## the short rows; fails when a ratio is under its floor
	go run ./test/bench -check

mib-check: setup ## mibs/SHAFT-MIB.txt by smilint and net-snmp
	tools/mib-check.sh

lint: ## gofmt, go vet, staticcheck
	tools/lint.sh

requirements: ## the tests that name each requirement
	@go run ./internal/arch/requirements

e2e-zabbix: ## the template on a real Zabbix, as root: some ten minutes, pictures in tmp/zabbix
	@tools/setup.sh zabbix
	go run ./test/zabbix

demo: setup build ## the whole story on loopback ports
	bin/shaft demo

clean: ## what builds and runs leave behind
	rm -rf bin tmp
	find . -name '*.test' -o -name '*.prof' | xargs rm -f
