# Everything here works from a fresh clone with Python 3.11 or newer and nothing else.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
ARGS ?=
MINUTES ?= 2
SEED ?=
# Hundreds of processes start from this source, and each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
READY := .venv/.installed
# Production mode, as `manage.py check --deploy` should see it; the key is thrown away with the process.
PRODUCTION = BATON_DEBUG=0 BATON_PUBLIC_URL=https://baton.example.com SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(64))") \
	BATON_CHECKPOINT_KEY_FILE=$(or $(BATON_DATA_DIR),.data)/checkpoint_key.pem

.PHONY: up demo test check format browser crash chaos bench bench-safety clean

up: $(READY)
	$(BIN)/python manage.py up $(ARGS)

demo: $(READY)
	$(BIN)/python manage.py demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 $(ARGS)

browser: $(READY)
	$(BIN)/python -m pytest -m browser $(ARGS)

crash: $(READY)
	$(BIN)/python -m pytest -m crash -n 2 $(ARGS)

# Random faults, an outside ledger that judges, and controls that have to be caught: docs/chaos.md.
chaos: $(READY)
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Beside its peers, its promises and its limits: benchmarks/README.md. make bench ARGS='--quick --case latency'
bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

# A model that obeys every attacker, with and without the gate: docs/information-flow.md. ARGS='--every 6' for a taste.
bench-safety: $(READY)
	$(BIN)/python -m tests.hostile $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/python -W "ignore:Got an error checking" manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py checkpoint_key > /dev/null
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Installing again is cheap when nothing changed, and a half-made .venv is never taken for a whole one.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Baton needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." \
	       "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  rm -rf .venv; echo "Could not make .venv; on Debian and Ubuntu install the package python3-venv first."; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache staticfiles
