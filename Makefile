# Everything a newcomer types. CI calls these too.
PYTHON ?= $(firstword $(shell which python3.11 python3.12 python3.13 2>/dev/null) python3)
VENV   := .venv
FUZZ_SECONDS ?= 60
TEST_PROCESSES ?= 3
FIRE_MESSAGES ?= 20000
FIRE_FAULTS ?= 300
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet
unexport PYTHONDONTWRITEBYTECODE  # each start and each command would compile all that it imports

.PHONY: run demo setup setup-dev test check unit screenshots fuzz fire soak bench bench-peers bench-filters bench-growth bench-log bench-quarantine lock clean

run: setup  ## start the gateway on its embedded default
	@exec $(BIN)/darban run

demo: setup  ## send sample messages through SMTP and print what became of each
	@$(BIN)/darban demo

setup: $(VENV)/.run-installed  ## create .venv and install what serving needs

setup-dev: $(VENV)/.dev-installed  ## also what training, tests and checks need

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-installed: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q gateway  # who runs it may not write here
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.run-installed requirements/dev.txt
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

test: setup-dev  ## everything: linters, types, layers, unit, property, contract, fuzz, end to end
	@sh tests/install_peers.sh
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest -q -n $(TEST_PROCESSES) --dist loadfile --basetemp="$$(mktemp -d /tmp/tXXXXXX)"  # short: sockets

unit: setup-dev  ## the quick part of the tests
	@$(BIN)/pytest -q tests/unit tests/property tests/contract

check: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/darban rules check

screenshots: setup-dev  ## the pictures of the documentation, taken by the scripted day in Chromium
	@DARBAN_SCREENSHOTS=docs/images $(BIN)/pytest -q tests/e2e/test_scripted_day.py --basetemp="$$(mktemp -d /tmp/tXXXXXX)"

fuzz: setup-dev  ## the parsers under bytes made to break them: FUZZ_SECONDS (60) for each target, then longer properties
	@for target in mail change results html rules expression dns proxy dmarc identity arc resinfo milter spamd handover smtp_commands smtp_input; do \
		$(BIN)/python -m tests.fuzz.run $$target $(FUZZ_SECONDS) || exit 1; done
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -q tests/fuzz tests/property

fire: setup-dev  ## custody under fire: FIRE_MESSAGES (20000) and FIRE_FAULTS (300), as root; about 25 minutes
	@$(BIN)/python -m tests.e2e.fire --messages $(FIRE_MESSAGES) --faults $(FIRE_FAULTS) --out var/fire.jsonl

soak: setup-dev  ## half an hour of steady mail, and whether memory grows
	@$(BIN)/python -m benchmarks.soak --out benchmarks/results/soak.json

bench: setup-dev  ## what a message costs, and what the gateway carries
	@$(BIN)/python -m benchmarks.scan --out benchmarks/results/scan.json
	@$(BIN)/python -m benchmarks.classify --out benchmarks/results/classify.json
	@$(BIN)/python -m benchmarks.learn --out benchmarks/results/learn.json
	@$(BIN)/python -m benchmarks.authentication --out benchmarks/results/authentication.json
	@$(BIN)/python -m benchmarks.dns --out benchmarks/results/dns.json
	@$(BIN)/python -m benchmarks.scorers --out benchmarks/results/scorers.json
	@$(BIN)/python -m benchmarks.smtp_load --out benchmarks/results/smtp_load.json
	@$(BIN)/python -m benchmarks.smtp_listener --out benchmarks/results/smtp_listener.json
	@$(BIN)/python -m benchmarks.milter --out benchmarks/results/milter.json

bench-peers: setup-dev  ## Darban beside Rspamd, spamd and bogofilter, over the same messages
	@sh benchmarks/install_peers.sh
	@$(BIN)/python -m benchmarks.peers --out benchmarks/results/peers.json --plot docs/images/peers.png

bench-filters: setup-dev  ## how well bogofilter, Rspamd and SpamAssassin judge on the splits of `darban evaluate`
	@sh benchmarks/install_peers.sh
	@$(BIN)/python -m benchmarks.filters --out benchmarks/results/filters.json

bench-quarantine: setup-dev  ## the review list over a million held messages, and which mail is alike
	@$(BIN)/python -m benchmarks.quarantine --out benchmarks/results/quarantine.json
	@$(BIN)/python -m benchmarks.campaigns --out benchmarks/results/campaigns.json

bench-growth: setup-dev  ## cost against the size of a message and the number of rules
	@$(BIN)/python -m benchmarks.growth --out benchmarks/results/growth.json --plot docs/images/growth.png

bench-log: setup-dev  ## searches of a message log of ten million rows, in SQLite and PostgreSQL; 20 GB of disk
	@$(BIN)/python -m benchmarks.message_log --out benchmarks/results/message_log.json

lock:  ## refresh requirements/*.txt after a change of the dependencies in pyproject.toml
	@sh requirements/lock.sh $(BIN)

clean:
	@rm -rf $(VENV) var .pytest_cache .hypothesis .mypy_cache .ruff_cache
