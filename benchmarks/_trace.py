"""Times of a program's operators: recorded in a process of its own, joined with the program.

`python -m benchmarks._trace JOB` runs a program with ExecuTorch's event tracer (the wheel's runtime
has it, XNNPACK's operator timer included; it times whole microseconds) and prints one JSON object.

XNNPACK names its events by kernel and number, not by node. Of each kind there are as many events as
nodes, in the same order (it fuses nothing that an exported graph holds), so the n-th event of a
kind is the n-th node. Where the numbers differ the times stand by kernel, without shapes.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._program import Instruction, Node

_WARM_UP = 5


def main() -> None:
    """Record, and print what was recorded."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        answers.write(json.dumps(record(Path(job["path"]), job["threads"], job["runs"])))


def record(path: Path, threads: int, runs: int) -> dict[str, Any]:
    """Return each event's times over all runs, and the time of a run without the tracer."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    portable_lib._unsafe_reset_threadpool(threads)
    runtime = Runtime.get()
    plain = runtime.load_program(str(path)).load_method("forward")
    traced_program = runtime.load_program(str(path), enable_etdump=True)
    traced = traced_program.load_method("forward")
    shape = plain.metadata.input_tensor_meta(0).sizes()
    clip = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    times: list[float] = []
    for index in range(_WARM_UP + runs):
        start = time.perf_counter()
        plain.execute([clip])
        if index >= _WARM_UP:
            times.append((time.perf_counter() - start) * 1e3)
    for _ in range(_WARM_UP + runs):
        traced.execute([clip])
    with tempfile.TemporaryDirectory(prefix="bmvit-trace-") as folder:
        dump = Path(folder) / "trace.etdp"
        traced_program.write_etdump_result_to_file(str(dump), str(Path(folder) / "debug.bin"))
        events = _events(dump)
    return {
        "plain_ms": statistics.median(times),
        "threads": portable_lib._threadpool_get_thread_count(),
        "events": events,
    }


def _events(dump: Path) -> list[dict[str, Any]]:
    """Return the events of `forward` in the order of its first run, without the warm-up's times."""
    from executorch.devtools import Inspector

    found: list[dict[str, Any]] = []
    for block in Inspector(etdump_path=str(dump)).event_blocks:
        if block.name != "Execute":
            continue
        for event in block.events:
            if event.perf_data is None:
                continue
            found.append(
                {
                    "name": event.name,
                    "delegated": bool(event.is_delegated_op),
                    "instruction": event._instruction_id,
                    "ms": [float(ms) for ms in event.perf_data.raw[_WARM_UP:]],
                }
            )
    return found


# What the name of an event begins with, and the nodes that it may be.
_EVENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"Convolution.*DWConv", ("XNNDepthwiseConv2d",)),
    (r"Convolution|Fully Connected", ("XNNConv2d", "XNNFullyConnected")),
    (r"Batch Matrix Multiply", ("XNNBatchMatrixMultiply",)),
    (r"Convert", ("XNNConvert",)),
    (r"Transpose", ("XNNStaticTranspose",)),
    (r"Static Reshape", ("XNNStaticReshape",)),
    (r"Slice", ("XNNStaticSlice",)),
    (r"Copy|Concatenate", tuple(f"XNNConcatenate{n}" for n in range(2, 6))),
    (r"Constant Pad", ("XNNStaticConstantPad",)),
    (r"Max Pooling", ("XNNMaxPooling2d",)),
    (r"Average Pooling", ("XNNAvgPooling2d",)),
    (r"Softmax", ("XNNSoftmax",)),
    (r"Add", ("XNNAdd",)),
    (r"Subtract", ("XNNSubtract",)),
    (r"Multiply", ("XNNMultiply",)),
    (r"Sigmoid", ("XNNSigmoid",)),
    (r"GELU", ("XNNGelu",)),
)
_CALLS = ("DELEGATE_CALL", "OPERATOR_CALL", "Method::execute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One operator and its time.

    Attributes:
        kind: What it does; the kernel's name where the node is not known.
        kernel: Name of the kernel, without its number.
        shapes: Input and output shape; empty where the node is not known.
        instruction: Number of the step in the program.
        ms: Time of one run.
        macs: Multiply-adds.
        elements: Values of the output.
    """

    kind: str
    kernel: str
    shapes: str
    instruction: int
    ms: float
    macs: int
    elements: int


def typical(values: Sequence[float]) -> float:
    """Return the mean of the middle half.

    The timer counts whole microseconds, so a median would; a mean would follow a run that was
    interrupted.
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def join(
    events: Sequence[Mapping[str, Any]], program: Mapping[int, Instruction]
) -> tuple[list[Timed], dict[int, float]]:
    """Return the timed operators, delegated and not, and the time of each delegate call."""
    calls: dict[int, float] = {}
    timed: list[Timed] = []
    delegated: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        number = event["instruction"]
        if event["delegated"]:
            delegated[number].append(event)
        elif event["name"] == "DELEGATE_CALL":
            calls[number] = typical(event["ms"])
        elif event["name"] not in _CALLS:
            timed.append(_outside(event, program.get(number, Instruction())))
    for number, inside in delegated.items():
        timed += _inside(inside, program.get(number, Instruction()).nodes, number)
    return timed, calls


def _outside(event: Mapping[str, Any], instruction: Instruction) -> Timed:
    return Timed(
        kind=instruction.operator or str(event["name"]),
        kernel="outside the delegate",
        shapes="",
        instruction=event["instruction"],
        ms=typical(event["ms"]),
        macs=0,
        elements=0,
    )


def _inside(events: Sequence[Mapping[str, Any]], nodes: Sequence[Node], number: int) -> list[Timed]:
    by_class: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        by_class[_class(str(event["name"]))].append(event)
    timed: list[Timed] = []
    for pattern, members in by_class.items():
        kinds = dict(_EVENTS).get(pattern, ())
        owners: Sequence[Node | None] = [node for node in nodes if node.xnn in kinds]
        if len(owners) != len(members):
            owners = [None] * len(members)
        timed += [_pair(e, n, number) for e, n in zip(members, owners, strict=True)]
    return timed


def _pair(event: Mapping[str, Any], node: Node | None, number: int) -> Timed:
    kernel = re.sub(r" #\d+$", "", str(event["name"]))
    return Timed(
        kind=node.kind if node else kernel,
        kernel=kernel,
        shapes=node.shapes if node else "",
        instruction=number,
        ms=typical(event["ms"]),
        macs=node.macs if node else 0,
        elements=node.elements if node else 0,
    )


def _class(name: str) -> str:
    return next((pattern for pattern, _ in _EVENTS if re.match(pattern, name)), name)


if __name__ == "__main__":
    main()
