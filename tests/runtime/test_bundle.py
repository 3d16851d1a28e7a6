"""A bundle is read whole or refused with one sentence that says why."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.artifact_table import action_table
from runtime.bundle import Bundle, pack_bundle
from runtime.bundle_spec import DIGEST_KEY, BundleSpec, content_digest
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

PROGRAM = b"not a program, but bytes with a known hash"
GOLDEN = b"golden bytes"


def content() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": "toy",
        "variant": "nano",
        "trained": False,
        "note": "random weights",
        "class_names": ["stand", "wave"],
        "clip": {"num_frames": 8, "sampling_rate": 4, "fps": 29.97},
        "input": {
            "height": 160,
            "width": 160,
            "layout": "ntchw",
            "dtype": "float32",
            "colour": "rgb",
            "mean": [0.45, 0.45, 0.45],
            "std": [0.225, 0.225, 0.225],
            "resize": "triangle-q14",
        },
        "token_selection": "halves",
        "num_tokens": 200,
        "artifacts": [
            {
                "file": "xnnpack-int8.pte",
                "sha256": hashlib.sha256(PROGRAM).hexdigest(),
                "size_bytes": len(PROGRAM),
                "target": "xnnpack",
                "precision": "int8",
                "conf": 0.4,
                "made_with": {"executorch": "1.5.1"},
                "delegated": {"share": 1.0, "calls": 1, "fallbacks": []},
                "parity": {"clips": 16},
                "self_test_tolerance": {
                    "pred_boxes": 0.01,
                    "pred_actor": 0.05,
                    "pred_actions": 0.05,
                },
                "accuracy": None,
            }
        ],
        "golden": {"file": "golden.npz", "sha256": hashlib.sha256(GOLDEN).hexdigest()},
    }


def write(folder: Path, data: dict[str, Any], *, seal: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if seal:
        data = {**data, DIGEST_KEY: content_digest(data)}
    (folder / "bundle.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "xnnpack-int8.pte").write_bytes(PROGRAM)
    (folder / "golden.npz").write_bytes(GOLDEN)
    return folder


def test_a_whole_bundle_is_read_and_verified(tmp_path: Path) -> None:
    bundle = Bundle.load(write(tmp_path / "b", content()))
    bundle.verify()
    assert bundle.spec.class_names == ("stand", "wave")
    assert bundle.spec.clip.input_shape == (1, 8, 3, 160, 160)
    assert bundle.spec.clip.period_s == pytest.approx(4 / 29.97)
    assert bundle.spec.clip.keyframe_index == 4
    assert bundle.artifact("xnnpack-int8") is bundle.spec.artifacts[0]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    spec = BundleSpec.parse(content())
    folder = write(tmp_path / "b", content())
    (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    assert Bundle.load(folder).spec == spec


def test_a_fitted_threshold_is_read_with_its_curve(tmp_path: Path) -> None:
    data = content()
    threshold(curve=[[0.1, 0.5, 1], [0.9, 1, 0.25]])(data)
    found = Bundle.load(write(tmp_path, data)).spec.artifacts[0].threshold
    assert found is not None
    assert found.curve == ((0.1, 0.5, 1.0), (0.9, 1.0, 0.25))


def test_an_action_without_a_threshold_of_its_own_has_one_half(tmp_path: Path) -> None:
    data = content()
    assert BundleSpec.parse(data).artifacts[0].action_confs(("stand", "wave")) == (0.5, 0.5)
    action(conf=0.25)(data)
    spec = Bundle.load(write(tmp_path, data)).spec
    assert spec.artifacts[0].action_confs(spec.class_names) == (0.5, 0.25)
    (tmp_path / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    assert Bundle.load(tmp_path).spec == spec


def test_the_table_of_actions_says_where_data_lacks() -> None:
    data = content()
    assert action_table(BundleSpec.parse(data))[0].startswith(
        "actions are named from p(action) 0.5 on; a threshold for each is fitted with --val-data"
    )
    threshold()(data)
    assert "show enough people who do it" in action_table(BundleSpec.parse(data))[0]
    action(conf=0.25)(data)
    lines = action_table(BundleSpec.parse(data))
    assert lines[0].split() == ["named", "from", "p(action)", "xnnpack-int8"]
    assert lines[1].split() == ["stand", "0.500", "(too", "few)"]
    assert lines[2].split() == ["wave", "0.250", "(F1", "0.80,", "20", "do)"]
    assert "too few people who do it, or who do not; so 0.5" in lines[3]
    second = data["artifacts"][0] | {"file": "xnnpack-fp32.pte", "action_thresholds": {}}
    data["artifacts"].append(second)
    assert action_table(BundleSpec.parse(data))[-1] == "xnnpack-fp32: every action from 0.5"


@pytest.mark.parametrize("inside", ["", "toy/"], ids=["at the root", "in one folder"])
def test_a_zip_is_read_like_its_folder(tmp_path: Path, inside: str) -> None:
    folder = write(tmp_path / "b", content())
    zipped = tmp_path / "b.zip"
    if inside:
        with zipfile.ZipFile(zipped, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, inside + path.name)
    else:
        pack_bundle(folder, zipped)
    with Bundle.load(zipped) as bundle:
        bundle.verify()
        assert bundle.spec == Bundle.load(folder).spec


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def act(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return act


def threshold(**changed: Any) -> Callable[[dict[str, Any]], None]:
    record = {"rule": "f1", "clips": 9, "f1": 0.8, "precision": 0.9, "recall": 0.7, "curve": []}
    return put(record | changed, "artifacts", 0, "threshold")


def action(name: str = "wave", **changed: Any) -> Callable[[dict[str, Any]], None]:
    record = {"conf": 0.5, "f1": 0.8, "precision": 0.9, "recall": 0.7, "doing": 20, "not_doing": 30}
    return put({name: record | changed}, "artifacts", 0, "action_thresholds")


def put(value: Any, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def act(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return act


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(drop("clip"), "lacks the field 'clip'", id="missing section"),
        pytest.param(drop("clip", "fps"), "clip lacks the field 'fps'", id="missing field"),
        pytest.param(put(1, "surprise"), "unknown field 'surprise'", id="unknown field"),
        pytest.param(put("8", "clip", "num_frames"), "expected int", id="text for a number"),
        pytest.param(put(True, "clip", "num_frames"), "expected int", id="truth for a number"),
        pytest.param(put(0, "clip", "fps"), "fps is 0", id="zero fps"),
        pytest.param(put(float("nan"), "clip", "fps"), "fps is nan", id="fps not a number"),
        pytest.param(put("bgr", "input", "colour"), "feeds 'rgb'", id="wrong colour order"),
        pytest.param(put("area", "input", "resize"), "triangle-q14", id="another resize"),
        pytest.param(put("nthwc", "input", "layout"), "feeds 'ntchw'", id="another layout"),
        pytest.param(put([1.0, 1.0], "input", "mean"), "2 entries", id="two means"),
        pytest.param(put([0.0, 1.0, 1.0], "input", "std"), "std is", id="zero std"),
        pytest.param(put([], "class_names"), "class_names is empty", id="no classes"),
        pytest.param(put(["a", "a"], "class_names"), "name twice", id="class twice"),
        pytest.param(put([], "artifacts"), "artifacts is empty", id="no artifacts"),
        pytest.param(put("../x", "artifacts", 0, "file"), "no plain name", id="path escape"),
        pytest.param(put("zz", "artifacts", 0, "sha256"), "hexadecimal", id="short hash"),
        pytest.param(put(7, "artifacts", 0, "conf"), "not 0..1", id="conf above 1"),
        pytest.param(threshold(rule="magic"), "knows 'f1'", id="unknown rule of a threshold"),
        pytest.param(threshold(f1=1.5), "record holds 1.5, not 0..1", id="impossible F1"),
        pytest.param(threshold(curve=[[0.1, 0.2]]), "has 2 entries, expected 3", id="bad curve"),
        pytest.param(threshold(clips=0), "clips is 0", id="threshold of no clips"),
        pytest.param(action(conf=1.5), "conf of an action is 1.5", id="action's conf above 1"),
        pytest.param(action(doing=-1), "fewer than nobody", id="action of nobody"),
        pytest.param(action("swim"), r"has \['swim'\], not a class", id="action unknown"),
        pytest.param(action(rule="f1"), "unknown field 'rule'", id="action's unknown field"),
        pytest.param(
            put({"pred_boxes": 1.0}, "artifacts", 0, "self_test_tolerance"),
            "self_test_tolerance of .* names",
            id="tolerance of one output",
        ),
        pytest.param(
            put(0, "artifacts", 0, "self_test_tolerance", "pred_actor"),
            "not positive",
            id="tolerance zero",
        ),
        pytest.param(put("1", "schema_version"), "schema_version '1'", id="schema is text"),
        pytest.param(put(10**400, "clip", "fps"), "number of 401 digits", id="fps of 401 digits"),
        pytest.param(put(10**400, "num_tokens"), "number of 401 digits", id="tokens of 401 digits"),
        pytest.param(put(["a", ""], "class_names"), "empty name", id="empty class"),
        pytest.param(put(["a", "b\nc"], "class_names"), "unprintable", id="line end in a class"),
        pytest.param(put("\x1b[31mtoy", "name"), "unprintable", id="escape sequence in the name"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    data = content()
    change(data)
    with pytest.raises(ArtifactError, match=sentence):
        Bundle.load(write(tmp_path / "b", data))


def test_a_newer_schema_says_to_update(tmp_path: Path) -> None:
    data = {**content(), "schema_version": 2, "something_new": 1}
    with pytest.raises(ArtifactMismatchError, match=r"schema 2, newer than .* update bmvit-edge"):
        Bundle.load(write(tmp_path / "b", data))


def test_a_changed_number_breaks_the_seal(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", content())
    path = folder / "bundle.json"
    path.write_text(path.read_text("utf-8").replace("29.97", "29.98"), encoding="utf-8")
    with pytest.raises(ArtifactMismatchError, match="changed after export"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["xnnpack-int8.pte", "golden.npz"])
def test_one_changed_byte_in_a_file_is_found(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "b", content())
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactMismatchError, match=f"{name} .* damaged or of another model"):
        Bundle.load(folder).verify()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "b", content())
    (folder / "golden.npz").unlink()
    with pytest.raises(ArtifactError, match=r"lacks its file golden\.npz"):
        Bundle.load(folder).verify()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param('{"schema_version": 1', "not valid JSON", id="cut off"),
        pytest.param("[1]", "expected an object", id="a list"),
        pytest.param("[" * 100_000, "not valid JSON", id="nested too deep"),
        pytest.param('{"schema_version": null}', "schema_version None", id="no version"),
        pytest.param('{"name": "a", "name": "b"}', "not valid JSON", id="key twice"),
        pytest.param('{"schema_version": %s}' % ("9" * 9999), "not valid JSON", id="long number"),
    ],
)
def test_a_file_that_is_no_bundle_json_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bundle.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=sentence):
        Bundle.load(tmp_path)


def test_paths_that_are_no_bundle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no bundle at"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"has no bundle\.json"):
        Bundle.load(tmp_path)
    lone = tmp_path / "model.pte"
    lone.write_bytes(PROGRAM)
    with pytest.raises(ArtifactError, match="neither a bundle folder nor the zip"):
        Bundle.load(lone)


@pytest.mark.parametrize("name", ["../evil", "a/b/c.json", ".hidden"])
def test_a_zip_with_strange_paths_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ArtifactError, match="expected plain files"):
        Bundle.load(path)


def test_a_zip_of_two_bundles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/bundle.json", "{}")
        archive.writestr("b/bundle.json", "{}")
    with pytest.raises(ArtifactError, match="a file twice"):
        Bundle.load(path)


def test_a_zip_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    pack_bundle(write(tmp_path / "b", content()), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="is a damaged zip or PyTorch file; copy it again"):
        Bundle.load(path)


def test_an_unknown_artifact_lists_the_choices(tmp_path: Path) -> None:
    bundle = Bundle.load(write(tmp_path / "b", content()))
    with pytest.raises(ConfigError, match="choose from: xnnpack-int8"):
        bundle.artifact("tensorrt-fp16")
