"""What a pretrained convolutional network makes of disguised photographs: it cannot be matched to a key.

Usage: OMP_NUM_THREADS=1 python benchmarks/convolutions.py "imagenet-samples/val-{000000..000001}.tar" [--images N]

EfficientNet-Lite0 with the ImageNet weights that install with pip (extra ``reproduce``) classifies photographs as they
are, and disguised in blocks that are multiples of its strides. Its first layer is a convolution of 3 x 3 pixels with
stride 2, whose windows cross the edges of blocks; ``match_key`` refuses it.
"""

import argparse
import sys
from pathlib import Path

import torch
from _common import machine
from torch import Tensor, nn

from torchprotect import data, keys, predict, transforms
from torchprotect.errors import ModelError
from torchprotect.training import evaluate

sys.path.append(str(Path(__file__).parents[1] / "examples" / "reproduce" / "owsd"))
from efficientnet_lite import MEAN, STD, open_efficientnet_lite

SIZE = (224, 224)
PREPARE = data.Preparation(mode="rgb", resize=224, crop=SIZE)


def load(source: str, count: int) -> tuple[Tensor, Tensor]:
    """Return evenly spaced photographs, float32 in 0..1, and their labels."""
    opened = data.open_source(source).prepared(PREPARE)
    count = min(count, len(opened))
    samples = [opened[index * len(opened) // count] for index in range(count)]
    return torch.stack([sample.image for sample in samples]) / 255, torch.tensor([sample.label for sample in samples])


def disguises() -> dict[str, nn.Module]:
    def sizes(block: int) -> dict[str, tuple[int, int]]:
        return {"image_size": SIZE, "block_size": (block, block)}

    made: dict[str, nn.Module] = {"plain": nn.Identity()}
    for block in (112, 56, 32, 16):
        made[f"BlockPermute, {block} x {block}"] = transforms.BlockPermute(keys.PermutationKey.generate(**sizes(block)))
    made["RMTDisguise, 16 x 16, not permuted"] = transforms.RMTDisguise(keys.RMTKey.generate(**sizes(16)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    network, (images, labels) = open_efficientnet_lite("efficientnet-lite0"), load(arguments.source, arguments.images)
    print(machine(), f"{len(images)} images")
    for name, disguise in disguises().items():
        accuracy = evaluate(network, ((disguise(images) - MEAN) / STD, labels), batch_size=50)
        print(f"{name:<36}{accuracy:8.1%}", flush=True)
    try:
        predict.match_key(network, disguise, mean=MEAN, std=STD)
    except ModelError as error:
        print(f"match_key: {error}")


if __name__ == "__main__":
    main()
