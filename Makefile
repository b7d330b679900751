# The dev loop. `make quickstart` and `make test` work on a machine with Python, pip, make and git alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EQUIPPED := $(VENV)/.equipped
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: install equip quickstart controls chat test search check fix bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[all]'
	touch $@

equip: $(EQUIPPED)  ## what tests, checks and benches need beside it

$(EQUIPPED): $(INSTALLED)
	$(INSTALL) '.[all,dev]'
	touch $@

quickstart: install  ## distill, evaluate and bottle the example; a second call redoes nothing
	$(BIN)/stillhouse run recipes/quickstart.yaml

controls: install  ## the same with controls: what gold labels would have reached
	$(BIN)/stillhouse run recipes/quickstart.yaml --set 'controls={}'

chat: install  ## a small chat model from a larger one; about an hour on two cores
	$(BIN)/stillhouse run recipes/chat.yaml

check: equip  ## lint, types and import contracts
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check --quiet src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

# a file's tests stay in one process, which makes its fixtures once
test: check  ## everything that must hold before a change lands
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

# what it finds becomes an @example of its test
search: equip  ## the properties on ten times as many examples, new ones each time; `make test` draws the same ones
	$(BIN)/pytest --hypothesis-profile search -m hypothesis --numprocesses logical --maxprocesses 4 --dist loadfile

fix: equip  ## mend what can be mended by itself
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

bench: equip  ## every figure of the quickstart beside its bar; about 20 minutes on two cores
	$(BIN)/python -m bench quickstart

clean:
	rm -rf $(VENV) runs answers cache
