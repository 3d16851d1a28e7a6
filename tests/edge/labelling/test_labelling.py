"""Parts of `edge label`: detectors, fusion, tracks, frames, what is known of whole videos."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.data.media import open_media
from edge.labelling.boxes import Boxes, overlaps, suppress
from edge.labelling.clip_labels import choose_val, class_names, clip_labels, read_groups
from edge.labelling.detectors import Detector, letterbox, squashed
from edge.labelling.tracks import Track, TrackPlan, make_tracks
from edge.labelling.tta import View, ViewPlan, find_people, fuse, windows
from edge.labelling.videos import sampled_frames
from runtime.errors import ArtifactError, ArtifactMismatchError, CaptureError, ConfigError
from tests.edge.blob_detector import (
    BLOB,
    SIDE,
    blob_detector,
    constant_detector,
    constant_movenet,
)

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
EVERY_S = 0.125


def boxes(*rows: tuple[float, ...]) -> Boxes:
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Boxes(values[:, :4], values[:, 4])


def picture(*centres: tuple[int, int], size: int = SIDE) -> np.ndarray:
    image = np.full((size, size, 3), 10, np.uint8)
    for x, y in centres:
        image[y - BLOB // 2 : y + BLOB // 2, x - BLOB // 2 : x + BLOB // 2] = 255
    return image


def movenet_maps() -> dict[str, np.ndarray]:
    maps = {"center_0": np.full((1, 1, 16, 16), -9.0), "box_scale_0": np.ones((1, 2, 16, 16)),
            "box_offset_0": np.zeros((1, 2, 16, 16)), "kpt": np.zeros((1, 34, 16, 16))}  # fmt: skip
    maps["center_0"][0, 0, 3, 10] = 2.0
    maps["center_0"][0, 0, 4, 11] = 1.0
    maps["box_scale_0"][0, :, 3, 10] = [4, 6]
    maps["box_offset_0"][0, :, 3, 10] = [0.5, 0.25]
    return maps


class TestDetectors:
    def test_raw_yolox_is_decoded_by_cell_and_stride(self, tmp_path: Path) -> None:
        told = np.zeros((1, 84, 85), np.float32)
        told[0, :, 4] = 0.0
        # Cell (row 1, column 2) of stride 16; the 64 cells of stride 8 come first.
        told[0, 64 + 1 * 4 + 2] = [0.25, 0.75, math.log(1.5), math.log(2.0), 0.8, 0.5, *[0] * 79]
        path = constant_detector(tmp_path / "d.onnx", told, (1, 3, 64, 64))
        found = Detector(path).detect(np.zeros((64, 64, 3), np.uint8), 0.1)
        cx, cy, w, h = (2 + 0.25) * 16, (1 + 0.75) * 16, 24, 32
        want = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        np.testing.assert_allclose(found.xyxy, [want], rtol=1e-5)
        np.testing.assert_allclose(found.scores, [0.4], rtol=1e-5)

    def test_decoded_yolox_is_taken_as_it_is(self, tmp_path: Path) -> None:
        told = np.zeros((1, 84, 6), np.float32)
        told[0, :, :4] = 50.0
        told[0, 3] = [40, 32, 20, 30, 0.9, 1.0]
        path = constant_detector(tmp_path / "d.onnx", told, (1, 3, 64, 64))
        found = Detector(path).detect(np.zeros((64, 64, 3), np.uint8), 0.1)
        np.testing.assert_allclose(found.xyxy, [[30, 17, 50, 47]], rtol=1e-5)

    def test_fastestdet_is_decoded_by_tanh_and_sigmoid(self, tmp_path: Path) -> None:
        told = np.zeros((1, 85, 4, 4), np.float32)
        told[0, :6, 1, 2] = [0.5, 0.3, -0.2, 0.0, -1.0, 0.8]
        path = constant_detector(tmp_path / "d.onnx", told, (1, 3, 64, 64))
        detector = Detector(path)
        found = detector.detect(np.zeros((64, 64, 3), np.uint8), 0.1)
        assert detector.layout.name == "fastestdet"
        cx, cy = (2 + math.tanh(0.3)) * 16, (1 + math.tanh(-0.2)) * 16
        w, h = 64 * 0.5, 64 / (1 + math.e)
        want = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        np.testing.assert_allclose(found.xyxy, [want], rtol=1e-5)
        np.testing.assert_allclose(found.scores, [0.5**0.6 * 0.8**0.4], rtol=1e-5)

    def test_movenet_gives_a_box_for_each_peak_of_its_centre_map(self, tmp_path: Path) -> None:
        detector = Detector(constant_movenet(tmp_path / "d.onnx", movenet_maps(), 64))
        assert detector.layout.name == "movenet"
        found = detector.detect(np.zeros((48, 128, 3), np.uint8), 0.1)
        # Cells of 4 px of 64, stretched to 128 x 48; the smaller neighbour is no peak.
        cx, cy, w, h = 10.25 * 8, 3.5 * 3, 6 * 8, 4 * 3
        want = [[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]]
        np.testing.assert_allclose(found.xyxy, want, rtol=1e-5)
        np.testing.assert_allclose(found.scores, [1 / (1 + math.exp(-2.0))], rtol=1e-5)

    @pytest.mark.parametrize("lost", ["center_0", "box_scale_0", "box_offset_0"])
    def test_movenet_without_one_of_its_maps_is_unknown(self, tmp_path: Path, lost: str) -> None:
        maps = {name: told for name, told in movenet_maps().items() if name != lost}
        with pytest.raises(ArtifactMismatchError, match=r"and MoveNet MultiPose \("):
            Detector(constant_movenet(tmp_path / "d.onnx", maps, 64))

    def test_movenet_takes_red_first_and_the_whole_picture(self) -> None:
        path = SHARED / "pretrained" / "movenet_multipose_256.onnx"
        if not path.is_file():
            pytest.skip("the shared detectors are not on this machine")
        layout = Detector(path).layout
        assert (layout.rgb, layout.squash, layout.scale) == (True, True, 1.0)
        image = np.full((90, 160, 3), 200, np.uint8)
        tensor, ratios = squashed(image, layout.size_wh, layout.scale)
        assert ratios == pytest.approx((256 / 160, 256 / 90))
        assert (tensor == 200).all()

    def test_letterbox_keeps_the_aspect(self) -> None:
        image = np.full((90, 160, 3), 200, np.uint8)
        tensor, ratio = letterbox(image, (64, 64), 1.0)
        assert ratio == pytest.approx(0.4)
        assert (tensor[0, :, :36] == 200).all()
        assert (tensor[0, :, 36:] == 114).all()

    def test_colours_go_in_as_opencv_gives_them(self) -> None:
        image = np.zeros((64, 64, 3), np.uint8)
        image[..., 0] = 255  # blue
        tensor, _ = letterbox(image, (64, 64), 1 / 255)
        np.testing.assert_allclose(tensor[0, :, 0, 0], [1, 0, 0], rtol=1e-6)

    def test_boxes_come_back_in_the_pictures_pixels(self, tmp_path: Path) -> None:
        detector = Detector(blob_detector(tmp_path / "d.onnx"))
        image = cv2.resize(picture((28, 20)), (256, 256), interpolation=cv2.INTER_NEAREST)
        found = detector.detect(image, 0.5)
        np.testing.assert_allclose(found.xyxy, [[64, 32, 160, 128]], atol=1)

    @pytest.mark.parametrize(
        ("output", "shape"),
        [
            pytest.param((1, 10, 85), (1, 3, 64, 64), id="another-count-of-cells"),
            pytest.param((1, 84, 5), (1, 3, 64, 64), id="no-class"),
            pytest.param((1, 85, 5, 4), (1, 3, 64, 64), id="another-grid"),
            pytest.param((1, 84, 85), (1, 1, 64, 64), id="grey-input"),
            pytest.param((1, 84, 85), (1, 3, -1, 64), id="no-fixed-size"),
        ],
    )
    def test_unknown_layout_is_one_sentence(
        self, tmp_path: Path, output: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        path = tmp_path / "d.onnx"
        named = tuple("h" if side < 0 else side for side in shape)
        constant_detector(path, np.zeros(output, np.float32), named)
        known = r"known are YOLOX .* FastestDet .* and MoveNet"
        with pytest.raises(ArtifactMismatchError, match=known):
            Detector(path)

    def test_what_is_no_onnx_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="no detector at"):
            Detector(tmp_path / "none.onnx")
        (tmp_path / "text.onnx").write_text("no model")
        with pytest.raises(ArtifactError, match="is no ONNX model that loads here"):
            Detector(tmp_path / "text.onnx")

    def test_class_of_people_is_named_or_numbered(self, tmp_path: Path) -> None:
        path = constant_detector(tmp_path / "d.onnx", np.zeros((1, 84, 8)), (1, 3, 64, 64))
        assert Detector(path, person_class="2").column == 2
        with pytest.raises(ConfigError, match="classes 0 to 2"):
            Detector(path, person_class="3")
        with pytest.raises(ConfigError, match="3 classes without names"):
            Detector(path)

    @pytest.mark.parametrize(
        "name",
        [
            "detectors/yolox_nano.onnx",
            "detectors/FastestDet.onnx",
            "pretrained/movenet_multipose_256.onnx",
        ],
    )
    def test_real_detectors_find_the_juggler(self, name: str) -> None:
        path, video = SHARED / name, SHARED / "videos" / "juggle.mp4"
        if not (path.is_file() and video.is_file()):
            pytest.skip("the shared detectors and videos are not on this machine")
        frame = next(iter(sampled_frames(open_media(video), 1.0)))
        found = Detector(path).detect(frame, 0.5)
        assert len(found) == 1
        want = np.array([[600, 50, 830, 670]], np.float32)  # by eye
        assert overlaps(found.xyxy, want)[0, 0] > 0.75


class TestFusion:
    def test_boxes_of_two_looks_are_averaged_by_score(self) -> None:
        window = (0.0, 0.0, 100.0, 100.0)
        fused = fuse(
            [
                View(boxes((10, 10, 50, 50, 0.9)), window),
                View(boxes((14, 10, 54, 50, 0.3)), window),
            ],
            iou=0.5,
        )
        np.testing.assert_allclose(fused.xyxy, [[11, 10, 51, 50]], rtol=1e-5)
        np.testing.assert_allclose(fused.scores, [0.5 * 0.9 + 0.5 * 0.6], rtol=1e-5)

    def test_a_look_that_saw_nothing_lowers_the_score_where_it_could_see(self) -> None:
        whole, half = (0.0, 0.0, 100.0, 100.0), (60.0, 0.0, 100.0, 100.0)
        seen = View(boxes((10, 10, 50, 50, 0.8)), whole)
        assert fuse([seen, View(Boxes.none(), whole)], iou=0.5).scores[0] == pytest.approx(0.6)
        assert fuse([seen, View(Boxes.none(), half)], iou=0.5).scores[0] == pytest.approx(0.8)

    def test_two_boxes_of_one_look_stay_two_people(self) -> None:
        view = View(boxes((0, 0, 40, 80, 0.9), (8, 0, 48, 80, 0.8)), (0, 0, 100, 100))
        assert len(fuse([view], iou=0.5)) == 2

    def test_suppression_keeps_the_surest(self) -> None:
        kept = suppress(boxes((0, 0, 10, 10, 0.4), (1, 0, 11, 10, 0.9), (50, 50, 60, 60, 0.2)),
                        0.6, most=10)  # fmt: skip
        np.testing.assert_allclose(kept.scores, [0.9, 0.2])

    def test_no_look_finds_nobody(self) -> None:
        assert len(fuse([View(Boxes.none(), (0, 0, 9, 9))], iou=0.5)) == 0

    @pytest.mark.parametrize("size", [(640, 360), (360, 640), (450, 360), (33, 1000)])
    @pytest.mark.parametrize("scale", [1.0, 1.6, 2.5])
    def test_windows_cover_the_picture(self, size: tuple[int, int], scale: float) -> None:
        seen = np.zeros((size[1], size[0]), bool)
        for x1, y1, x2, y2 in windows(size, scale):
            assert x2 - x1 <= math.ceil(max(size) / scale)
            seen[y1:y2, x1:x2] = True
        assert seen.all()
        assert len(windows(size, 1.0)) == 1

    def test_a_mirror_gives_the_same_place(self, tmp_path: Path) -> None:
        detector = Detector(blob_detector(tmp_path / "d.onnx"))
        found = find_people(detector, picture((20, 36)), ViewPlan(scales=(1.0,), floor=0.3))
        np.testing.assert_allclose(found.xyxy, [[8, 24, 32, 48]], atol=1e-3)
        assert found.scores[0] > 0.9

    def test_who_is_cut_by_a_window_is_left_to_the_others(self, tmp_path: Path) -> None:
        told = np.zeros((1, 84, 6), np.float32)
        told[0, :, :4] = 50.0
        told[0, 0] = [54, 32, 20, 40, 0.9, 1.0]  # to the right edge of whatever is looked at
        path = constant_detector(tmp_path / "d.onnx", told, (1, 3, 64, 64))
        plan = ViewPlan(scales=(2.0,), flip=False, floor=0.3)
        found = find_people(Detector(path), np.zeros((64, 64, 3), np.uint8), plan)
        # Two windows end at the picture's own right edge; the other ones' boxes are cut people.
        assert (found.xyxy[:, 2] > 62).all()


class TestTracks:
    plan = TrackPlan(smooth_s=0)

    def walk(self, count: int, start: float = 0.0, pace: float = 6.0, score: float = 0.8) -> list:
        return [(start + pace * i, 10.0, start + pace * i + 20, 60.0, score) for i in range(count)]

    def test_two_people_who_cross_keep_their_tracks(self) -> None:
        right, left = self.walk(16), self.walk(16, start=100, pace=-6.0)
        samples = [boxes((a[0], 10, a[2], 60, 0.8), (b[0], 40, b[2], 90, 0.8))
                   for a, b in zip(right, left, strict=True)]  # fmt: skip
        tracks = make_tracks(samples, EVERY_S, self.plan)
        assert len(tracks) == 2
        assert {float(np.sign(t.xyxy[-1, 0] - t.xyxy[0, 0])) for t in tracks} == {1.0, -1.0}

    def test_a_gap_is_filled(self) -> None:
        samples = [boxes(row) for row in self.walk(12)]
        samples[5] = samples[6] = Boxes.none()
        (track,) = make_tracks(samples, EVERY_S, self.plan)
        assert (track.start, track.end) == (0, 11)
        np.testing.assert_allclose(track.xyxy[5], [30, 10, 50, 60])
        np.testing.assert_allclose(track.scores[5:7], 0)

    def test_a_long_gap_ends_a_track(self) -> None:
        samples = [boxes((10, 10, 40, 90, 0.8))] * 8 + [Boxes.none()] * 12
        samples += [boxes((10, 10, 40, 90, 0.8))] * 8
        assert len(make_tracks(samples, EVERY_S, self.plan)) == 2

    def test_unsure_boxes_continue_a_track_and_begin_none(self) -> None:
        unsure = self.walk(12, score=0.3)
        assert make_tracks([boxes(row) for row in unsure], EVERY_S, self.plan) == []
        unsure[6] = (*unsure[6][:4], 0.9)
        (track,) = make_tracks([boxes(row) for row in unsure], EVERY_S, self.plan)
        assert (track.start, track.end) == (0, 11)  # forward in time and back

    def test_short_and_doubtful_tracks_go(self) -> None:
        short = [boxes((10, 10, 40, 90, 0.9))] * 3 + [Boxes.none()] * 9
        assert make_tracks(short, EVERY_S, self.plan) == []
        doubtful = [boxes((10, 10, 40, 90, 0.45 if i == 0 else 0.12)) for i in range(12)]
        assert make_tracks(doubtful, EVERY_S, self.plan) == []

    def test_a_video_shorter_than_the_shortest_track_may_have_one(self) -> None:
        samples = [boxes((10, 10, 40, 90, 0.9))] * 3
        assert len(make_tracks(samples, EVERY_S, self.plan)) == 1

    def test_one_person_has_one_track(self) -> None:
        samples = [boxes((10, 10, 50, 90, 0.9), (14, 10, 52, 88, 0.7))] * 10
        assert len(make_tracks(samples, EVERY_S, self.plan)) == 1

    def test_jitter_is_smoothed_and_a_straight_walk_stays(self) -> None:
        dice = np.random.default_rng(3)
        rough = np.array(self.walk(40), np.float64)
        rough[:, :4] += dice.normal(0, 1.5, (40, 4))
        true = np.array(self.walk(40))[:, :4]
        plan = TrackPlan()
        (smooth,) = make_tracks([boxes(row) for row in rough], EVERY_S, plan)
        assert np.abs(smooth.xyxy - true).mean() < 0.8 * np.abs(rough[:, :4] - true).mean()
        (still,) = make_tracks([boxes(row) for row in self.walk(40)], EVERY_S, plan)
        np.testing.assert_allclose(still.xyxy, true, atol=1e-3)

    def test_boxes_between_samples(self) -> None:
        track = Track(start=2, xyxy=np.array([[0, 0, 10, 10], [4, 0, 14, 10.0]]), scores=np.ones(2))
        np.testing.assert_allclose(track.at(2.5), [2, 0, 12, 10])
        assert track.at(1.9) is None
        assert track.at(3.1) is None

    def test_nobody(self) -> None:
        assert make_tracks([Boxes.none()] * 5, EVERY_S, self.plan) == []
        assert make_tracks([], EVERY_S, self.plan) == []


class TestFrames:
    def test_frames_are_those_nearest_to_even_times(self, tmp_path: Path) -> None:
        path = tmp_path / "v.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
        for index in range(10):
            writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
        writer.release()
        frames = list(sampled_frames(open_media(path), 0.25))
        # 0, 0.25, 0.5, 0.75 s; of two frames as near, the earlier one, as for clips.
        assert [round(float(f.mean()) / 20) for f in frames] == [0, 2, 5, 7]
        again = list(sampled_frames(open_media(path), 0.05))
        assert again[0] is again[1]

    def test_pictures(self, tmp_path: Path) -> None:
        for index in range(10):
            cv2.imwrite(str(tmp_path / f"{index + 1:03d}.png"), np.full((8, 8, 3), index, np.uint8))
        frames = list(sampled_frames(open_media(tmp_path, fps=10.0), 0.25))
        assert [int(f[0, 0, 0]) for f in frames] == [0, 2, 5, 7]

    def test_a_video_without_a_frame(self, tmp_path: Path) -> None:
        path = tmp_path / "v.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.release()
        media = open_media(path)
        path.write_bytes(b"gone")
        with pytest.raises(CaptureError, match=r"v\.avi"):
            list(sampled_frames(media, 0.25))


VIDEOS = {f"{kind}/{i}": f"{kind}/{i}.mp4" for kind in ("fight", "no_fight") for i in range(10)}


class TestClipLabels:
    def test_patterns_say_present_and_absent(self) -> None:
        labels = clip_labels(VIDEOS, ["fighting=fight/*"], ["fighting=no_fight/*.mp4"])
        assert labels["fight/3"] == {"fighting": True}
        assert labels["no_fight/3"] == {"fighting": False}
        assert class_names("person", ["a=x", "b=y"], ["c=z", "a=q"]) == ("person", "a", "b", "c")

    @pytest.mark.parametrize(
        ("present", "absent", "match"),
        [
            pytest.param(["fighting=fights/*"], [], r"matches no video. Did you mean 'fight/\*'",
                         id="matches-nothing"),
            pytest.param(["fighting"], [], "expected CLASS=PATTERN", id="no-pattern"),
            pytest.param(["=fight/*"], [], "expected CLASS=PATTERN", id="no-class"),
            pytest.param(["f=fight/*"], ["f=*"], "both --present and --absent", id="contradiction"),
        ],
    )  # fmt: skip
    def test_wrong_patterns(self, present: list[str], absent: list[str], match: str) -> None:
        with pytest.raises(ConfigError, match=match):
            clip_labels(VIDEOS, present, absent)

    def test_the_class_of_people_is_no_action(self) -> None:
        with pytest.raises(ConfigError, match="class of everyone"):
            class_names("person", ["person=*"], [])

    def test_no_source_is_in_both_parts(self) -> None:
        groups = {video: f"s{index // 3}" for index, video in enumerate(VIDEOS)}
        del groups["fight/0"]
        labels = clip_labels(VIDEOS, ["fighting=fight/*"], ["fighting=no_fight/*"])
        for seed in range(20):
            val = choose_val(list(VIDEOS), groups, labels, 0.3, seed)
            train = set(VIDEOS) - val
            assert not {groups.get(v) for v in val} & {groups[v] for v in train if v in groups}
            assert "fight/0" in train
            assert {video.split("/")[0] for video in val} == {"fight", "no_fight"}
            assert 2 <= len(val) <= 9
        again = choose_val(list(VIDEOS), groups, labels, 0.3, 5)
        assert again == choose_val(list(VIDEOS), groups, labels, 0.3, 5)

    def test_one_source_cannot_be_split(self) -> None:
        with pytest.raises(ConfigError, match="two sources or more"):
            choose_val(["a", "b"], {"a": "1", "b": "1"}, {}, 0.5, 0)

    def test_groups_by_name_path_or_stem(self, tmp_path: Path) -> None:
        videos = {"fight/a": "fight/a.mp4", "fight/b": "fight/b.mp4", "c": "c.mp4"}
        table = tmp_path / "g.csv"
        table.write_text("clip,source\na,1\nfight/b.mp4,2\nc.mp4,\nunknown,7\n")
        assert read_groups(table, videos) == {"fight/a": "1", "fight/b": "2"}

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            pytest.param("a,1\n", "expected the line clip,source", id="no-header"),
            pytest.param("", "begins with nothing", id="empty"),
            pytest.param("clip,source\nz,1\n", "names none", id="no-clip-known"),
            pytest.param("clip,source\na,1\n", "could be", id="two-of-that-name"),
            pytest.param("clip,source\nx/a,1\nx/a.mp4,2\n", "has source", id="two-sources"),
        ],
    )
    def test_wrong_groups(self, tmp_path: Path, text: str, match: str) -> None:
        (tmp_path / "g.csv").write_text(text)
        with pytest.raises(ConfigError, match=match):
            read_groups(tmp_path / "g.csv", {"x/a": "x/a.mp4", "y/a": "y/a.mp4"})
