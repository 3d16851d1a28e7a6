"""TensorRT engines, on an NVIDIA GPU, by TensorRT's and CUDA's Python packages; no torch.

Written for TensorRT 10.3 (JetPack 6) to 11 and checked against their signatures; the project has no
such machine and **has not run it** (docs/devices.md says what follows from that).
"""

from __future__ import annotations

import importlib.util
import logging
import re
import shlex
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from runtime.bundle_spec import OUTPUTS, Artifact
from runtime.errors import (
    ArtifactError,
    ArtifactMismatchError,
    BackendUnavailableError,
    ConfigError,
    EdgeError,
)
from runtime.types import Floats, Outputs

if TYPE_CHECKING:
    import tensorrt as trt

    from runtime.tensorrt.cuda import Buffer, cudart

logger = logging.getLogger(__name__)

NOT_RUN = "this project has not run TensorRT itself: trust the self-test, and measure"
NO_PACKAGE = (
    "the Python package tensorrt does not import here (on a Jetson: sudo apt-get install "
    "python3-libnvinfer, and a venv with --system-site-packages)"
)
NO_CUDA = (
    "cuda-python does not import here (pip install 'cuda-python==12.6.*' on JetPack 6, else the "
    "release of your CUDA)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an engine is made for, and runs on only."""

    tensorrt: str
    cuda: str
    gpu: str
    compute_capability: str

    @classmethod
    def here(cls) -> Machine:
        """Return this machine's facts; only where `missing` is None."""
        import tensorrt as trt

        from runtime.tensorrt import cuda

        name, capability = cuda.gpu()
        return cls(
            tensorrt=trt.__version__,
            cuda=cuda.runtime_version(),
            gpu=name,
            compute_capability=capability,
        )

    def record(self) -> dict[str, str]:
        """Return what goes into an artifact's `made_with`."""
        return asdict(self)


def check_machine(artifact: Artifact, here: Machine, bundle: Path) -> None:
    """Refuse an engine that was made for another GPU or by another TensorRT.

    Args:
        artifact: Its record.
        here: This machine.
        bundle: Where the user has the bundle, for the command that builds the engine again.

    Raises:
        ArtifactMismatchError: It was, or does not say.
    """
    made = artifact.made_with
    again = f"build it for this machine: edge build-engine {shlex.quote(str(bundle))}"
    wanted = ("gpu", "compute_capability", "tensorrt")
    if not all(made.get(key) for key in wanted):
        raise ArtifactMismatchError(
            f"{artifact.file} does not say for which GPU and TensorRT it was built; {again}"
        )
    # An engine is for one release; the fourth number, of NVIDIA's build, is not part of it.
    same = _release(made["tensorrt"]) == _release(here.tensorrt) and all(
        made[key] == getattr(here, key) for key in wanted[:2]
    )
    if not same:
        raise ArtifactMismatchError(
            f"{artifact.file} was built for {_shown(made['gpu'])} (compute capability "
            f"{_shown(made['compute_capability'])}) by TensorRT {_shown(made['tensorrt'])}, and "
            f"here is {here.gpu} ({here.compute_capability}) with TensorRT {here.tensorrt}; {again}"
        )


def _shown(text: str) -> str:
    """Return a bundle's text as a terminal may have it."""
    return text[:80] if text.isprintable() else repr(text[:80])


def _release(version: str) -> list[str]:
    return version.split(".")[:3]


class TensorRTProgram:
    """A loaded engine, with buffers of its own and its work recorded as a CUDA graph."""

    shares_steps = False
    num_threads = 1  # of the processor; it waits for the GPU

    def __init__(self, path: Path, *, dla_core: int = 0) -> None:
        """Load an engine.

        Args:
            path: The `.engine` file: a plan as TensorRT writes it. It holds code for the GPU, so
                load only what you trust.
            dla_core: Which DLA core runs it, for an engine that was built for DLA.

        Raises:
            BackendUnavailableError: TensorRT, CUDA or a GPU is not here.
            ArtifactError: The file is missing, or TensorRT refuses it.
            ArtifactMismatchError: It does not take one clip of floats and give three outputs.
        """
        lack = missing()
        if lack is not None:
            raise BackendUnavailableError(f"{path} needs TensorRT: {lack}")
        if not path.is_file():
            raise ArtifactError(f"there is no file {path}")
        from runtime.tensorrt.cuda import Buffer, check, cudart

        start = time.perf_counter()
        self._path = path
        self._lock = threading.Lock()
        self._engine, self._runtime = _deserialize(path, dla_core)
        clip, outputs = _tensors(self._engine, path)
        self.input_shape = clip[1]
        self.output_shapes = tuple(shape for _, shape in outputs)
        context = self._engine.create_execution_context()
        if context is None:
            raise ArtifactError(f"{path} has no room to run: {last_error()}")
        self._context = context
        code, self._stream = cudart.cudaStreamCreate()
        check(code, "making a stream")
        self._clip = Buffer.make(*clip)
        self._outputs = [Buffer.make(name, shape) for name, shape in outputs]
        for buffer in (self._clip, *self._outputs):
            if not context.set_tensor_address(buffer.name, buffer.device):
                raise ArtifactError(f"{path}: TensorRT takes no address for {buffer.name}")
        self._graph = self._capture()
        # Not at the interpreter's exit, when the driver may be gone before us.
        buffers = (self._clip, *self._outputs)
        weakref.finalize(self, _release_all, self._graph, buffers, self._stream).atexit = False
        self.load_ms = (time.perf_counter() - start) * 1e3

    def __call__(self, clips: Floats, /, first: int = -1) -> Outputs:
        """Run one clip (1, T, 3, H, W); whole, whatever clip came before.

        Raises:
            ConfigError: The clip has another shape.
            ArtifactError: CUDA or TensorRT fails.
        """
        from runtime.tensorrt.cuda import check, cudart

        if clips.shape != self.input_shape:
            raise ConfigError(
                f"a clip is {clips.shape}, {self._path.name} takes {self.input_shape}"
            )
        with self._lock:
            self._clip.host[...] = clips
            if self._graph is None:
                self._enqueue()
            else:
                (code,) = cudart.cudaGraphLaunch(self._graph, self._stream)
                check(code, "launching the graph")
            (code,) = cudart.cudaStreamSynchronize(self._stream)
            check(code, f"running {self._path.name}")
            return Outputs(*(buffer.host.copy() for buffer in self._outputs))

    def layer_times(self, clips: Floats) -> list[tuple[str, float]]:
        """Return (name, seconds) of each layer of one run, by TensorRT's profiler.

        Queued anew and not by the graph, whose kernels no profiler sees. Not run by this project.

        Raises:
            ArtifactError: CUDA or TensorRT fails.
        """
        import tensorrt as trt

        from runtime.tensorrt.cuda import check, cudart

        times: list[tuple[str, float]] = []

        class Layers(trt.IProfiler):
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.append((layer_name, ms / 1e3))

        with self._lock:
            self._clip.host[...] = clips
            self._context.profiler = Layers()  # the context keeps it
            self._enqueue()
            (code,) = cudart.cudaStreamSynchronize(self._stream)
            check(code, f"running {self._path.name}")
        return times

    def _enqueue(self) -> None:
        self._clip.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise ArtifactError(f"{self._path} failed: {last_error()}")
        for buffer in self._outputs:
            buffer.download(self._stream)

    def _capture(self) -> cudart.cudaGraphExec_t | None:
        """Record copies and kernels once, to be replayed by one call; None where that fails."""
        from runtime.tensorrt.cuda import check, cudart

        self._clip.host[...] = 0.0
        self._enqueue()  # the first time TensorRT may set itself up, which no graph can hold
        (code,) = cudart.cudaStreamSynchronize(self._stream)
        check(code, f"running {self._path.name} for the first time")
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            (code,) = cudart.cudaStreamBeginCapture(self._stream, mode)
            check(code, "beginning a graph")
            try:
                self._enqueue()
            finally:
                code, graph = cudart.cudaStreamEndCapture(self._stream)
            check(code, "recording a graph")
            code, executable = cudart.cudaGraphInstantiate(graph, 0)
            check(code, "making a graph")
        except ArtifactError as error:
            cudart.cudaGetLastError()  # or the next call would report it again
            logger.warning("no CUDA graph for %s, each call is queued anew: %s", self._path, error)
            return None
        cudart.cudaGraphDestroy(graph)
        return executable


def _release_all(
    graph: cudart.cudaGraphExec_t | None, buffers: tuple[Buffer, ...], stream: cudart.cudaStream_t
) -> None:
    from runtime.tensorrt.cuda import cudart

    if graph is not None:
        cudart.cudaGraphExecDestroy(graph)
    for buffer in buffers:
        buffer.free()
    cudart.cudaStreamDestroy(stream)


def _deserialize(path: Path, dla_core: int) -> tuple[trt.ICudaEngine, trt.Runtime]:
    import tensorrt as trt

    runtime = started(trt.Runtime)
    if runtime.num_DLA_cores > dla_core:
        runtime.DLA_core = dla_core  # of no effect on an engine that uses none
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise ArtifactError(
            f"{path} does not load in TensorRT {trt.__version__}: {last_error()}; build it again "
            "with edge build-engine"
        )
    return engine, runtime


def _tensors(
    engine: trt.ICudaEngine, path: Path
) -> tuple[tuple[str, tuple[int, ...]], list[tuple[str, tuple[int, ...]]]]:
    """Return name and shape of the clip and of the three outputs, after checking their types."""
    import tensorrt as trt

    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
    outputs = [n for n in names if n not in inputs]
    if set(OUTPUTS) <= set(outputs):  # else as they come: torch_tensorrt gives names of its own
        outputs = list(OUTPUTS)
    shapes = {n: tuple(engine.get_tensor_shape(n)) for n in names}
    others = [n for n in (*inputs, *outputs) if engine.get_tensor_dtype(n) != trt.DataType.FLOAT]
    free = [n for n in (*inputs, *outputs) if min(shapes[n], default=0) < 1]
    if len(inputs) != 1 or len(outputs) != len(OUTPUTS) or others or free:
        came = ", ".join(f"{n} {engine.get_tensor_dtype(n).name}{list(shapes[n])}" for n in names)
        raise ArtifactMismatchError(
            f"{path} has {came or 'nothing'}; expected one clip and {', '.join(OUTPUTS)}, all "
            "float32 of fixed size, as edge build-engine makes"
        )
    return (inputs[0], shapes[inputs[0]]), [(n, shapes[n]) for n in outputs]


_Started = TypeVar("_Started")


def started(kind: Callable[[trt.ILogger], _Started]) -> _Started:
    """Make `trt.Runtime` or `trt.Builder`.

    Raises:
        ArtifactError: CUDA does not start; the bindings say only that nothing was made.
    """
    try:
        return kind(tensorrt_log())
    except TypeError as error:  # pybind11's word for a factory that returned nothing
        raise ArtifactError(
            f"TensorRT does not start ({last_error()}): CUDA does not work here; `edge doctor` "
            "says what is missing"
        ) from error


_errors: deque[str] = deque(maxlen=1)


def last_error() -> str:
    """Return TensorRT's latest error, once."""
    return _errors.pop() if _errors else "no word of why"


@cache
def tensorrt_log() -> trt.ILogger:
    """Return the one logger of the process, as TensorRT keeps the first that it is given."""
    import tensorrt as trt

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            text = " ".join(msg.split())
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                _errors.append(text)
                logger.error("TensorRT: %s", text)
            elif severity == trt.ILogger.Severity.WARNING:
                logger.warning("TensorRT: %s", text)
            else:
                logger.debug("TensorRT: %s", text)

    return Log()


def missing() -> str | None:
    """Say in one sentence what is not here, or None where engines can run."""
    if importlib.util.find_spec("tensorrt") is None:
        return NO_PACKAGE
    try:
        import tensorrt  # noqa: F401
    except (ImportError, OSError) as error:  # the libraries behind it
        return f"{NO_PACKAGE.split(' (')[0]}: {error}"
    from runtime.tensorrt import cuda

    if not cuda.FOUND:
        return NO_CUDA
    return cuda.why_no_gpu()


def load_recorded(path: Path, artifact: Artifact, bundle: Path) -> TensorRTProgram:
    """Load an engine after holding its artifact's record against this machine.

    Raises:
        ArtifactMismatchError: It was built for another machine.
        ArtifactError: It does not load.
    """
    core = artifact.made_with.get("dla_core", "0")
    if not re.fullmatch(r"[0-7]", core):
        raise ArtifactMismatchError(f"{artifact.file} names the DLA core {core[:20]!r}, not 0 to 7")
    try:
        check_machine(artifact, Machine.here(), bundle)
        return TensorRTProgram(path, dla_core=int(core))
    except EdgeError:
        raise
    except RuntimeError as error:  # what pybind11 makes of a C++ exception
        raise ArtifactError(f"{path} does not load in TensorRT: {error}") from error
