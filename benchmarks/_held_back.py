"""Hold back instructions of this processor from XNNPACK, to see what others would get.

XNNPACK asks cpuinfo what the processor has, when its library is loaded. cpuinfo keeps the answer in
a structure of one byte for each instruction set, which ExecuTorch's thread pool library exports: it
is filled, changed, and only then XNNPACK is loaded. `python -m benchmarks.steps --kernels` measures
so, each level in a process of its own.

The layout is cpuinfo's `struct cpuinfo_x86_isa` on x86-64, of the version in the wheel; another
size is refused.
"""

from __future__ import annotations

import ctypes
import importlib.util
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
_AMX = ("amx_bf16", "amx_tile", "amx_int8", "amx_fp16")
_AVX_VNNI = ("avxvnni", "avx_vnni_int8", "avx_vnni_int16")
_AVX512 = tuple(flag for flag in FLAGS if flag.startswith(("avx512", "avx10")))
LEVELS: dict[str, tuple[str, ...]] = {
    "all": (),
    "avx512-vnni": _AMX,
    "avx512": (*_AMX, *_AVX_VNNI, "avx512vnni", "gfni", "avx512bf16", "avx512fp16"),
    "avx-vnni": (*_AMX, *_AVX512),
    "avx2": (*_AMX, *_AVX_VNNI, *_AVX512, "gfni"),
}
"""Which instruction sets each level takes away. `avx-vnni` is what small processors have: byte
products in registers of 256 bits. A level whose own instructions are missing here is refused."""
_NEEDS = {"avx512-vnni": "avx512vnni", "avx512": "avx512f", "avx-vnni": "avxvnni", "avx2": "avx2"}


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
    if any(isa[i] > 1 for i in range(len(FLAGS))) or not isa[FLAGS.index("sse4_2")]:
        raise SystemExit("cpuinfo's structure has another layout than expected")
    needed = _NEEDS.get(level, "avx2")
    if not isa[FLAGS.index(needed)]:
        raise SystemExit(f"this processor has no {needed}, so {level} cannot be measured on it")
    taken = [flag for flag in LEVELS[level] if isa[FLAGS.index(flag)]]
    for flag in LEVELS[level]:
        isa[FLAGS.index(flag)] = 0
    return taken
