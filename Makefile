# The two commands of a newcomer: `make demo` and `make test`. Both set up all they need on Debian 12
# or Ubuntu 24.04 (as root, or with sudo). `make check` is what a change must pass besides the tests.

CARGO ?= cargo
PACKAGES = gcc libc6-dev pkg-config python3 python3-pip libgstreamer1.0-dev \
	libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-libav
# MPEG-2 test streams are made with these; the program itself does without.
TEST_PACKAGES = gstreamer1.0-plugins-bad
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)

P2SAM = target/release/p2sam
PLUGINS = $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/gstreamer-1.0/plugins
# They lie in the repository: nothing is fetched.
WEIGHTS = polyp
PROFILE = live
DEMO = demo
# A clip that shows the polyp leave and return, short enough for a laptop's processor.
DEMO_CLIP = --seed 1 --size 640x360 --rate 10 --length 4

.PHONY: all demo test check check-cuda peers gpu train-polyp train-polyp-open train-kvasir system \
	test-system build install-plugin needs-data clean FORCE

all: build

## Render the phantom clip, follow its polyp, show what came of it.
demo: $(DEMO)/summary.txt
	@echo
	@cat $(DEMO)/summary.txt
	@echo "for research use; not a medical device"

## Everything the tests need, then all tests.
test: test-system
	$(CARGO) build
	target/debug/p2sam weights fetch
	$(CARGO) test

## Format, lints as errors, documentation.
check: system
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

## The CUDA build type-checks; no toolkit is needed for it.
check-cuda: system
	$(CARGO) check --features cuda

## p2sam against PyTorch, ONNX Runtime, candle and POT, in turns on this machine; packages in target/peers.
peers: $(P2SAM) target/peers/bin/python
	$(CARGO) build --release --example peers
	$(CARGO) build --release --manifest-path benches/peers/candle/Cargo.toml --target-dir target/peers/candle
	$(P2SAM) weights fetch
	target/peers/bin/python benches/peers/peers.py --candle target/peers/candle/release/candle-peer $(PEERS)

# What the recipes of the shipped weights need: a folder DATA with the data sets that they name. A run
# that was stopped goes on. On a GPU: DEVICE=cuda and a build with --features cuda.
RUNS = runs
DEVICE = auto
TRAIN = $(P2SAM) finetune --data $(DATA) --device $(DEVICE)

## The weights `polyp` again (weights/polyp.md): hours on two cores.
train-polyp: $(P2SAM) | needs-data
	$(TRAIN) --recipe weights/polyp-1.toml --out $(RUNS)/polyp-1
	$(TRAIN) --recipe weights/polyp-2.toml --weights $(RUNS)/polyp-1/best.bpk --out $(RUNS)/polyp-2

## Weights of openly licensed data alone: PolypGen and the synthetic clip.
train-polyp-open: $(P2SAM) | needs-data
	for seed in 1 2 3; do \
		[ -e $(DATA)/phantom-$$seed/truth.csv ] || $(P2SAM) phantom -o $(DATA)/phantom-$$seed \
			--images --seed $$seed --rate 2 --length 20 --size 480x360 || exit 1; \
	done
	$(TRAIN) --recipe weights/polyp-open-1.toml --out $(RUNS)/polyp-open-1
	$(TRAIN) --recipe weights/polyp-open-2.toml --weights $(RUNS)/polyp-open-1/best.bpk --out $(RUNS)/polyp-open-2

## The published protocol (fine-tuned on Kvasir-SEG, tested on CVC-ClinicDB) from `mobile-sam`.
train-kvasir: $(P2SAM) | needs-data
	$(P2SAM) weights fetch
	$(TRAIN) --recipe weights/kvasir.toml --out $(RUNS)/kvasir

needs-data:
	@[ -n "$(DATA)" ] || { echo "give DATA=DIR, the folder that holds the data sets" >&2; exit 2; }

## Numerics and times on an NVIDIA GPU, beside PyTorch's.
gpu: target/peers/bin/python
	$(CARGO) build --release --no-default-features --features cuda --bin p2sam --example peers
	$(P2SAM) weights fetch
	target/peers/bin/python benches/peers/gpu.py $(GPU)

target/peers/bin/python: benches/peers/requirements.txt
	python3 -m venv target/peers
	target/peers/bin/pip install -q -r benches/peers/requirements.txt
	@touch $@

build: $(P2SAM)

## The element p2samoverlay for gst-inspect-1.0 and gst-launch-1.0.
install-plugin: system
	$(CARGO) build --release --example gstp2sam
	install -D -m 644 target/release/examples/libgstp2sam.so "$(PLUGINS)/libgstp2sam.so"

# Installs what is missing and nothing else.
system:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed \
			|| missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:" $$missing; \
		$(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get install -q -y --no-install-recommends $$missing; \
	fi

test-system:
	@$(MAKE) --no-print-directory system PACKAGES="$(PACKAGES) $(TEST_PACKAGES)"

# Cargo knows best whether anything has to be built.
$(P2SAM): system FORCE
	$(CARGO) build --release

$(DEMO)/phantom/truth.csv: | $(P2SAM)
	$(P2SAM) phantom -o $(DEMO)/phantom $(DEMO_CLIP)

$(DEMO)/summary.txt: $(P2SAM) $(DEMO)/phantom/truth.csv
	@echo "weights: $(WEIGHTS), of this repository (weights/$(WEIGHTS).md); profile: $(PROFILE)"
	$(P2SAM) track $(DEMO)/phantom/clip.mkv --reference $(DEMO)/phantom/masks/000000.png \
		--weights $(WEIGHTS) --profile $(PROFILE) \
		--truth $(DEMO)/phantom/masks -o $(DEMO)/overlay.mkv --masks $(DEMO)/masks \
		--coco $(DEMO)/masks.json --jsonl $(DEMO)/frames.jsonl \
		--summary $(DEMO)/summary.json > $@.tmp
	@mv $@.tmp $@

clean:
	$(CARGO) clean
	rm -rf $(DEMO)

FORCE:
