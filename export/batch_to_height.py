"""Exact rewrite of a graph for engines whose convolutions take one image at a time.

The networks here fold time into the batch, which ExecuTorch's Vulkan delegate refuses. T images
(T, C, H, W) become one of T*H rows, (1, C, T*H, W), called stacked here: a 1x1 convolution, a sum
or a ReLU sees no difference, and a wider kernel is kept from the next image by rows of zeros.

Time in the channels and a grouped convolution would be as exact, but repeats each weight T times,
and the delegate's device code ends on a grouped convolution that is not depth-wise, which its
partitioner takes all the same (read in its sources).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten

# Bias, stride, padding, dilation, groups. Sizes come in pairs: the device code counts them.
_CONV_DEFAULTS = (None, [1, 1], [0, 0], [1, 1], 1)
# Bias, stride, padding, output padding, groups, dilation.
_TRANSPOSED_DEFAULTS = (None, [1, 1], [0, 0], [0, 0], 1, [1, 1])
_RELUS = frozenset((aten.relu.default, aten.relu6.default))
_UNARY = _RELUS | {aten.sigmoid.default}
_BINARY = frozenset((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default))


def stack_batches(graph_module: GraphModule, *, full_constants: bool = False) -> GraphModule:
    """Return a graph of the same function whose 2D convolutions have a batch of 1.

    Args:
        graph_module: An exported graph with static shapes; it is left as it was.
        full_constants: Store constants in the shape of what they are added to. The delegate's
            int8 sums do not broadcast: they read beside a smaller constant, and say nothing.
    """
    result = copy.deepcopy(graph_module)
    stacker = _Stacker(result, full_constants=full_constants)
    for node in list(result.graph.nodes):
        stacker.visit(node)
    result.graph.eliminate_dead_code()
    result.graph.lint()
    result.recompile()
    return result


class _Stacker:
    """Rewrites a graph in place, node by node in its order.

    A node that is rewritten stays until the end, unused; who wants its value takes `stacked`, or
    what `_plain` makes of that.
    """

    def __init__(self, module: GraphModule, *, full_constants: bool) -> None:
        self.module = module
        self.full_constants = full_constants
        self.graph = module.graph
        self.stacked: dict[Node, Node] = {}
        self.activated: set[Node] = set()  # ReLUs that were made with their convolutions
        self.made: dict[tuple[Any, ...], Node] = {}  # what several nodes want is made once
        self.here: Node | None = None  # new nodes stand in front of this one
        self.rules: dict[Any, Callable[[Node], Node | None]] = {
            aten.conv2d.default: self._conv,
            aten.conv_transpose2d.input: self._transposed_conv,
            aten.max_pool2d.default: self._pool,
            aten.slice.Tensor: self._slice,
            aten.cat.default: self._cat,
            **dict.fromkeys(_UNARY, self._unary),
            **dict.fromkeys(_BINARY, self._binary),
        }

    def visit(self, node: Node) -> None:
        """Give a node's value in stacked form, or its inputs in plain form."""
        if node.op not in ("call_function", "output"):
            return
        self.here = node
        rule = self.rules.get(node.target)
        new = rule(node) if rule is not None and len(_shape(node)) == 4 else None
        if new is not None:
            self.stacked[node] = new
            return
        for source in node.all_input_nodes:
            if source in self.stacked:
                node.replace_input_with(source, self._plain(source))

    # Rules: each returns the stacked value of a node, or None to leave the node as it is.

    def _conv(self, node: Node) -> Node | None:
        source, weight, *rest = node.args
        assert isinstance(source, Node)
        batch, channels, height, width = _shape(source)
        if batch == 1:
            return None
        options: list[Any] = [*rest, *_CONV_DEFAULTS[len(rest) :]]
        bias, stride, padding, dilation, groups = options
        step, pad = _first(stride), _first(padding)
        reach = _first(dilation) * (_shape(weight)[2] - 1) + 1
        rows = _shape(node)[2]
        # Images begin `pitch` rows apart: a whole number of strides, zeros enough for both
        # neighbours, room for each row of the result.
        pitch = -(-max(height + pad, rows * step) // step) * step
        if reach == 1 and step == 1 and pad == 0:
            pitch = height
        image = self._stack(source)
        if pitch > height:
            image = self._once(
                ("pitch", source, pitch),
                lambda: self._rows(
                    self._emit(
                        aten.pad.default,
                        self._apart(image, (channels, batch, height, width)),
                        [0, 0, 0, pitch - height],
                    )
                ),
            )
        out = self._emit(
            aten.conv2d.default, image, weight, bias, stride, padding, dilation, groups
        )
        clip = _activation(node)
        if clip is not None:  # next to its convolution, not behind rows that are cut off
            out = self._emit(clip.target, out)
            self.activated.add(clip)
        found, wanted = _shape(out)[2], batch * pitch // step
        if found > wanted:
            out = self._emit(aten.slice.Tensor, out, 2, 0, wanted)
        elif found < wanted:
            out = self._emit(aten.pad.default, out, [0, 0, 0, wanted - found])
        if wanted == batch * rows:
            return out
        split = self._apart(out, (_shape(out)[1], batch, pitch // step, _shape(out)[3]))
        return self._rows(self._emit(aten.slice.Tensor, split, 2, 0, rows))

    def _transposed_conv(self, node: Node) -> Node | None:
        """Keep a convolution that grows the grid, where each value has a place of its own in it."""
        source, weight, *rest = node.args
        if source not in self.stacked:
            return None
        options: list[Any] = [*rest, *_TRANSPOSED_DEFAULTS[len(rest) :]]
        _, stride, padding, output_padding, _, dilation = options
        alone = [_pair(stride), _pair(padding), _pair(output_padding), _pair(dilation)]
        if alone != [_shape(weight)[2:], (0, 0), (0, 0), (1, 1)]:
            return None
        return self._emit(node.target, self.stacked[cast(Node, source)], weight, *rest)

    def _pool(self, node: Node) -> Node | None:
        source = cast(Node, node.args[0])
        if source not in self.stacked:
            return None
        batch, channels, height, width = _shape(source)
        apart = self._apart(self.stacked[source], (channels, batch, height, width))
        return self._rows(self._emit(node.target, apart, *node.args[1:], **node.kwargs))

    def _unary(self, node: Node) -> Node | None:
        source = cast(Node, node.args[0])
        if source not in self.stacked:
            return None
        if node in self.activated:
            return self.stacked[source]
        return self._emit(node.target, self.stacked[source])

    def _binary(self, node: Node) -> Node | None:
        sources = [arg for arg in node.args[:2] if isinstance(arg, Node)]
        grows = self.full_constants and any(
            source.op == "get_attr" and _shape(source) != _shape(node) for source in sources
        )
        if not grows and not any(source in self.stacked for source in sources):
            return None
        inputs: list[Any] = []
        for source in node.args[:2]:
            if not isinstance(source, Node):
                inputs.append(source)
            elif _shape(source) == _shape(node):
                inputs.append(self._stack(source))
            elif source.op == "get_attr" and len(_shape(source)) == 4:
                inputs.append(self._constant(source, _shape(node)))
            else:
                return None
        return self._emit(node.target, *inputs, **node.kwargs)

    def _slice(self, node: Node) -> Node | None:
        source = cast(Node, node.args[0])
        options: list[Any] = [*node.args[1:], *(0, None, None, 1)[len(node.args) - 1 :]]
        dim, first, last, step = options
        if source not in self.stacked or dim not in (0, 1) or step != 1:
            return None
        rows = _shape(source)[2] if dim == 0 else 1
        start, stop, _ = slice(first, last).indices(_shape(source)[dim])
        image = self.stacked[source]
        return self._emit(aten.slice.Tensor, image, 2 if dim == 0 else 1, start * rows, stop * rows)

    def _cat(self, node: Node) -> Node | None:
        parts = cast("Sequence[Node]", node.args[0])
        dim = node.args[1] if len(node.args) > 1 else 0
        if dim not in (0, 1) or not any(part in self.stacked for part in parts):
            return None
        return self._emit(
            aten.cat.default, [self._stack(part) for part in parts], 2 if dim == 0 else 1
        )

    # Forms of a value.

    def _stack(self, source: Node) -> Node:
        """Return (B, C, H, W) as (1, C, B*H, W)."""
        if source in self.stacked or _shape(source)[0] == 1:
            return self.stacked.get(source, source)
        return self._once(
            ("stack", source),
            lambda: self._rows(self._emit(aten.permute.default, source, [1, 0, 2, 3])),
        )

    def _plain(self, source: Node) -> Node:
        """Return the plain form of a node that was rewritten."""
        batch, channels, height, width = _shape(source)
        image = self.stacked[source]
        if batch == 1:
            return image
        return self._once(
            ("plain", source),
            lambda: self._emit(
                aten.permute.default,
                self._apart(image, (channels, batch, height, width)),
                [1, 0, 2, 3],
            ),
        )

    def _apart(self, image: Node, shape: tuple[int, ...]) -> Node:
        """Return a stacked image as (C, B, H, W), which moves nothing."""
        return self._emit(aten.reshape.default, image, list(shape))

    def _rows(self, images: Node) -> Node:
        """Return (C, B, H, W) as a stacked image (1, C, B*H, W)."""
        channels, batch, height, width = _shape(images)
        return self._emit(aten.reshape.default, images, [1, channels, batch * height, width])

    def _constant(self, source: Node, like: tuple[int, ...]) -> Node:
        """Return a constant that is broadcast to `like` in a form that is broadcast stacked."""
        value = cast(Tensor, _attribute(self.module, str(source.target))).detach()
        if not self.full_constants and value.shape[0] == 1 and value.shape[2] == 1:
            return source
        batch, _, height, _ = like
        if self.full_constants:
            value = value.expand(like)
        rows = value.expand(batch, -1, height, -1).transpose(0, 1)
        rows = rows.reshape(1, rows.shape[0], batch * height, value.shape[3]).contiguous()
        name = f"{str(source.target).replace('.', '_')}_stacked_{'x'.join(map(str, like))}"

        def make() -> Node:
            self.module.register_buffer(name, rows)
            assert self.here is not None
            with self.graph.inserting_before(self.here):
                node = self.graph.get_attr(name)
            fake = source.meta["val"].fake_mode
            node.meta = {"val": fake.from_tensor(rows)}
            return node

        return self._once(("constant", source, *like), make)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Node]) -> Node:
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def _emit(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """Add an operation, with the shape of its value and the notes of the node it is for."""
        assert self.here is not None
        with self.graph.inserting_before(self.here):
            node = self.graph.call_function(target, args, kwargs)
        node.meta = {k: v for k, v in self.here.meta.items() if k != "val"}
        values = torch.fx.map_arg((args, kwargs), lambda source: source.meta["val"])
        node.meta["val"] = target(*values[0], **values[1])
        return node


def _activation(conv: Node) -> Node | None:
    """Return the ReLU that alone reads a convolution; it keeps the zeros of padding, too."""
    users = list(conv.users)
    return users[0] if len(users) == 1 and users[0].target in _RELUS else None


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return tuple(int(side) for side in value.shape) if isinstance(value, Tensor) else ()


def _pair(sizes: Any) -> tuple[int, int]:
    """Return sizes over rows and columns, of which torch may be told one."""
    if isinstance(sizes, int):
        return (sizes, sizes)
    rows, *columns = sizes
    return (int(rows), int(columns[0] if columns else rows))


def _first(sizes: Any) -> int:
    """Return a size over rows; torch allows a number, or a list of one or two."""
    return int(sizes[0]) if isinstance(sizes, (list, tuple)) else int(sizes)


def _attribute(module: torch.nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
