"""The table of a bundle's artifacts, as `edge export` prints it and `edge info` prints it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.bundle_spec import DEFAULT_ACTION_CONF, ActionThreshold, Artifact, BundleSpec
from runtime.engines import ENGINES

HEADER = (
    "artifact", "precision", "MB", "delegated", "box error", "actor error", "action error",
    "mAP (to float, clips)", "θ", "run at export", "runs here",
)  # fmt: skip


def artifact_table(spec: BundleSpec) -> list[str]:
    """Return lines: a row per artifact, then each target that was asked for and not made.

    Errors are means over the clips of the export, against the float model in torch: boxes as a
    share of the frame, scores as logits. mAP is frame-mAP@0.5 by the artifact's own engine, how far
    it is from the float model's on the same clips, and how many clips that were, where the export
    was given labelled ones. What torch answered in the place of an engine says so.
    """
    table = [HEADER, *(_row(artifact) for artifact in spec.artifacts)]
    lines = _aligned(table)
    for artifact in spec.artifacts:
        if artifact.parity.get("ran") is False:
            why = artifact.parity.get("not_run", "no engine")
            lines.append(
                f"{artifact.stem}: exported, not run at export ({why}): errors and what is marked "
                "torch are of its graph as torch runs it"
            )
        guessed = guessed_threshold(artifact)
        if guessed is not None and spec.trained:
            lines.append(f"{artifact.stem}: {guessed}")
    lines += [f"{target}: NOT MADE: {why}" for target, why in spec.not_made.items()]
    return lines


def action_table(spec: BundleSpec) -> list[str]:
    """Return lines: from which p(action) on each artifact's results name each action.

    A bundle without thresholds of its own takes one line.
    """
    fitted = [artifact for artifact in spec.artifacts if artifact.action_thresholds]
    if not fitted and any(artifact.threshold is not None for artifact in spec.artifacts):
        return [
            f"actions are named from p(action) {DEFAULT_ACTION_CONF} on: of none of them the "
            "labelled clips show enough people who do it and who do not (10 each)"
        ]
    if not fitted:
        return [
            f"actions are named from p(action) {DEFAULT_ACTION_CONF} on; a threshold for each is "
            "fitted with --val-data (edge export, edge calibrate --threshold)"
        ]
    table = [("named from p(action)", *(artifact.stem for artifact in fitted))]
    for name in spec.class_names:
        own = [artifact.action_thresholds.get(name) for artifact in fitted]
        table.append((name, *(map(_action, own))))
    lines = _aligned(table)
    if any(len(a.action_thresholds) < len(spec.class_names) for a in fitted):
        lines.append(
            f"too few: the labelled clips show too few people who do it, or who do not; so "
            f"{DEFAULT_ACTION_CONF}"
        )
    if len(fitted) < len(spec.artifacts):
        rest = ", ".join(a.stem for a in spec.artifacts if not a.action_thresholds)
        lines.append(f"{rest}: every action from {DEFAULT_ACTION_CONF}")
    return lines


def _action(own: ActionThreshold | None) -> str:
    if own is None:
        return f"{DEFAULT_ACTION_CONF:.3f} (too few)"
    return f"{own.conf:.3f} (F1 {own.f1:.2f}, {own.doing} do)"


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def guessed_threshold(artifact: Artifact) -> str | None:
    """Return what a threshold that no labels were there for means; None where it was fitted."""
    if artifact.threshold is not None:
        return None
    return (
        f"θ {artifact.conf:.3f} was chosen without labelled clips, so that a few tokens of each "
        "clip pass: expect false alarms or missed people"
    )


def fit_command(bundle: object) -> str:
    """Return the command that fits the thresholds of a bundle's artifacts to labelled clips."""
    return f"edge calibrate --threshold --model {bundle} --val-data DATA"


def runs_here(artifact: Artifact) -> str:
    """Return "yes", or "no" and why."""
    kind = ENGINES.get(artifact.target)
    try:
        missing = "no such engine" if kind is None else kind.missing()
    except ImportError:
        missing = "the native module does not import"
    return "yes" if missing is None else f"no: {missing}"


def _row(artifact: Artifact) -> tuple[str, ...]:
    errors: dict[str, Any] = artifact.parity.get("mean_abs", {})
    clips = artifact.parity.get("clips", 0)
    ran = artifact.parity.get("ran", clips > 0)
    return (
        artifact.stem,
        artifact.precision,
        f"{artifact.size_bytes / 1e6:.2f}",
        _delegated(artifact),
        *(_error(errors.get(name)) for name in ("pred_boxes", "pred_actor", "pred_actions")),
        _accuracy(artifact.accuracy or {}),
        f"{artifact.conf:.3f}{_origin(artifact)}",
        f"yes, {clips} clips" if ran and clips else "NO",
        runs_here(artifact),
    )


def _origin(artifact: Artifact) -> str:
    """Return how far θ is to be trusted."""
    by_torch = artifact.parity.get("conf_by") == "torch"
    words = (["no labels"] if artifact.threshold is None else []) + (["torch"] if by_torch else [])
    return f" ({', '.join(words)})" if words else ""


def _delegated(artifact: Artifact) -> str:
    share, calls = artifact.delegated.get("share"), artifact.delegated.get("calls")
    if share is None:
        return "whole"  # an engine without delegates takes a program whole or not at all
    return f"{share:.1%} in {calls}"


def _accuracy(accuracy: dict[str, Any]) -> str:
    """Return the frame-mAP with what it can be compared with: -0.0028 of float, on 500 clips."""
    found, truth = (accuracy.get(name) for name in ("frame_map_50", "float_frame_map_50"))
    if found is None:
        return "-"
    beside = [] if truth is None else [f"{found - truth:+.4f}"]
    beside += [str(accuracy["clips"])] if "clips" in accuracy else []
    beside += ["torch"] if accuracy.get("simulated") else []
    return f"{found:.4f} ({', '.join(beside)})" if beside else f"{found:.4f}"


def _error(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else "?"
