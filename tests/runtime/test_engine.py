"""Which artifact is chosen, what is said of it, and what makes one untrusted."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import engine as engine_module
from runtime.bundle import Bundle
from runtime.engine import LoadedEngine, load_engine
from runtime.engines import EngineKind
from runtime.errors import (
    ArtifactError,
    ArtifactMismatchError,
    BackendUnavailableError,
    ConfigError,
)


def load(folder: Path, **options: Any) -> LoadedEngine:
    return load_engine(Bundle.load(folder), **options)


def artifacts(folder: Path, **changes: Any) -> tuple[Any, ...]:
    """Return the artifacts of a bundle with fields changed, for `make_bundle(artifacts=...)`."""
    from dataclasses import replace

    return tuple(replace(a, **changes) for a in Bundle.load(folder).spec.artifacts)


def test_answers_without_the_batch_dimension(make_bundle: Any, tiny_program: Any) -> None:
    boxes, actor, actions = load(make_bundle())(tiny_program.clip).of(0)
    for ours, wanted in zip((boxes, actor, actions), tiny_program.outputs, strict=True):
        np.testing.assert_allclose(ours, wanted[0], atol=1e-5)


def test_reason_is_one_line_that_says_what_and_why(
    make_bundle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runtime.engine")
    loaded = load(make_bundle(), num_threads=2)
    assert loaded.num_threads == 2
    assert caplog.messages == [loaded.reason]
    assert re.fullmatch(
        r"xnnpack-int8 \(xnnpack, int8\), the bundle's only program that runs here: "
        r"2 threads, self-test passed at \d+% of its tolerance",
        loaded.reason,
    )


def test_int8_is_preferred(make_bundle: Any) -> None:
    loaded = load(make_bundle(artifacts=2), self_test=False)
    assert loaded.artifact.precision == "int8"
    assert "not self-tested" in loaded.reason
    assert loaded.self_test_share is None


@pytest.mark.parametrize("name", ["xnnpack-fp32", "xnnpack-fp32.pte"])
def test_named_artifact_is_taken(make_bundle: Any, name: str) -> None:
    loaded = load(make_bundle(artifacts=2), artifact=name)
    assert loaded.artifact.precision == "fp32"
    assert "as asked" in loaded.reason


def test_unknown_artifact_names_the_choices(make_bundle: Any) -> None:
    with pytest.raises(ConfigError, match="choose from: xnnpack-int8, xnnpack-fp32"):
        load(make_bundle(artifacts=2), artifact="vulkan-fp16")


def test_program_that_does_not_load_is_skipped_with_a_warning(
    make_bundle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load(make_bundle(artifacts=2, program=b"no program" * 100))
    assert loaded.artifact.precision == "fp32"
    assert "skipped: xnnpack-int8 failed" in loaded.reason
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "falling back to xnnpack-fp32" in warning.getMessage()


def test_no_fallback_from_an_artifact_that_was_asked_for(make_bundle: Any) -> None:
    folder = make_bundle(artifacts=2, program=b"no program" * 100)
    with pytest.raises(ArtifactError, match="does not load"):
        load(folder, artifact="xnnpack-int8")


def test_failed_self_test_names_error_and_tolerance(make_bundle: Any, tiny_program: Any) -> None:
    folder = make_bundle()
    with np.load(folder / "golden.npz") as golden:
        content = dict(golden)
    content["xnnpack-int8/pred_actor"] = content["xnnpack-int8/pred_actor"] + 0.25
    damage_golden(folder, content)
    with pytest.raises(
        ArtifactMismatchError, match=r"self-test .* is off by 0\.25, 0\.0001 is allowed"
    ):
        load(folder)
    assert load(folder, self_test=False)(tiny_program.clip)[1].shape == (1, 4)


def damage_golden(folder: Path, content: dict[str, Any]) -> None:
    """Replace the golden clip, and seal the bundle again as its export would."""
    data = io.BytesIO()
    np.savez(data, **content)
    seal_golden(folder, data.getvalue())


def seal_golden(folder: Path, data: bytes) -> None:
    import hashlib
    from dataclasses import replace

    from runtime.bundle_spec import GoldenClip

    path = folder / "golden.npz"
    path.write_bytes(data)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = replace(Bundle.load(folder).spec, golden=GoldenClip(file=path.name, sha256=digest))
    (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda c: c.pop("xnnpack-int8/pred_boxes"), "lacks", id="answer missing"),
        pytest.param(lambda c: c.pop("frames_rgb"), "lacks", id="frames missing"),
        pytest.param(
            lambda c: c.update({"xnnpack-int8/pred_actor": np.zeros(9, np.float32)}),
            "recorded",
            id="other tokens",
        ),
        pytest.param(
            lambda c: c.update({"xnnpack-int8/pred_actor": np.full(4, np.nan, np.float32)}),
            "off by nan",
            id="not a number",
        ),
        pytest.param(
            lambda c: c.update(frames_rgb=c["frames_rgb"][:, :-1]), "has frames", id="other size"
        ),
        pytest.param(
            lambda c: c.update(frames_rgb=c["frames_rgb"].astype(float)), "float64", id="no bytes"
        ),
    ],
)
def test_golden_clip_that_does_not_fit_is_refused(
    make_bundle: Any, change: Any, words: str
) -> None:
    folder = make_bundle()
    with np.load(folder / "golden.npz") as golden:
        content = dict(golden)
    change(content)
    damage_golden(folder, content)
    with pytest.raises(ArtifactMismatchError, match=words):
        load(folder)


def test_a_golden_clip_that_claims_to_be_huge_is_refused(make_bundle: Any) -> None:
    folder = make_bundle()
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(folder / "huge.npz", "w") as archive:
        archive.writestr("frames_rgb.npy", header.getvalue() + b"few")
    seal_golden(folder, (folder / "huge.npz").read_bytes())
    with pytest.raises(ArtifactError, match=r"golden\.npz cannot be read"):
        load(folder)


def test_pickle_in_the_golden_clip_is_not_opened(make_bundle: Any) -> None:
    folder = make_bundle()
    damage_golden(folder, {"frames_rgb": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ArtifactError, match="no plain arrays"):
        load(folder)


@pytest.mark.parametrize("file", ["xnnpack-int8.pte", "golden.npz"])
def test_one_changed_byte_is_refused_without_fallback(make_bundle: Any, file: str) -> None:
    folder = make_bundle(artifacts=2)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ArtifactMismatchError, match=rf"{file} .* SHA-256"):
        load(folder, artifact="xnnpack-int8" if file.endswith("pte") else None)


def test_program_of_another_model_is_refused(make_bundle: Any) -> None:
    with pytest.raises(ArtifactMismatchError, match="it is the program of another model"):
        load(make_bundle(num_tokens=7))


def test_no_engine_for_any_artifact_says_which_there_are(make_bundle: Any) -> None:
    foreign = artifacts(make_bundle(artifacts=2), target="vulkan")
    with pytest.raises(BackendUnavailableError, match=r"needs vulkan: .* Export one for .*xnnpack"):
        load_engine(Bundle.load(with_artifacts(make_bundle(artifacts=2), foreign)))


def with_artifacts(folder: Path, listed: tuple[Any, ...]) -> Path:
    from dataclasses import replace

    spec = replace(Bundle.load(folder).spec, artifacts=listed)
    (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    return folder


def test_a_device_that_was_asked_for_is_kept(
    make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle(artifacts=2)
    first, second = artifacts(folder)
    from dataclasses import replace

    with_artifacts(folder, (first, replace(second, target="gpu")))
    native = engine_module.ENGINES["xnnpack"]
    gpu = EngineKind(missing=lambda: None, load=native.load, device="cuda")
    monkeypatch.setattr(engine_module, "ENGINES", {"gpu": gpu, "xnnpack": native})
    assert load(folder, self_test=False).artifact.target == "gpu"
    assert load(folder, self_test=False, device="cuda").artifact.target == "gpu"
    cpu = load(folder, self_test=False, device="cpu")
    assert cpu.artifact.target == "xnnpack"
    assert "skipped: xnnpack-fp32 runs on cuda, not on cpu as asked" in cpu.reason
    with pytest.raises(BackendUnavailableError, match="int8 runs on cpu, not on cuda as asked"):
        load(folder, artifact="xnnpack-int8", device="cuda")
    with pytest.raises(ConfigError, match="'tpu' is not known; choose from: auto, cpu, cuda"):
        load(folder, device="tpu")


def test_preferred_target_wins_where_it_runs(
    make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle(artifacts=2)
    first, second = artifacts(folder)
    from dataclasses import replace

    with_artifacts(folder, (first, replace(second, target="accelerator")))
    native = engine_module.ENGINES["xnnpack"]
    missing = EngineKind(missing=lambda: "no device", load=native.load, device="cpu")
    monkeypatch.setattr(engine_module, "ENGINES", {"accelerator": missing, "xnnpack": native})
    without = load(folder, self_test=False)
    assert without.artifact.target == "xnnpack"
    assert "skipped: xnnpack-fp32 needs accelerator: no device" in without.reason
    present = EngineKind(missing=lambda: None, load=native.load, device="cpu")
    monkeypatch.setattr(engine_module, "ENGINES", {"accelerator": present, "xnnpack": native})
    assert load(folder, self_test=False).artifact.target == "accelerator"
