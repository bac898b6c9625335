# What can be done here; CONTRIBUTING.md says what each needs.

.PHONY: demo generate docs lint check test dist bench

# Shows the main job on an embedded sandbox: no cluster, no tools but cargo.
demo:
	cargo build --quiet --locked --workspace
	cargo run --quiet --locked --package sandbox --bin demo

# Writes again what is made of the flags: completions/, man/ and schemas/config.json, and `docs` besides.
generate:
	UPDATE=1 cargo test --quiet --locked --test it -- up_to_date

# Writes again what README and docs/ show of the program: runs on the sandbox, tables of the flags, the picture.
docs:
	UPDATE=1 cargo test --quiet --locked --test it -- docs::transcripts_and_tables_are_up_to_date docs::picture_is_up_to_date

# Format, lints, and the links of the code's documentation.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# `lint`, unit tests, and every scenario on the sandbox.
check: lint
	umask 022; cargo test --workspace --locked --quiet -- --skip control_plane::

# Everything, the real control plane included.
test:
	tests/all

# This host's archive, and the manifest for krew with its hash, in target/archives.
dist:
	packaging/dist

# The figures of README, on the real control plane: an hour, on a quiet machine. Three of them need upstream Sciuro.
bench:
	tests/bench/sync
	tests/bench/status
	tests/bench/drain
	tests/bench/upstream
	tests/bench/writes
	tests/bench/latency
	tests/bench/collect
