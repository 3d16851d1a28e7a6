"""Clips that are made, or decoded, once: kept in memory, or in files for the runs that follow.

`DiskCache` has one file of fixed slots, written where a clip is first asked for, by whichever
process asks; a byte for each says whether it is there. A clip that two processes make at once is
written twice alike.

Where the truth is known without the frames, as that of videos is, the frames alone are taken from
the file, so that labels may be mended while the frames are kept.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from runtime.errors import ArtifactError, CaptureError, ConfigError
from runtime.outputs import write_atomically
from runtime.types import ClipSpec

MOST_PEOPLE = 24
"""People of a clip that a slot has room for, actors and bystanders each; others are not kept."""
LONGEST_ID = 240
_ABOUT, _THERE, _TRUTH, _FRAMES = "about.json", "there.bin", "truth.bin", "frames.bin"


class MemoryCache(WrappedDataset):
    """The same clips, each made once: a validation is not to wait for them every time.

    Clips beyond `limit_bytes` are made anew; one that cannot be decoded is not tried again, so that
    each validation of a run is of the same clips.
    """

    def __init__(self, dataset: ClipDataset, limit_bytes: int = 1 << 30) -> None:
        """Keep clips of `dataset` as they are asked for."""
        super().__init__(dataset)
        self._room = limit_bytes
        self._kept: dict[int, ClipSample] = {}
        self._broken: dict[int, str] = {}
        self.changes_by_epoch = False

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index`, the same in every pass.

        Raises:
            CaptureError: It cannot be decoded, now or before.
        """
        if index in self._kept:
            return self._kept[index]
        if index in self._broken:
            raise CaptureError(self._broken[index])
        try:
            sample = self.dataset[index]
        except CaptureError as error:
            self._broken[index] = str(error)
            raise
        if sample.frames_rgb.nbytes <= self._room:
            self._room -= sample.frames_rgb.nbytes
            self._kept[index] = sample
        return sample


class DiskCache(WrappedDataset):
    """A data set whose clips are kept in a folder.

    The folder may be deleted at any time that no process uses it. It grows to
    `len(dataset) * T * H * W * 3` bytes, as clips come.
    """

    def __init__(
        self, dataset: ClipDataset, folder: Path | str, *, shape: ClipSpec, spec: str
    ) -> None:
        """Keep the clips of `dataset` in `folder`, which is made where it is missing.

        Args:
            dataset: Clips that stay the same by index.
            folder: Of this data set alone.
            shape: Of its clips.
            spec: What names the data set; the folder is refused to any other.

        Raises:
            ConfigError: The folder belongs to other clips.
            ArtifactError: It cannot be written.
        """
        super().__init__(dataset)
        self._shape = shape.frames_shape
        classes = len(dataset.class_names)
        self._slot = np.dtype(
            [
                ("counts", np.int32, (2,)),
                ("size_wh", np.int32, (2,)),
                ("boxes", np.float32, (MOST_PEOPLE, 4)),
                ("labels", np.float32, (MOST_PEOPLE, classes)),
                ("bystanders", np.float32, (MOST_PEOPLE, 4)),
                ("clip_id", f"S{LONGEST_ID}"),
            ]
        )
        self._folder = Path(folder)
        about = {
            "spec": spec,
            "clips": len(dataset),
            "shape": list(self._shape),
            "period_s": shape.period_s,
            "class_names": list(dataset.class_names),
            "world_version": dataset.version,
        }
        try:
            self._open(about)
        except OSError as error:
            raise ArtifactError(f"--cache {self._folder} cannot be used: {error}") from error

    def _open(self, about: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _ABOUT
        if path.exists():
            try:
                begun = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ArtifactError(f"{path} cannot be read: {error}") from error
            if begun != about:
                raise ConfigError(
                    f"--cache {self._folder} holds other clips than {about['spec']} of "
                    f"{about['shape']}; name another folder or delete it"
                )
        else:
            if any(self._folder.iterdir()):
                raise ConfigError(
                    f"--cache {self._folder} is not empty and holds no clips; name another folder"
                )
            write_atomically(path, json.dumps(about, indent=1) + "\n")
        self._open_maps()

    def _open_maps(self) -> None:
        clips = len(self.dataset)
        self._there = self._map(_THERE, np.dtype(np.uint8), (clips,))
        self._truth = self._map(_TRUTH, self._slot, (clips,))
        self._frames = self._map(_FRAMES, np.dtype(np.uint8), (clips, *self._shape))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps out: pickled, they would be copies of the whole files."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_there", "_truth", "_frames")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the same files again."""
        self.__dict__.update(state)
        self._open_maps()

    def _map(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> np.memmap[Any, np.dtype[Any]]:
        path = self._folder / name
        size = int(np.prod(shape)) * dtype.itemsize
        with path.open("ab") as file:
            if file.tell() != size:
                file.truncate(size)  # sparse: a slot takes room when it is written
        return np.memmap(path, dtype=dtype, mode="r+", shape=shape)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index`, the same in every pass, from the file where it is there."""
        index = self.checked(index)
        if self._there[index]:
            kept, truth = self._read(index), self.dataset.without_frames(index)
            if truth is None:
                return kept
            if truth.clip_id == kept.clip_id:
                return replace(truth, frames_rgb=kept.frames_rgb)
            # Another clip stood in for it, or the table has changed.
        sample = self.dataset[index]
        self._write(index, sample)
        return sample

    def _read(self, index: int) -> ClipSample:
        slot = self._truth[index]
        actors, inactive_persons = (int(count) for count in slot["counts"])
        frames: npt.NDArray[np.uint8] = np.array(self._frames[index])
        return ClipSample(
            frames_rgb=frames,
            boxes=np.array(slot["boxes"][:actors]),
            labels=np.array(slot["labels"][:actors]),
            inactive_persons=np.array(slot["bystanders"][:inactive_persons]),
            clip_id=bytes(slot["clip_id"]).decode(),
            size_wh=(int(slot["size_wh"][0]), int(slot["size_wh"][1])),
        )

    def _write(self, index: int, sample: ClipSample) -> None:
        name = sample.clip_id.encode()
        actors, inactive_persons = len(sample.boxes), len(sample.inactive_persons)
        if len(name) > LONGEST_ID or b"\0" in name:
            return  # made anew each time
        if self.dataset.without_frames(index) is not None:
            actors = inactive_persons = 0  # their truth is not read from here
        elif max(actors, inactive_persons) > MOST_PEOPLE or not sample.label_mask.all():
            return
        elif len(sample.ignored):
            return  # only data sets whose truth is known without the frames have them
        slot = np.zeros((), self._slot)
        slot["counts"] = actors, inactive_persons
        slot["size_wh"] = sample.size_wh
        slot["boxes"][:actors] = sample.boxes[:actors]
        slot["labels"][:actors] = sample.labels[:actors]
        slot["bystanders"][:inactive_persons] = sample.inactive_persons[:inactive_persons]
        slot["clip_id"] = name
        self._frames[index] = sample.frames_rgb
        self._truth[index] = slot
        self._there[index] = 1
