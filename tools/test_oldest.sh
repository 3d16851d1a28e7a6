#!/bin/sh
# Run the tests of what reads videos with the oldest OpenCV, NumPy and PyAV that the project
# allows: test_oldest.sh PYTHON. They are put before those of the environment, which stays as it is.
set -eu
python=$1
cd "$(dirname "$0")/.."
floors=$("$python" -c '
import sys
sys.path.insert(0, "tools")
from device_requirements import NUMPY, OPENCV, PYAV
print(*(need.replace(">=", "==") + ".*" for need in (NUMPY, OPENCV, PYAV)))')
oldest=$PWD/build/oldest
if ! "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
    echo "not run with $floors: that NumPy has no wheel for this Python; use 3.10 or 3.11"
    exit 0
fi
# shellcheck disable=SC2086
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --upgrade --target "$oldest" $floors
PYTHONPATH=$oldest exec "$python" -m pytest tests/runtime/sources tests/runtime/test_preprocess.py \
    tests/runtime/cameras
