#!/bin/sh
# Run the tests: run_tests.sh PYTEST. A part of them in the background, whose output follows at the
# end. In several processes: in one, libraries that the first part loads crash the export's tests (a
# segmentation fault at tests/export/test_pipeline.py, whose cause is not known yet).
set -u
# Two processes compute at once already, and threads that spin for each other would slow both.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMP_NUM_THREADS
# What runs torch keeps freed memory, as the verbs of `edge` do (runtime/allocator.py).
kept="env MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2000000000"
status=0

if [ "$1" = --behind ]; then
    # Nothing that is interrupted by signals: what a shell starts in the background ignores SIGINT.
    pytest=$2
    $kept "$pytest" tests/export tests/quantize || status=$?
    $kept "$pytest" tests/calibration tests/docs || status=$?
    sh "$(dirname "$0")/test_oldest.sh" "$(dirname "$pytest")/python" || status=$?
    exit "$status"
fi

pytest=$1
log=$(mktemp)
setsid sh "$0" --behind "$pytest" >"$log" 2>&1 &  # a process group, to be ended as one
behind=$!
trap 'kill -- "-$behind" 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 130' INT TERM

$kept "$pytest" tests/benchmarks tests/edge || status=$?
"$pytest" tests/runtime tests/fuzz tests/test_*.py || status=$?
echo "waiting for the tests in the background"
wait "$behind" || status=$?
cat "$log"
exit "$status"
