"""What the exporters of all targets have in common, and the record of what they make."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from runtime.bundle_spec import Artifact
from runtime.engines.base import Program
from runtime.errors import ArtifactError, BackendUnavailableError, ExportError
from runtime.types import ClipModel, Floats, Outputs, Progress

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edge.model.bmvit import BMViT
    from quantize.graph import Method

Precision = Literal["fp32", "fp16", "int8"]


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed, and Python's."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


INT8_PACKAGES = ("torchao", "executorch")
"""ExecuTorch holds the quantizer that says where int8 goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """How much of a program an engine's delegate took.

    Attributes:
        share: Multiply-adds inside delegate calls over all multiply-adds, 0 to 1.
        calls: Number of delegate calls.
        multiply_adds: All multiply-adds of one clip.
        fallbacks: Each operation that stayed outside, as "name x count", the costliest first.
    """

    share: float
    calls: int
    multiply_adds: int
    fallbacks: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """Return what the bundle keeps of it."""
        return {**asdict(self), "fallbacks": list(self.fallbacks)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What an engine answered, and how far that is from torch.

    Attributes:
        outputs: The engine's outputs over all clips: (K, N, 4), (K, N), (K, N, C).
        expected: The float model's.
        max_abs: Largest error of each output against the float model.
        mean_abs: Mean error of each output against the float model.
        simulated_max_abs: Largest error of each output against the lowered graph run by torch.
        steps_max_abs: Largest error of each output of a clip that was computed step by step,
            against the whole clip; None where the program has no methods for that.
    """

    outputs: Outputs
    expected: Outputs
    max_abs: dict[str, float]
    mean_abs: dict[str, float]
    simulated_max_abs: dict[str, float]
    steps_max_abs: dict[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """Return the bundle's `parity` section."""
        found = {
            "clips": len(self.outputs.pred_boxes),
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "simulated_max_abs": self.simulated_max_abs,
            "steps_max_abs": self.steps_max_abs,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class ExportedArtifact:
    """One artifact, from the program that an exporter lowered to its row in the report.

    An exporter fills in the first part; `ExportContext` adds what it finds by running the program.

    Attributes:
        program: The file's content.
        delegations: What the engine's delegate took of each method, `forward` first; none where the
            engine has no delegates, and takes a program whole or not at all.
        made_with: Versions that made it.
        finish: Returns the same program with facts of the model inside, by name, for programs
            that can hold them; θ is one of the facts, and is found by running the program.
        simulate: The graph that was lowered, run by torch on a clip (1, T, 3, H, W).
        cut_off: The same with halves rounded toward zero, for engines that choose; else None.
        parity: Its errors against torch.
        entry: Its entry in `bundle.json`.
        golden: The engine's answer to the golden clip, with the batch axis.
        seconds: How long it took.
        notes: What the user should know of it.
    """

    program: bytes
    delegations: dict[str, Delegation] = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=dict)
    finish: Callable[[Mapping[str, object]], bytes] | None = None
    simulate: ClipModel = field(init=False)
    cut_off: ClipModel | None = None
    parity: Parity = field(init=False)
    entry: Artifact = field(init=False)
    golden: Outputs = field(init=False)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def delegation(self) -> Delegation | None:
        """What the delegate took of the whole network."""
        return self.delegations.get("forward")

    def lines(self) -> list[str]:
        """Return what the table of the bundle does not say of the artifact."""
        most = short_errors(self.parity.max_abs)
        entry, matched = self.entry, self.entry.parity["matched"]
        f1 = "" if entry.threshold is None else f"; F1 {entry.threshold.f1:.3f}"
        by = "; by torch, not by its engine" if entry.parity["ran"] is False else ""
        text = (
            f"{entry.stem}: {matched['boxes']} of {matched['expected']} detections matched "
            f"at θ {entry.conf:.4g}, {matched['found']} found; largest error {most}{f1}{by}; "
            f"{self.seconds:.0f} s"
        )
        outside = self.delegation.fallbacks if self.delegation is not None else ()
        return [text, *([f"  outside the delegate: {', '.join(outside)}"] if outside else [])]


def short_errors(errors: Mapping[str, float]) -> str:
    """Return an error for each output in one line."""
    return ", ".join(f"{k.removeprefix('pred_')} {value:.2g}" for k, value in errors.items())


class Exporter(ABC):
    """One engine at one precision; a subclass says what is its own.

    Attributes:
        engine: What the bundle calls the engine, `xnnpack`; its row in `runtime.engines.ENGINES`
            unless `not_run`.
        suffix: Suffix of the artifact's file, with its dot.
        packages: What has to be installed; int8 needs `INT8_PACKAGES` as well.
        extras: The optional dependencies of this project that bring them.
        scheme: Name of the int8 scheme, in `quantize.schemes`.
        fold_weights: Give the engine int8 weights; else floats in front of a quantize.
        half: Name of the rules, in `export.fp16`, by which the graph itself gets float16. None
            leaves float16 to the engine: the graph stays float32, and torch stands in for the
            engine with all values in float16.
        engine_name: What messages call the engine.
        not_run: Why its programs cannot be run on this machine; None where they can. Such a
            program is judged by its graph as torch runs it, and by the device's self-test.
    """

    engine: ClassVar[str]
    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    extras: ClassVar[str] = "export"
    scheme: ClassVar[str] = "XNNPACK_INT8"
    fold_weights: ClassVar[bool] = True
    half: ClassVar[str | None] = None
    engine_name: ClassVar[str] = "the runtime"
    not_run: str | None = None

    def __init__(self, name: str, precision: Precision) -> None:
        """Name the target, as on the command line, and its number format."""
        self.name, self.precision = name, precision

    @property
    def file(self) -> str:
        """Name of the artifact's file: the target's, since targets may share an engine."""
        return self.name + self.suffix

    def check_packages(self) -> None:
        """Check that what lowers, and what runs the program afterwards, is installed.

        Raises:
            BackendUnavailableError: It is not.
        """
        further = INT8_PACKAGES if self.precision == "int8" else ()
        wanted = dict.fromkeys((*self.packages, *further))
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        if missing:
            raise BackendUnavailableError(
                f"target {self.name} needs {', '.join(missing)}, not installed here; run: "
                f"pip install '.[{self.extras}]'"
            )

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> ExportedArtifact:
        """Turn a float model into a program: `prepare`, then `convert_graphs`.

        Args:
            model: The model in evaluation mode.
            clips: Calibration clips (1, T, 3, H, W); at least one, for the example input.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: It cannot be done.
        """
        methods = self.prepare(model, clips, float_layers=float_layers, progress=progress)
        return self.convert_graphs(methods, progress=progress)

    def prepare(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        keep_means: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Method]:
        """Export a model and bring its graphs to the precision.

        Args:
            model: As for `lower`, likewise the rest.
            clips: Calibration clips.
            float_layers: Layers that int8 leaves out.
            keep_means: int8 corrects the biases; not where the weights were trained for int8.
            progress: Told of each step.

        Returns:
            The graph of each method of the program, `forward` first.

        Raises:
            ExportError: It cannot be done.
        """
        import torch

        from quantize.graph import quiet_tools

        with quiet_tools():
            _say(progress, "exporting the graph", 0)
            methods = self.export(model, torch.from_numpy(clips[0]))
            if self.precision == "int8":
                graphs = self.quantize(
                    [method.graph for method in methods.values()],
                    model, clips, float_layers=float_layers, keep_means=keep_means,
                    progress=progress,
                )  # fmt: skip
            elif self.precision == "fp16" and self.half is not None:
                from export import fp16

                rules = getattr(fp16, self.half)
                graphs = [fp16.half_graph(method.graph, rules) for method in methods.values()]
            else:
                return methods
        pairs = zip(methods.items(), graphs, strict=True)
        return {name: replace(method, graph=graph) for (name, method), graph in pairs}

    def convert_graphs(
        self, methods: Mapping[str, Method], *, progress: Progress | None = None
    ) -> ExportedArtifact:
        """Convert prepared graphs, and keep what torch says in the engine's place.

        Raises:
            ExportError: The engine's tools do not take a graph.
        """
        from quantize.graph import graph_outputs, quiet_tools

        with quiet_tools():
            _say(progress, f"lowering {self.name}", 0)
            artifact = self.convert(methods)
            _say(progress, f"lowering {self.name}", 1)
            artifact.simulate = graph_outputs(self.simulated(methods["forward"].graph))
            artifact.cut_off = self.cut_off(methods["forward"].graph)
        return artifact

    def simulated(self, graph: GraphModule) -> GraphModule:
        """Return the graph that torch runs in the engine's place."""
        if self.precision != "fp16" or self.half is not None:
            return graph
        from export.fp16 import ALL_HALF, half_graph

        return half_graph(graph, ALL_HALF)

    def cut_off(self, graph: GraphModule) -> ClipModel | None:
        """Return the graph with halves rounded toward zero, where the engine may do that."""
        if self.precision != "fp16" or self.half is not None:
            return None
        from export.fp16 import half_outputs_toward_zero

        return half_outputs_toward_zero(graph)

    def export(self, model: BMViT, example: Any) -> dict[str, Method]:
        """Return the float graph of each method, `forward` first."""
        from quantize.graph import Method, export_graph

        return {"forward": Method(graph=export_graph(model, example), example=example)}

    def quantize(
        self,
        graphs: Sequence[GraphModule],
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str],
        keep_means: bool,
        progress: Progress | None,
    ) -> list[GraphModule]:
        """Return the graphs in int8; those behind the first are parts of it."""
        from quantize import schemes
        from quantize.ptq import int8_graphs

        return int8_graphs(
            graphs, model, clips, getattr(schemes, self.scheme), float_layers=float_layers,
            fold_weights=self.fold_weights, keep_means=keep_means, progress=progress,
        )  # fmt: skip

    @abstractmethod
    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Convert graphs to a program.

        Raises:
            ExportError: The engine's tools do not take a graph.
        """

    def load(self, path: Path, stride: int) -> Program:
        """Load a program's file in the engine that it is verified with.

        Args:
            path: The file.
            stride: For the methods of overlapping clips, as `runtime.engine.load_engine` takes it.

        Raises:
            BackendUnavailableError: There is no such engine here.
        """
        raise BackendUnavailableError(f"{self.name} cannot be run here: {self.not_run}")

    @contextmanager
    def open(self, program: bytes, *, stride: int = 0) -> Iterator[ClipModel]:
        """Load a program by `load`, from a file as a device has it.

        Raises:
            ExportError: It does not load or run.
        """
        with tempfile.TemporaryDirectory(prefix="bmvit-verify-") as folder:
            path = Path(folder) / self.file
            path.write_bytes(program)
            try:
                loaded = self.load(path, stride)
                yield lambda clips: loaded(np.ascontiguousarray(clips))
            except ArtifactError as error:
                reason = str(error).replace(f"{folder}/", "")
                raise ExportError(
                    f"{self.file} was made, but {self.engine_name} refuses it: {reason}; nothing "
                    "was written"
                ) from error


def _say(progress: Progress | None, step: str, done: int) -> None:
    if progress is not None:
        progress(step, done, 1)
