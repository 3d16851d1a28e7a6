#!/bin/sh
# Build runtime._native and edge_runner for aarch64 Linux on another machine, with Debian's cross
# compiler, into build/aarch64/device: copy its folder runtime/ to the device and run it there, or
# run it here under qemu-aarch64 (tests/test_aarch64.py).
#
# sh tools/cross_build_aarch64.sh [--runner-only] [flags for CMake]
# PYTHON chooses this machine's interpreter (its cmake and ninja are used where it has them).
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
scripts="$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')"
PATH="$scripts:$PATH"
export PATH PYTHON
device="$PWD/build/aarch64/device"

command -v aarch64-linux-gnu-g++ >/dev/null || {
  echo "aarch64-linux-gnu-g++ is missing: apt-get install g++-aarch64-linux-gnu" >&2
  exit 1
}
with_python=ON
if [ "${1:-}" = --runner-only ]; then
  with_python=OFF
  shift
fi
if [ "$with_python" = ON ]; then
  "$PYTHON" -c 'import nanobind, nlohmann_json' || { echo "nanobind or nlohmann-json is missing: $PYTHON -m pip install nanobind nlohmann-json cmake ninja" >&2; exit 1; }
  case " $*" in
    *" -DPython_INCLUDE_DIR="*) ;;
    *)
      sh tools/fetch_aarch64_python.sh
      set -- "-DPython_INCLUDE_DIR=$(echo "$PWD"/build/aarch64-python/usr/include/python3.*)" "$@"
      ;;
  esac
fi
cmake --preset aarch64 -DPython_EXECUTABLE="$(command -v "$PYTHON")" -DEDGE_PYTHON="$with_python" "$@"
cmake --build --preset aarch64
rm -rf "$device"
cmake --install build/aarch64 --prefix "$device" >/dev/null
find runtime -type f \( -name '*.py' -o -path 'runtime/models/*' \) -exec cp --parents {} "$device" \;
needed="$(find "$device" -type f \( -name edge_runner -o -name "*.so" \) -exec aarch64-linux-gnu-objdump -T {} + |
  grep -o 'GLIBC[X]*_[0-9.]*' | sort -uV)"
echo "built: build/aarch64/device/runtime, which needs on the device" \
  "$(echo "$needed" | grep 'GLIBC_' | tail -n 1) and $(echo "$needed" | grep 'GLIBCXX_' | tail -n 1)"
