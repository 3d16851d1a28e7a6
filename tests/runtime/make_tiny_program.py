"""Export a tiny network with the outputs of a real one: argv is the .pte and the .npz to write.

Run as a program of its own, so that torch stays out of the test process.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

FRAMES, SIZE, TOKENS, CLASSES = 4, 32, 4, 3


def main(program: Path, record: Path) -> None:
    warnings.simplefilter("ignore")
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = torch.nn.Conv2d(3 * FRAMES, 16, 16, 16)
            self.box = torch.nn.Linear(16, 4)
            self.actor = torch.nn.Linear(16, 1)
            self.actions = torch.nn.Linear(16, CLASSES)

        def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x = self.patch(clip.reshape(1, 3 * FRAMES, SIZE, SIZE)).relu()
            x = x.flatten(2).transpose(1, 2)
            return self.box(x).sigmoid(), self.actor(x).squeeze(-1), self.actions(x)

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Tiny().eval()
    clip = torch.randn(1, FRAMES, 3, SIZE, SIZE)
    lowered = to_edge_transform_and_lower(
        torch.export.export(model, (clip,)), partitioner=[XnnpackPartitioner()]
    )
    program.write_bytes(lowered.to_executorch().buffer)
    with torch.no_grad():
        boxes, actor, actions = (output.numpy() for output in model(clip))
    np.savez(record, clip=clip.numpy(), pred_boxes=boxes, pred_actor=actor, pred_actions=actions)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
