"""YOWOv2-Nano, written anew from its published description, with random weights.

A single-stage action detector on 16-frame clips (Yang and Dai, arXiv 2302.06848). Widths, kernels
and strides are facts of its paper and its public configuration (yjh0410/YOWOv2, `yowo_v2_nano`);
the code is this project's own. Three parts:

* a 2D detector, FreeYOLO-Nano, sees the keyframe (the newest frame): ShuffleNetV2 1.0x, a pyramid
  of pooled maps, a path-aggregation pyramid of ELAN blocks, and a decoupled head for each of the
  strides 8, 16 and 32;
* a 3D ShuffleNetV2 1.0x sees the whole clip and ends as one map at stride 32;
* at each level and for each of class and box, both are concatenated and mixed by convolutions
  around a channel self-attention; depth-wise heads then give confidence, classes and box per cell.

Two exact simplifications speed it up in every engine: `softmax(max - e)` is `softmax(-e)`, and
dropout is left out, as always in inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_FRAMES = 16
SIZE = 224
CLIP_SHAPE = (1, NUM_FRAMES, 3, SIZE, SIZE)
STRIDES = (8, 16, 32)
# What its README says: multiply-adds (named FLOPs there) and parameters, with 24 classes.
PUBLISHED_GMAC = 1.3
PUBLISHED_MPARAMS = 3.5
PUBLISHED_CLASSES = 24

_WIDTHS = (24, 116, 232, 464)
_REPEATS = (4, 8, 4)
_HEAD = 64
# The published value of a trained network is learnt from 0; at 0 an engine could fold it away.
_ATTENTION_GAIN = 0.5
# Of random weights: a cell with a person is rare, and cells differ.
_RARE, _SPREAD = -4.0, 4.0


class YOWOv2Nano(nn.Module):
    """The network: a clip (1, 16, 3, 224, 224), values 0 to 255, to three outputs per cell."""

    def __init__(self, num_classes: int) -> None:
        """Build it with random weights, from torch's global random state."""
        super().__init__()
        self.num_classes = num_classes
        self.detector = FreeYOLONano()
        self.video = ShuffleNet(spatial=False)
        self.fuse_class = nn.ModuleList(_fusion(_HEAD + _WIDTHS[-1]) for _ in STRIDES)
        self.fuse_box = nn.ModuleList(_fusion(_HEAD + _WIDTHS[-1]) for _ in STRIDES)
        self.heads = nn.ModuleList(DecoupledHead() for _ in STRIDES)
        self.conf = nn.ModuleList(nn.Conv2d(_HEAD, 1, 1) for _ in STRIDES)
        self.classes = nn.ModuleList(nn.Conv2d(_HEAD, num_classes, 1) for _ in STRIDES)
        self.box = nn.ModuleList(nn.Conv2d(_HEAD, 4, 1) for _ in STRIDES)

    def forward(self, clip_ntchw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits and offsets of all cells, stride 8 first, then 16 and 32, each by rows.

        Args:
            clip_ntchw: (1, T, 3, H, W), RGB, 0 to 255, oldest frame first.

        Returns:
            Confidence (1, M), classes (1, M, C), and box offsets (1, M, 4): x, y in strides from
            the cell's centre, and the logarithms of width and height in strides.
        """
        motion = self.video(clip_ntchw.transpose(1, 2))[-1].mean(dim=2)
        levels = self.detector(clip_ntchw[:, -1])
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for i, (class_2d, box_2d) in enumerate(levels):
            wide = functional.interpolate(motion, scale_factor=2.0 ** (len(levels) - 1 - i))
            class_map = self.fuse_class[i](torch.cat([class_2d, wide], dim=1))
            box_map = self.fuse_box[i](torch.cat([box_2d, wide], dim=1))
            class_map, box_map = self.heads[i](class_map, box_map)
            outputs = self.conf[i](box_map), self.classes[i](class_map), self.box[i](box_map)
            found.append(
                cast("tuple[Tensor, Tensor, Tensor]", tuple(o.flatten(2) for o in outputs))
            )
        conf, classes, box = (torch.cat(maps, dim=2) for maps in zip(*found, strict=True))
        return conf.flatten(1), classes.transpose(1, 2), box.transpose(1, 2)


class FreeYOLONano(nn.Module):
    """The 2D detector without its predictions: an image to (class, box) features at each level."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ShuffleNet(spatial=True)
        self.pool = PooledPyramid(_WIDTHS[3], _WIDTHS[2])
        self.pyramid = PathAggregation((_WIDTHS[1], _WIDTHS[2], _WIDTHS[2]))
        self.heads = nn.ModuleList(DecoupledHead() for _ in STRIDES)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        fine, middle, coarse = self.backbone(image)
        levels = self.pyramid(fine, middle, self.pool(coarse))
        return [head(level, level) for head, level in zip(self.heads, levels, strict=True)]


class ShuffleNet(nn.Module):
    """ShuffleNetV2 1.0x of images or of clips; returns the maps of its three stages."""

    def __init__(self, *, spatial: bool) -> None:
        """Build it for images (`spatial`) or for clips (B, 3, T, H, W)."""
        super().__init__()
        stride: int | tuple[int, int, int] = 2 if spatial else (1, 2, 2)
        self.stem = _conv(3, _WIDTHS[0], 3, stride=stride, act=nn.ReLU(), spatial=spatial)
        self.pool = (nn.MaxPool2d if spatial else nn.MaxPool3d)(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        for before, after, repeats in zip(_WIDTHS[:-1], _WIDTHS[1:], _REPEATS, strict=True):
            units = [ShuffleUnit(before, after, spatial=spatial)]
            units += [ShuffleUnit(after, after, spatial=spatial) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*units))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.pool(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half are convolved; the first of a stage halves the size."""

    def __init__(self, before: int, after: int, *, spatial: bool) -> None:
        super().__init__()
        half = after // 2
        self.halving = before != after
        stride = 2 if self.halving else 1
        source = before if self.halving else half

        def conv(*sizes: int, act: nn.Module | None = None, **kwargs: int) -> nn.Sequential:
            return _conv(*sizes, act=act, spatial=spatial, **kwargs)

        self.branch = nn.Sequential(
            conv(source, half, 1, act=nn.ReLU()),
            conv(half, half, 3, stride=stride, groups=half),
            conv(half, half, 1, act=nn.ReLU()),
        )
        self.shortcut = nn.Sequential()
        if self.halving:
            self.shortcut = nn.Sequential(
                conv(before, before, 3, stride=2, groups=before),
                conv(before, half, 1, act=nn.ReLU()),
            )

    def forward(self, x: Tensor) -> Tensor:
        kept, used = (x, x) if self.halving else x.chunk(2, dim=1)
        both = torch.stack([self.shortcut(kept), self.branch(used)], dim=2)
        # Stacked behind the channels and flattened, the halves come out interleaved: the shuffle.
        return both.flatten(1, 2)


class PooledPyramid(nn.Module):
    """Max pooling by 5, 9 and 13 as three poolings by 5, between two plain convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(before, before // 2, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join = nn.Conv2d(before // 2 * 4, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.narrow(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return cast(Tensor, self.join(torch.cat(maps, dim=1)))


class ELAN(nn.Module):
    """Two narrow projections and two depth-wise convolutions in a row, all four joined."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        width = before // 4
        self.left, self.right = _pw(before, width), _pw(before, width)
        self.first, self.second = _dw(width, width), _dw(width, width)
        self.join = _pw(4 * width, after)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.left(x), self.right(x)]
        maps.append(self.first(maps[-1]))
        maps.append(self.second(maps[-1]))
        return cast(Tensor, self.join(torch.cat(maps, dim=1)))


class PathAggregation(nn.Module):
    """From coarse to fine and back again, then 64 channels at each level."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.coarse, self.middle, self.down_1 = _pw(coarse, 128), _pw(middle, 128), ELAN(256, 128)
        self.lateral, self.fine, self.down_2 = _pw(128, 64), _pw(fine, 64), ELAN(128, 64)
        self.pool = nn.MaxPool2d(2)
        self.widen_1, self.up_1 = _pw(64, 128), ELAN(256, 128)
        self.widen_2, self.up_2 = _pw(128, 256), ELAN(256 + coarse, 256)
        self.out = nn.ModuleList(
            nn.Sequential(_dw(width, 2 * width), _pw(2 * width, _HEAD)) for width in (64, 128, 256)
        )

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[Tensor]:
        wide = functional.interpolate(self.coarse(coarse), scale_factor=2.0)
        p4 = self.down_1(torch.cat([wide, self.middle(middle)], dim=1))
        wide = functional.interpolate(self.lateral(p4), scale_factor=2.0)
        p3 = self.down_2(torch.cat([wide, self.fine(fine)], dim=1))
        p4 = self.up_1(torch.cat([self.widen_1(self.pool(p3)), p4], dim=1))
        p5 = self.up_2(torch.cat([self.widen_2(self.pool(p4)), coarse], dim=1))
        return [out(level) for out, level in zip(self.out, (p3, p4, p5), strict=True)]


class DecoupledHead(nn.Module):
    """Two depth-wise convolutions for the class features, two for the box features."""

    def __init__(self) -> None:
        super().__init__()
        self.class_path = nn.Sequential(_dw(_HEAD, _HEAD), _dw(_HEAD, _HEAD))
        self.box_path = nn.Sequential(_dw(_HEAD, _HEAD), _dw(_HEAD, _HEAD))

    def forward(self, class_map: Tensor, box_map: Tensor) -> tuple[Tensor, Tensor]:
        return self.class_path(class_map), self.box_path(box_map)


class ChannelAttention(nn.Module):
    """Each channel takes from those that differ from it; queries, keys and values are the map."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), _ATTENTION_GAIN))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2)
        weights = torch.softmax(-torch.bmm(rows, rows.transpose(1, 2)), dim=-1)
        return self.gain * torch.bmm(weights, rows).view(x.shape) + x


def _fusion(before: int) -> nn.Sequential:
    return nn.Sequential(
        _pw(before, _HEAD),
        _conv(_HEAD, _HEAD, 3, act=nn.LeakyReLU(0.1)),
        ChannelAttention(),
        _conv(_HEAD, _HEAD, 3, act=nn.LeakyReLU(0.1)),
        nn.Conv2d(_HEAD, _HEAD, 1),
    )


def _pw(before: int, after: int) -> nn.Sequential:
    return _conv(before, after, 1, act=nn.LeakyReLU(0.1))


def _dw(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(before, before, 3, groups=before, act=nn.LeakyReLU(0.1)), _pw(before, after)
    )


def _conv(
    before: int,
    after: int,
    kernel: int,
    *,
    stride: int | tuple[int, ...] = 1,
    groups: int = 1,
    act: nn.Module | None = None,
    spatial: bool = True,
) -> nn.Sequential:
    """Return a convolution, its batch normalisation, and an activation where there is one."""
    conv = nn.Conv2d if spatial else nn.Conv3d
    norm = nn.BatchNorm2d if spatial else nn.BatchNorm3d
    layers: list[nn.Module] = [
        conv(before, after, kernel, stride, kernel // 2, groups=groups, bias=False),  # type: ignore[arg-type]
        norm(after),
    ]
    return nn.Sequential(*layers, *([act] if act is not None else []))


def random_yowov2(num_classes: int, clips: Sequence[Tensor], *, seed: int) -> YOWOv2Nano:
    """Return the network in evaluation mode, with random weights that behave as trained ones.

    Batch normalisation takes its statistics from clips, as training would leave them, and the
    confidences and classes are spread out, so that a few cells stand out.

    Args:
        num_classes: Actions.
        clips: Clips (1, T, 3, H, W), RGB, 0 to 255; at least one.
        seed: Of the weights; the global random state stays untouched.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = YOWOv2Nano(num_classes).train()
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
                module.momentum = None  # a plain average over the batches
        for start in range(0, len(clips), 8):
            model(torch.cat(list(clips[start : start + 8])))
        for heads, bias in ((model.conf, _RARE), (model.classes, 0.0), (model.box, 0.0)):
            for last in heads:
                assert isinstance(last, nn.Conv2d)
                assert last.bias is not None
                last.bias.fill_(bias)
                if heads is not model.box:
                    last.weight.mul_(_SPREAD)
    return model.eval()
