"""The weights that come with the repository: whole, described, and worth what the card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.data.joint_classes import JOINT_CLASSES
from edge.data.registry import open_dataset
from edge.data.remap import judged
from edge.evaluation.clip_metrics import ClipMetrics, predict
from edge.evaluation.options import ModelChoice
from edge.evaluation.predictors import open_predictor
from edge.evaluation.workers import class_order
from edge.model.checkpoint import load_checkpoint
from edge.model.stem_mvit import StemMViT
from edge.model.stem_weights import load_stem, stem_digest
from edge.model.variants import build_model
from edge.world.casting import CLASS_NAMES
from runtime.bundle import DEFAULT_BUNDLE, Bundle

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
REAL = ("person", "fighting")
# `pico-scratch` has seen no film, so that anybody's can be judged by what is learned from there on.
CLASSES = {
    "pico-scratch": CLASS_NAMES,
    "nano-scratch": (*CLASS_NAMES, *REAL),
    "nano": JOINT_CLASSES,
    "pico": JOINT_CLASSES,
}
CLIPS = 32


@pytest.mark.parametrize("variant", CLASSES)
def test_they_are_whole_and_say_where_they_come_from(variant: str) -> None:
    folder = WEIGHTS / variant
    checkpoint = load_checkpoint(folder / "model.pt")
    assert checkpoint.config.variant == variant
    assert checkpoint.class_names == CLASSES[variant]
    assert checkpoint.trained
    runs = json.loads((folder / "training.json").read_text())
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {row["run"] for row in rows} == set(runs)
    if variant.endswith("-scratch"):
        assert all(config["data"].startswith("synthetic-train") for config in runs.values())
    if variant == "pico-scratch":
        assert not any("+" in config["data"] for config in runs.values())
    # Nobody's folders.
    texts = [str(text) for config in runs.values() for text in config.values()]
    assert not any("/" in text for text in (*texts, checkpoint.note))
    assert (folder / "curves.png").stat().st_size > 10_000


def test_each_fold_by_recording_has_weights_of_its_own() -> None:
    files = sorted((WEIGHTS / "folds").iterdir())
    assert [path.name for path in files] == [f"fold{number}.pt" for number in range(5)]
    for number, path in enumerate(files):
        checkpoint = load_checkpoint(path)
        shape = checkpoint.config.clip
        assert (checkpoint.config.variant, shape.height, shape.width) == ("pico-scratch", 256, 256)
        assert checkpoint.config.heads.suppression_strength == 4.0
        assert checkpoint.class_names == (*CLASS_NAMES, *REAL)
        assert checkpoint.trained
        assert checkpoint.note.startswith(f"fold {number} of 5: ")
        assert "/" not in checkpoint.note


@pytest.mark.parametrize("variant", ["pico", "nano"])
def test_the_stem_is_the_published_one(variant: str) -> None:
    backbone = load_checkpoint(WEIGHTS / variant / "model.pt").model.backbone
    published = build_model(variant, num_classes=1).backbone
    assert isinstance(backbone, StemMViT)
    assert isinstance(published, StemMViT)
    load_stem(published.stem, WEIGHTS / "stems" / "mobilenet_v2-movenet-lightning.pt")
    cut = len(published.stem.blocks)
    assert stem_digest(backbone.stem, cut) == stem_digest(published.stem, cut)


def test_the_default_bundle_is_made_of_nanos_weights() -> None:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        spec = bundle.spec
    checkpoint = load_checkpoint(WEIGHTS / "nano" / "model.pt")
    assert (spec.note, spec.class_names) == (checkpoint.note, checkpoint.class_names)


def test_the_default_bundle_finds_people_of_the_world() -> None:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        spec = bundle.spec
    assert spec.trained
    assert spec.class_names == JOINT_CLASSES
    assert spec.artifacts[0].threshold is not None
    assert spec.artifacts[0].threshold.rule == "f1"
    predictor = open_predictor(ModelChoice(model=str(DEFAULT_BUNDLE), num_threads=1))
    dataset, _ = judged(
        open_dataset("synthetic-val", predictor.shape, limit=CLIPS),
        "synthetic-val",
        predictor.class_names,
    )
    order = class_order(predictor.class_names, dataset.class_names)
    metrics = ClipMetrics(dataset.class_names)
    samples = [dataset[index] for index in range(CLIPS)]
    for sample, (boxes, actor, actions) in zip(
        samples, predictor.run([s.frames_rgb for s in samples]), strict=True
    ):
        metrics.update(sample, predict(boxes, actor, actions[:, order]))
    result = metrics.result(spec.artifacts[0].conf)
    # Well below what the card says of 2,000 clips, and far above what chance gives.
    assert result["actor_ap"] > 0.6
    assert result["at_threshold"]["recall"] > 0.5
    assert result["at_threshold"]["precision"] > 0.5
