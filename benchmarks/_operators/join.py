"""Join what was recorded with the program: which time belongs to which operator, of which shape.

XNNPACK names its events by kernel and number, not by node. Of each kind there are as many events as
nodes, in the same order (it fuses nothing that an exported graph holds), so the n-th event of a
kind is the n-th node. Where the numbers differ the times stand by kernel, without shapes.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._operators.program import Instruction, Node

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
