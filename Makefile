# Each target does all the set-up that it needs; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup testnet test test-slow simulate mutants lint format bench bench-feeds bench-risk bench-gas \
	bench-adapters model contracts contracts-check test-contracts verify-contracts check-deployment constraints clean

bin := .venv/bin
forge := cd contracts && node_modules/.bin/forge
# What `make testnet` passes on, as in: make testnet ARGS="--nodes 7 --duration 60"
ARGS ?=

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

setup:  ## install everything that development needs
	@.ci/setup dev

testnet:  ## run a local network and show prices being agreed and verified on a chain
	@.ci/setup testnet
	@$(bin)/didyma testnet $(ARGS)

test: setup  ## run the quick tests (under 3 minutes on two cores)
	@$(bin)/pytest -q -n 2 --dist loadfile -m "not slow" $(ARGS)

# What only computes shares the cores; real processes have them to themselves.
computing := tests/aggregation tests/consensus tests/feeds/test_fuzzing.py tests/model tests/mutants tests/simulation

test-slow: setup  ## run the slow tests: real clusters, real faults, long simulations
	@$(bin)/pytest -q -n 2 --dist worksteal -m slow $(computing) $(ARGS)
	@$(bin)/pytest -q -m slow $(computing:%=--ignore=%) $(ARGS)

# As in: make simulate SEED=17 TRACE=1 (show one again), make simulate COUNT=1000000 (a long run).
N ?= 4
SEED ?= 0
COUNT ?= $(if $(TRACE),1,1000)
KIND ?= chaos
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

simulate: setup  ## run simulated scenarios by SEED, COUNT, N, KIND; TRACE=1 shows what happens
	@$(bin)/python -m testnet.simulation --nodes $(N) --seed $(SEED) --count $(COUNT) \
		--kind $(KIND) --jobs $(JOBS) $(if $(TRACE),--trace)

mutants: setup  ## plant every known mistake and show what catches it (ARGS=NAME: one)
	@$(bin)/python tests/mutants/plant.py --table $(ARGS)

lint: setup  ## check style, types, import rules and integer arithmetic
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy
	@$(bin)/lint-imports
	@$(bin)/pytest -q tests/test_no_floats.py

format: setup  ## rewrite the code in the project's style
	@$(bin)/ruff check --fix .
	@$(bin)/ruff format .

bench: setup  ## measure rounds against the bare protocol, in one run
	@$(bin)/python tests/bench/rounds.py $(ARGS)

bench-feeds: setup  ## measure what becomes of 2,000 and 20,000 quotes a second
	@$(bin)/python tests/bench/quotes.py $(ARGS)

bench-risk: setup  ## measure false alarms and what is noticed how soon (ARGS="--quick --plot FILE")
	@$(bin)/python tests/bench/risk.py $(ARGS)

bench-gas: setup  ## measure what every path of the Oracle costs (ARGS=--write: the snapshot)
	@$(bin)/python tests/bench/gas.py $(ARGS)

bench-adapters: setup  ## measure what a read through each adapter costs (ARGS=--write: the snapshot)
	@$(bin)/python tests/bench/adapters.py $(ARGS)

model: setup  ## prove the rules of the consensus with z3 (ARGS=--spec: and with TLC)
	@$(bin)/python -m testnet.model $(ARGS)

contracts: contracts/node_modules  ## compile the contracts anew into contracts/artifacts
	@node contracts/build.mjs

contracts-check: contracts/node_modules  ## compile and compare with the committed artifacts
	@node contracts/build.mjs --check
	@node tests/contracts/consumers/build.mjs --check

test-contracts: contracts/node_modules  ## fuzz the contracts with forge (about a minute)
	@$(forge) test $(ARGS)

verify-contracts: setup contracts/node_modules contracts/.tools  ## long fuzzing, proofs, slither, mutants
	@FOUNDRY_PROFILE=long $(forge) test
	@$(bin)/python contracts/tools/prove.py
	@$(bin)/python contracts/tools/slither.py
	@$(bin)/python contracts/tools/mutants.py --jobs 2

contracts/.tools: contracts/tools/constraints.txt
	@.ci/setup dev
	@$(bin)/uv venv --quiet --clear --python $(bin)/python $@
	@$(bin)/uv pip install --quiet --python $@/bin/python -c $< halmos slither-analyzer
	@touch $@

check-deployment: setup .tools  ## validate the files of node/deployment with the tools that read them
	@promtool check rules node/deployment/prometheus/didyma.rules.yml
	@promtool test rules node/deployment/prometheus/didyma.rules.test.yml
	@promtool check config node/deployment/prometheus/prometheus.yml
	@.tools/bin/hadolint node/deployment/Dockerfile
	@.tools/bin/check-jsonschema --builtin-schema vendor.compose-spec node/deployment/compose.yaml
	@.tools/bin/kubernetes-validate --strict node/deployment/kubernetes/didyma.yaml
	@systemd-analyze security --offline=true --no-pager --threshold=20 node/deployment/didyma.service | tail -1

.tools: node/deployment/tools.txt
	@$(bin)/uv venv --quiet --clear --python $(bin)/python $@
	@$(bin)/uv pip install --quiet --python $@/bin/python -r $<
	@touch $@

contracts/node_modules: contracts/package.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or later" >&2; exit 1; }
	@cd contracts && npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

constraints: setup  ## write constraints.txt anew from the ranges of pyproject.toml
	@{ sed -n '/^#/p' constraints.txt; printf 'editables\nhatchling\nsetuptools\n' | $(bin)/uv pip compile \
		--quiet --no-header --no-annotate --python $(bin)/python --extra dev pyproject.toml -; } \
		> constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove what was installed and built here
	rm -rf .venv .tools dist contracts/node_modules contracts/.forge contracts/.tools constraints.new
