# make demo                  try it: the built-in portrait, live in the browser
# make demo RENDER=out.mp4   the same as a clip
# make test                  the tests
# make check                 ruff and mypy
# make clean                 remove the environment and what was built
#
# Every target makes or mends the environment in .venv first. PYTHON=... chooses the interpreter (3.10 to 3.12).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: demo test check clean environment
.DEFAULT_GOAL := demo

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
RENDER ?=
TESTS ?=

demo: environment
	@$(BIN)/narrate demo $(if $(RENDER),--render "$(RENDER)")

test: environment
	@$(BIN)/python -m pytest $(TESTS)

check: environment
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	echo "removed $(VENV) and the caches"

# The stamp holds what the environment was made from: pyproject.toml, and the directory it stands in (an environment
# that was moved does not work). It is written last, so a half-made environment is made anew.
environment:
	@want="$$(echo '$(CURDIR)' | cat - pyproject.toml | cksum)"
	if [ "$$(cat $(STAMP) 2>/dev/null)" = "$$want" ] && $(BIN)/python -c 'import narrate_stream, pytest, cv2' 2>/dev/null; then
	    exit 0
	fi
	bash .ci/environment "$(VENV)" "$(PYTHON)"
	echo "$$want" > $(STAMP)
