"""Give the parts of a network the ranges that were observed on the whole.

A program may hold a network twice: whole, and cut in two methods that serve overlapping clips. Each
copy is quantized on its own and would come to its own ranges, as the observers of a part see other
batches; the two would then answer differently. So the whole is observed, and the observers of its
parts are replaced by its own, one by one in the order of the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch.fx import GraphModule, Node

from quantize.schemes import module_of
from runtime.errors import ExportError

# torch.export names a constant by its order in the graph, so a part's are other ones.
_CONSTANT = "_tensor_constant"


def share_ranges(whole: GraphModule, parts: Sequence[GraphModule]) -> None:
    """Replace the observers of consecutive parts by those of the whole.

    Weights are found by their names, activations by their order. Where one part ends and the next
    begins, both observe the same tensor: the whole has one observer for it.

    Args:
        whole: The prepared graph that has seen the clips.
        parts: Prepared graphs which, one after the other, are the whole; changed in place.

    Raises:
        ExportError: The parts do not have the observers of the whole, in its order.
    """
    weights = {_what(node): node for node in observed(whole) if _is_weight(node)}
    activations = [node for node in observed(whole) if not _is_weight(node)]
    start = 0
    for part in parts:
        found = observed(part)
        mine = [node for node in found if not _is_weight(node)]
        theirs = activations[start : start + len(mine)]
        if len(theirs) < len(mine):
            raise ExportError("a part of the network has more tensors than the whole")
        pairs = list(zip(mine, theirs, strict=True))
        # A part's input is the output of the part before it, under another name.
        for one, other in pairs[1:]:
            if _what(one) != _what(other):
                raise ExportError(
                    f"the whole network has {_what(other)} where its part has {_what(one)}"
                )
        pairs += [(node, weights[_what(node)]) for node in found if _is_weight(node)]
        _take_over(whole, part, pairs)
        start += len(mine) - 1
    if start + 1 != len(activations):
        raise ExportError(
            f"the parts of the network have {start + 1} tensors, the whole has {len(activations)}"
        )


def _take_over(whole: GraphModule, part: GraphModule, pairs: Sequence[tuple[Node, Node]]) -> None:
    taken: dict[str, str] = {}
    for mine, theirs in pairs:
        name, source = str(mine.target), str(theirs.target)
        if taken.setdefault(name, source) != source:
            raise ExportError(f"a part has one range where the whole has two: {_what(mine)}")
        part.set_submodule(name, copy.deepcopy(whole.get_submodule(source)))


def observed(graph_module: GraphModule) -> list[Node]:
    """Return the calls of observers, in the order of the graph."""
    return [
        node
        for node in graph_module.graph.nodes
        if node.op == "call_module" and "activation_post_process" in str(node.target)
    ]


def _tensor(node: Node) -> Node:
    tensor = node.args[0]
    assert isinstance(tensor, Node)
    return tensor


def _is_weight(node: Node) -> bool:
    tensor = _tensor(node)
    return tensor.op == "get_attr" and _CONSTANT not in str(tensor.target)


def _what(node: Node) -> str:
    return describe(_tensor(node))


def describe(tensor: Node) -> str:
    """Say what makes a tensor, alike in the whole and in its parts, for one clip and for many."""
    if tensor.op == "get_attr":
        return _CONSTANT if _CONSTANT in str(tensor.target) else str(tensor.target)
    if tensor.op == "placeholder":
        return "the clip"
    # The forward of the whole model is not called where its pieces are.
    where = module_of(tensor).removeprefix("model").removeprefix(".")
    return f"{tensor.target} in {where or 'the model'}"
