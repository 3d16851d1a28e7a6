#!/bin/sh
# Fuzz each reader of files for so many seconds: those of Python by atheris, those of C++ by
# libFuzzer with address and undefined-behaviour sanitizers (clang). Finds lie below runs/fuzz.
set -eu
cd "$(dirname "$0")/../.."
seconds="${1:-600}"
PYTHON="${PYTHON:-python3}"
out="$PWD/runs/fuzz"
failed=""
for target in bundle zip golden checkpoint pickle table folder labels tubes config run classes; do
  echo "== $target, $seconds s"
  "$PYTHON" tools/fuzz/python.py "$target" --seconds "$seconds" --out "$out" \
    >"$out-$target.log" 2>&1 || failed="$failed $target"
done
if ! command -v clang++ >/dev/null; then
  echo "C++ is not fuzzed: clang++ is missing (apt-get install clang libclang-rt-14-dev)" >&2
  exit "$([ -z "$failed" ]; echo $?)"
fi
libraries="$("$PYTHON" -c 'import executorch; print(list(executorch.__path__)[0])')"
CXX=clang++ cmake -S tools/fuzz/native -B "$out/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DEDGE_EXECUTORCH_DIR="$libraries" -DPython_EXECUTABLE="$(command -v "$PYTHON")" >/dev/null
cmake --build "$out/build" -j2 >/dev/null
mkdir -p "$out/native/bundle" "$out/native/npz" "$out/native/packet" "$out/native/program" \
  "$out/native/finds"
cp runtime/models/nano/bundle.json "$out/native/bundle/"
cp runtime/models/nano/xnnpack-int8.pte "$out/native/program/"
"$PYTHON" - "$out/native/npz/seed.npz" <<'PYTHON'
import sys
import numpy as np
np.savez(sys.argv[1], **{"frames_rgb": np.zeros((2, 4, 4, 3), np.uint8),
                         "a/pred_boxes": np.zeros((3, 4), "<f4")})
PYTHON
# The beginnings of packets that the tests hold, one of each codec.
"$PYTHON" - runtime/native/picture-format-test.cc "$out/native/packet" <<'PYTHON'
import re
import sys
from pathlib import Path
for name, text in re.findall(r"std::string (k\w+) =\s*((?:\"[0-9a-f]+\"\s*)+);",
                             Path(sys.argv[1]).read_text()):
    data = bytes.fromhex("".join(re.findall(r"[0-9a-f]+", text)))
    (Path(sys.argv[2]) / name).write_bytes(data)
PYTHON
for target in bundle npz packet program; do
  echo "== C++ $target, $seconds s"
  LD_LIBRARY_PATH="$libraries/lib" "$out/build/fuzz_$target" "$out/native/$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=60000 \
    -artifact_prefix="$out/native/finds/$target-" >"$out-native-$target.log" 2>&1 \
    || failed="$failed native-$target"
done
[ -z "$failed" ] || { echo "finds in:$failed (see runs/fuzz-*.log)" >&2; exit 1; }
