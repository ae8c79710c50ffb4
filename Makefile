# The short door to the build: meson and ninja do the work.
# SPDX-License-Identifier: MIT
BUILD ?= build
MESON_ARGS ?=
FUZZ_RUNS ?= 20000
PYTHON ?= /usr/bin/env python3

.PHONY: all deps deps-check test demo lint fuzz asan train-demo clean

all: deps-check $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) $(MESON_ARGS)

deps:
	@sh scripts/deps.sh install

# Installs only when something is missing, so that a bare machine needs no other step.
deps-check:
	@sh scripts/deps.sh check || sh scripts/deps.sh install

# Everything that needs no more than this machine; the last line is "N passed, N failed".
test: deps-check $(BUILD)/build.ninja
	@$(PYTHON) tests/run.py --lint $(BUILD)

demo: all
	@sh scripts/demo.sh $(BUILD)/nunchi

# Makes models/scenes again from nothing: an hour or two on two cores. Stopped, it goes on where it was.
train-demo: all
	@$(BUILD)/nunchi train recipes/scenes.yaml --resume

lint:
	@$(PYTHON) tests/scripts/lint.py --warnings

# The whole suite under the address and undefined-behaviour sanitizers.
asan: deps-check build-asan/build.ninja
	@$(PYTHON) tests/run.py --slow 10 build-asan

# Every parser against FUZZ_RUNS mutations of each file of its corpus, under the same sanitizers.
fuzz: deps-check build-asan/build.ninja
	@$(PYTHON) tests/run.py --fuzz $(FUZZ_RUNS) build-asan

build-asan/build.ninja:
	@meson setup build-asan --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false $(MESON_ARGS)

clean:
	@rm -rf build build-asan build-ci
