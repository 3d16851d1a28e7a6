"""UCF101-24 and JHMDB-21: published tubes, splits, and every frame as a keyframe."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.annotations import ClipPlace, Tube
from edge.data.dataset import ClipDataset
from edge.data.problems import ProblemList
from edge.data.registry import open_dataset
from edge.data.tube_clips import held_out
from edge.data.tube_files import UCF_CLASSES, read_tube_file
from runtime.errors import ConfigError
from runtime.options import EXIT_FAILED
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=3, height=60, width=80, sampling_rate=4, fps=25.0)
SIZE_WH = (320, 240)


def write_frames(folder: Path, tubes: list[Tube], count: int, *, first: int = 1) -> None:
    """Write pictures in which each tube's box is drawn, as bright as its frame number."""
    folder.mkdir(parents=True)
    for index in range(count):
        picture = np.zeros((240, 320, 3), np.uint8)
        for tube in tubes:
            for box in tube.boxes[tube.frames == index].astype(int):
                picture[box[1] : box[3], box[0] : box[2]] = 100 + index
        cv2.imwrite(str(folder / f"{index + first:05d}.png"), picture)


def found(picture: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(picture[..., 0] > 40)
    height, width = picture.shape[:2]
    return np.array([columns.min() / width, rows.min() / height,
                     (columns.max() + 1) / width, (rows.max() + 1) / height])  # fmt: skip


def gt_content() -> dict[str, Any]:
    rows = np.array([[i + 1, 40 + i, 20, 200 + i, 220] for i in range(12)], np.float32)
    names = ["catch/one", "catch/two", "wave/three"]
    return {
        "labels": ["catch", "wave"],
        "gttubes": {n: {int(n[0] == "w"): [rows]} for n in names},
        "nframes": dict.fromkeys(names, 12),
        "resolution": dict.fromkeys(names, (240, 320)),
        "train_videos": [names[:2], names[1:], names[:1]],
        "test_videos": [names[2:], names[:1], names[1:]],
    }


def write_gt(root: Path, content: dict[str, Any], name: str = "JHMDB-GT.pkl") -> Path:
    root.mkdir(exist_ok=True)
    with (root / name).open("wb") as stream:
        pickle.dump(content, stream, protocol=2)
    return root / name


@pytest.fixture
def jhmdb(tmp_path: Path) -> Path:
    root = tmp_path / "jhmdb"
    path = write_gt(root, gt_content())
    for name, truth in read_tube_file(path, ProblemList()).videos.items():
        write_frames(root / "Frames" / name, list(truth.tubes), 12)
    return root


def names_of(clips: ClipDataset) -> list[str]:
    places = [clips.where(index) for index in range(len(clips))]
    return sorted({place.video for place in places if place is not None})


@pytest.mark.parametrize(
    ("behind", "part", "names"),
    [
        pytest.param("", "val", ["wave/three"], id="test-by-default"),
        pytest.param("", "train", ["catch/one", "catch/two"], id="train-where-it-is-meant"),
        pytest.param(":split1:test", "train", ["wave/three"], id="the-word-decides"),
        pytest.param(":split2", "val", ["catch/one"], id="split-2"),
        pytest.param(":split2:train", "val", ["catch/two", "wave/three"], id="split-2-train"),
        pytest.param(":train:split3", "val", ["catch/one"], id="either-order"),
    ],
)
def test_splits_and_parts(jhmdb: Path, behind: str, part: Any, names: list[str]) -> None:
    assert names_of(open_dataset(f"jhmdb:{jhmdb}{behind}", SHAPE, part=part)) == names


def test_each_frame_is_a_keyframe_with_the_box_where_the_person_is(jhmdb: Path) -> None:
    clips = open_dataset(f"jhmdb:{jhmdb}:split1", SHAPE)
    assert len(clips) == 12
    assert clips.class_names == ("catch", "wave")
    assert clips.where(5) == ClipPlace(video="wave/three", frame=5, timestamp=5 / 30)
    for index in (0, 5, 11):
        sample = clips[index]
        assert sample.labels.tolist() == [[0, 1]]
        assert sample.size_wh == SIZE_WH
        picture = sample.frames_rgb[1]
        assert np.abs(found(picture) - sample.boxes[0]).max() <= 1 / 60
        assert picture[30, 30, 0] == 100 + index
    # 4 frames of 25 a second are 4.8 of 30: the nearest are 5 away; the ends are repeated.
    assert [int(p[30, 30, 0]) - 100 for p in clips[5].frames_rgb] == [0, 5, 10]
    assert [int(p[30, 30, 0]) - 100 for p in clips[0].frames_rgb] == [0, 0, 5]
    assert [int(p[30, 30, 0]) - 100 for p in clips[11].frames_rgb] == [6, 11, 11]


def test_tubes_are_counted_from_0_in_pixels(jhmdb: Path) -> None:
    clips = open_dataset(f"jhmdb:{jhmdb}:split1:train", SHAPE)
    tubes = clips.tubes()
    assert [(tube.video, tube.label, len(tube)) for tube in tubes] == [
        ("catch/one", 0, 12), ("catch/two", 0, 12),
    ]  # fmt: skip
    assert tubes[0].frames.tolist() == list(range(12))
    assert tubes[0].boxes[3].tolist() == [43, 20, 203, 220]
    assert open_dataset(f"jhmdb:{jhmdb}:train", SHAPE, limit=3).tubes() == []


def test_videos_in_place_of_pictures_are_counted_frame_by_frame(jhmdb: Path) -> None:
    shutil.rmtree(jhmdb / "Frames" / "wave")
    (jhmdb / "videos" / "wave").mkdir(parents=True)
    writer = cv2.VideoWriter(str(jhmdb / "videos" / "wave" / "three.avi"),
                             cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (320, 240))  # fmt: skip
    for index in range(12):
        writer.write(np.full((240, 320, 3), 15 * index, np.uint8))
    writer.release()
    clips = open_dataset(f"jhmdb:{jhmdb}:split1", SHAPE)
    assert [round(float(p.mean()) / 15) for p in clips[5].frames_rgb] == [0, 5, 10]
    assert [round(float(p.mean()) / 15) for p in clips[11].frames_rgb] == [6, 11, 11]


def test_missing_and_short_videos_are_left_out_and_said(
    jhmdb: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(jhmdb / "Frames" / "catch" / "one")
    for index in range(6, 13):
        (jhmdb / "Frames" / "catch" / "two" / f"{index:05d}.png").unlink()
    assert len(open_dataset(f"jhmdb:{jhmdb}:split2:train", SHAPE)) == 12
    assert "left out are 1 video, with 12 clips" in caplog.text
    assert "has 5 frames, its annotation 12" in caplog.text
    with pytest.raises(ConfigError, match=r"no clip that can be used.*none of Frames"):
        open_dataset(f"jhmdb:{jhmdb}:split2", SHAPE)
    assert main(["data", "check", f"jhmdb:{jhmdb}:split2"]) == EXIT_FAILED
    assert "catch/two" in capsys.readouterr().out


WRONG_GT = [
    pytest.param(lambda c: c.pop("labels"), "no list of labels", id="no-labels"),
    pytest.param(lambda c: c.update(labels=["a", "a"]), "an action twice", id="twice"),
    pytest.param(lambda c: c.update(gttubes=[1]), "no gttubes", id="no-tubes"),
    pytest.param(lambda c: c["nframes"].popitem(), "nframes of", id="no-frames"),
    pytest.param(lambda c: c["nframes"].update({"catch/one": -3}), "is -3", id="frames"),
    pytest.param(lambda c: c["resolution"].update({"catch/one": (0, 1)}), "resolution", id="size"),
    pytest.param(lambda c: c.update(train_videos="all"), "no train_videos", id="no-split"),
    pytest.param(lambda c: c["gttubes"].update({"../etc": {}}), "a video '../etc'", id="path"),
    pytest.param(lambda c: c["gttubes"].update({"/etc": {}}), "a video '/etc'", id="absolute"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({7: []}), "class '7'", id="class"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [[1, 2]]}), "no array", id="list"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [np.zeros((2, 4))]}), "no array",
                 id="columns"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [np.zeros((2, 5))]}),
                 "that ascend", id="frame-0"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [np.full((1, 5), np.nan)]}),
                 "not finite", id="nan"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [np.array([[1, 9, 0, 5, 5.0]])]}),
                 "x1 below x2", id="turned"),
    pytest.param(lambda c: c["gttubes"]["catch/one"].update({0: [np.array([[13, 0, 0, 5, 5.0]])]}),
                 "frames below 12", id="behind-the-end"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), WRONG_GT)
def test_a_wrong_annotation_is_refused_by_what_is_wrong(
    jhmdb: Path, spoil: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = gt_content()
    spoil(content)
    write_gt(jhmdb, content)
    with pytest.raises(ConfigError) as error:
        open_dataset(f"jhmdb:{jhmdb}", SHAPE)
    assert says in str(error.value)
    assert main(["data", "check", f"jhmdb:{jhmdb}:test"]) == EXIT_FAILED
    assert says in capsys.readouterr().out


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("called",))


def test_a_hostile_annotation_is_refused_and_not_run(
    jhmdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gt(jhmdb, {**gt_content(), "labels": Hostile()})
    with pytest.raises(ConfigError, match=r"is refused: it holds \S*\.print"):
        open_dataset(f"jhmdb:{jhmdb}", SHAPE)
    assert capsys.readouterr().out == ""


def ucf_content() -> dict[str, Any]:
    boxes = np.array([[182, 98, 34, 79]] * 4, np.uint8)
    return {
        "Fencing/v_Fencing_g01_c01": {
            "numf": np.uint8(10), "label": 6,
            "annotations": [{"label": 6, "sf": 3, "ef": 7, "boxes": boxes},
                            {"label": 6, "sf": 3, "ef": 7, "boxes": boxes - np.uint8(20)}],
        },
        "Biking/v_Biking_g08_c02": {
            "numf": 300, "label": 2,
            "annotations": [{"label": 2, "sf": 296, "ef": 300, "boxes": boxes}],
        },
    }  # fmt: skip


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    root = tmp_path / "ucf"
    path = write_gt(root, ucf_content(), "pyannot.pkl")
    for name, truth in read_tube_file(path, ProblemList()).videos.items():
        write_frames(root / "rgb-images" / name, [], truth.num_frames)
    return root


def test_bytes_are_not_added_as_bytes(ucf: Path) -> None:
    (tube, other, _) = (
        open_dataset(f"ucf101-24:{ucf}:train", SHAPE).tubes()
        + open_dataset(f"ucf101-24:{ucf}:test", SHAPE).tubes()
    )
    assert tube.video == "Biking/v_Biking_g08_c02"
    assert tube.frames.tolist() == [296, 297, 298, 299]
    assert tube.boxes[0].tolist() == [182, 98, 216, 177]
    assert other.boxes[0].tolist() == [182, 98, 216, 177]


def test_training_takes_labelled_frames_and_a_test_takes_all(ucf: Path) -> None:
    train = open_dataset(f"ucf101-24:{ucf}", SHAPE, part="train")
    assert (len(train), names_of(train)) == (4, ["Biking/v_Biking_g08_c02"])
    test = open_dataset(f"ucf101-24:{ucf}", SHAPE)
    assert (len(test), names_of(test)) == (10, ["Fencing/v_Fencing_g01_c01"])
    assert [len(test[index].boxes) for index in range(10)] == [0] * 3 + [2] * 4 + [0] * 3
    labelled = open_dataset(f"ucf101-24:{ucf}:test-annotated", SHAPE)
    assert len(labelled) == 4
    assert test.class_names == UCF_CLASSES
    assert test[3].labels.sum(axis=0)[6] == 2
    np.testing.assert_allclose(
        test[3].boxes.max(axis=0), [182 / 320, 98 / 240, 216 / 320, 177 / 240]
    )


def test_lists_of_a_split_are_used_where_they_are_there(ucf: Path) -> None:
    (ucf / "splitfiles").mkdir()
    (ucf / "splitfiles" / "trainlist01.txt").write_text("Fencing/v_Fencing_g01_c01.avi 1\n")
    (ucf / "splitfiles" / "testlist01.txt").write_text("Biking/v_Biking_g08_c02.avi\n")
    assert names_of(open_dataset(f"ucf101-24:{ucf}", SHAPE)) == ["Biking/v_Biking_g08_c02"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"ef": 9}, "frames 3 to 9 with 4 boxes", id="count"),
        pytest.param({"label": 24}, "label 24", id="label"),
        pytest.param({"sf": "soon"}, "no whole label", id="text"),
        pytest.param({"boxes": [1, 2]}, "no boxes", id="list"),
        pytest.param({"sf": 8, "ef": 12}, "to frame 11", id="behind-the-end"),
    ],
)
def test_a_wrong_tube_is_named(ucf: Path, change: dict[str, Any], says: str) -> None:
    content = ucf_content()
    content["Fencing/v_Fencing_g01_c01"]["annotations"][0].update(change)
    write_gt(ucf, content, "pyannot.pkl")
    with pytest.raises(ConfigError, match="v_Fencing_g01_c01") as error:
        open_dataset(f"ucf101-24:{ucf}", SHAPE)
    assert says in str(error.value)


def test_the_other_form_of_ucf_is_read(tmp_path: Path) -> None:
    content = gt_content()
    content["train_videos"], content["test_videos"] = [["catch/one"]], [["wave/three"]]
    path = write_gt(tmp_path / "ucf", content, "UCF101v2-GT.pkl")
    truth = read_tube_file(path, ProblemList()).videos["wave/three"]
    write_frames(tmp_path / "ucf" / "Frames" / "wave" / "three", list(truth.tubes), 12)
    assert len(open_dataset(f"ucf101-24:{tmp_path / 'ucf'}", SHAPE)) == 12


def test_the_published_jhmdb_is_read_whole(shared_data: Path) -> None:
    problems = ProblemList()
    path = shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl"
    annotation = read_tube_file(path, problems)
    assert len(problems) == 0
    assert (len(annotation.videos), len(annotation.class_names)) == (928, 21)
    assert [(len(a), len(b)) for a, b in annotation.splits] == [(660, 268), (658, 270), (663, 265)]
    tubes = [tube for video in annotation.videos.values() for tube in video.tubes]
    assert sum(len(tube) for tube in tubes) == 31852
    assert sum(video.num_frames for video in annotation.videos.values()) == 31852
    assert all(tube.frames[0] == 0 for tube in tubes)


def test_held_out_videos_are_whole_films_of_every_class() -> None:
    names = [f"golf/film{film}_golf_f_cm_np1_ri_med_{clip}" for film in range(8) for clip in (0, 1)]
    names += [f"Diving/v_Diving_g{film:02d}_c{n:02d}" for film in range(1, 26) for n in (1, 2)]
    names += ["wave/alone_wave_u_nm_np1_fr_goo_0", "wave/alone_wave_u_nm_np1_fr_goo_1"]
    held = held_out(names)
    assert held == held_out(names[::-1])
    films = {name.rpartition("_")[0] for name in held}
    assert held == {name for name in names if name.rpartition("_")[0] in films}
    assert {kind: sum(n.startswith(kind) for n in held) for kind in ("golf", "Diving", "wave")} == {
        "golf": 2, "Diving": 6, "wave": 0,
    }  # fmt: skip


def test_the_held_out_part_of_jhmdb_is_opened_as_any_other(shared_data: Path) -> None:
    path = shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl"
    train, _ = read_tube_file(path, ProblemList()).splits[0]
    held = held_out(train)
    assert 66 <= len(held) <= 99
    assert {name.partition("/")[0] for name in held} == {n.partition("/")[0] for n in train}
    clips = open_dataset(f"jhmdb:{shared_data / 'jhmdb'}:split1:held-out", SHAPE)
    assert {tube.video for tube in clips.tubes()} == held


def test_the_published_ucf_tubes_are_read_whole(shared_data: Path) -> None:
    problems = ProblemList()
    path = shared_data / "annotations" / "ucf101_24" / "pyannot_subset.pkl"
    annotation = read_tube_file(path, problems)
    assert len(problems) == 0
    assert len(annotation.videos) == 240
    tubes = [tube for video in annotation.videos.values() for tube in video.tubes]
    assert (len(tubes), sum(len(tube) for tube in tubes)) == (342, 44502)
    boxes = np.concatenate([tube.boxes for tube in tubes])
    assert boxes.min() >= 0
    assert boxes[:, [0, 2]].max() <= 320
    assert boxes[:, [1, 3]].max() <= 240
    for name, truth in annotation.videos.items():
        assert all(UCF_CLASSES[tube.label] == name.split("/")[0] for tube in truth.tubes)


def test_a_published_annotation_drives_a_data_set(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "jhmdb"
    root.mkdir()
    shutil.copyfile(shared_data / "annotations" / "jhmdb" / "JHMDB-GT.pkl", root / "JHMDB-GT.pkl")
    annotation = read_tube_file(root / "JHMDB-GT.pkl", ProblemList())
    name = annotation.splits[1][1][0]
    truth = annotation.videos[name]
    write_frames(root / "Rename_Images" / name, list(truth.tubes), truth.num_frames)
    clips = open_dataset(f"jhmdb:{root}:split2", SHAPE)
    assert len(clips) == truth.num_frames
    for index in (0, len(clips) // 2, len(clips) - 1):
        sample = clips[index]
        drawn = found(sample.frames_rgb[1])
        assert np.abs(drawn - sample.boxes[0]).max() <= 1.5 / 60
