"""Kept features of a frozen stem: the same in shards, resumed, refused where they do not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.cli.features import main
from edge.data.registry import open_dataset
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import build_model
from edge.training.config import TrainOptions
from edge.training.data import excluded_videos
from edge.training.feature_input import FeatureInputModel, freeze_stem
from edge.training.features import (
    ABOUT_FILE,
    FeatureAbout,
    FeatureClips,
    features_of,
    write_block,
)
from edge.training.loop import Trainer
from edge.training.targets import Normalize, collate
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError
from runtime.options import parse_share

torch.set_num_threads(1)

DATA = "synthetic-train:40"
SIZE = ["--model", "pico", "--imgsz", "64", "--precision", "fp32", "--quiet"]
WEIGHTS = ["--stem-weights", "random"]


def compute(out: Path, *more: str, data: str = DATA, clips: int = 40) -> FeatureClips:
    argv = ["--data", data, "--clips", str(clips), "--out", str(out), *SIZE, *more]
    main(argv if "--init" in more else [*argv, *WEIGHTS])
    return FeatureClips(out)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> FeatureClips:
    return compute(tmp_path_factory.mktemp("features") / "whole")


def test_a_clip_is_the_data_sets_own_with_features_in_place_of_frames(kept):
    model = build_model("pico", num_classes=len(kept.class_names), seed=0, height=64, width=64)
    clips = open_dataset(DATA, model.config.clip, part="train")
    by_name = {clips[index].clip_id: clips[index] for index in range(len(clips))}
    assert len(kept) == 40
    for index in (0, 33, 39):
        sample = kept[index]
        other = by_name[sample.clip_id]
        np.testing.assert_array_equal(sample.boxes, other.boxes)
        np.testing.assert_array_equal(sample.labels, other.labels)
        np.testing.assert_array_equal(sample.inactive_persons, other.inactive_persons)
        assert sample.size_wh == other.size_wh
        assert sample.features.shape == (kept.about.bytes_per_clip,)


def test_a_model_answers_to_features_as_to_their_clips(kept):
    model = build_model("pico", num_classes=len(kept.class_names), seed=0, height=64, width=64)
    model.eval()
    clips = open_dataset(DATA, model.config.clip, part="train")
    by_name = {clips[index].clip_id: clips[index] for index in range(len(clips))}
    samples = [kept[index] for index in range(4)]
    batch = collate(samples)
    frames = collate([by_name[sample.clip_id] for sample in samples]).frames
    behind = FeatureInputModel(model, kept.about).eval()
    with torch.no_grad():
        expected = model(Normalize(model.config, torch.device("cpu"))(frames))
        found = behind(batch.frames, batch.scales)
    for name, value in expected.items():
        scale = value.abs().max()
        assert (found[name] - value).abs().max() <= 0.02 * scale, name


def test_shards_fill_one_folder_with_what_one_run_makes(tmp_path, kept):
    compute_one = [str(tmp_path / "parts"), *SIZE, *WEIGHTS]
    for shard in ("2/2", "1/2"):
        main(["--data", DATA, "--clips", "40", "--shard", shard, "--out", *compute_one])
    parts = FeatureClips(tmp_path / "parts")
    assert parts.about == kept.about
    for index in range(40):
        assert parts[index].clip_id == kept[index].clip_id
        np.testing.assert_array_equal(parts[index].features, kept[index].features)


def test_a_run_goes_on_with_the_blocks_that_lack(tmp_path, kept):
    out = tmp_path / "f"
    compute(out)
    before = (out / "00000.npy").stat().st_mtime_ns
    (out / "00001.npy").unlink()
    with pytest.raises(ArtifactError, match="has 1 of 2 blocks"):
        FeatureClips(out)
    again = compute(out)
    assert (out / "00000.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again[39].features, kept[39].features)


def test_blocks_of_an_earlier_version_are_read(tmp_path, kept):
    """They hold a code for each label, and one bag for each person."""
    shutil.copytree(kept.folder, tmp_path / "f")
    path = tmp_path / "f" / "00000.npz"
    with np.load(path) as block:
        tables = {name: block[name] for name in block.files}
    codes = np.zeros(tables["labels"].shape, np.uint8)
    codes[0], codes[1, :2] = 2, 1
    for old, new, values in (
        ("known", "label_mask", codes),
        ("together", "bag_id", np.full(len(codes), 5)),
    ):
        del tables[new]
        tables[old], tables[f"{old}_end"] = values, tables.pop(f"{new}_end")
    np.savez(path, **tables)
    clips = [FeatureClips(tmp_path / "f")[index] for index in range(32)]
    label_mask = np.concatenate([clip.label_mask for clip in clips])
    bag_id = np.concatenate([clip.bag_id for clip in clips])
    np.testing.assert_array_equal(label_mask, codes == 0)
    np.testing.assert_array_equal(bag_id, np.where(codes == 1, 5, -1))


def test_more_clips_than_the_data_set_has_are_changed_anew(tmp_path):
    found = compute(tmp_path / "f", "--augment", "on", data="synthetic-train:4", clips=8)
    names = [found[index].clip_id for index in range(8)]
    assert sorted({name.split("@")[0].split("+")[0] for name in names[:4]}) == sorted(
        {name.split("@")[0].split("+")[0] for name in names[4:]}
    )
    assert all("@1" in name for name in names[4:])


def test_clips_of_excluded_videos_are_left_out_and_mosaics_with_them(tmp_path, kept):
    samples = [replace(kept[0], clip_id=name) for name in ("a/1", "b/1", "a/1+c/2", "c/1+d/1")]
    write_block(tmp_path, 0, np.stack([kept[0].features] * 4), samples)
    replace(kept.about, clips=4).save(tmp_path)
    names = tmp_path / "videos.txt"
    names.write_text("a\n\n")
    clips = FeatureClips(tmp_path, excluded_videos(str(names)))
    assert [clips[index].clip_id for index in range(len(clips))] == ["b/1", "c/1+d/1"]
    assert len(FeatureClips(tmp_path)) == 4
    with pytest.raises(ArtifactError, match="has no clip but those of excluded videos"):
        FeatureClips(tmp_path, frozenset("abcd"))
    names.write_text("\n")
    with pytest.raises(ConfigError, match="is empty, expected a video a line"):
        excluded_videos(str(names))
    with pytest.raises(ConfigError, match="cannot be read"):
        excluded_videos(str(tmp_path / "none.txt"))


def test_a_folder_of_something_else_is_refused(tmp_path, kept):
    out = tmp_path / "f"
    compute(out)
    with pytest.raises(ConfigError, match="holds features of other clips, flags or weights"):
        compute(out, clips=41)
    about = json.loads((out / ABOUT_FILE).read_text())
    (out / ABOUT_FILE).write_text(json.dumps({**about, "shapes": 3}))
    with pytest.raises(ArtifactError, match="is damaged"):
        FeatureAbout.load(out)


def test_what_would_not_fit_the_limit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"take .* GiB, --max-gib allows 0\.001; use --clips"):
        compute(tmp_path / "f", "--max-gib", "0.001")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "", "¹/2"])
def test_shards_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="expected I/N"):
        parse_share(text)


def options(kept: FeatureClips, out: Path, **more: object) -> TrainOptions:
    flags: dict[str, object] = {
        "model": "pico", "imgsz": "64", "data": f"features:{kept.folder}", "out": str(out),
        "stem_weights": "random", "steps": 3, "batch": 4, "workers": 0, "val_every": 0,
        "tensorboard": False, "log_every": 1,
    }  # fmt: skip
    return TrainOptions.of(**{**flags, **more})


def test_a_run_on_features_trains_all_but_the_stem(tmp_path, kept):
    outcome = Trainer(options(kept, tmp_path / "run")).run()
    assert outcome.reason == "finished"
    trained = load_checkpoint(tmp_path / "run" / "last.pt")
    begun = build_model("pico", num_classes=len(kept.class_names), seed=0, height=64, width=64)
    same, other = [], []
    for name, weight in trained.model.state_dict().items():
        equal = torch.equal(weight, begun.state_dict()[name])
        (same if equal else other).append(name)
    assert all(name.startswith("backbone.stem.") for name in same if name.endswith("conv.weight"))
    assert not [name for name in other if name.startswith("backbone.stem.")]
    assert [name for name in other if name.startswith("heads.")]


def test_a_resumed_run_ends_with_the_same_weights(tmp_path, kept):
    Trainer(options(kept, tmp_path / "whole")).run()
    Trainer(options(kept, tmp_path / "parts", limit_steps=1)).run()
    Trainer(options(kept, tmp_path / "parts", resume=str(tmp_path / "parts"))).run()
    one, other = (load_checkpoint(tmp_path / n / "last.pt").model for n in ("whole", "parts"))
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], weight, rtol=0, atol=0)


def test_blocks_of_the_stem_behind_a_cut_can_learn(tmp_path, kept):
    cut = compute(tmp_path / "cut", "--stem-cut", "11")
    Trainer(options(cut, tmp_path / "run", stem_lr=0.5)).run()
    trained = load_checkpoint(tmp_path / "run" / "last.pt").model.state_dict()
    begun = build_model("pico", num_classes=len(cut.class_names), seed=0, height=64, width=64)
    changed = {
        int(name.split(".")[3])
        for name, weight in begun.state_dict().items()
        if name.startswith("backbone.stem.blocks.") and not torch.equal(weight, trained[name])
    }
    assert changed == {11, 12}
    with pytest.raises(ConfigError, match="no block of it can learn"):
        Trainer(options(kept, tmp_path / "other", stem_lr=0.5))


def test_features_of_another_stem_or_size_are_refused(tmp_path, kept):
    with pytest.raises(ArtifactMismatchError, match="other weights of the stem"):
        Trainer(options(kept, tmp_path / "run", seed=1))
    with pytest.raises(ArtifactMismatchError, match="clips of 8 frames of 64x64; the model takes"):
        Trainer(options(kept, tmp_path / "run", imgsz="96"))
    with pytest.raises(ConfigError, match="models with a pretrained stem"):
        Trainer(options(kept, tmp_path / "run", model="pico-scratch", stem_weights=None))


def test_features_and_frames_do_not_mix(tmp_path, kept):
    both = f"features:{kept.folder}+synthetic-train:8"
    with pytest.raises(ConfigError, match="joins features with clips of frames"):
        Trainer(options(kept, tmp_path / "run", data=both))


def test_a_new_model_wants_its_stems_weights(tmp_path, kept):
    with pytest.raises(ConfigError, match="begins with a pretrained stem: give --stem-weights"):
        Trainer(options(kept, tmp_path / "run", stem_weights=None))


def test_features_continue_the_stem_of_a_model(tmp_path, kept):
    model = build_model("pico", num_classes=len(kept.class_names), seed=5, height=64, width=64)
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, class_names=kept.class_names, trained=True)
    found = compute(tmp_path / "f", "--init", str(path))
    assert features_of(found).stem_digest != kept.about.stem_digest
    run = options(found, tmp_path / "run", init=str(path), stem_weights=None)
    assert Trainer(run).run().reason == "finished"


def test_freezing_leaves_the_trunk_alone():
    model = build_model("pico", num_classes=2, seed=0, height=64, width=64)
    freeze_stem(model, 10)
    learn = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "backbone.stem.blocks.10.expand.conv.weight" in learn
    assert "backbone.stem.blocks.9.expand.conv.weight" not in learn
    assert "backbone.stem.first.conv.weight" not in learn
    assert "backbone.merge.conv.weight" in learn
