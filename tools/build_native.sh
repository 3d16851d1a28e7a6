#!/bin/sh
# Build runtime/_native*.so, runtime/lib/ and runtime/bin/edge_runner in place, for working in the
# source tree without installing. PYTHON chooses the interpreter (its cmake and ninja are used
# where it has them).
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
scripts="$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')"
PATH="$scripts:$PATH"
export PATH
"$PYTHON" -c 'import nanobind, nlohmann_json' || { echo "nanobind or nlohmann-json is missing: $PYTHON -m pip install nanobind nlohmann-json cmake ninja" >&2; exit 1; }
cmake --preset host -DPython_EXECUTABLE="$(command -v "$PYTHON")" "$@"
cmake --build --preset host
cmake --install build/host --prefix . >/dev/null
echo "built: $(ls runtime/_native*.so) runtime/lib runtime/bin/edge_runner"
