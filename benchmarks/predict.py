"""What predictions and matched networks cost beside what they are made of.

Usage: OMP_NUM_THREADS=1 python benchmarks/predict.py. Prints medians and ratios of one interleaved run:

* a ``Predictor`` on batches of 64 bundled photographs, against preparation, normalisation and network alone;
* a vision transformer of the size of ViT-S/16 on batches of 32, matched to a key with one matrix for all positions, and
  with a matrix for each, against the original;
* seconds that matching takes.
"""

import argparse
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _common import interleave, report
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from torchprotect import data, demo, keys, predict, transforms
from torchprotect.errors import KeyInWeightsWarning

SIZES = {"image_size": (224, 224), "block_size": (16, 16)}
PREPARE = data.Preparation(exif=True, mode="rgb", resize=224, crop=(224, 224))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def transformer(hidden: int = 384, heads: int = 6, layers: int = 12) -> nn.Module:
    sizes = {"hidden_dim": hidden, "num_heads": heads, "num_layers": layers, "mlp_dim": 4 * hidden}
    return VisionTransformer(image_size=224, patch_size=16, num_classes=7, **sizes).eval()


def predictor_cases(folder: Path) -> dict[str, object]:
    """Return a predictor's work on a batch of pictures, and the same without disguise and renaming."""
    bundle = keys.KeyBundle(
        keys.RMTKey.generate(**SIZES), keys.PermutationKey.generate(**SIZES), keys.LabelKey.generate(classes=7)
    )
    network = transformer(192, 3)
    recipe = data.Recipe.of_disguise(transforms.from_key(bundle), key=bundle, preparation=PREPARE, scale=255)
    predict.save(network, folder / "model", like=recipe, mean=MEAN, std=STD)
    predictor = predict.Predictor.load(folder / "model", key=bundle, network=network)
    disguiser = data.Disguiser(recipe, key=bundle)
    files = sorted(Path(demo.PHOTOGRAPHS).rglob("*.jpg"))[:64]
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (MEAN, STD))

    @torch.inference_mode()
    def alone() -> Tensor:
        plain = torch.stack([disguiser.prepare(file) for file in files])
        return network((plain / 255 - mean) / std)

    return {"preparation and network": alone, "Predictor": lambda: predictor.scores(files)}


def matched_cases() -> tuple[dict[str, object], dict[str, float]]:
    """Return a network and its matched copies on one batch, and the seconds that matching took."""
    network, images = transformer(), torch.rand(32, 3, 224, 224)
    own, order = keys.RMTKey.generate(**SIZES), keys.PermutationKey.generate(**SIZES)
    shared = keys.RMTKey.generate(**SIZES, shared=True)
    cases, seconds = {"original": network}, {}
    for name, key in {"one matrix": shared, "a matrix for each position": own}.items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KeyInWeightsWarning)
            disguise = transforms.from_key(keys.KeyBundle(key, order))
            cases[name] = predict.match_key(network, disguise, mean=MEAN, std=STD)
        seconds[name] = time.perf_counter() - start

    def on_images(made: nn.Module) -> object:
        return torch.inference_mode()(lambda: made(images))

    return {name: on_images(made) for name, made in cases.items()}, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        compare("64 photographs, a transformer of ViT-Ti/16", predictor_cases(Path(folder)), arguments)
    cases, seconds = matched_cases()
    compare("32 images, a transformer of ViT-S/16", cases, arguments)
    print(", ".join(f"matching, {name}: {each:.1f} s" for name, each in seconds.items()))


def compare(title: str, cases: dict[str, object], arguments: argparse.Namespace) -> None:
    report(title, interleave(cases, arguments.rounds), next(iter(cases)), None)


if __name__ == "__main__":
    main()
