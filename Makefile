# Commands that stay stable; README says what each is for.
SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
GO ?= go
LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2

# Where setup puts a Node.js if this machine's is too old for the tests.
NODE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penname/node-22
export PATH := $(NODE)/node_modules/node/bin:$(PATH)

.PHONY: demo test soak clients check bench growth build setup release pages

# make demo          start the sandbox, play the story, stay up
# make demo ONCE=1   exit after the story: 0 only if every step held
# make demo VAULT=1  the same on a real Vault (built once, about 5 minutes)
# make demo CLUSTER=1  the same on a cluster: PostgreSQL under Patroni, Vault on Raft, two escrowd of each side
# make demo ARGS='--platform id=my-app,redirect=http://localhost:3000/callback'
demo:
	@$(GO) build -o bin/ ./cmd/escrow ./cmd/escrow-sandbox $(if $(CLUSTER),./cmd/escrowd) && exec bin/escrow-sandbox $(if $(CLUSTER),cluster) $(if $(ONCE),--once) $(if $(VAULT),$(if $(CLUSTER),,--vault)) $(ARGS)

# Everything, with its own set-up. CI=true turns every skip into a failure.
test: setup
	$(GO) vet ./...
	$(GO) test -timeout 60m ./... ./.ci/figures ./.ci/echo5
	CGO_ENABLED=1 $(GO) test -tags pkcs11 ./escrow/pkcs11
	cd deploy/prometheus && $(GO) test ./...
	cd .ci/release && $(GO) test -timeout 30m ./...
	cd deploy/container && $(GO) test ./...

# Clients do everything on a cluster for an hour while its parts are killed, frozen and cut
# off, and what they saw is compared with what is there.
# make soak SOAK=10m SEED=1   that long, and the faults of a run before, in their order
# make soak JSON=1            ends with one object
soak: setup
	@json=$$(mktemp) && trap "rm -f $$json" EXIT && \
	PENNAME_SOAK=$(or $(SOAK),1h) PENNAME_SEED=$(SEED) PENNAME_SOAK_JSON=$$json $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./cmd/escrow-sandbox $(if $(JSON),>&2) || failed=1; \
	$(if $(JSON),cat $$json;) test -z "$$failed"

# Signs in with each OpenID Connect client in README's table, as its own documentation sets
# it up; installs them. UPDATE=1 writes the table.
clients:
	@.ci/setup $(NODE) clients >&2
	@table=$$(mktemp) && trap "rm -f $$table" EXIT && \
	{ $(GO) test -count=1 -timeout 30m -run TestClients ./escrow/sandbox/clients -all -table $$table $(if $(UPDATE),-update) >&2 || failed=1; } && \
	cat $$table && test -z "$$failed"

# Each page of people, in each state and view, as a picture: make pages DIR=/tmp/pages
pages: setup
	@mkdir -p $(DIR) && $(GO) test -count=1 ./escrow/web/person -run TestPagesInABrowser -pictures $(abspath $(DIR)) && ls $(DIR) | wc -l

# What the tests stand on: PostgreSQL, Node.js, spin and Vault, each only if missing.
setup:
	@.ci/setup $(NODE) >&2

# Formatting, vet, linters, import graph, tidiness, the model of the gate.
check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) vet -tags pkcs11 ./escrow/pkcs11 ./cmd/escrow/...
	$(GO) mod tidy -diff
	$(GO) test -count=1 -run TestImportGraph ./escrow/escrowtest
	CI=true $(GO) test -count=1 -run TestModelOfTheGate ./escrow/disclose
	$(GO) run $(LINT) run ./...

# One line a figure: name, value, unit, ratio, aim. JSON=1 prints them as JSON. PEERS=1 runs the
# peers too that are programs of others.
bench: setup
	@$(if $(PEERS),PENNAME_PEERS=$(PEERS) )$(GO) test -run '^$$' -bench . -benchtime $(or $(BENCHTIME),1s) $(or $(PKG),./...) | $(GO) run ./.ci/figures $(if $(JSON),-json)

# The same of a whole world among more and more people: about 40 minutes, and 30 GB of disk.
# make growth PEOPLE='10000 100000' KEEP=/var/tmp/growth    who is made stays there for the next run
# make growth PEOPLE=1000000 PAGES=1    people's pages and sign-ins alone
growth: setup
	@nice -n 19 $(GO) test ./cmd/escrow-sandbox -run '^$$' -bench BenchmarkGrowth -benchtime 1x -timeout 90m \
	  -people '$(or $(PEOPLE),10000 1000000 5000000)' $(if $(KEEP),-keep '$(KEEP)') $(if $(PAGES),-pages) | $(GO) run ./.ci/figures $(if $(JSON),-json)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o bin/ ./cmd/...

# What is published of the tagged commit, for amd64 and arm64, in dist/: packages for Debian, the
# programs' digests for a bundle, what they are made of, the chart, and checksums that KEY signs.
# The Go of releases makes it, which is fetched if this machine has another one.
# make release VERSION=v1.4.0 KEY=~/.ssh/penname-release
release: export GOTOOLCHAIN := go1.26.8
release: export GOWORK := off
release:
	$(GO) build -C .ci/release -o ../../bin/release .
	bin/release $(if $(KEY),-key "$(KEY:~/%=$(HOME)/%)") $(VERSION)
