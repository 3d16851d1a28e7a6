"""A bundle around a cached program: what the runtime loads is what it always loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._engines.artifacts import facts_of

if TYPE_CHECKING:
    from benchmarks._engines.networks import Network
    from runtime.bundle import Bundle

# The golden answer is this very machine's own; nothing but noise of threads is between them.
_SELF_TEST = 1e-2


def bundle_program(network: Network, program: Path, precision: str, out: Path) -> Bundle:
    """Write a bundle with one program of a network.

    Args:
        network: Its model says names, clip and preprocess.
        program: The `.pte`, as `benchmarks._engines.artifacts` keeps it.
        precision: `int8` or `fp32`.
        out: Folder to make.
    """
    from edge.model.bmvit import BMViT
    from edge.model.checkpoint import Checkpoint
    from export.bundle import Part, write_bundle
    from export.clips import drawn_clips
    from export.verify import run_program
    from runtime.bundle_spec import OUTPUTS, Artifact
    from runtime.preprocess import normalize

    model, facts = network.model, facts_of(program)
    assert isinstance(model, BMViT)
    config = model.config
    content, file = program.read_bytes(), f"xnnpack-{precision}.pte"
    golden_rgb = drawn_clips(config, 1)[0]
    clip = normalize(golden_rgb, config.clip)
    outputs = run_program(content, [np.ascontiguousarray(clip)], name=file)
    artifact = Artifact(
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        target="xnnpack",
        precision=precision,
        conf=0.5,
        made_with=facts["versions"],
        delegated=facts["delegation"],
        parity={},
        self_test_tolerance=dict.fromkeys(OUTPUTS, _SELF_TEST),
    )
    checkpoint = Checkpoint(
        model=model,
        config=config,
        class_names=tuple(f"action {i}" for i in range(config.num_classes)),
        trained=False,
        note="for a benchmark: random weights",
    )
    return write_bundle(
        out,
        checkpoint=checkpoint,
        name=f"{network.name}-{precision}",
        parts=[Part(artifact=artifact, program=content, golden=outputs)],
        golden_rgb=golden_rgb,
    )
