"""People whom an annotation leaves out: from labels of `edge label` to what is counted."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.cache import DiskCache
from edge.data.dataset import RepeatKeyframe
from edge.data.media import open_media
from edge.data.problems import ProblemList
from edge.data.registry import open_dataset
from edge.data.tube_files import read_tube_file
from edge.evaluation.clip_metrics import ClipMetrics
from edge.labelling.boxes import Boxes
from edge.labelling.ignored import Ignoring, LabelledPeople, beside_actors, ignoring, open_labelled
from edge.labelling.store import LabelledVideo, write_video
from edge.labelling.tracks import Track
from edge.labelling.videos import frame_times
from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, EXIT_USAGE
from tests.edge.data.test_tube_clips import SHAPE, SIZE_WH, gt_content, write_frames, write_gt

EVERY_S = 0.1
ACTOR = (40, 20, 200, 220)  # of the annotation, at its first frame
PASSER = (220, 40, 300, 200)


def track(start: int, *boxes: tuple[int, int, int, int]) -> Track:
    return Track(start=start, xyxy=np.array(boxes, np.float64), scores=np.ones(len(boxes)))


def write_labels(folder: Path, videos: dict[str, list[Track]], rejected: object = None) -> Path:
    """Write what `edge label` leaves: a file for each video, and what it says of itself."""
    for file, tracks in videos.items():
        write_video(folder, LabelledVideo(
            video=file.removesuffix(".mp4"), file=file, bytes=0, size_wh=SIZE_WH, every_s=EVERY_S,
            samples=[Boxes.none()], tracks=tracks,
        ))  # fmt: skip
    summary = {"format": 1, "rejected": {"of_videos": rejected or {}}}
    (folder / "labelling.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    together = [track(0, *[ACTOR] * 5), track(1, PASSER, PASSER)]
    return write_labels(tmp_path / "labels", {
        "wave/three.mp4": together, "wave/other.mp4": [], "catch/one.v2": [track(0, PASSER)],
    }, rejected={"catch/one.v2": [0]})  # fmt: skip


@pytest.fixture
def jhmdb(tmp_path: Path) -> Path:
    root = tmp_path / "jhmdb"
    path = write_gt(root, gt_content())
    for name, truth in read_tube_file(path, ProblemList()).videos.items():
        write_frames(root / "Frames" / name, list(truth.tubes), 12)
    return root


def shares(*boxes: tuple[float, ...]) -> np.ndarray:
    return (np.array(boxes, np.float32).reshape(-1, 4) / np.array(SIZE_WH * 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("video", "time_s", "expected"),
    [
        pytest.param("wave/three", 0.0, [ACTOR], id="one-of-them"),
        pytest.param("wave/three", 0.15, [ACTOR, PASSER], id="between-samples"),
        pytest.param("wave/three", 0.06, [ACTOR, PASSER], id="just-before-a-track"),
        pytest.param("wave/three", 0.44, [ACTOR], id="just-behind-a-track"),
        pytest.param("wave/three", 0.6, [], id="long-behind"),
        pytest.param("another/three", 0.0, [ACTOR], id="by-the-files-name"),
        pytest.param("catch/one.v2", 0.0, [], id="rejected-in-a-review"),
        pytest.param("catch/five", 0.0, [], id="unknown-video"),
    ],
)
def test_who_is_where_comes_from_tracks(
    labels: Path, video: str, time_s: float, expected: list[tuple[int, ...]]
) -> None:
    np.testing.assert_allclose(
        LabelledPeople(labels).at(video, time_s), shares(*expected), atol=1e-6
    )


def test_two_videos_of_one_name_are_told_apart_by_their_path(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "labels", {
        "a/x.mp4": [track(0, ACTOR)], "b/x.mp4": [track(0, PASSER)],
    })  # fmt: skip
    people = LabelledPeople(folder)
    np.testing.assert_allclose(people.at("b/x", 0.0), shares(PASSER), atol=1e-6)
    assert people.name_of("c/x") is None


def test_a_track_that_moves_is_interpolated_and_cut_at_the_edge(tmp_path: Path) -> None:
    moving = track(0, (0, 0, 100, 100), (40, 0, 400, 100))
    folder = write_labels(tmp_path / "labels", {"x.mp4": [moving]})
    np.testing.assert_allclose(
        LabelledPeople(folder).at("x", 0.075), shares((30, 0, 320, 100)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("person", "stays"),
    [
        pytest.param((0.6, 0.1, 0.9, 0.9), True, id="beside"),
        pytest.param((0.4, 0.1, 0.7, 0.9), True, id="touching"),
        pytest.param((0.1, 0.1, 0.5, 0.8), False, id="the-actor"),
        pytest.param((0.25, 0.3, 0.35, 0.5), False, id="inside-the-actor"),
        pytest.param((0.0, 0.0, 1.0, 1.1), True, id="much-larger"),
    ],
)
def test_who_is_an_actor_is_not_ignored(person: tuple[float, ...], stays: bool) -> None:
    people, actors = np.array([person], np.float32), np.array([[0.1, 0.1, 0.5, 0.9]], np.float32)
    assert len(beside_actors(people, actors)) == int(stays)
    assert len(beside_actors(people, actors[:0])) == 1
    assert len(beside_actors(people[:0], actors)) == 0


def test_clips_of_tubes_carry_them(jhmdb: Path, labels: Path, tmp_path: Path) -> None:
    word = f"jhmdb:{jhmdb}"
    people = open_labelled(str(labels), [word])
    clips = ignoring(open_dataset(word, SHAPE), word, people)
    # 30 frames a second, ten samples a second: frames 3 to 6 show the passer, and 2 to 7 nearly.
    seen = [len(clips[index].ignored) for index in range(12)]
    assert seen == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(clips[4].ignored, shares(PASSER), atol=1e-6)
    assert len(clips[4].boxes) == 1
    np.testing.assert_allclose(RepeatKeyframe(clips)[4].ignored, shares(PASSER), atol=1e-6)
    kept = DiskCache(clips, tmp_path / "kept", shape=SHAPE, spec=word)
    for _ in range(2):
        np.testing.assert_allclose(kept[4].ignored, shares(PASSER), atol=1e-6)
    few = ignoring(open_dataset(word, SHAPE, limit=3), word, people)
    assert [len(few[index].ignored) for index in range(3)] == [0, 1, 0]  # frames 0, 4 and 8


def test_frames_have_the_times_that_the_file_says(jhmdb: Path, tmp_path: Path) -> None:
    clips = open_dataset(f"jhmdb:{jhmdb}", SHAPE)
    assert frame_times(clips.media["wave/three"]) == pytest.approx(np.arange(12) / 30)
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, SIZE_WH)
    for _ in range(4):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    assert frame_times(open_media(path)) == pytest.approx([0, 0.08, 0.16, 0.24])


def test_other_data_sets_are_left_alone_and_refused(jhmdb: Path, labels: Path) -> None:
    clips = open_dataset("synthetic-val:2", SHAPE)
    assert ignoring(clips, "synthetic-val:2", LabelledPeople(labels)) is clips
    assert open_labelled(None, ["synthetic-val:2"]) is None
    with pytest.raises(ConfigError, match="whose boxes are of actors only"):
        open_labelled(str(labels), ["synthetic-val:2"])
    with pytest.raises(ConfigError, match="holds no finished labels"):
        open_labelled(str(jhmdb), [f"jhmdb:{jhmdb}"])


def test_labels_of_other_videos_are_refused_and_missing_ones_are_said(
    jhmdb: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = open_dataset(f"jhmdb:{jhmdb}:train", SHAPE)
    others = LabelledPeople(write_labels(tmp_path / "a", {"else.mp4": []}))
    with pytest.raises(ConfigError, match="labels of none of the 2 videos, as catch/one"):
        Ignoring(clips, others)
    one = LabelledPeople(write_labels(tmp_path / "b", {"catch/one": []}))
    with caplog.at_level(logging.WARNING):
        Ignoring(clips, one)
    assert "no labels of 1 of 2 videos" in caplog.text
    assert "catch/two" in caplog.text


def test_a_box_on_them_is_no_false_alarm_but_an_error_of_frame_map() -> None:
    boxes = np.array([[0.1, 0.1, 0.4, 0.9]], np.float32)
    ignored = np.array([[0.6, 0.1, 0.9, 0.9], [0.12, 0.1, 0.42, 0.9]], np.float32)
    found = Detections(
        xyxy=np.array([[0.6, 0.1, 0.9, 0.8], [0.1, 0.1, 0.4, 0.9], [0.1, 0.1, 0.4, 0.8]],
                      np.float32),
        actor=np.array([0.9, 0.8, 0.7], np.float32), actions=np.ones((3, 1), np.float32),
        token=np.arange(3),
    )  # fmt: skip
    results = {}
    for name, people in (("all", None), ("known", ignored)):
        metrics = ClipMetrics(("wave",))
        metrics.add(boxes, np.ones((1, 1), np.float32), boxes[:0], found, ignored=people)
        results[name] = metrics.result(0.5)
    assert results["all"]["frame_map"] == results["known"]["frame_map"] == pytest.approx(0.5)
    assert [results[name]["actor_ap"] for name in ("all", "known")] == [0.5, 1.0]
    at = results["known"]["at_threshold"]
    # The duplicate of the actor stays one, whoever is ignored there.
    assert (at["elsewhere_fp_per_clip"], at["duplicates_per_actor"]) == (0.0, 1.0)
    assert at["precision"] == 0.5
    assert results["known"]["ignored"] == 2


def test_edge_val_takes_the_flag(
    jhmdb: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import VARIANTS, build_model

    variant = next(name for name in ("nano-scratch", "nano") if name in VARIANTS)
    model = build_model(
        variant, num_classes=2, seed=0, num_frames=4, height=64, width=64, channels=(16, 32),
        depths=(1, 1), head_channels=16, strides=(2,), kv_strides=(4, 2),
    )  # fmt: skip
    path = tmp_path / "tiny.pt"
    save_checkpoint(path, model, class_names=("catch", "wave"), trained=False, note="for tests")
    argv = ["val", "--model", str(path), "--data", f"jhmdb:{jhmdb}", "--no-plots", "--quiet",
            "--worst", "0", "--num-threads", "1"]  # fmt: skip
    outs = {"plain": [], "ignored": ["--ignore-people", str(labels)]}
    content = {}
    for name, more in outs.items():
        assert main([*argv, *more, "--out", str(tmp_path / name)]) == EXIT_OK
        content[name] = json.loads((tmp_path / name / "metrics.json").read_text("utf-8"))
    assert (content["plain"]["ignored"], content["ignored"]["ignored"]) == (0, 6)
    assert "12 actors, 0 bystanders, 6 ignored" in capsys.readouterr().out
    assert content["plain"]["frame_map"] == content["ignored"]["frame_map"]
    # Outputs of one are not taken for those of the other.
    out = ["--out", str(tmp_path / "plain"), "--resume"]
    assert main([*argv, *outs["ignored"], *out]) == EXIT_USAGE
    assert "of another run: data differ" in capsys.readouterr().err
    assert main(["val", "--model", str(path), "--data", "synthetic-val:2", "--ignore-people",
                 str(labels), "--out", str(tmp_path / "x")]) == EXIT_USAGE  # fmt: skip
    assert "whose boxes are of actors only" in capsys.readouterr().err


def test_a_preview_shows_them(
    jhmdb: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["data", "preview", "--data", f"jhmdb:{jhmdb}", "--num", "12", "--num-frames", "3"]
    pictures = []
    for name, more in (("plain", []), ("ignored", ["--ignore-people", str(labels)])):
        out = tmp_path / f"{name}.png"
        assert main([*argv, *more, "--out", str(out)]) == EXIT_OK
        pictures.append(out.read_bytes())
    assert "12 actors, 0 bystanders (grey), 6 ignored (grey)" in capsys.readouterr().out
    assert pictures[0] != pictures[1]


def test_edge_train_takes_the_flag(jhmdb: Path, labels: Path) -> None:
    pytest.importorskip("torch")
    from edge.training.config import TrainOptions
    from edge.training.data import open_training, open_validation

    write_labels(labels, {"catch/two.mp4": [track(0, PASSER)]})
    options = TrainOptions.of(data=f"jhmdb:{jhmdb}+synthetic-train:4", augment="off",
                           val_data=f"jhmdb:{jhmdb}", ignore_people=str(labels))  # fmt: skip
    data = open_training(options, SHAPE)
    assert sum(len(data[index].ignored) for index in range(len(data))) == 2  # frames 0 and 1
    judged = open_validation(options, SHAPE, data.class_names)
    assert judged is not None
    assert sum(len(judged[index].ignored) for index in range(12)) == 6
    # Where only what a run is judged by is such a data set, the flag is about that.
    drawn = TrainOptions.of(data="synthetic-train:4", val_data=f"jhmdb:{jhmdb}",
                         ignore_people=str(labels))  # fmt: skip
    assert len(open_training(drawn, SHAPE)) == 4
