"""`edge doctor`: list what this machine has, and what is missing for which task."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.backend_library import VARIABLE, load_backend_library, named_libraries
from runtime.cli import say, version
from runtime.cli.machine import all_probes, not_here, probe_lines
from runtime.errors import BackendUnavailableError, EdgeError
from runtime.instructions import DOT_PRODUCTS, instructions, int8_sums_overflow
from runtime.options import OptionParser, option
from runtime.threads import usable_processors

# A check gives its finding, and whether the main job (`edge run`) can do without it.
Finding = tuple[str, str]
OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """Flags of `edge doctor`."""

    backend_library: str | None = option(
        None, "load this backend of ExecuTorch beside the runtime; several are divided by a colon",
        metavar="FILE.so",
    )  # fmt: skip
    json: bool = option(False, "print one JSON object instead of a table")


def main(argv: Sequence[str]) -> int:
    """Print every finding; exits 1 where `edge run` cannot work on this machine."""
    options = OptionParser(prog="edge doctor", description=__doc__).parse_into(DoctorOptions, argv)
    libraries = {"backend libraries": _libraries(options.backend_library)}
    findings = libraries | {name: check() for name, check in CHECKS.items()} | _probes()
    if options.json:
        say(json.dumps({name: {"state": s, "text": t} for name, (s, t) in findings.items()}))
    else:
        for name, (state, text) in findings.items():
            say(f"{state:<4}  {name:<17} {text}")
    return 1 if any(state == FAIL for state, _ in findings.values()) else 0


def _system() -> Finding:
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    usable, count = usable_processors(), os.cpu_count() or 1
    limited = f", of which this process may use {usable}" if usable < count else ""
    return OK, f"{version()} on {text}, {count} processors{limited}"


def _processor() -> Finding:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return WARN, "not known: this system has no /proc/cpuinfo"
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.MULTILINE)
    flags = instructions() or frozenset()
    fast = flags & DOT_PRODUCTS
    text = f"{name.group(1) if name else platform.machine()}; {' '.join(sorted(flags)) or 'plain'}"
    if fast:
        return OK, text
    slow = f"{text}: no int8 dot product instructions, int8 gains less here"
    if int8_sums_overflow():
        slow += ", and ONNX Runtime and OpenVINO compute it in float32 (their int8 overflows here)"
    return WARN, slow


def _memory() -> Finding:
    try:
        info = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return WARN, "not known: this system has no /proc/meminfo"
    values = {k: int(v) / 1024 for k, v in re.findall(r"^(\w+):\s+(\d+) kB", info, re.MULTILINE)}
    free = values.get("MemAvailable", 0.0)
    return (OK if free > 200 else WARN), f"{free:.0f} of {values.get('MemTotal', 0):.0f} MiB free"


def _libraries(given: str | None) -> Finding:
    names = named_libraries(given)
    if not names:
        return OK, f"none beside the built-in ones (--backend-library FILE.so, or {VARIABLE})"
    texts, state = [], OK
    for name in names:
        try:
            texts.append(f"{name}: {', '.join(load_backend_library(name))}")
        except BackendUnavailableError as error:
            texts.append(str(error))
            state = WARN
    return state, "; ".join(texts)


def _native() -> Finding:
    try:
        from runtime import _native
    except ImportError as error:
        return FAIL, f"the native module does not import ({error}); run `pip install .` again"
    facts = _native.info()
    backends = ", ".join(facts["backends"])
    return OK, f"ExecuTorch {facts['executorch_version']}, backends {backends}"


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as error:
        return FAIL, f"cv2 does not import ({error}); install opencv-python or the system's OpenCV"
    build = cv2.getBuildInformation()
    has = {name: _built_with(build, name) for name in ("FFMPEG", "GStreamer", "v4l/v4l2")}
    text = f"{cv2.__version__}, " + ", ".join(f"{k} {'yes' if v else 'NO'}" for k, v in has.items())
    if not has["FFMPEG"] and not has["GStreamer"]:
        return FAIL, f"{text}: neither files nor streams can be read"
    if not has["GStreamer"]:
        text += " (csi:// needs GStreamer: use the system's OpenCV on a Jetson)"
    return OK, text


def _built_with(build: str, name: str) -> bool:
    line = re.search(rf"^\s*{re.escape(name)}:\s*(\S+)", build, re.MULTILINE)
    return bool(line) and line is not None and line.group(1).upper().startswith("YES")


def _cameras() -> Finding:
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    if not devices:
        return WARN, "no /dev/video*: use a file, a folder of images or rtsp://"
    closed = [d for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    if closed:
        return WARN, f"{', '.join(devices)}; no permission for {closed[0]} (group 'video'?)"
    return OK, ", ".join(devices)


def _display() -> Finding:
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return OK, "a display is set: --show works"
    return WARN, "no DISPLAY: --show is refused, --save and --save-json work"


def _default_bundle() -> Finding:
    from runtime.bundle import DEFAULT_BUNDLE, Bundle

    try:
        bundle = Bundle.load(DEFAULT_BUNDLE)
        bundle.verify()
        from runtime.engine import load_engine

        loaded = load_engine(bundle)
    except (EdgeError, ImportError) as error:
        return FAIL, str(error)
    weights = "trained" if bundle.spec.trained else "UNTRAINED weights"
    return OK, f"{bundle.spec.name}, {weights}; {loaded.reason}; self-test passed"


def _probes() -> dict[str, Finding]:
    probes = all_probes()
    findings = {name: (OK, text) for name, text in probe_lines(probes).items()}
    return {**findings, "not here": (OK, not_here(probes))}


def _tensorrt() -> Finding:
    from runtime.tensorrt.engine import NOT_RUN, Machine, missing
    from runtime.tensorrt.trtexec import find_trtexec

    trtexec = find_trtexec()
    tool = f"; trtexec at {trtexec}" if trtexec else "; no trtexec"
    lack = missing()
    if lack is not None:
        # Only where one would expect it: most machines have no such GPU.
        return OK if trtexec is None else WARN, f"no engines run here: {lack}{tool}"
    try:
        here = Machine.here()
    except (EdgeError, RuntimeError) as error:
        return WARN, f"it imports, and then: {error}{tool}"
    text = f"{here.tensorrt}, CUDA {here.cuda}, {here.gpu} ({here.compute_capability}){tool}"
    return OK, f"{text}; build engines by edge build-engine BUNDLE; {NOT_RUN}"


def _torch() -> Finding:
    found = []
    for package in ("torch", "executorch", "torchao"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(found) == 3:
        return OK, f"{', '.join(found)}: export works here"
    have = ", ".join(found) or "none of them"
    return OK, f"{have}: running needs none; export needs `pip install '.[export]'`"


CHECKS: dict[str, Callable[[], Finding]] = {
    "system": _system,
    "processor": _processor,
    "memory": _memory,
    "native module": _native,
    "OpenCV": _opencv,
    "cameras": _cameras,
    "display": _display,
    "default bundle": _default_bundle,
    "TensorRT": _tensorrt,
    "export packages": _torch,
}
