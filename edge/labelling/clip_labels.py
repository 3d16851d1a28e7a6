"""What is known of a whole video: which actions are in it, and from which source it comes."""

from __future__ import annotations

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from runtime.errors import ConfigError
from runtime.options import did_you_mean

# Video -> class -> whether somebody in it does that.
ClipLabels = Mapping[str, Mapping[str, bool]]


def read_patterns(flag: str, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Split `CLASS=PATTERN` words.

    Raises:
        ConfigError: One is not of that form.
    """
    pairs = []
    for word in patterns:
        name, found, pattern = word.partition("=")
        if not (found and name.strip() and pattern.strip()):
            raise ConfigError(f"{flag} {word!r}: expected CLASS=PATTERN, as fighting=fight/*")
        pairs.append((name.strip(), pattern.strip()))
    return pairs


def class_names(person: str, present: Sequence[str], absent: Sequence[str]) -> tuple[str, ...]:
    """Return the class of people and those of the patterns, each once, as they come.

    Raises:
        ConfigError: A class of a pattern is called as the one of people.
    """
    pairs = read_patterns("--present", present) + read_patterns("--absent", absent)
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    if person in names:
        raise ConfigError(f"{person!r} is the class of everyone; name what is in a clip otherwise")
    return (person, *names)


def clip_labels(
    videos: Mapping[str, str], present: Sequence[str], absent: Sequence[str]
) -> dict[str, dict[str, bool]]:
    """Match videos with patterns.

    Args:
        videos: Name -> path below the source; patterns are compared with both.
        present: `CLASS=PATTERN`: somebody in such a video does it.
        absent: The same: nobody does.

    Raises:
        ConfigError: A pattern is malformed, matches nothing, or contradicts another.
    """
    labels: dict[str, dict[str, bool]] = {name: {} for name in videos}
    for flag, patterns, there in (("--present", present, True), ("--absent", absent, False)):
        for name, pattern in read_patterns(flag, patterns):
            matched = [video for video, file in videos.items()
                       if fnmatchcase(video, pattern) or fnmatchcase(file, pattern)]  # fmt: skip
            if not matched:
                folders = sorted({f"{PurePosixPath(f).parent}/*" for f in videos.values()})
                raise ConfigError(f"{flag} {name}={pattern} matches no video."
                                  f"{did_you_mean(pattern, folders)} Videos are called as "
                                  f"{next(iter(videos.values()))}")  # fmt: skip
            for video in matched:
                if labels[video].setdefault(name, there) != there:
                    raise ConfigError(f"{video} matches both --present and --absent of {name}")
    return labels


def read_groups(path: Path, videos: Mapping[str, str]) -> dict[str, str]:
    """Read which source each video comes from; a video without one is left out.

    Args:
        path: CSV with the header `clip,source`; a clip by its path, its name, or either without
            the suffix.
        videos: Name -> path below the source.

    Raises:
        ConfigError: It cannot be read, has no such header, or names a clip that could be several.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--groups {path} cannot be read: {error}") from error
    if not rows or [cell.strip() for cell in rows[0][:2]] != ["clip", "source"]:
        begins = ",".join(rows[0])[:60] if rows else "nothing"
        raise ConfigError(f"--groups {path} begins with {begins}, expected the line clip,source")
    known: dict[str, set[str]] = defaultdict(set)
    for video, file_name in videos.items():
        whole = PurePosixPath(file_name)
        for name in (video, file_name, whole.name, whole.stem):
            known[name].add(video)
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        clip, source = row[0].strip(), row[1].strip() if len(row) > 1 else ""
        found = known.get(clip, set())
        if len(found) > 1:
            raise ConfigError(f"--groups {path}, row {number}: {clip} could be "
                              f"{' or '.join(sorted(found))}; give its path")  # fmt: skip
        for video in found:
            if groups.setdefault(video, source) != source:
                raise ConfigError(f"--groups {path}, row {number}: {clip} has source {source!r} "
                                  f"and {groups[video]!r}")  # fmt: skip
    if not groups:
        raise ConfigError(f"--groups {path} names none of the videos, as {next(iter(videos))}")
    return {video: source for video, source in groups.items() if source}


def choose_val(
    videos: Sequence[str], groups: Mapping[str, str], labels: ClipLabels, share: float, seed: int
) -> set[str]:
    """Choose whole sources for the part to judge by, each kind of clip to its share.

    Sources are taken in the seed's order as long as no kind of clip gets more than its share by
    them, so both parts hold every kind; where a kind then has nothing, its smallest source goes.

    Args:
        videos: All of them.
        groups: Source of each; a video without one stays to learn from.
        labels: What is known of each: the kind of a clip.
        share: Of the clips whose source is known.
        seed: Of the order.

    Raises:
        ConfigError: There are less than two sources.
    """
    sources: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        if video in groups:
            sources[groups[video]].append(video)
    if len(sources) < 2:
        raise ConfigError(f"--val-share needs clips of two sources or more, got {len(sources)}")

    def kinds(source: str) -> Counter[tuple[tuple[str, bool], ...]]:
        return Counter(tuple(sorted(labels.get(v, {}).items())) for v in sources[source])

    total: Counter[tuple[tuple[str, bool], ...]] = Counter()
    for source in sources:
        total += kinds(source)
    order = sorted(sources)
    random.Random(seed).shuffle(order)
    taken: Counter[tuple[tuple[str, bool], ...]] = Counter()
    chosen: list[str] = []
    for source in order:
        after = taken + kinds(source)
        if all(after[kind] <= share * total[kind] + 0.5 for kind in after):
            chosen.append(source)
            taken = after
    for kind in sorted(total):
        having = [s for s in order if s not in chosen and kinds(s)[kind]]
        if not taken[kind] and len(having) > 1:
            chosen.append(min(having, key=lambda s: len(sources[s])))
            taken += kinds(chosen[-1])
    return {video for source in chosen for video in sources[source]}
