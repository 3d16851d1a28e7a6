"""Features of a frozen stem, computed once and kept: what a trunk learns from on a CPU.

A pretrained stem is most of a clip's work and does not change while the rest of the model learns.
So its features are computed for a chosen number of clips, each changed at random as training would
change it, and kept as int8 with one scale a channel. A folder holds blocks of `BLOCK_CLIPS` clips:
`00012.npy`, their features, and `00012.npz`, who is in them. A block is written whole or not at
all: a run that was stopped goes on, and several runs (`--shard`) fill one folder together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge.data.concat import ConcatDataset
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError
from runtime.outputs import write_atomically

I8 = npt.NDArray[np.int8]
FORMAT = "bmvit-edge-features"
SCHEMA_VERSION = 1
ABOUT_FILE = "features.json"
BLOCK_CLIPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureAbout:
    """What a folder of features is made of; the key by which a run finds that it fits.

    Attributes:
        stem_digest: SHA-256 of the stem's weights before the cut.
        cut: First block of the stem that is not part of the features.
        num_frames: Frames of a clip.
        height: Input height, px.
        width: Input width, px.
        shapes: (C, H, W) of each kept feature map.
        scales: Of each map, what an int8 step is worth, a number a channel.
        clips: Number of clips.
        class_names: Of the labels.
        spec: The data set, as `--data` named it.
        data: Everything that chooses and changes its clips, in words.
    """

    stem_digest: str
    cut: int
    num_frames: int
    height: int
    width: int
    shapes: tuple[tuple[int, int, int], ...]
    scales: tuple[tuple[float, ...], ...]
    clips: int
    class_names: tuple[str, ...]
    spec: str
    data: str

    @property
    def bytes_per_clip(self) -> int:
        """Size of one clip's features."""
        return self.num_frames * sum(math.prod(shape) for shape in self.shapes)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.clips // BLOCK_CLIPS)

    def clips_of(self, block: int) -> range:
        """Return the numbers of the clips of a block."""
        first = block * BLOCK_CLIPS
        return range(first, min(self.clips, first + BLOCK_CLIPS))

    def save(self, folder: Path) -> None:
        """Write it into the folder."""
        plain = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(self)}
        write_atomically(folder / ABOUT_FILE, json.dumps(plain) + "\n")

    @staticmethod
    def load(folder: Path) -> FeatureAbout:
        """Read it from a folder.

        Raises:
            ArtifactError: It is missing or damaged.
        """
        path = folder / ABOUT_FILE
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder} has no {ABOUT_FILE}; expected a folder that `edge features` made"
            ) from None
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}") from error
        try:
            if plain.pop("format") != FORMAT or plain.pop("schema_version") != SCHEMA_VERSION:
                raise ArtifactMismatchError(
                    f"{path} is of another version; compute it again with `edge features`"
                )
            return FeatureAbout(
                **{
                    **plain,
                    "shapes": tuple(tuple(one) for one in plain["shapes"]),
                    "scales": tuple(tuple(one) for one in plain["scales"]),
                    "class_names": tuple(plain["class_names"]),
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged: {error}") from error


def pack_features(maps: Sequence[Tensor], scales: Sequence[Tensor], clips: int) -> I8:
    """Turn the feature maps of some clips, (clips*T, C, H, W) each, into int8 (clips, bytes)."""
    parts = []
    for one, scale in zip(maps, scales, strict=True):
        rounded = (one.float() / scale[None, :, None, None]).round().clamp(-127, 127)
        parts.append(rounded.permute(0, 2, 3, 1).to(torch.int8).reshape(clips, -1))
    packed: I8 = torch.cat(parts, dim=1).numpy()
    return packed


def unpack_features(
    packed: Tensor, scales: Tensor, about: FeatureAbout, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Turn kept features back into feature maps.

    Args:
        packed: int8 (B, bytes of a clip).
        scales: (B, channels of all maps), what a step is worth in each clip.
        about: Shapes of the maps.
        dtype: Of the result.

    Returns:
        Maps (B*T, C, H, W), channels innermost.
    """
    maps, start, first = [], 0, 0
    batch, frames = packed.shape[0], about.num_frames
    for channels, height, width in about.shapes:
        size = frames * channels * height * width
        part = packed[:, start : start + size].reshape(batch, -1, channels).to(dtype)
        part = part * scales[:, None, first : first + channels].to(dtype)
        maps.append(part.reshape(-1, height, width, channels).permute(0, 3, 1, 2))
        start += size
        first += channels
    return maps


class FeatureClips(ClipDataset):
    """A folder of features as a data set: samples with `features` and no frames."""

    def __init__(self, folder: Path, exclude: frozenset[str] = frozenset()) -> None:
        """Open a folder.

        Args:
            folder: What `edge features` wrote.
            exclude: Videos whose clips are left out, and mosaics with such a clip.

        Raises:
            ArtifactError: It is missing, damaged, not all of its blocks are there, or no clip is
                left.
        """
        self.folder = folder
        self.about = FeatureAbout.load(folder)
        self.class_names = self.about.class_names
        missing = [b for b in range(self.about.blocks) if not _has_block(folder, b)]
        if missing:
            raise ArtifactError(
                f"{folder} has {self.about.blocks - len(missing)} of {self.about.blocks} blocks; "
                "run the same `edge features` again to go on with it"
            )
        self._scales = np.concatenate([np.array(one, np.float32) for one in self.about.scales])
        self._truth: dict[int, dict[str, Any]] = {}
        self._maps: dict[int, I8] = {}
        self._kept = self._without(exclude) if exclude else range(self.about.clips)
        if not self._kept:
            raise ArtifactError(f"{folder} has no clip but those of excluded videos")

    def _without(self, exclude: frozenset[str]) -> Sequence[int]:
        """Return the numbers of the clips that show no excluded video."""
        return [
            number
            for number, name in enumerate(self._names())
            # A mosaic is named after all of its clips, each VIDEO/TIME.
            if not any(one.rpartition("/")[0] in exclude for one in name.split("+"))
        ]

    def _names(self) -> list[str]:
        """Return the names of all clips of the folder, excluded ones too."""
        names: list[str] = []
        for block in range(self.about.blocks):
            with np.load(self.folder / f"{block:05d}.npz", allow_pickle=False) as truth:
                names += map(str, truth["clip_id"])
        return names

    def clip_ids(self) -> list[str]:
        """Return the names of the clips, in their order, without reading features."""
        names = self._names()
        return [names[number] for number in self._kept]

    def __len__(self) -> int:
        return len(self._kept)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files out."""
        return {**self.__dict__, "_maps": {}, "_truth": {}}

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index` without frames."""
        block, row = divmod(self._kept[self.checked(index)], BLOCK_CLIPS)
        if block not in self._maps:
            self._maps[block] = np.load(self.folder / f"{block:05d}.npy", mmap_mode="r")
            with np.load(self.folder / f"{block:05d}.npz", allow_pickle=False) as truth:
                self._truth[block] = {name: truth[name] for name in truth.files}
        sample = _sample_of(self._truth[block], row, len(self.class_names))
        return replace(
            sample, features=np.array(self._maps[block][row]), feature_scales=self._scales
        )


def _has_block(folder: Path, block: int) -> bool:
    return (folder / f"{block:05d}.npy").is_file() and (folder / f"{block:05d}.npz").is_file()


_ROWS = ("boxes", "labels", "label_mask", "bag_id", "inactive_persons", "ignored")
_FORMER_NAMES = {"inactive_persons": "bystanders"}  # of arrays in the files


def write_block(folder: Path, block: int, features: I8, samples: Sequence[ClipSample]) -> None:
    """Write a block, whole or not at all: the features last, since they are what is looked for."""
    import io

    tables: dict[str, Any] = {
        "clip_id": np.array([sample.clip_id for sample in samples]),
        "size_wh": np.array([sample.size_wh for sample in samples], np.int32),
    }
    for attribute in _ROWS:
        name = _FORMER_NAMES.get(attribute, attribute)
        rows = [np.asarray(getattr(sample, attribute)) for sample in samples]
        tables[name] = np.concatenate(rows)
        tables[f"{name}_end"] = np.cumsum([len(one) for one in rows])
    for suffix, save in (("npz", tables), ("npy", features)):
        buffer = io.BytesIO()
        if isinstance(save, dict):
            np.savez(buffer, **save)
        else:
            np.save(buffer, save)
        write_atomically(folder / f"{block:05d}.{suffix}", buffer.getbuffer())


def _sample_of(truth: dict[str, Any], row: int, classes: int) -> ClipSample:
    def part(name: str) -> npt.NDArray[Any]:
        ends = truth[f"{name}_end"]
        found: npt.NDArray[Any] = truth[name][ends[row - 1] if row else 0 : ends[row]]
        return found

    if "label_mask" in truth:
        label_mask, bag_id = part("label_mask"), part("bag_id")
    else:
        # Blocks of earlier versions: `known` 0 a known label, 1 one of the bag `together` does it.
        known = part("known")
        label_mask = known == 0
        bag_id = np.where(known == 1, part("together")[:, None], -1).astype(np.int64)
    return ClipSample(
        frames_rgb=np.empty((0, 0, 0, 3), np.uint8),
        boxes=part("boxes").astype(np.float32),
        labels=part("labels").astype(np.float32).reshape(-1, classes),
        inactive_persons=part("bystanders").astype(np.float32),
        ignored=part("ignored").astype(np.float32),
        clip_id=str(truth["clip_id"][row]),
        size_wh=(int(truth["size_wh"][row][0]), int(truth["size_wh"][row][1])),
        label_mask=label_mask.reshape(-1, classes),
        bag_id=bag_id.reshape(-1, classes),
    )


def features_of(dataset: ClipDataset) -> FeatureAbout | None:
    """Return what the features of a data set, or of its parts, are; None where it has frames.

    Raises:
        ConfigError: Some parts have features and some frames, or features of several kinds.
    """
    joined = dataset.parts if isinstance(dataset, ConcatDataset) else [(dataset, 1)]
    parts = [_innermost(part) for part, _ in joined]
    abouts = [p.about for p in parts if isinstance(p, FeatureClips)]
    if not abouts:
        return None
    if len(abouts) != len(parts):
        raise ConfigError(
            "--data joins features with clips of frames; compute features of all of them"
        )
    first = abouts[0]
    for other in abouts[1:]:
        same = ("stem_digest", "cut", "num_frames", "height", "width", "shapes")
        bad = [name for name in same if getattr(other, name) != getattr(first, name)]
        if bad:
            raise ConfigError(
                f"--data joins features that differ in {bad[0]}; compute them with the same model "
                "and --stem-weights"
            )
    return first


def _innermost(dataset: ClipDataset) -> ClipDataset:
    """Return the data set that others stand in front of."""
    while isinstance(dataset, WrappedDataset):
        dataset = dataset.dataset
    return dataset
