"""Where the time of a training step goes, and what matching costs of it.

`python -m benchmarks.matching` times each stage of the step that `edge train` takes, on clips of
the benchmark world. Each stage waits for the device, so on a GPU their sum is more than a step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edge.data.registry import open_dataset
from edge.model.variants import build_model
from edge.training.criterion import SetCriterion
from edge.training.ema import AveragedModel
from edge.training.launch import choose_device
from edge.training.schedule import optimizer_of
from edge.training.step import channels_innermost
from edge.training.targets import Normalize, collate, pack
from runtime.report import write_report

STAGES = (
    "make clips", "pixels to floats", "forward", "matching", "losses", "backward", "optimizer",
    "average",
)  # fmt: skip
# Making clips is work of other processes, so a step is all the rest.
STEP = STAGES[1:]


class Stopwatch:
    """Times named stages, waiting for the device at the end of each."""

    def __init__(self, device: torch.device) -> None:
        """Start with no times."""
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        begin = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name].append(time.perf_counter() - begin)

    def medians_ms(self) -> dict[str, float]:
        """Return the median of each stage, ms; the first step is a warm-up."""
        return {name: 1000 * statistics.median(values[1:]) for name, values in self.seconds.items()}


def measure(variant: str, *, batch: int, steps: int, device: torch.device) -> dict[str, float]:
    """Take `steps` training steps and return the median time of each stage, ms."""
    shape = build_model(variant, num_classes=1, seed=0).config.clip
    dataset = open_dataset(f"synthetic-train:{batch * (steps + 1)}", shape)
    classes = len(dataset.class_names)
    model = build_model(variant, num_classes=classes, seed=0)
    channels_innermost(model.to(device).train())
    normalize, criterion = Normalize(model.config, device), SetCriterion()
    optimizer = optimizer_of(model, lr=1e-3, weight_decay=0.05)
    average = AveragedModel(model, 0.999)
    watch = Stopwatch(device)
    precision = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    for step in range(steps + 1):
        with watch.stage("make clips"):
            part = collate([dataset[step * batch + i] for i in range(batch)])
        with watch.stage("pixels to floats"):
            clip = normalize(part.frames.to(device))
            targets = pack(part.targets, classes, device)
        with watch.stage("forward"), precision:
            outputs = model(clip)
        outputs = {name: value.float() for name, value in outputs.items()}
        with watch.stage("matching"):
            matches = criterion.matcher(outputs, targets)
        with watch.stage("losses"):
            parts = criterion.compare(outputs, targets, matches)
            loss = torch.stack(list(parts.values())).sum() / max(1, targets.num_people)
        with watch.stage("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with watch.stage("optimizer"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with watch.stage("average"):
            average.update(model, step)
    return watch.medians_ms()


def main() -> None:
    """Measure, print the table, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="+", default=["pico", "nano"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    times = {
        variant: measure(variant, batch=args.batch, steps=args.steps, device=device)
        for variant in args.variants
    }
    rows = [["stage", *(f"{v}: ms (share of a step)" for v in times)]]
    totals = {variant: sum(stages[name] for name in STEP) for variant, stages in times.items()}
    for name in STAGES:
        cells = [
            f"{stages[name]:.1f} ({100 * stages[name] / totals[variant]:.1f} %)"
            for variant, stages in times.items()
        ]
        rows.append([name, *cells])
    rates = [f"{1000 * args.batch / totals[v]:.1f} clips/s" for v in times]
    rows.append(["a step, without making clips", *rates])
    variants = " ".join(args.variants)
    text = write_report(
        args.out, "matching", title="Where the time of a training step goes",
        table=rows,
        command=f"python -m benchmarks.matching --variants {variants} --batch {args.batch} "
                f"--steps {args.steps} --threads {args.threads} --device {device}",
        content={"batch": args.batch, "device": str(device), "median_ms": times,
                 "matching_share": {v: t["matching"] / totals[v] for v, t in times.items()}},
    )  # fmt: skip
    print(text)


if __name__ == "__main__":
    main()
