"""A picture shows the model's own numbers: what it says, and where its last layer looks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.types import ClipSpec

torch = pytest.importorskip("torch")

from edge.cli import main  # noqa: E402
from edge.evaluation.clip_metrics import predict  # noqa: E402
from edge.explain.attention import last_layer, run_with_attention  # noqa: E402
from edge.explain.canvas import WIDTH  # noqa: E402
from edge.explain.clips import clips_of  # noqa: E402
from edge.explain.model import ExplainableModel, open_model  # noqa: E402
from edge.explain.picture import Heading, draw_explanation, likely_actions  # noqa: E402
from edge.model.bmvit import BMViT, BMViTConfig  # noqa: E402
from edge.model.checkpoint import save_checkpoint  # noqa: E402
from edge.model.mvit import MViTConfig  # noqa: E402
from edge.model.variants import build_model  # noqa: E402
from runtime.bundle import DEFAULT_BUNDLE, Bundle  # noqa: E402
from runtime.errors import ArtifactMismatchError, CaptureError, ConfigError, DecodeError  # noqa: E402

NAMES = ("walk", "sit")
TINY = {"num_frames": 4, "height": 64, "width": 96, "channels": (16, 32), "depths": (1, 1),
        "head_channels": 16, "strides": (2,), "kv_strides": (4, 2)}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def compact(**changes: Any) -> BMViT:
    return build_model("nano-scratch", num_classes=2, seed=0, **{**TINY, **changes}).eval()


def on_stem(**changes: Any) -> BMViT:
    """Return a model on a per-frame stem: two steps of four frames."""
    shape = {
        "height": 64, "width": 96, "stem_width": 0.25, "frame_channels": 16, "channels": (32,),
        "depths": (2,), "head_channels": 16, "kv_strides": (2,),
    }  # fmt: skip
    return build_model("nano", num_classes=2, seed=0, **{**shape, **changes}).eval()


def published(selection: str = "halves", **changes: Any) -> BMViT:
    backbone = MViTConfig(
        num_frames=8, height=64, width=64, depth=2, embed_dim=16, stage_starts=(1,), q_pool_at=(1,),
        kv_stride=(1, 4, 4), drop_path=0.0, **changes,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BMViTConfig(
        variant="small", backbone=backbone, num_classes=2, token_selection=selection
    )
    return BMViT(config).eval()


def clip_of(model: BMViT) -> torch.Tensor:
    return torch.randn(*model.config.clip_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("model", "queries", "keys"),
    [
        # Two steps of two frames; the keys join them, and are pooled from 4 x 6 by two.
        pytest.param(compact, (2, 4, 6), (1, 2, 3), id="compact"),
        pytest.param(lambda: compact(kv_pairs=False), (2, 4, 6), (2, 2, 3), id="single steps"),
        pytest.param(on_stem, (2, 4, 6), (1, 2, 3), id="on a stem"),
        pytest.param(lambda: on_stem(kv_pairs=False), (2, 4, 6), (2, 2, 3), id="on a stem, single"),
        pytest.param(published, (4, 8, 8), (4, 8, 8), id="published"),
        pytest.param(lambda: published(cls_token=True), (4, 8, 8), (4, 8, 8), id="class token"),
    ],
)
def test_the_last_layer_is_seen_as_it_is(model: Any, queries: Any, keys: Any) -> None:
    model = model()
    clip = clip_of(model)
    outputs, attention = run_with_attention(model, clip)
    with torch.inference_mode():
        plain = model(clip)
    for name, value in plain.items():
        assert torch.equal(value, outputs[name]), "looking changes nothing"
    assert attention.weights.shape == (*queries, *keys)
    assert attention.keys == keys
    assert (attention.weights >= 0).all()
    assert attention.weights.std() > 0
    total = attention.weights.sum(axis=(3, 4, 5))
    assert attention.class_token == getattr(model.config.backbone, "cls_token", False)
    assert (total < 1).all() if attention.class_token else np.allclose(total, 1.0, atol=1e-5)
    assert not last_layer(model)._forward_hooks, "the hooks are gone"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: compact(channels=(32, 32), head_channels=32), id="compact"),
        pytest.param(lambda: on_stem(head_channels=32), id="on a stem"),
    ],
)
def test_the_weights_are_those_that_mix_the_values(model: Any) -> None:
    """Mix the values by the weights that were seen: the layer itself must say the same."""
    model = model()  # of one head, so that the mean over heads is the head
    layer = last_layer(model)
    seen: dict[str, torch.Tensor] = {}
    layer.v.register_forward_hook(lambda m, i, o: seen.update(v=o))
    layer.q.register_forward_hook(lambda m, i, o: seen.update(q=o))
    layer.proj.register_forward_pre_hook(lambda m, i: seen.update(mixed=i[0]))
    _, attention = run_with_attention(model, clip_of(model))
    assert attention.heads == 1
    values = seen["v"].permute(0, 2, 3, 1).reshape(-1, 32)
    rows = torch.from_numpy(attention.weights).reshape(-1, len(values))
    mixed = (rows @ values).reshape(2, 4, 6, 32).permute(0, 3, 1, 2) + seen["q"]
    torch.testing.assert_close(mixed, seen["mixed"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("selection", "steps"),
    [("halves", (1, 2)), ("centre", (2,)), ("centre_mean", (2,)), ("all", (0, 1, 2, 3))],
)
def test_a_token_is_traced_to_its_query(selection: str, steps: tuple[int, ...]) -> None:
    model = published(selection)
    _, attention = run_with_attention(model, clip_of(model))
    assert attention.query_steps == steps
    token = 64 * (len(steps) - 1) + 3 * 8 + 5
    np.testing.assert_array_equal(attention.of_token(token), attention.weights[steps[-1], 3, 5])


def test_what_is_no_attention_is_refused() -> None:
    model = compact()
    with pytest.raises(ConfigError, match="expected one"):
        run_with_attention(model, clip_of(model).repeat(2, 1, 1, 1, 1))
    with pytest.raises(ConfigError, match="no attention layer"):
        last_layer(torch.nn.Linear(1, 1))
    layer = last_layer(model)
    forward = layer.attend
    layer.attend = lambda q, k, v, groups: (torch.softmax(q, -1), forward(q, k, v, groups))[1]
    with pytest.raises(ConfigError, match="softmax 2 times"):
        run_with_attention(model, clip_of(model))


def test_weights_that_do_not_sum_to_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = published()
    layer = last_layer(model)
    assert layer.config.grid_kv == (4, 8, 8)
    monkeypatch.setattr(torch.Tensor, "softmax", lambda scores, dim: torch.sigmoid(scores))
    monkeypatch.setattr("edge.explain.attention._SOFTMAX", (torch.sigmoid,))
    with pytest.raises(DecodeError, match="expected 1"):
        run_with_attention(model, clip_of(model))


@pytest.mark.parametrize("selection", ["halves", "all"])
def test_maps_and_pictures_of_a_model_on_a_stem(
    selection: str, video: Path, tmp_path: Path
) -> None:
    path = tmp_path / "stem.pt"
    model = on_stem(token_selection=selection)
    save_checkpoint(path, model, class_names=NAMES, trained=False)
    model = open_model(str(path), conf=0.0)
    clip, what = explained(model, video)
    assert what.actor_map.shape == (2, 4, 6)
    assert what.attention is not None
    assert what.attention.weights.shape == (2, 4, 6, 1, 2, 3)
    heading = Heading(source="x", frame=16, t=clip.keyframe_t, times=clip.times)
    assert draw_explanation(model, what, heading).shape[1] == WIDTH


def test_of_all_tokens_of_a_bundle_their_number_tells_the_slices() -> None:
    shape = ClipSpec(num_frames=8, height=64, width=96, sampling_rate=4, fps=30.0)
    model = ExplainableModel(
        name="x", class_names=NAMES, shape=shape, trained=True, conf=0.5, no_attention_reason=None,
        predictor=None, slices=None,
    )  # fmt: skip
    assert [model.grid_of(tokens) for tokens in (48, 96)] == [(2, 4, 6), (4, 4, 6)]
    with pytest.raises(ConfigError, match="7 tokens in some slices"):
        model.grid_of(7)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "tiny.pt"
    save_checkpoint(path, compact(), class_names=NAMES, trained=False, note="for tests")
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 60 pictures of a square that moves: 2 s at 30 a second."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(60):
        image = np.full((120, 200, 3), 60, np.uint8)
        cv2.rectangle(image, (2 * index, 30), (2 * index + 30, 90), (200, 180, 90), cv2.FILLED)
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    return folder


def test_clips_are_those_of_the_device(checkpoint: Path, video: Path) -> None:
    model = open_model(str(checkpoint))
    clips = list(clips_of(str(video), model.shape, fps=30.0))
    # Four samples, one each four frames: whole at frame 12, then each 16.
    assert [clip.keyframe for clip in clips] == [8, 24, 40]
    assert [round(t * 30) for t in clips[1].times] == [16, 20, 24, 28]
    dense = list(clips_of(str(video), model.shape, stride=4, fps=30.0))
    assert [clip.keyframe for clip in dense][:3] == [8, 12, 16]
    with pytest.raises(CaptureError, match="too few for one clip"):
        list(clips_of(str(video), model.shape, fps=600.0))


def explained(model: ExplainableModel, video: Path) -> Any:
    clip = next(iter(clips_of(str(video), model.shape, fps=30.0)))
    return clip, model.explain(clip.frames)


def test_what_is_shown_is_what_the_model_says(checkpoint: Path, video: Path) -> None:
    model = open_model(str(checkpoint), conf=0.0)
    clip, what = explained(model, video)
    from edge.data.clips import resize_frames
    from edge.evaluation.options import ModelChoice
    from edge.evaluation.predictors import open_predictor

    frames = resize_frames(clip.frames, 64, 96)
    outputs = open_predictor(ModelChoice(model=str(checkpoint))).run([frames])[0]
    expected = predict(*outputs)
    np.testing.assert_array_equal(what.tokens.token, expected.token)
    np.testing.assert_allclose(what.tokens.xyxy, expected.xyxy * [200, 120, 200, 120], rtol=1e-5)
    assert what.actor_map.shape == (2, 4, 6)
    best = np.unravel_index(int(what.tokens.token[0]), (2, 4, 6))
    assert what.actor_map[best] == what.actor_map.max() == what.tokens.actor[0]
    assert what.num_kept == len(what.tokens) == 48


def test_a_picture_has_a_row_for_each_kept_token(checkpoint: Path, video: Path) -> None:
    heights = []
    for conf in (1.0, 0.0):
        model = open_model(str(checkpoint), conf=conf)
        clip, what = explained(model, video)
        heading = Heading(source="x", frame=8, t=clip.keyframe_t, times=clip.times)
        image = draw_explanation(model, what, heading)
        assert image.shape[1] == WIDTH
        assert image[20, WIDTH - 30].tolist() == [50, 50, 220], "untrained is said in red"
        heights.append(image.shape[0])
    # Nobody is kept: the best one is shown. Everybody: the best six. Four frames of 5:3 a row.
    assert heights[1] - heights[0] == 5 * (round(298 * 3 / 5) + 12)


def test_trained_weights_carry_no_warning(tmp_path: Path, video: Path) -> None:
    save_checkpoint(tmp_path / "t.pt", compact(), class_names=NAMES, trained=True)
    model = open_model(str(tmp_path / "t.pt"))
    clip, what = explained(model, video)
    heading = Heading(source="x", frame=8, t=clip.keyframe_t, times=clip.times)
    image = draw_explanation(model, what, heading)
    assert image[20, WIDTH - 30].tolist() != [50, 50, 220]


def test_a_bundle_without_a_checkpoint_says_what_is_missing(video: Path) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    model = open_model(str(DEFAULT_BUNDLE), num_threads=1)
    assert model.no_attention_reason is not None
    assert "no float checkpoint" in model.no_attention_reason
    clip, what = explained(model, video)
    assert what.attention is None
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        height, width = bundle.spec.clip.input_shape[-2:]
    assert what.actor_map.shape == (1, height // 16, width // 16)
    heading = Heading(source="x", frame=0, t=0.0, times=clip.times)
    assert draw_explanation(model, what, heading).shape[1] == WIDTH


def test_a_bundles_own_checkpoint_shows_attention(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    with Bundle.load(folder) as bundle:
        spec = bundle.spec
    clip, names = spec.clip, len(spec.class_names)
    model = build_model(
        "nano-scratch", num_classes=names, seed=0, height=clip.height, width=clip.width,
        mean=clip.mean, std=clip.std,
    )  # fmt: skip
    save_checkpoint(folder / "own.pt", model, class_names=spec.class_names, trained=False)
    model = open_model(str(folder))
    assert (model.name, model.no_attention_reason) == ("own.pt", None)
    assert model.conf == spec.artifacts[0].conf
    (folder / "own.pt").unlink()
    shutil.copy(checkpoint, folder / "own.pt")
    with pytest.raises(ArtifactMismatchError, match="is not the model of"):
        open_model(str(folder))


def test_a_picture_for_each_keyframe(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    argv = ["explain", "--model", str(checkpoint), "--source", str(video), "--out", str(out)]
    assert main([*argv, "--start", "0.5", "--conf", "0.009"]) == 0
    printed = capsys.readouterr().out
    assert [p.name for p in sorted(out.iterdir())] == [
        "keyframe_000024.png", "keyframe_000040.png",
    ]  # fmt: skip
    assert cv2.imread(str(out / "keyframe_000024.png")).shape[1] == WIDTH
    assert "of 48 tokens kept" in printed
    assert "untrained" in printed
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite", "--max-keyframes", "1"]) == 0
    assert [p.name for p in out.iterdir()] == ["keyframe_000008.png"]


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        pytest.param(["--conf", "2"], 2, "--conf is 2", id="conf"),
        pytest.param(["--max-keyframes", "0"], 2, "--max-keyframes is 0", id="none"),
        pytest.param(["--stride", "0"], 2, "--stride is 0", id="stride"),
        pytest.param(["--model", ""], 2, "--model is empty", id="no model"),
        pytest.param(["--model", "absent.pt"], 1, "absent.pt", id="model"),
        pytest.param(["--source", "absent.mp4"], 1, "absent.mp4", id="source"),
        pytest.param(["--start", "90"], 1, "from 90 s on", id="behind the end"),
        pytest.param(["--iou", "0.5"], 2, "no NMS", id="iou"),
    ],
)
def test_a_refusal_is_one_sentence(
    checkpoint: Path, video: Path, tmp_path: Path, argv: list[str], code: int, sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "pictures"
    base = ["explain", "--model", str(checkpoint), "--source", str(video), "--out", str(out)]
    assert main([*base, *argv]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ((0.2, 0.9, 0.7), [("run", 0.9), ("wave", 0.7)]),
        ((0.2, 0.9, 0.4), [("run", 0.9)]),  # what is unlikely is not said beside it
        ((0.3, 0.1, 0.2), [("walk", 0.3)]),  # the best is named however low it is
        ((0.8, 0.9, 0.7), [("run", 0.9), ("walk", 0.8)]),  # two, not more
    ],
)
def test_a_second_action_is_named_where_it_is_likely(
    scores: tuple[float, ...], named: list[tuple[str, float]]
) -> None:
    found = likely_actions(("walk", "run", "wave"), np.array(scores))
    assert [(name, pytest.approx(score)) for name, score in found] == named
