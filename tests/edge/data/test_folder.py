"""People's own data: a folder of videos, a table, a list of classes; and what is wrong with it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from edge.cli import main
from edge.data.annotations import ClipPlace
from edge.data.check import check_data
from edge.data.dataset import ClipDataset, RepeatKeyframe
from edge.data.media import Media
from edge.data.problems import ProblemList
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.data.table import TableRules, read_table, row_fault
from runtime.errors import CaptureError, ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=20.0)
FRAMES, FPS = 40, 20.0


def frame(index: int) -> np.ndarray:
    """Return a picture whose brightness says its number."""
    return np.full((48, 64, 3), 20 + 5 * index, np.uint8)


def number_of(picture: np.ndarray) -> int:
    return round((float(picture.mean()) - 20) / 5)


def write_video(path: Path, count: int = FRAMES) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for index in range(count):
        writer.write(frame(index))
    writer.release()


def write_pictures(folder: Path, count: int = FRAMES) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index + 1:05d}.png"), frame(index))


GOOD = """\
film,0,0.1,0.1,0.5,0.9,1,7
film,1.0,0.1,0.1,0.5,0.9,1,7
film,1.0,0.1,0.1,0.5,0.9,2,7
film,1.0,0.6,0.2,0.9,0.9,,8
pictures/one,0.5,0.1,0.1,0.5,0.9,2
pictures/one,1.95,0.25,0.1,0.5,0.9,2
film,1.5,,,,,
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    (root / "videos" / "pictures").mkdir(parents=True)
    write_video(root / "videos" / "film.avi")
    write_pictures(root / "videos" / "pictures" / "one")
    (root / "classes.txt").write_text("walk\nsit down\n")
    (root / "annotations.csv").write_text(GOOD)
    (root / "fps.txt").write_text("20\n")
    return root


def test_a_folder_gives_clips_with_their_truth(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE)
    assert clips.class_names == ("walk", "sit down")
    assert [clips.where(i) for i in range(len(clips))] == [
        ClipPlace(video="film", frame=0, timestamp=0.0),
        ClipPlace(video="film", frame=20, timestamp=1.0),
        ClipPlace(video="film", frame=30, timestamp=1.5),
        ClipPlace(video="pictures/one", frame=10, timestamp=0.5),
        ClipPlace(video="pictures/one", frame=39, timestamp=1.95),
    ]
    both = clips[1]
    np.testing.assert_allclose(both.boxes, [[0.1, 0.1, 0.5, 0.9]])
    assert both.labels.tolist() == [[1, 1]]
    np.testing.assert_allclose(both.inactive_persons, [[0.6, 0.2, 0.9, 0.9]])
    assert both.size_wh == (64, 48)
    nobody = clips[2]
    assert nobody.boxes.shape == (0, 4)
    assert nobody.labels.shape == (0, 2)
    assert clips.tubes() == []
    lengths = {name: media.num_frames for name, media in clips.media.items()}
    assert lengths == {"film": 40, "pictures/one": 40}


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(0, [0, 0, 0, 2], id="first-frame-repeated"),
        pytest.param(1, [16, 18, 20, 22], id="inside"),
        pytest.param(3, [6, 8, 10, 12], id="pictures"),
        pytest.param(4, [35, 37, 39, 39], id="last-picture-repeated"),
    ],
)
def test_clips_are_sampled_by_time_and_end_with_the_video(
    data: Path, index: int, expected: list[int]
) -> None:
    sample = open_dataset(str(data), SHAPE)[index]
    assert [number_of(picture) for picture in sample.frames_rgb] == expected


def test_one_video_may_be_named_with_and_without_its_suffix(data: Path) -> None:
    with (data / "annotations.csv").open("a") as table:
        table.write("film.avi,1.5,0.1,0.1,0.5,0.9,1\n")
    clips = open_dataset(str(data), SHAPE)
    assert len(clips) == 5
    assert len(clips[2].boxes) == 1


def test_parts_have_tables_of_their_own(data: Path) -> None:
    (data / "annotations_train.csv").write_text("film,1,0.1,0.1,0.5,0.9,1\n")
    (data / "annotations_val.csv").write_text("film,0.5,0.1,0.1,0.5,0.9,1\n" * 1)
    assert len(open_dataset(f"{data}:train", SHAPE)) == 1
    assert len(open_dataset(str(data), SHAPE, part="train")) == 1
    place = open_dataset(str(data), SHAPE).where(0)
    assert place is not None
    assert place.timestamp == 0.5
    with pytest.raises(ConfigError, match=r"no annotations_test\.csv"):
        open_dataset(f"{data}:test", SHAPE)


def test_a_video_without_a_row_is_said_of_its_table(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other part may have it."""
    (data / "annotations_train.csv").write_text("film,1,0.1,0.1,0.5,0.9,1\n")
    assert main(["data", "check", f"{data}:train"]) == EXIT_OK
    said = capsys.readouterr().out
    assert "videos without a row in annotations_train.csv: pictures/one" in said


def test_a_limit_is_spread_over_the_data(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE, limit=2)
    places = [clips.where(i) for i in range(len(clips))]
    assert [place.video for place in places if place is not None] == ["film", "film"]
    assert [place.frame for place in places if place is not None] == [0, 30]
    assert len(open_dataset(str(data), SHAPE, limit=100)) == 5


def test_excluded_keyframes_do_not_count(data: Path) -> None:
    (data / "excluded.csv").write_text("film,1.0\n")
    assert len(open_dataset(str(data), SHAPE)) == 4


def test_frozen_clips_keep_their_place(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE)
    still = pickle.loads(pickle.dumps(RepeatKeyframe(clips)))
    assert still.where(1) == clips.where(1)
    assert [number_of(picture) for picture in still[1].frames_rgb] == [20] * 4


class _Items:
    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray]:
        sample = self.clips[index]
        return sample.clip_id, sample.frames_rgb


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one processor
def test_a_loader_with_workers_reads_the_same_clips(data: Path) -> None:
    items = _Items(open_dataset(str(data), SHAPE))
    loader = DataLoader(
        items, batch_size=None, num_workers=2, multiprocessing_context="fork",
        collate_fn=_as_it_is,
    )  # fmt: skip
    for (name, frames), index in zip(loader, range(len(items)), strict=True):
        assert name == items[index][0]
        np.testing.assert_array_equal(frames, items[index][1])


def _as_it_is(item: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
    return item


RULES = TableRules(num_labels=2)


@pytest.mark.parametrize(
    ("row", "came", "expected"),
    [
        pytest.param("film,1,0,0,1", "5 columns", "video,timestamp", id="columns"),
        pytest.param(",1,0,0,1,1,1", "no video", "first column", id="no-video"),
        pytest.param("film,soon,0,0,1,1,1", "timestamp 'soon'", "seconds", id="time"),
        pytest.param("film,-1,0,0,1,1,1", "timestamp '-1'", "0 or more", id="before"),
        pytest.param("film,nan,0,0,1,1,1", "timestamp 'nan'", "seconds", id="nan"),
        pytest.param("film,1e300,0,0,1,1,1", "timestamp '1e300'", "seconds", id="far"),
        pytest.param("film,1,x,0,1,1,1", "x1 'x'", "a number", id="text"),
        pytest.param("film,1,0,0,inf,1,1", "x2 'inf'", "a number", id="infinite"),
        pytest.param("film,1,0_1,0,1,1,1", "x1 '0_1'", "a number", id="underscore"),
        pytest.param("film,1,,0,1,1,1", "x1 is blank", "a number", id="blank"),
        pytest.param("film,1,12,30,90,200,1", "x1 12", "divided by the frame's", id="pixels"),
        pytest.param("film,1,0,0,1.1,1,1", "x2 1.1", "from 0 to 1", id="outside"),
        pytest.param("film,1,0.5,0,0.4,1,1", "x1 0.5 and x2 0.4", "x1 below x2", id="turned"),
        pytest.param("film,1,0,0.4,1,0.4,1", "y1 0.4 and y2 0.4", "y1 below y2", id="flat"),
        pytest.param("film,1,1,0,1.001,1,1", "x1 1 and x2 1.001", "below", id="at-the-edge"),
        pytest.param("film,1,0,0,1,1,3", "label '3'", "from 1 to 2", id="label"),
        pytest.param("film,1,0,0,1,1,0", "label '0'", "from 1 to 2", id="label-0"),
        pytest.param("film,1,0,0,1,1,walk", "label 'walk'", "a whole number", id="name"),
        pytest.param("film,1,0,0,1,1,1.5", "label '1.5'", "a whole number", id="fraction"),
        pytest.param("time,timestamp,x1,y1,x2,y2,label", "timestamp 'timestamp'", "no header",
                     id="header"),
    ],
)  # fmt: skip
def test_each_kind_of_wrong_row_is_named(
    tmp_path: Path, row: str, came: str, expected: str
) -> None:
    table = tmp_path / "annotations.csv"
    table.write_text(f"film,1,0.1,0.1,0.5,0.9,1\n\n{row}\nfilm,2,0.1,0.1,0.5,0.9,2\n")
    problems = ProblemList()
    rows = read_table(table, RULES, problems)
    assert rows.row.tolist() == [1, 4]
    (problem,) = problems
    assert problem.row == 3
    assert came in problem.came
    assert expected in problem.expected
    assert row_fault(["film", "1", "0.1", "0.1", "0.5", "0.9", "1"], RULES) is None


def test_a_table_with_tabs_a_mark_and_gzip_is_read(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress("\ufefffilm\t1\t0\t0\t1\t1\t2\r\n".encode()))
    rows = read_table(path, RULES, ProblemList())
    assert rows.videos == ("film",)
    assert rows.label.tolist() == [2]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'film,1,0,0,1,1,"1\n' + b"a" * 200_000, id="quote-without-end"),
        pytest.param(b"\xff\xfe\x00\x01,1,0,0,1,1,1\n", id="bytes"),
        pytest.param(b"film,1,0,0,1,1,1\x00\n", id="nul"),
    ],
)
def test_what_is_no_table_is_named_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    problems = ProblemList()
    read_table(path, RULES, problems)
    assert len(problems) == 1
    assert problems[0].row == 1


def test_faults_are_counted_and_only_the_first_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("film,1,0,0,1,1,9\n" * 5000)
    problems = ProblemList()
    read_table(path, RULES, problems)
    assert len(problems) == 5000
    assert len(list(problems)) == 1000


Spoil = Callable[[Path], object]


def add(row: str) -> Spoil:
    def spoil(root: Path) -> None:
        with (root / "annotations.csv").open("a") as table:
            table.write(f"{row}\n")

    return spoil


def cut(root: Path) -> None:
    path = root / "videos" / "film.avi"
    path.write_bytes(path.read_bytes()[:500])


FAULTS = [
    pytest.param(add("film,1,0,0,1,1,9"), "row 8: label '9'", id="label"),
    pytest.param(add("film,0,0.1,0.1,0.5,0.9,1,7"), "row 8: the same as row 1", id="twice"),
    pytest.param(add("film,0,0.1,0.1,0.6,0.9,1,7"), "row 8: another box for the person of row 1",
                 id="two-boxes"),
    pytest.param(add("flim,1,0,0,1,1,1"), "Did you mean 'film'", id="no-such-video"),
    pytest.param(add("film,9,0,0,1,1,1"), "row 8: time 9 s of film", id="behind-the-end"),
    pytest.param(add("../classes.txt,1,0,0,1,1,1"), "it is not in", id="outside"),
    pytest.param(cut, "video 'film' (row 1 and 3 more)", id="broken-video"),
    pytest.param(lambda r: (r / "videos/pictures/one/00009.png").unlink(),
                 "after 00008.png comes 00010.png", id="missing-picture"),
    pytest.param(lambda r: (r / "videos/pictures/one/00001.png").write_bytes(b"x"),
                 "cannot be read as an image", id="broken-picture"),
    pytest.param(lambda r: (r / "classes.txt").write_text("walk\n\nwalk\n"), "row 3: 'walk' again",
                 id="class-twice"),
    pytest.param(lambda r: (r / "classes.txt").unlink(), "no classes.txt", id="no-classes"),
    pytest.param(lambda r: (r / "annotations.csv").unlink(), "no annotations.csv", id="no-table"),
    pytest.param(lambda r: (r / "fps.txt").write_text("fast"), "holds no number", id="rate"),
    pytest.param(lambda r: (r / "annotations.csv").write_text(""), "no clip", id="empty"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), FAULTS)
def test_a_check_finds_each_fault_and_exits_1(
    data: Path, spoil: Spoil, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(data)]) == EXIT_OK
    assert "nothing is wrong" in capsys.readouterr().out
    spoil(data)
    assert main(["data", "check", str(data)]) == EXIT_FAILED
    told = capsys.readouterr().out
    assert says in told
    assert "nothing is wrong" not in told
    assert main(["data", "check", "--json", str(data)]) == EXIT_FAILED
    content = json.loads(capsys.readouterr().out)
    assert content["good"] is False
    (part,) = content["parts"]
    entries = [*part["problems"], *part["skipped"]]
    assert any(says.split(": ")[-1] in f"{e['where']} {e['came']}" for e in entries)


def test_a_wrong_row_is_refused_before_anything_is_learnt(data: Path) -> None:
    add("film,1,0,0,1,1,9")(data)
    add("film,1,0,0,1,1,8")(data)
    with pytest.raises(ConfigError, match=r"row 8: label '9'.*one more fault.*edge data check"):
        open_dataset(str(data), SHAPE)


def test_broken_videos_are_left_out_and_counted(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(data)
    clips = open_dataset(str(data), SHAPE)
    assert len(clips) == 2
    assert "left out are 1 video, with 3 clips" in caplog.text
    assert "film" in caplog.text


def spoil_picture(root: Path, number: int) -> None:
    (root / f"videos/pictures/one/{number:05d}.png").write_bytes(b"no picture")


def test_damage_inside_a_video_is_found_by_decoding_it_all(data: Path) -> None:
    spoil_picture(data, 12)
    assert all(report.good for report in check_data(str(data)))
    (report,) = check_data(str(data), decode=True)
    assert str(report.skipped[0]).endswith("frames that can be decoded")
    assert "00012.png" in str(report.skipped[0])


def test_a_clip_that_cannot_be_decoded_is_said_or_skipped_while_learning(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil_picture(data, 11)
    with pytest.raises(CaptureError, match=r"00011\.png cannot be read"):
        open_dataset(str(data), SHAPE)[3]
    learnt: ClipSample = open_dataset(str(data), SHAPE, part="train")[3]
    assert learnt.clip_id.startswith("pictures/one/")
    assert [number_of(picture) for picture in learnt.frames_rgb] == [35, 37, 39, 39]
    assert "clip 3 is skipped, the 1. of this process" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(5, "Input/output error"), id="disk"),
        pytest.param(cv2.error("a picture of 0 pixels"), id="picture"),
    ],
)
def test_whatever_stops_a_clip_from_being_read_is_a_capture_error(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    clips = open_dataset(str(data), SHAPE)
    monkeypatch.setattr(Media, "read_at_time", fail)
    with pytest.raises(CaptureError, match=r"film\.avi cannot be read: "):
        clips[1]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param("{}/absent", "no such folder", id="absent"),
        pytest.param("{}:trian", "Did you mean 'train'", id="part"),
        pytest.param("{}/annotations.csv", "is a file", id="file"),
        pytest.param("avaa", "not known", id="word"),
        pytest.param("ava:{}/absent", "there is no folder", id="ava-absent"),
        pytest.param("ava:{}", "has no ava_val_v*.csv", id="ava-empty"),
        pytest.param("jhmdb:{}:split4", "is no part", id="split"),
        pytest.param("jhmdb:{}", "has no JHMDB-GT.pkl", id="jhmdb-empty"),
        pytest.param("ucf101-24:{}", "has no UCF101v2-GT.pkl or pyannot*.pkl", id="ucf-empty"),
        pytest.param("ava:", "there is no folder", id="nothing"),
    ],
)
def test_a_wrong_word_is_one_sentence(data: Path, spec: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_dataset(spec.format(data), SHAPE)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_whose_name_holds_a_colon_is_read(data: Path) -> None:
    odd = data.rename(data.with_name("my:data"))
    assert len(open_dataset(str(odd), SHAPE)) == 5
    with pytest.raises(ConfigError, match=r"no annotations_train\.csv"):
        open_dataset(f"{odd}:train", SHAPE)


def test_checking_what_is_not_there_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(tmp_path / "absent")]) == EXIT_USAGE
    assert main(["data", "check"]) == EXIT_USAGE
    assert capsys.readouterr().err.count("\n") == 2


def test_a_table_alone_can_be_checked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(data / "annotations.csv")
    assert main(["data", "check", table, "--most", "1"]) == EXIT_OK
    add("film,1,5,0,1,1,1")(data)
    add("film,1,0,0,1,1,x")(data)
    assert main(["data", "check", "--most", "1", table]) == EXIT_FAILED
    told = capsys.readouterr().out
    assert "row 8: x1 5" in told
    assert "... and 1 more" in told


def test_links_are_followed_and_a_circle_of_them_ends(data: Path, tmp_path: Path) -> None:
    (data / "videos" / "pictures" / "one").rename(tmp_path / "elsewhere")
    (data / "videos" / "pictures" / "one").symlink_to(tmp_path / "elsewhere")
    (data / "videos" / "again").symlink_to(data / "videos")
    assert len(open_dataset(str(data), SHAPE)) == 5


@pytest.mark.parametrize("name", ["annotations.csv", "classes.txt", "fps.txt", "videos/film.avi"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(data: Path, name: str) -> None:
    (data / name).unlink()
    os.mkfifo(data / name)
    assert main(["data", "check", str(data)]) == EXIT_FAILED


def test_real_data_can_be_looked_at(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    flags = ["--data", str(data), "--out", str(out), "--size", "32", "--num", "2"]
    assert main(["data", "preview", *flags]) == EXIT_OK
    assert cv2.imread(str(out)) is not None


def test_a_label_map_may_name_the_classes(data: Path) -> None:
    (data / "classes.txt").unlink()
    (data / "classes.pbtxt").write_text(
        'item { name: "walk" id: 1 }\nitem { name: "sit" id: 2 }\nitem { name: "run" id: 9 }\n'
    )
    clips = open_dataset(str(data), SHAPE)
    assert clips.class_names == ("walk", "sit", "run")
    assert clips.label_ids == (1, 2, 9)
    add("film,1,0.2,0,1,1,9")(data)
    assert open_dataset(str(data), SHAPE)[1].labels.tolist() == [[1, 1, 0], [0, 0, 1]]
    add("film,1,0.3,0,1,1,5")(data)
    with pytest.raises(ConfigError, match=r"row 9: label 5; expected a label of classes\.pbtxt"):
        open_dataset(str(data), SHAPE)
