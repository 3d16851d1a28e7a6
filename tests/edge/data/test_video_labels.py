"""Labels of whole videos: what is known of whom, and which rows are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.data.cache import DiskCache
from edge.data.check import check_data
from edge.data.dataset import ClipDataset
from edge.data.registry import open_dataset
from runtime.errors import ConfigError
from runtime.types import ClipSpec
from tests.edge.data.test_folder import write_video
from tests.edge.partial_labels import KNOWN, SOMEBODY, UNKNOWN, codes

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=20.0)
# Class 1 is said of people, class 2 of videos, class 3 of both.
TABLE = """\
yes,0.5,0.1,0.1,0.5,0.9,1,7
yes,0.5,0.6,0.2,0.9,0.9,,8
no,0.5,0.1,0.1,0.5,0.9,1,7
no,0.5,0.6,0.2,0.9,0.9,,8
silent,0.5,0.1,0.1,0.5,0.9,1,7
silent,0.5,0.6,0.2,0.9,0.9,,8
named,0.5,0.1,0.1,0.5,0.9,3,7
named,0.5,0.6,0.2,0.9,0.9,1,8
named,1.0,,,,,
"""
LABELS = "yes.avi,2,1\nno,2,0\nno,3,0\nnamed,3,1\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    (root / "videos").mkdir(parents=True)
    for name in ("yes", "no", "silent", "named"):
        write_video(root / "videos" / f"{name}.avi")
    (root / "classes.txt").write_text("walk\nfight\nsteal\n")
    (root / "annotations.csv").write_text(TABLE)
    (root / "video_labels.csv").write_text(LABELS)
    (root / "groups.csv").write_text("yes,a\nno,a\nsilent.avi,\n")
    return root


def by_video(clips: ClipDataset) -> dict[str, int]:
    return {clips[index].clip_id: index for index in range(len(clips))}


def test_what_is_known_of_whom(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE)
    at = {name.split("/")[0]: clips[i] for name, i in by_video(clips).items() if "0.5" in name}
    yes, no, silent, named = (at[name] for name in ("yes", "no", "silent", "named"))
    # Nobody knows whether the one without a label acts, so they are no bystander.
    assert (len(yes.boxes), len(yes.inactive_persons)) == (2, 0)
    assert yes.labels.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert codes(yes).tolist() == [[KNOWN, SOMEBODY, UNKNOWN]] * 2
    assert (len(no.boxes), len(no.inactive_persons)) == (1, 1)
    assert codes(no).tolist() == [[KNOWN, KNOWN, KNOWN]]
    assert (len(silent.boxes), len(silent.inactive_persons)) == (1, 1)
    assert codes(silent).tolist() == [[KNOWN, UNKNOWN, UNKNOWN]]
    # A label of a person's own wins, and answers the video's row for all others.
    order = named.labels[:, 2].argsort()[::-1]
    assert named.labels[order].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert codes(named)[order].tolist() == [[KNOWN, UNKNOWN, KNOWN], [KNOWN, UNKNOWN, UNKNOWN]]
    empty = clips[by_video(clips)["named/000001.000"]]
    assert empty.label_mask.shape == (0, 3)
    assert [bool(sample.label_mask.all()) for sample in (yes, no)] == [False, True]


def test_videos_say_what_is_weak_and_where_they_are_from(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE, part="train", limit=3)
    labels = clips.video_labels
    assert labels is not None
    assert labels.video_level.tolist() == [False, True, True]
    assert labels.state("no").tolist() == [-1, 0, 0]
    assert labels.source("yes") == labels.source("no") == "a"
    assert labels.source("silent") != labels.source("named")
    (data / "video_labels.csv").unlink()
    plain = open_dataset(str(data), SHAPE)
    assert plain.video_labels is None
    assert plain[0].label_mask.all()


def test_a_report_counts_them(data: Path) -> None:
    (report,) = check_data(str(data))
    assert report.good, report.lines(20)
    assert any(
        "fight is said of whole videos; clips in which somebody does it: 1, nobody: 1, unknown: 3"
        in note for note in report.notes
    )  # fmt: skip
    clips = open_dataset(str(data), SHAPE)
    # Somebody whom nobody knows is one; an empty keyframe has nobody.
    assert clips.class_counts == {"walk": 4, "fight": 1, "steal": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        pytest.param("video_labels.csv", "yes,2", "expected video,label,present", id="columns"),
        pytest.param("video_labels.csv", "video,label,present", "video 'video'", id="header"),
        pytest.param("video_labels.csv", "yess,2,1", "Did you mean 'yes'", id="video"),
        pytest.param("video_labels.csv", "silent,4,1", "label '4'; expected", id="label"),
        pytest.param("video_labels.csv", "silent,0,1", "label '0'; expected", id="label 0"),
        pytest.param("video_labels.csv", "silent,2,yes", "'yes'; expected 1 where", id="present"),
        pytest.param("video_labels.csv", "no.avi,2,1", "label of row 2 again", id="twice"),
        pytest.param("video_labels.csv", "silent,1,0", "0, nobody does it; expected 1", id="0"),
        pytest.param("groups.csv", "yes", "expected video,source", id="group"),
        pytest.param("groups.csv", "other,a", "video 'other'", id="group's video"),
    ],
)
def test_a_wrong_row_is_named(data: Path, file: str, row: str, words: str) -> None:
    path = data / file
    path.write_text(path.read_text() + "\n" + row + "\n")
    number = len(path.read_text().splitlines())
    (report,) = check_data(str(data))
    faults = [str(problem) for problem in report.problems]
    assert faults
    assert all(f"{file}, row {number}" in fault for fault in faults)
    assert words in " ".join(faults)
    with pytest.raises(ConfigError, match=f"{file}, row {number}"):
        open_dataset(str(data), SHAPE)


def test_kept_clips_have_the_labels_of_today(data: Path, tmp_path: Path) -> None:
    def kept() -> DiskCache:
        return DiskCache(
            open_dataset(str(data), SHAPE, part="train"), tmp_path / "kept", shape=SHAPE, spec="x"
        )

    first = kept()
    before = [first[index] for index in range(len(first))]
    (data / "video_labels.csv").write_text("yes,2,0\n")
    after = kept()
    plain = open_dataset(str(data), SHAPE)
    for index, sample in enumerate(before):
        now, wanted = after[index], plain[index]
        assert np.array_equal(now.frames_rgb, sample.frames_rgb)
        for name in ("boxes", "labels", "inactive_persons", "label_mask", "bag_id"):
            assert np.array_equal(getattr(now, name), getattr(wanted, name))
    blank = after.without_frames(0)
    assert blank is not None
    assert not blank.frames_rgb.any()


@pytest.mark.parametrize("file", ["video_labels.csv", "groups.csv"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"yes,2," + b"9" * 5000, id="a long number"),
        pytest.param(b'"yes,2,1', id="an open quote"),
        pytest.param("yes,\u00b2,1".encode(), id="a digit that is none"),
        pytest.param(b"\x00,\x00,\x00", id="nothing at all"),
        pytest.param(b"../../yes,2,1", id="outside of the folder"),
    ],
)
def test_a_hostile_table_is_a_fault(data: Path, file: str, content: bytes) -> None:
    (data / file).write_bytes(content)
    (report,) = check_data(str(data))
    assert all(file in str(problem) for problem in report.problems)
    assert len(report.problems) > 0
