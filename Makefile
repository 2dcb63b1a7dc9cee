# SPDX-License-Identifier: GPL-2.0
# What a person types. The work is done by scripts/; `make help` lists the targets.
# The modules' own build is described in Kbuild.

# adeos, plain or debug: see scripts/kernel.
VARIANT ?= adeos
SCRIPT ?= scripts/demo

vnode_target := x86_64-unknown-linux-gnu

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# What is given as make KSRC=... has to reach the scripts; empty means unset there.
export ADEOS_CACHE KSRC RUST_LIB_SRC ACCEL

.DEFAULT_GOAL := help

# Kernels, modules and archives depend on more than the times of files, so the
# scripts decide what there is to do. They are fast when that is nothing.
.PHONY: help setup doctor kernel modules tools rootfs build demo shell run \
	check check-debug check-long bench fuzz test fmt clean distclean

help: ## Lists the targets
	@echo 'A cluster of Linux kernels in one machine. From nothing: make demo'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  VARIANT=plain|debug       another kernel (kernel, modules, rootfs, build, shell, run)'
	@echo '  ADEOS_CACHE=FOLDER        where kernels are kept (default: ~/.cache/adeos)'
	@echo '  KSRC=FOLDER               your own source of Linux 7.3'
	@echo '  ACCEL=kvm                 KVM instead of emulation (demo, shell, run)'

setup: ## Installs and fetches what the build needs
	@scripts/setup

doctor: ## Says what is present, missing or too old
	@scripts/doctor

kernel: setup ## Builds the kernel, or finds it in the cache
	@scripts/kernel build $(VARIANT)

modules: kernel ## Builds our modules into build/VARIANT/modules
	@scripts/kernel modules $(VARIANT)

tools: setup ## Builds the vnode tool, static, and what the harness needs
	@RUSTFLAGS='-C target-feature=+crt-static' \
		cargo build --quiet --locked --release --target $(vnode_target) -p vnode -p consoles

rootfs: modules tools ## Gathers kernel and file system in build/VARIANT
	@scripts/rootfs $(VARIANT)

build: rootfs ## All of the above: what a machine boots

demo: build ## Starts two more Linux kernels beside the first and tells about it
	@scripts/cluster run --deaths --timeout 120 scripts/demo

shell: build ## A root shell with the cluster up
	@ADEOS_VARIANT=$(VARIANT) scripts/cluster shell

run: build ## Runs SCRIPT=FILE in the root with the cluster up
	@ADEOS_VARIANT=$(VARIANT) scripts/cluster run $(SCRIPT)

check: ## Every test; ends in "N passed, N failed"
	@scripts/check

check-debug: ## The cluster's tests on kernels with lockdep, KASAN and the like
	@$(MAKE) --no-print-directory build VARIANT=debug
	@$(MAKE) --no-print-directory build VARIANT=plain
	@ADEOS_VARIANT=debug selftests/run

check-long: check ## That, the long tests, three hundred starts, a minute of fuzzing for each reader, and check-debug
	@scripts/kernel lint plain
	@scripts/fuzz --seconds 60
	@ROUNDS=300 selftests/run selftests/020-conserve.sh
	@LONG=only selftests/run
	@$(MAKE) --no-print-directory check-debug

bench: build ## Figures, each against what one would pick instead
	@scripts/bench

fuzz: ## Hostile input for all that reads shared memory, a minute for each reader
	@scripts/setup tests
	@scripts/fuzz --seconds 60

test: ## The tests of proto and of the tool that run here (unit, property, documentation)
	@scripts/setup tests
	@cargo nextest run --locked
	@cargo test --quiet --locked --doc

fmt: ## Formats all Rust
	@find . -name '*.rs' -not -path './build/*' -not -path './target/*' -print0 | \
		xargs -0 rustfmt --edition 2021

clean: ## Removes what was built here; the cache stays
	@rm -rf build target

distclean: clean ## Removes the cache as well: the next build starts from nothing
	@cd "$${ADEOS_CACHE:-$$HOME/.cache/adeos}" && \
		rm -rf apt ccache downloads kernels source setup.lock
