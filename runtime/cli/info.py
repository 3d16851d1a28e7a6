"""`edge info BUNDLE`: print what is in a bundle, after verifying every byte of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.artifact_table import action_table, artifact_table
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.bundle_spec import FED
from runtime.cli import say
from runtime.cli.machine import probe_lines
from runtime.model_files import what_is
from runtime.options import OptionParser, option
from runtime.probes import local_probes


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoOptions:
    """Flags of `edge info`."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    json: bool = option(False, "print bundle.json as one line instead of a table")


def main(argv: Sequence[str]) -> int:
    """Print a bundle's facts; fails where a file is missing or damaged."""
    parser = OptionParser(prog="edge info", description=__doc__)
    # `edge info bundle/` reads better than `edge info --model bundle/`; both work.
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        argv.insert(0, "--model")
    options = parser.parse_into(InfoOptions, argv)
    path = Path(options.model)
    if path.is_file() and (kind := what_is(path)) is not None:
        say(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {kind}")
        return 0
    with Bundle.load(path) as bundle:
        bundle.verify()
        if options.json:
            say(json.dumps(bundle.spec.to_dict()))
        else:
            for line in [*describe(bundle), "", *describe_machine()]:
                say(line)
    return 0


def describe(bundle: Bundle) -> list[str]:
    """Return the lines that `edge info` prints for a bundle."""
    spec = bundle.spec
    clip = spec.clip
    span = clip.num_frames * clip.period_s
    rows = [
        ("bundle", f"{spec.name} ({spec.variant}), schema {spec.schema_version}, {bundle.path}"),
        ("weights", "trained" if spec.trained else "UNTRAINED: its detections mean nothing"),
        ("note", spec.note),
        ("clip", f"{clip.num_frames} frames, every {clip.sampling_rate} at {clip.fps:g} fps "
                 f"= {span:.2f} s"),
        ("input", f"{clip.width}x{clip.height} {FED['colour']}, mean {_numbers(clip.mean)}, "
                  f"std {_numbers(clip.std)}, resize {FED['resize']}, {FED['layout']} "
                  f"{FED['dtype']}"),
        ("tokens", f"{spec.num_tokens} ({spec.token_selection})"),
        ("classes", f"{len(spec.class_names)}: {', '.join(spec.class_names)}"),
    ]  # fmt: skip
    lines = [f"{name:<8} {text}" for name, text in rows if text]
    lines += ["", *artifact_table(spec), "", *action_table(spec)]
    lines.append("")
    lines.append("every file checked: SHA-256 as described")
    return lines


def describe_machine() -> list[str]:
    """Return the lines of what this machine's probes see."""
    lines = probe_lines(local_probes())
    width = max((len(name) for name in lines), default=0)
    return ["this machine:", *(f"  {name:<{width}}  {text}" for name, text in lines.items())]


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{v:g}" for v in values)
