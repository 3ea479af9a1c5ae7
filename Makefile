# Everything that is done to this repository. `make` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# What the binary calls itself. A checkout without git or without a tag still builds.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The version comes from the line above, so Go need not ask git (which fails on a folder that another user owns).
# Go's compiler collects garbage for a fifth of its time: here only above half a gigabyte, which few packages reach.
GOBUILD := env GOGC=off GOMEMLIMIT=512MiB $(GO) build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
# As cgo has it but for -g, which takes a fifth of the C compiler's time for what -s strips.
build demo: export CGO_CFLAGS ?= -O2
build demo: export CGO_CXXFLAGS ?= -O2

GOLANGCI_VERSION := v2.15.0
GOLANGCI := build/bin/golangci-lint-$(GOLANGCI_VERSION)

# The packages to test, and the longest that one of them may take.
PKG ?= ./...
TEST_TIMEOUT ?= 30m
# The race detector needs cgo, as the product does, and a 64-bit processor that it knows.
RACE ?= $(if $(filter amd64 arm64 ppc64le s390x,$(shell $(GO) env GOARCH)),-race)

.PHONY: help
help: ## list what can be made
	@echo 'usage: make TARGET'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/bgevl; BACKEND=cpu|cuda|metal|vulkan|hip links the static library of that preset
	@mkdir -p bin
	$(if $(BACKEND),tools/static.sh $(BACKEND) )$(GOBUILD) -o bin/bgevl ./cmd/bgevl

.PHONY: demo
demo: build ## search drawn pictures with small trained models; MODEL=file.gguf or a checkpoint's folder takes another
	@GO='$(GO)' tools/demo.sh $(if $(MODEL),'$(MODEL)')

.PHONY: test
test: check build $(if $(filter ./...,$(PKG)),cmake vulkan) ## run every check and every test, with the race detector
	$(GO) test $(RACE) -timeout $(TEST_TIMEOUT) $(PKG)

.PHONY: test-quick
test-quick: vet ## run the tests in under five minutes: no race detector, no long cases, no linters
	$(GO) test -short -timeout 5m $(PKG)

.PHONY: cmake
cmake: ## build the static library by CMake; test it, and what uses libjpeg-turbo
	@GO='$(GO)' RACE='$(RACE)' tools/cmake.sh

.PHONY: vulkan
vulkan: ## the same with Vulkan, on a GPU or on Mesa's software device: tests and goldens
	@GO='$(GO)' tools/cmake.sh vulkan

.PHONY: arm64
arm64: ## cross-compile for Arm Linux by cgo and by CMake; run both under qemu
	@GO='$(GO)' tools/arm64.sh

# What the benchmark measures: words that names of groups and of peers begin with, types of weights, and how long.
# `make bench BENCH='clip-base decoder' PEERS='torch ov' TYPES=q8_0 ROUNDS=3` is a short run.
SIDEBYSIDE = build/bench/sidebyside $(if $(BENCH),-groups '$(BENCH)') $(if $(filter-out undefined,$(origin PEERS)),-peers '$(PEERS)') \
  $(if $(TYPES),-types '$(TYPES)') $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(SAMPLE),-seconds $(SAMPLE)) $(if $(THREADS),-threads $(THREADS))

.PHONY: bench
bench: bench-build ## measure this project and its peers side by side; BENCH, PEERS, TYPES, ROUNDS pick some
	$(SIDEBYSIDE)

.PHONY: bench-commit
bench-commit: bench-build ## the same, and write the report to bench/results
	$(SIDEBYSIDE) -commit

.PHONY: bench-check
bench-check: bench-build ## compare with bench/results, and fail where something got slower
	$(SIDEBYSIDE) -check

.PHONY: bench-build
bench-build: build
	@mkdir -p build/bench
	$(GO) build -buildvcs=false -o build/bench/sidebyside ./bench/sidebyside
	@bench/peers/setup.sh

.PHONY: bench-micro
bench-micro: ## run every benchmark of `go test`, once each; BENCH=regexp picks some
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -timeout 60m $(PKG)

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (10s)
	@GO='$(GO)' FUZZTIME='$(or $(FUZZTIME),10s)' tools/fuzz.sh

# What is checked before a test runs. The linter is a build of minutes, so only CI has it in `make test`.
.PHONY: check
check: format-check vet
ifeq ($(BGEVL_REQUIRE),1)
check: lint-go
endif

.PHONY: vet
vet:
	$(GO) vet $(PKG)

.PHONY: format-check
format-check:
	@tools/format.sh --check

.PHONY: format
format: ## format the Go and C sources
	@tools/format.sh

.PHONY: lint
lint: format-check lint-go ## gofmt, clang-format and golangci-lint

.PHONY: lint-go
lint-go: $(GOLANGCI)
	$(GOLANGCI) run $(PKG)

$(GOLANGCI):
	@echo 'building golangci-lint $(GOLANGCI_VERSION): this takes some minutes, once'
	@mkdir -p build/bin
	GOBIN='$(CURDIR)/build/bin' GOFLAGS=-buildvcs=false $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv build/bin/golangci-lint $@

.PHONY: setup
setup: ## install the Debian packages and the Python package that tests and linters need
	@tools/setup.sh
	@tools/hub-python.sh

.PHONY: pictures
pictures: ## draw examples/pictures anew
	$(GO) run ./tools/pictures -o examples/pictures

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build
