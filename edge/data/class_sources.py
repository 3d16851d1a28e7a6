"""Which class learned from what: a table for a model's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.data.concat import joined_names
from edge.data.dataset import ClipDataset
from edge.data.joint_classes import class_table
from edge.data.registry import open_dataset
from edge.data.remap import RemapClasses
from edge.data.specs import is_drawn, parse_real, split_mix
from runtime.report import markdown_table
from runtime.types import ClipSpec

# Whom a clip shows does not depend on its size.
_ANY_SHAPE = ClipSpec(num_frames=1, height=64, width=64, sampling_rate=1, fps=30.0)
SILENT, NOBODY = "–", "0"  # noqa: RUF001  (a dash, as tables have it)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One data set of several.

    Attributes:
        name: What the table calls it.
        dataset: The clips.
        times: How often they occur in a pass.
        about: Whether the counts are of a sample.
    """

    name: str
    dataset: ClipDataset
    times: int
    about: bool


def class_sources(data: str, classes: str = "own", *, seed: int = 0) -> str:
    """Return which class learned from what, as Markdown.

    Counts are of labelled people at keyframes in one pass over each data set, changed clips not
    counted again; those of drawn clips are of 512 scenes, scaled up.

    Args:
        data: As `--data` of `edge train`.
        classes: As its `--classes`.
        seed: Of drawn clips.

    Raises:
        ConfigError: A data set cannot be opened, or has classes that the table does not know.
    """
    table = class_table(classes)
    parts = []
    for word, times in split_mix(data):
        dataset = open_dataset(word, _ANY_SHAPE, seed=seed, part="train")
        if table is not None:
            dataset = RemapClasses(dataset, word, table)
        parts.append(Part(name=_name(word), dataset=dataset, times=times, about=is_drawn(word)))
    names = joined_names([part.dataset.class_names for part in parts])
    return "\n".join(sources_table(names, parts))


def sources_table(names: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """Return the lines: a row a class, a column a data set.

    A number says how many people of a data set do it, 0 that nobody in it does, a dash that it is
    silent about the class.
    """
    header = [f"{part.name} (x{part.times})" if part.times > 1 else part.name for part in parts]
    rows = [["class", *header], ["clips", *(f"{len(part.dataset):,}" for part in parts)]]
    counts = [part.dataset.class_counts for part in parts]
    for name in names:
        cells = (_cell(name, *pair) for pair in zip(parts, counts, strict=True))
        rows.append([name, *cells])
    return markdown_table(rows)


def _cell(name: str, part: Part, counts: Mapping[str, float]) -> str:
    dataset = part.dataset
    knows = (
        dataset.knows(name) if isinstance(dataset, RemapClasses) else name in dataset.class_names
    )
    count = counts.get(name)
    if not knows:
        return SILENT
    if not count:
        return NOBODY
    if part.about:
        return f"about {round(count, -2 if count >= 1000 else -1):,.0f}"
    return f"{count:,.0f}"


def _name(word: str) -> str:
    """Return what the table calls a data set: no paths of this machine."""
    real = None if is_drawn(word) else parse_real(word)
    if real is None:
        return word.partition(":")[0]
    words = [real.root.resolve().name if real.kind == "folder" else real.kind, *real.chosen]
    return " ".join([*words, *([real.part] if real.part else [])])
