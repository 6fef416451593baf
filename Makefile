# Five verbs; CI runs these and nothing else. BIN= runs them outside the virtual environment of the README.
BIN ?= .venv/bin/
STAGE ?= A
RESULTS = reports/allure-results

.PHONY: check test gates report docs

check:  ## lint, types
	$(BIN)ruff format --check .
	$(BIN)ruff check .
	mkdir -p build/types/gonogo && for room in harness methods fixtures gates; do ln -sfn "../../../$$room" build/types/gonogo/$$room; done
	cp harness/package/__init__.py build/types/gonogo/
	cd build/types && PATH="$$OLDPWD/$(BIN):$(BIN):$$PATH" mypy --config-file ../../pyproject.toml

test:  ## the machine's own tests
	$(BIN)pytest -q -n auto -m "not services" tests

gates:  ## judge the embedded default
	$(BIN)pytest -m gate_stage$(STAGE) --alluredir $(RESULTS) --clean-alluredir

report:  ## the Allure report of the last `make gates` (Node 20)
	npx --yes allure@3.18.0 generate $(RESULTS)

docs:  ## the documentation as a site, in reports/site (pip install -e '.[docs]')
	NO_MKDOCS_2_WARNING=1 $(BIN)mkdocs build --strict
