# The commands of the project. `make` alone lists them; ARGS='...' is passed on to what they start.

.DEFAULT_GOAL := help
.PHONY: help run test check fmt bench bench-fleet dist eztable

updraft := --locked --package updraft-cli --bin updraft

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build Updraft and start it on this machine with its examples
	@scripts/setup.sh run
	cargo run --release $(updraft) -- standalone --examples $(ARGS)

test: ## run every check and every test, as CI does
	@scripts/setup.sh test
	cargo run --quiet --locked --package xtask -- ci $(ARGS)

check: ## run the checks that are no tests: format, style, dependencies, lints, documentation
	cargo run --quiet --package xtask -- ci --only fmt,tidy,deny,clippy,doc

fmt: ## format all code
	cargo fmt --all

bench: ## measure against the goals, some eight minutes; ARGS=noop for one benchmark
	@scripts/setup.sh bench
	cargo build --release $(updraft)
	cargo run --release --locked --package updraft-bench -- $(ARGS)

bench-fleet: ## measure a hundred workers on this machine, some ten minutes
	@$(MAKE) --no-print-directory bench ARGS=fleet

dist: ## build the stripped release binary; print its path and size
	@scripts/setup.sh run
	cargo build --profile dist $(updraft)
	@cd "$${CARGO_TARGET_DIR:-target}/dist" && printf '%s: %s bytes\n' "$$(pwd)/updraft" "$$(wc -c < updraft)"

eztable: ## show a shop's mailing from end to end; ARGS=--fast takes seconds
	@scripts/setup.sh eztable
	@examples/eztable/run $(ARGS)
