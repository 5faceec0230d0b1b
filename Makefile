# memkd-edge. Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What measuring on emulated devices needs, and what the tests need on top: package:program pairs.
BENCH_TOOLS := gcc-arm-none-eabi:arm-none-eabi-gcc libnewlib-arm-none-eabi:/usr/lib/arm-none-eabi/newlib/libc.a \
	qemu-system-arm:qemu-system-arm qemu-user:qemu-aarch64 gcc-aarch64-linux-gnu:aarch64-linux-gnu-gcc \
	libc6-dev-arm64-cross:/usr/aarch64-linux-gnu/include/stdlib.h qemu-system-misc:qemu-system-riscv32 \
	gcc-riscv64-unknown-elf:riscv64-unknown-elf-gcc picolibc-riscv64-unknown-elf:/usr/lib/picolibc/riscv64-unknown-elf
TEST_TOOLS := gcc:gcc g++:g++ gcc-powerpc-linux-gnu:powerpc-linux-gnu-gcc libc6-dev-powerpc-cross:/usr/powerpc-linux-gnu/include/stdlib.h clang:clang lld:wasm-ld chromium:chromium chromium-driver:chromedriver gcc-avr:avr-gcc avr-libc:/usr/lib/avr/include/stdint.h simavr:simavr \
	libclang-rt-14-dev:/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux \
	cppcheck:cppcheck openssh-server:/usr/sbin/sshd libstdc++-arm-none-eabi-newlib:/usr/lib/arm-none-eabi/lib/libstdc++_nano.a

# All our C and C++; what stands in models/ is generated.
C_FILES = $$(git ls-files '*.c' '*.cc' '*.h' ':!models')

.PHONY: help demo test test-fast setup lint docs tools test-tools runtimes format bench-c bench-distill bench-host ablation streams stream-runs stream-decisions stream-windows rivals demo-seeds teacher-cost run-cost small24 ucr12 stream-sizes window-sizes models exact quant-report clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup tools ## Set up, then distill -> export -> bench on a bundled data set
	memkd-edge distill
	memkd-edge export --format tflite --quantize int8
	@if command -v qemu-aarch64 >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null; then \
		echo memkd-edge bench --device rpi4; memkd-edge bench --device rpi4; \
	else \
		echo "no aarch64 emulator or compiler here: measuring this machine instead of a Raspberry Pi 4" >&2; \
		echo memkd-edge bench --device host; memkd-edge bench --device host; \
	fi

test: setup tools test-tools lint ## Set up, then run all tests, a file on each core
	pytest -q -n auto --dist loadfile

# Tests of single modules: no emulator, no compiler for Arm, no training of whole runs; safe side by side.
FAST_TESTS := tests/data tests/nets tests/formats $(wildcard tests/distillation/test_methods*.py) \
	$(addprefix tests/distillation/test_,discrepancy.py belief.py selection.py) tests/comparison/test_rows.py tests/comparison/test_report_statistics.py \
	tests/benchmark/test_profiles.py tests/benchmark/test_protocol.py tests/benchmark/test_estimates.py tests/writers/test_tflite.py \
	$(addprefix tests/test_,config.py house.py metadata.py runs.py scores.py seeds.py streaming.py)

test-fast: setup ## Tests of single modules on all cores, in a minute or so; needs nothing but `make setup`
	OMP_NUM_THREADS=1 pytest -q -n auto $(FAST_TESTS)

lint: setup ## ruff, mypy, import layers, clang-format
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	clang-format --dry-run --Werror $(C_FILES)

docs: setup ## The documents as a site, in site/; warnings are errors
	mkdocs build --strict --quiet

format: setup ## Format Python and C
	ruff check --fix .
	ruff format .
	clang-format -i $(C_FILES)

setup: $(VENV)/.installed ## Virtual environment with the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 3; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,tflm,serial,ray,parquet]'
	touch $@

tools: ## Debian packages for emulated devices (as root or with sudo; otherwise says what to install)
	@./.ci/debian $(BENCH_TOOLS)

test-tools: ## Debian packages that only the tests need
	@./.ci/debian $(TEST_TOOLS)

bench-distill: setup ## What training costs: population against each alone, students, teachers, streams; into models/distill_cost.md
	python -m experiments.bench_distill

bench-host: setup ## An exported file on this machine, beside a bare interpreter and torch, into models/host.md
	OMP_NUM_THREADS=1 python -m experiments.bench_host $(if $(AGAINST),--against $(AGAINST))

ablation: setup ## Which of the training tricks pays, into models/ablation.md
	python -m experiments.ablation

bench-c: setup tools ## Cost of the generated C against firmware_bench/figures.json
	python -m experiments.pinned_costs

streams: setup ## How well students decide at every sample of recordings, into models/streams.md
	python -m experiments.streams

stream-runs: setup ## How near the student that a run keeps comes to its teacher, into models/stream_runs.md
	python -m experiments.stream_runs

stream-decisions: setup ## What the held decision is worth, its margin chosen on other subjects, into models/stream_decisions.md
	python -m experiments.stream_decisions

stream-windows: setup ## How well students of joined windows decide at windows' ends, into models/stream_windows.md
	python -m experiments.stream_windows

rivals: setup tools ## A forest, a CNN and FastGRNN on the same recordings, scores and cost, into models/rivals.json
	OMP_NUM_THREADS=1 python -m experiments.rivals

demo-seeds: setup ## How often a distilled method wins the demo, into models/demo_seeds.md
	python -m experiments.demo_seeds

teacher-cost: setup ## What teachers of small sets cost beside a checkout, AGAINST=..., into models/teacher_cost.md
	python -m experiments.teacher_cost --against $(AGAINST)

run-cost: setup ## What whole runs cost beside a checkout, AGAINST=... [DATA_ROOT=...] [UNTIMED=1], into models/run_cost.md
	python -m experiments.run_cost --against $(AGAINST) --data-root "$(DATA_ROOT)" $(if $(UNTIMED),--untimed)

small24: setup ## Five methods on 24 data sets, into models/small24; goes on where its rows end
	python -m experiments.small24

ucr12: setup ## All methods on the paper's twelve sets by both protocols, into models/ucr12*, protocols.md; goes on where rows end
	python -m experiments.ucr12

stream-sizes: setup tools ## What a byte and an instruction buy along streams, into models/stream_sizes.*
	python -m experiments.stream_sizes

window-sizes: setup tools ## What a byte and an instruction buy on bundled windows, into models/window_sizes; goes on where rows end
	python -m experiments.window_sizes

models: setup tools ## Make the ready-made students of models/cards.toml anew, into models/
	$(if $(wildcard ../shared/data/npz),AEON_DATA=../shared/data/npz) python -m experiments.ready_models

exact: setup tools ## A million steps: reference and tflite-micro, C on each core, endless models; recordings in every program
	python -m tests.quantization.exact --steps 1000000
	python -m tests.quantization.endless --steps 1000000
	python -m tests.writers.exact_cores --steps 1000000
	python -m tests.packages.exact_decisions --samples 100000

quant-report: setup ## What quantisation costs on all data sets at hand, into models/quant
	python -m experiments.quantization_cost --out models/quant $(if $(wildcard ../shared/data/npz),--data-root ../shared/data/npz)

.PHONY: fuzz torture mutants
torture: setup ## Commands killed at random moments, KILLS times (200)
	OMP_NUM_THREADS=1 python -m tests.torture --kills $(or $(KILLS),200) --seed $(or $(SEED),0)

mutants: setup test-tools ## Lines of the product broken one by one: which do the tests notice? Into experiments/mutants.json
	python -m experiments.mutants

fuzz: setup ## Damaged input for everything that reads, as many as INPUTS says (10,000)
	python -m tests.fuzz --inputs $(or $(INPUTS),10000) --seed $(or $(SEED),0)

# Environments of their own, each with what tests/environments/NAME.txt lists.
RUNTIMES := $(patsubst tests/environments/%.txt,$(VENV)-%,$(wildcard tests/environments/*.txt))

runtimes: $(addsuffix /.installed,$(RUNTIMES)) ## Environments of their own: TensorFlow, tflite-runtime, a bare Pi, the field's tools

$(VENV)-bare/.installed: constraints.txt
$(VENV)-%/.installed: tests/environments/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean: ## Remove the virtual environment and caches, never a run
	rm -rf $(VENV) $(RUNTIMES) .pytest_cache .mypy_cache .ruff_cache build dist
