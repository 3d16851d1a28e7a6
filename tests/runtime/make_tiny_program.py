"""Export a tiny network with the outputs of a real one: argv is the .pte and the .npz to write,
"whole" for a program without the methods of overlapping clips, and "plug-in" for one whose ReLUs
are left to the backend of tests/runtime/native/relu_backend.cc.

Run as a program of its own, so that torch stays out of the test process.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

FRAMES, STEP, SIZE, TOKENS, CLASSES = 4, 2, 32, 4, 3


def main(program: Path, record: Path, in_steps: bool, plug_in: bool) -> None:
    warnings.simplefilter("ignore")
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Stem(torch.nn.Module):
        """What sees one step of two frames."""

        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3 * STEP, 16, 16, 16)

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return self.patch(frames.reshape(-1, 3 * STEP, SIZE, SIZE)).relu()

    class Trunk(torch.nn.Module):
        """What sees the whole clip."""

        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Conv2d(16 * FRAMES // STEP, 16, 1)
            self.box = torch.nn.Linear(16, 4)
            self.actor = torch.nn.Linear(16, 1)
            self.actions = torch.nn.Linear(16, CLASSES)

        def forward(self, steps: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x = self.mix(steps.reshape(1, -1, *steps.shape[2:])).flatten(2).transpose(1, 2)
            return self.box(x).sigmoid(), self.actor(x).squeeze(-1), self.actions(x)

    class Whole(torch.nn.Module):
        def __init__(self, stem: Stem, trunk: Trunk) -> None:
            super().__init__()
            self.stem, self.trunk = stem, trunk

        def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs: tuple[torch.Tensor, ...] = self.trunk(self.stem(clip))
            return outputs

    torch.manual_seed(0)
    torch.set_num_threads(1)
    stem, trunk = Stem().eval(), Trunk().eval()
    model = Whole(stem, trunk).eval()
    clip = torch.randn(1, FRAMES, 3, SIZE, SIZE)
    methods: dict[str, tuple[torch.nn.Module, torch.Tensor]] = {"forward": (model, clip)}
    if in_steps:
        methods["stem"] = (stem, clip[0, :STEP])
        methods["trunk"] = (trunk, torch.randn(FRAMES // STEP, 16, SIZE // 16, SIZE // 16))
    lowered = to_edge_transform_and_lower(
        {name: torch.export.export(part, (example,)) for name, (part, example) in methods.items()},
        partitioner={
            name: [relu_partitioner() if plug_in else XnnpackPartitioner()] for name in methods
        },
    )
    program.write_bytes(lowered.to_executorch().buffer)
    with torch.no_grad():
        boxes, actor, actions = (output.numpy() for output in model(clip))
    np.savez(record, clip=clip.numpy(), pred_boxes=boxes, pred_actor=actor, pred_actions=actions)


def relu_partitioner() -> Any:
    """Return what hands each ReLU to a backend that is called VulkanBackend."""
    from executorch.exir.backend.backend_details import BackendDetails, PreprocessResult
    from executorch.exir.backend.partitioner import DelegationSpec, Partitioner, PartitionResult

    class VulkanBackend(BackendDetails):
        @staticmethod
        def preprocess(edge_program: Any, compile_specs: Any) -> PreprocessResult:
            return PreprocessResult(processed_bytes=b"relu")

    class ReluPartitioner(Partitioner):
        def partition(self, exported_program: Any) -> PartitionResult:
            tags = {}
            for node in exported_program.graph.nodes:
                if "aten.relu" in str(node.target):
                    node.meta["delegation_tag"] = tag = f"relu_{len(tags)}"
                    tags[tag] = DelegationSpec(VulkanBackend.__name__, [])
            return PartitionResult(tagged_exported_program=exported_program, partition_tags=tags)

    return ReluPartitioner()


if __name__ == "__main__":
    options = sys.argv[3:]
    main(Path(sys.argv[1]), Path(sys.argv[2]), "whole" not in options, "plug-in" in options)
