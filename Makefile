# Every target sets up what it needs. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo docs test test-oldest test-oldest-servers test-pythons test-thanos scale visual grafana-check check audit release bench servers servers-current fuzz soak soak-processes up format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Which servers: SERVERS=current, SERVERS=oldest, those in the folder OTM_SERVERS, or else what is at hand.
CACHE := $(CURDIR)/.cache/servers
export OTM_SERVERS := $(if $(SERVERS),$(CACHE)/$(SERVERS),$(or $(OTM_SERVERS),$(CACHE)))
export PATH := $(OTM_SERVERS)/bin:$(PATH)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or later is needed; say which one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,otlp,pandas,web-config,dev]'
	@touch $@

.venv: $(STAMP)  ## the virtual environment, from constraints.txt

servers:  ## find or fetch the real servers (Prometheus, Alertmanager, VictoriaMetrics, docker-compose)
	@$(PYTHON) scripts/servers.py $(BESIDES)

servers-current:  ## the versions that docker-compose.yml ships, built from their Go modules
	@$(MAKE) --no-print-directory servers SERVERS=current

demo: $(STAMP)  ## run the example application and show its dashboard
	@$(PYTHON) scripts/servers.py || echo "Going on without the servers that are missing."
	@$(BIN)/otel-metrics demo

# Groups that may run beside each other, the longest first: each in a process of its own, so that they meet in nothing. And
# each below a shell of its own, or they would take each other for workers of one web server.
APART := $(addprefix tests/,assets recording daily querying importing exporter multiprocess)
GROUPS := tests/others $(APART)
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run --parallel-mode,python) -m pytest

# COVERAGE=1 also measures how much of the package the tests run, which may not fall. Three at a time on two cores, as half
# of the time they wait for servers.
test: $(STAMP) servers  ## everything, against the servers at hand, or SERVERS=current, SERVERS=oldest
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target $(GROUPS) test-oldest
	@$(if $(COVERAGE),$(BIN)/coverage combine --quiet && $(BIN)/coverage report)

.PHONY: $(GROUPS)
$(GROUPS):
	@$(PYTEST) $(if $(wildcard $@),$@,tests $(addprefix --ignore=,$(APART))) $(PYTEST_ARGS) || exit

# Rules, what dashboards read, import, getters, the daily table, several servers and what starts them: where versions differ.
# Replays of weeks and days of a million values are left to the current ones.
ON_OLDEST := $(addprefix tests/,assets/test_rules.py assets/test_native.py assets/test_load.py importing/test_import.py \
	importing/test_daily_sqlite.py querying/test_behaviour.py querying/test_prometheus_source.py \
	querying/test_recorded_days.py daily scale/test_prometheus.py test_recipes.py test_servers.py test_cli_servers.py)

test-oldest-servers: $(STAMP)  ## what depends on their versions, against the oldest servers that are supported
	@$(MAKE) --no-print-directory servers SERVERS=oldest
	OTM_SERVERS=$(CACHE)/oldest PATH="$(CACHE)/oldest/bin:$$PATH" $(BIN)/python -m pytest $(ON_OLDEST) -k 'not incidents.test.yml and not feature_alerts_past and not 1000000' $(PYTEST_ARGS)

test-oldest: $(STAMP)  ## recording, against the oldest OpenTelemetry SDK that is admitted
	@PYTHON="$(PYTHON)" scripts/oldest_sdk.sh

test-thanos: $(STAMP)  ## Thanos with ten processes, of which parts are killed; builds it once
	@$(MAKE) --no-print-directory servers-current BESIDES=thanos
	OTM_SERVERS=$(CACHE)/current $(BIN)/python -m pytest tests/scale/thanos.py $(PYTEST_ARGS)

scale: $(STAMP)  ## the same, and a collector, VictoriaMetrics, several Prometheus; builds the first two once
	@$(MAKE) --no-print-directory servers-current BESIDES="thanos otelcol"
	OTM_SERVERS=$(CACHE)/current $(BIN)/python -m pytest tests/scale/*.py $(PYTEST_ARGS)

test-pythons: $(STAMP) servers  ## the suite's core against the wheel, on every supported Python at hand
	@scripts/pythons.sh

visual: $(STAMP) servers  ## draw every dashboard as Grafana would, look at the pictures, compare them (needs Node; build/visual)
	@$(PYTHON) scripts/visual.py
	$(BIN)/python -m pytest -q tests/visual/planted.py
	$(BIN)/python -m tests.visual

grafana-check: $(STAMP) servers  ## the dashboards in a real Grafana: GRAFANA_URL and GRAFANA_TOKEN, or grafana on PATH
	$(BIN)/python -m tests.visual.grafana

check: $(STAMP)  ## formatting, lint, types, import contracts, generated files up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/otel-metrics render --check
	$(BIN)/python scripts/audit.py || [ $$? = 2 ] # what cannot be audited is said
	@$(MAKE) --no-print-directory docs

audit: $(STAMP)  ## compare the pins with known vulnerabilities, in scripts/advisories.json
	$(BIN)/python scripts/audit.py

docs: $(STAMP)  ## the documentation as a site (build/site/index.html); a warning is an error, nothing is fetched
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/site.doctrees -b html docs build/site

release:  ## wheel, source distribution, SBOM and checksums, built twice and checked (dist)
	@PYTHON="$(PYTHON)" scripts/release.sh

format: $(STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure what docs/benchmarks.md has: record calls, scrapes, memory, imports (10 minutes)
	@$(BIN)/python -m benchmarks

FUZZ_SECONDS ?= 600

fuzz: $(STAMP)  ## any input, for FUZZ_SECONDS (600); what fails is kept in .cache/fuzz and tried first the next time
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); \
	while $(BIN)/python -m pytest -q tests/fuzz tests/multiprocess/test_damaged.py --hypothesis-profile=fuzz --timeout=600; do \
		[ $$(date +%s) -lt $$end ] || exit 0; \
	done; exit 1

soak: $(STAMP)  ## record and scrape under attack for SOAK_SECONDS (300); says worst answers, threads, descriptors, memory
	$(BIN)/python scripts/soak.py --seconds $(or $(SOAK_SECONDS),300)

soak-processes: $(STAMP)  ## processes that share totals, replaced all the time, for SOAK_SECONDS (600): exact, and nothing grows
	$(BIN)/python scripts/soak_processes.py --seconds $(or $(SOAK_SECONDS),600)

up:  ## the whole stack in containers
	@scripts/up.sh

clean:  ## remove the virtual environment and what tools left behind; keeps the cached servers
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
