"""Hold back instructions of this processor from XNNPACK, to see what others would get.

XNNPACK asks cpuinfo what the processor has, when its library is loaded. cpuinfo keeps the answer in
a structure of one byte for each instruction set, which ExecuTorch's thread pool library exports: it
is filled, changed, and only then XNNPACK is loaded. `python -m benchmarks._held_back LEVEL MODEL
ARTIFACT THREADS RUNS` measures so in a process of its own and prints one JSON object.

The layout is cpuinfo's `struct cpuinfo_x86_isa` on x86-64, of the version in the wheel; another
size is refused.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
import time
from pathlib import Path

_NAMES = """
rdtscp rdpid sysenter msr clzero clflush clflushopt mwait mwaitx fxsave xsave three_d_now
three_d_now_plus prefetch prefetchw prefetchwt1 sse3 ssse3 sse4_1 sse4_2 sse4a misaligned_sse avx
avxvnni fma3 fma4 xop f16c avx2 avx512f avx512pf avx512er avx512cd avx512dq avx512bw avx512vl
avx512ifma avx512vbmi avx512vbmi2 avx512bitalg avx512vpopcntdq avx512vnni avx512bf16 avx512fp16
avx512vp2intersect avx512_4vnniw avx512_4fmaps avx10_1 avx10_2 amx_bf16 amx_tile amx_int8 amx_fp16
avx_vnni_int8 avx_vnni_int16 avx_ne_convert hle rtm xtest mpx cmpxchg16b clwb movbe lahf_sahf
fs_gs_base lzcnt popcnt tbm bmi bmi2 adx aes vaes pclmulqdq vpclmulqdq gfni rdrand rdseed sha rng
ace ace2 phe pmm lwp
"""
FLAGS = _NAMES.split()
_VNNI = ("avx512vnni", "avxvnni", "avx_vnni_int8", "avx_vnni_int16", "gfni", "amx_bf16", "amx_tile",
         "amx_int8", "amx_fp16", "avx512bf16", "avx512fp16")  # fmt: skip
LEVELS: dict[str, tuple[str, ...]] = {
    "all": (),
    "avx512": _VNNI,
    "avx2": (*_VNNI, *(flag for flag in FLAGS if flag.startswith(("avx512", "avx10")))),
}


def hold_back(level: str) -> list[str]:
    """Take instruction sets away, before `runtime._native` is imported; return which there were."""
    spec = importlib.util.find_spec("executorch")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "lib"
    library = ctypes.CDLL(str(folder / "libexecutorch_threadpool.so"), mode=ctypes.RTLD_GLOBAL)
    if not library.cpuinfo_initialize():
        raise SystemExit("cpuinfo does not know this processor")
    isa = (ctypes.c_uint8 * len(FLAGS)).in_dll(library, "cpuinfo_isa")
    if any(isa[i] > 1 for i in range(len(FLAGS))) or not isa[FLAGS.index("avx2")]:
        raise SystemExit("cpuinfo's structure has another layout, or there is no AVX2 here")
    taken = [flag for flag in LEVELS[level] if isa[FLAGS.index(flag)]]
    for flag in LEVELS[level]:
        isa[FLAGS.index(flag)] = 0
    return taken


def main() -> None:
    """Measure one program with instructions held back."""
    level, model, stem = sys.argv[1:4]
    threads, runs = map(int, sys.argv[4:6])
    taken = hold_back(level)
    from runtime.bundle import Bundle
    from runtime.engine import load_engine
    from runtime.self_test import golden_answer

    with Bundle.load(model) as bundle:
        engine = load_engine(bundle, artifact=stem, num_threads=threads)
        clip, _ = golden_answer(bundle, engine.artifact)
        times = []
        for index in range(runs + 5):
            start = time.perf_counter()
            engine(clip)
            if index >= 5:
                times.append((time.perf_counter() - start) * 1e3)
    found = {"ms": times, "held_back": taken, "self_test": engine.self_test_share}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
