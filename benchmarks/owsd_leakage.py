"""How re-identification and feature inversion grow with known pairs, and dFIL, beside the paper's 9,000 images a key.

Usage: OMP_NUM_THREADS=1 python benchmarks/owsd_leakage.py SOURCE --work DIR [--keys K] [--quick]. SOURCE has 10,000
images, such as the test images of CIFAR-10.

Encoder: EfficientNet-Lite0 with the ImageNet weights that install with pip (extra ``reproduce``), which reads images at
128 x 128. Scrambled images are 64 x 64, the size at which attacks read them. Keys are new in each run; all other draws
start from seed 0. DIR keeps embeddings and each finished key: a run that was stopped goes on.

* Images 0 to 4,999 are the candidates among which re-identification looks; the first 500 of them are attacked.
* Images 5,000 to 7,999 are known pairs.
* Images 8,000 to 9,999 are public: they calibrate the keys, and tell the way from embeddings to pixels.

Controls, with 1,000 pairs: fresh noise in place of scrambled images, and images that are not scrambled at all.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from _common import machine
from torch import Tensor, nn

from torchprotect import attacks, data, functional, keys

sys.path.append(str(Path(__file__).parents[1] / "examples" / "reproduce" / "owsd"))
from efficientnet_lite import MEAN, STD, open_efficientnet_lite

TARGETS, GALLERIES, KNOWN, PUBLIC = 500, (100, 1000, 5000), slice(5000, 8000), slice(8000, 10_000)
PAIRS, INVERTED, AUTOENCODED, CONTROLS = (10, 30, 100, 300, 1000, 3000), (30, 100, 300, 1000), (100, 1000), 1000
SIDE, READ_AT, CALIBRATION, EPOCHS, WIDTH = 64, 128, 256, 15, 16
FISHER_IMAGES, PROBES, SEED = 32, 8, 0

Row = dict[str, Any]


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last layer, of images in 0..1 that are resized first."""

    def __init__(self) -> None:
        super().__init__()
        self.network = open_efficientnet_lite("efficientnet-lite0")
        self.network._fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        resized = nn.functional.interpolate(images, (READ_AT, READ_AT), mode="bilinear", antialias=True)
        features: Tensor = self.network((resized - MEAN) / STD)
        return features


def load(source: str, work: Path, encoder: nn.Module) -> tuple[Tensor, Tensor]:
    """Return images and their embeddings; these are kept."""
    opened, path = data.open_source(source), work / "embeddings.safetensors"
    images = torch.stack([opened[index].image for index in range(PUBLIC.stop)])
    if not path.exists():
        safetensors.torch.save_file({"embeddings": functional.embed(images, encoder, batch_size=20)}, path)
    return images, safetensors.torch.load_file(path)["embeddings"]


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def links(features: Tensor, pairs: int, known: Tensor, target: Tensor) -> list[Row]:
    """Return the shares found at the first guess and among ten, in each gallery."""
    candidates, start = features[: GALLERIES[-1]], time.process_time()
    known_features = features[KNOWN][:pairs]
    result = attacks.ridge_reidentification(known_features, known[:pairs], target, candidates, k=len(candidates))
    seconds, rows = time.process_time() - start, []
    for gallery in GALLERIES:
        count = min(gallery, TARGETS)
        ranked = torch.stack([row[row < gallery] for row in result.guesses[:count]])
        within = attacks.LinkageResult(result.level, result.cost, ranked, ranked.float())
        score = attacks.score_linkage(within, torch.arange(count), (1, 10), candidates=gallery)
        found = {"top1": score.shares[0], "low": score.low[0], "high": score.high[0], "top10": score.shares[1]}
        rows.append({"pairs": pairs, "gallery": gallery, **found, "chance": score.chance[0], "cpu_seconds": seconds})
    return rows


def picture(attack: Callable[[], attacks.Reconstruction], truth: Tensor, **told: Any) -> Row:
    """Return how near rebuilt images are to the true ones."""
    start = time.process_time()
    result = attack()
    seconds, score = time.process_time() - start, attacks.score_reconstruction(result, truth)
    row = {**told, "rmse": score.mean_rmse, "low": score.rmse_interval[0], "high": score.rmse_interval[1]}
    if isinstance(result, attacks.FeatureInversionResult):
        row |= {name: getattr(result, name) for name in ("embeddings_explained", "pixels_explained")}
    return row | {"ssim": score.mean_ssim, "mean_image": score.rmse_chance, "cpu_seconds": seconds}


def measure(images: Tensor, embeddings: Tensor, encoder: nn.Module, quick: bool) -> Row:
    """Draw a key, and return all that is measured of it."""
    calibrating = embeddings[PUBLIC][:CALIBRATION]
    size = {"embedding_size": embeddings.shape[1], "image_size": (SIDE, SIDE)}
    key = keys.OWSDKey.generate(**size, embeddings=calibrating)
    truth, pixels = images[:TARGETS], images.flatten(1).float()
    target, known = (functional.owsd_scramble(each, key) for each in (embeddings[:TARGETS], embeddings[KNOWN]))
    small = nn.functional.adaptive_avg_pool2d(images.float(), 16).flatten(1)

    def inverted(seen: Tensor, aim: Tensor, pairs: int, features: Tensor) -> attacks.Reconstruction:
        given = features[KNOWN][:pairs], seen[:pairs], aim, features[PUBLIC], images[PUBLIC]
        return attacks.feature_inversion(*given)

    def autoencoded(pairs: int) -> attacks.Reconstruction:
        plain, options = images[KNOWN][:pairs], {"epochs": EPOCHS, "width": WIDTH, "generator": drawn()}
        return attacks.autoencoder_attack(plain, known[:pairs], target, **options)

    def of_noise(count: int) -> Tensor:
        return torch.randint(0, 256, (count, *known.shape[1:]), dtype=torch.uint8, generator=drawn())

    pairs = [each for each in PAIRS if not quick or each <= CONTROLS]
    noise, blank = of_noise(CONTROLS + TARGETS).split([CONTROLS, TARGETS])
    row: Row = {
        "with the encoder": [each for m in pairs for each in links(embeddings, m, known, target)],
        "without the encoder": [each for m in pairs for each in links(small, m, known, target)],
        "noise": links(embeddings, CONTROLS, noise, blank),
        "not scrambled": links(pixels, CONTROLS, images[KNOWN], truth),
        "feature inversion": [
            picture(lambda m=m: inverted(known, target, m, embeddings), truth, pairs=m) for m in INVERTED
        ],
        "autoencoder": [picture(lambda m=m: autoencoded(m), truth, pairs=m) for m in AUTOENCODED],
        "inversion of noise": picture(lambda: inverted(noise, blank, CONTROLS, embeddings), truth, pairs=CONTROLS),
        "inversion of pixels": picture(lambda: inverted(images[KNOWN], truth, CONTROLS, pixels), truth, pairs=CONTROLS),
    }
    start = time.process_time()
    leakage = attacks.diagonal_fisher_leakage(
        lambda batch: functional.owsd_values(batch, encoder, key),
        images[:FISHER_IMAGES],
        probes=PROBES,
        batch_size=8,
        generator=drawn(),
    )
    fields = ("mean_dfil", "mean_standard_error", "mean_rmse_bound", "noise")
    row["dFIL"] = {**{name: getattr(leakage, name) for name in fields}, "cpu_seconds": time.process_time() - start}
    row["dFIL"] |= {"rmse_bounds": [round(float(edge), 3) for edge in leakage.rmse_bound.aminmax()]}
    return row


def show(rows: list[Row]) -> None:
    """Print means over the keys, and the lowest and highest of them."""
    for name in ("with the encoder", "without the encoder", "noise", "not scrambled"):
        print(
            f"\n{name:<24}{'pairs':>8}{'gallery':>9}{'top-1':>9}{'lowest':>9}{'highest':>9}{'top-10':>9}{'chance':>9}"
        )
        for index, first in enumerate(rows[0][name]):
            top, ten = ([row[name][index][kind] for row in rows] for kind in ("top1", "top10"))
            told = (statistics.mean(top), min(top), max(top), statistics.mean(ten), first["chance"])
            print(f"{'':<24}{first['pairs']:>8,}{first['gallery']:>9,}" + "".join(f"{each:>9.2%}" for each in told))
    print(f"\n{'pictures':<24}{'pairs':>8}{'RMSE':>9}{'lowest':>9}{'highest':>9}{'SSIM':>9}{'mean im.':>9}{'CPU s':>9}")
    for name in ("feature inversion", "autoencoder", "inversion of noise", "inversion of pixels"):
        listed = [row[name] if isinstance(row[name], list) else [row[name]] for row in rows]
        for each in zip(*listed, strict=True):
            errors = [one["rmse"] for one in each]
            told = (statistics.mean(errors), min(errors), max(errors), statistics.mean(one["ssim"] for one in each))
            told += (each[0]["mean_image"], statistics.mean(one["cpu_seconds"] for one in each))
            print(f"{name:<24}{each[0]['pairs']:>8,}" + "".join(f"{number:>9.2f}" for number in told))
    for row in rows:
        print("dFIL", row["dFIL"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="no more than 1,000 pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    encoder = Encoder().eval()
    images, embeddings = load(arguments.source, arguments.work, encoder)
    rows = []
    for number in range(arguments.keys):
        path = arguments.work / f"key-{number}.json"
        if not path.exists():
            path.write_text(json.dumps(measure(images, embeddings, encoder, arguments.quick)))
        rows.append(json.loads(path.read_text()))
    show(rows)
    settings = {
        "images": len(images),
        "keys": arguments.keys,
        "seed": SEED,
        "encoder": f"EfficientNet-Lite0 at {READ_AT}",
    }
    settings |= {"scrambled": [SIDE, SIDE], "targets": TARGETS, "epochs": EPOCHS, "autoencoder_width": WIDTH}
    settings |= {"dfil_images": FISHER_IMAGES, "probes": PROBES, "public": PUBLIC.stop - PUBLIC.start}
    document = {"machine": machine(), "settings": settings, "keys": rows}
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
