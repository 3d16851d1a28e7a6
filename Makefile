# Two commands do all set-up: `make demo` and `make test`. Every step CI takes is one of these targets.
PYTHON ?= python3
DEMO_VENV := .venv
DEV_VENV := .venv-dev
BIN := $(DEV_VENV)/bin
SOURCES := edge export quantize runtime calibration tests benchmarks tools

.PHONY: demo test check format lock bench docs bundle fuzz soak clean

# The device's side: no torch, nothing but NumPy, OpenCV and the native module.
# `make demo VIDEO=path` runs it on a video of yours.
demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/edge demo --out runs/demo $(if $(VIDEO),--video '$(VIDEO)')

$(DEMO_VENV)/.installed: pyproject.toml CMakeLists.txt $(shell find runtime edge -name '*.py' -o -name '*.cc' -o -name '*.h' -o -name '*.txt' -o -path 'runtime/models/*' -type f 2>/dev/null)
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check .
	touch $@

# `make test LOCK=requirements-dev.lock` installs the versions that the tests passed with.
LOCKED := $(if $(LOCK),-c $(LOCK))

# Read by tests, not installed: the names in them are those that the runtime calls on a Jetson.
CUDA_WHEELS := 'tensorrt-cu12-bindings>=10.3,<10.4' 'tensorrt-cu13-bindings>=11,<12' \
  'cuda-python>=12.6,<12.7' 'cuda-bindings>=13,<14' 'torch-tensorrt>=2.13,<2.14'

# The developer's side: torch, ExecuTorch's exporter, and the tools of `make check`.
$(DEV_VENV)/.installed: pyproject.toml CMakeLists.txt $(shell find runtime/native -type f 2>/dev/null)
	sh tools/install-test-packages.sh
	$(PYTHON) -m venv $(DEV_VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(LOCKED) "torch==2.13.0"
	$(BIN)/pip install --quiet --disable-pip-version-check $(LOCKED) -C cmake.define.EDGE_WERROR=ON -C cmake.define.BUILD_TESTING=ON -e ".[dev,docs]"
	for one in $(CUDA_WHEELS); do $(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
	  --dest build/cuda_wheels "$$one" || echo "$$one cannot be downloaded: its names are not checked" >&2; done
	touch $@

test: $(DEV_VENV)/.installed
	for build in build/cp*; do $(BIN)/ctest --test-dir $$build --output-on-failure || exit 1; done
	sh tools/run_tests.sh $(BIN)/pytest

check: $(DEV_VENV)/.installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy edge export quantize runtime calibration benchmarks tools
	$(BIN)/clang-format --dry-run --Werror runtime/native/*.h runtime/native/*.cc

# Write down the versions of the development environment.
lock: $(DEV_VENV)/.installed
	$(BIN)/pip list --format=freeze --exclude-editable | sed 's/+cpu$$//' | grep -v -E '^(uv|pip|setuptools)==' > requirements-dev.lock

format: $(DEV_VENV)/.installed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/clang-format -i runtime/native/*.h runtime/native/*.cc

bench: $(DEV_VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -C cmake.define.EDGE_WERROR=ON -e ".[dev,bench]"
	$(BIN)/python -m benchmarks.engines --variants pico nano --out runs/bench
	$(BIN)/python -m benchmarks.by_operator --model runtime/models/nano --out runs/bench
	$(BIN)/python -m benchmarks.cold_start --out runs/bench
	$(BIN)/python -m benchmarks.steps --variants pico nano --out runs/bench
	$(BIN)/python -m benchmarks.methods --out runs/bench
	$(BIN)/python -m benchmarks.variants --out runs/bench

docs: $(DEV_VENV)/.installed
	$(BIN)/python tools/docs_tables.py --check
	$(BIN)/mkdocs build --strict

# Rebuild the bundle that ships with the package.
bundle: $(DEV_VENV)/.installed
	$(BIN)/python tools/build_default_bundle.py

# So many minutes of faults for `edge run` on a camera over RTSP.
MINUTES ?= 10
soak: $(DEV_VENV)/.installed
	$(BIN)/python tools/soak.py --minutes $(MINUTES)

# Fuzz each reader of files for so many seconds; finds lie below runs/fuzz. Needs clang for C++.
SECONDS ?= 600
fuzz: $(DEV_VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check atheris nlohmann-json
	PYTHON=$(BIN)/python sh tools/fuzz/all.sh $(SECONDS)

clean:
	rm -rf build dist site runs $(DEMO_VENV) $(DEV_VENV)
