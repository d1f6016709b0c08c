"""How much a training loop costs beside what it cannot do without.

A ResNet-9 on images of 3 x 32 x 32 with shifts and mirroring, in the precision that the processor is fast in:
``training.fit`` for an epoch, beside the bare forward and backward passes over batches that are ready, and beside
reading the batches alone.

Usage: python benchmarks/training.py [--width W] [--images N] [--rounds R] [--device cuda] [--out FILE.json]
"""

import argparse
import contextlib
import json
import statistics
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "reproduce"))

from _common import cuda_clock, interleave, machine, wall_clock
from common.images import Images
from common.resnet9 import resnet9
from common.trainings import TRAININGS, Augmented

from torchprotect import training


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    how, device = TRAININGS["one-cycle"], torch.device(given.device)
    images = Images(torch.randint(256, (given.images, 3, 32, 32)).byte(), torch.randint(10, (given.images,)))
    batches = Augmented(images, how.batch, device)
    ready = [(part.contiguous(memory_format=torch.channels_last), labels) for part, labels in batches]
    model = resnet9(3, 10, given.width).to(device, memory_format=torch.channels_last)
    precision = training.fast_precision(device)

    def passes() -> None:
        model.train().to(memory_format=torch.channels_last)
        half = contextlib.nullcontext() if precision is None else torch.autocast(device.type, precision)
        for part, labels in ready:
            model.zero_grad(set_to_none=True)
            with half:
                scores = model(part)
            nn.functional.cross_entropy(scores.float(), labels).backward()

    def fit(**options: object) -> None:
        training.fit(model, batches, epochs=1, recipe=how.recipe, **options)  # type: ignore[arg-type]

    cases = {
        "fit": lambda: fit(precision=precision, channels_last=True),
        "bare passes": passes,
        "reading": lambda: list(batches),
        "fit, float32": lambda: fit(channels_last=True),
        "fit, float32, contiguous": lambda: (model.to(memory_format=torch.contiguous_format), fit()),
    }
    clock = cuda_clock if device.type == "cuda" else wall_clock
    seconds = interleave(cases, given.rounds, clock=clock)
    ratios = [a / (b + c) for a, b, c in zip(seconds["fit"], seconds["bare passes"], seconds["reading"], strict=True)]
    for name, each in seconds.items():
        print(f"{name}: {1000 * statistics.median(each) / given.images:.2f} ms an image")
    print(f"fit over bare passes and reading: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    if given.out:
        about = {**machine(), "precision": str(precision), "width": given.width, "images": given.images}
        given.out.write_text(json.dumps({"about": about, "seconds": seconds, "ratio": ratios}, indent=1) + "\n")


if __name__ == "__main__":
    main()
