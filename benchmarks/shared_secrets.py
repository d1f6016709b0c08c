"""What attacks gain where all positions share one secret, beside a secret for each position.

Usage: OMP_NUM_THREADS=1 python benchmarks/shared_secrets.py ROOT [--images N] [--keys K]. ROOT has MNIST/raw and
FashionMNIST/raw.

Test images are exported under own and under shared secrets, with blocks in the same secret order, and audited with fast
settings: half of them are attacked, the others are public. Keys are new in each run; the audit's draws start from one
seed. The images are the last ones of the test sets: what attacks compare was chosen with the first 8,000.
"""

import argparse
import json
import statistics
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from _common import machine

from torchprotect import audit, data, keys, transforms
from torchprotect.attacks import Level, Scheme, codebook_attack
from torchprotect.attacks.disguise._alignment import aligned
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.errors import PixelScaleWarning

SIZE = (28, 28)
SOURCES = {"MNIST": "mnist:{}:test", "Fashion-MNIST": "fashion-mnist:{}:test"}
DISGUISES = {
    "AES 4 x 4": (keys.AESKey, (4, 4), {}),
    "RMT 7 x 7, u = 0": (keys.RMTKey, (7, 7), {}),
    "RMT 7 x 7, u = 100": (keys.RMTKey, (7, 7), {"noise": 100.0}),
}
PAIRS = (1, 5, 20, 100)
TOLD = ("train_images", "epochs", "targets", "inversion_pairs", "inversion_epochs")
SETTINGS = audit.Settings(
    trainings=1, train_images=1500, epochs=2, targets=200, pairs=PAIRS, inversion_pairs=200, inversion_epochs=2
)


Cells = dict[str, float]
Labelled = list[tuple[torch.Tensor, int]]


def load(spec: str, count: int) -> Labelled:
    source = data.open_source(spec)
    samples = [source[index] for index in range(len(source) - count, len(source))]
    return [(sample.image, sample.label) for sample in samples]


def compare(images: Labelled, disguise: str) -> Iterator[Cells]:
    """Yield what leaks under own secrets, then under a shared one, with blocks in one order."""
    kind, block, options = DISGUISES[disguise]
    sizes = {"image_size": SIZE, "block_size": block}
    order = keys.PermutationKey.generate(**sizes)
    for shared in (False, True):
        key = keys.KeyBundle(kind.generate(**sizes, shared=shared), order)
        transform = transforms.from_key(key, **options)
        beside = code_words(images, transform) if kind is keys.AESKey else rebuilt(images, transform) if shared else {}
        yield cells(audit_of(images, key, transform)) | beside


def audit_of(images: Labelled, key: keys.KeyBundle, transform: torch.nn.Module) -> audit.Report:
    """Export images, and audit the export."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        data.export(images, out, transform=transform, key=key)
        return audit.run(out, plain=images, key=key, settings=SETTINGS)


def cells(report: audit.Report) -> Cells:
    """Return the leakage of each attack, at each number of known pairs; of units, shares."""
    found: Cells = {
        f"level {level.value}": value
        for level in Level
        if level < Level.CHOSEN_PLAINTEXT and (value := report.leakage(level)) is not None
    }
    for finding in report.findings:
        if (repeating := finding.facts.get("unit_share")) is not None:
            found["units that repeat"] = repeating
        points = {f", {point.pairs} pairs": point.measure.leakage for point in finding.curve} or {"": finding.leakage}
        found |= {finding.called + pairs: value for pairs, value in points.items() if value is not None}
    return {name: round(value, 3) for name, value in found.items()}


def code_words(images: Labelled, disguise: transforms.AESECBDisguise) -> Cells:
    """Return which share of the units that are not even a codebook reads, if the order of the blocks is known."""
    plain = torch.stack([image for image, _ in images])
    disguised, scheme = disguise(plain), Scheme.of(disguise.describe())
    order = disguise.permutation.order
    target, found = disguised[len(plain) // 2 :], {}
    for pairs in (5, 100, 1000):
        result = codebook_attack(plain[:pairs], disguised[:pairs], target, scheme=scheme, order=order)
        found[f"code words known, {pairs} pairs"] = round(result.hit_rate_non_constant, 4)
    return found


def rebuilt(images: Labelled, disguise: transforms.RMTDisguise) -> Cells:
    """Return the RMS error, in grey levels, of pixels by the one matrix that public images alone tell."""
    plain = torch.stack([image for image, _ in images])
    public, attacked = plain[::2], plain[1::2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelScaleWarning)  # images stay on 0..255
        disguised = undo_order(disguise(attacked), disguise.permutation.order, disguise.key.block_size)
    reading = Reading(Scheme.of(disguise.describe()))
    known, seen = reading.lines(public, disguised)
    wrong = aligned(known, seen, reading.scheme) - reading.lines(attacked, disguised)[0]
    return {"grey levels wrong, no pairs": round(float(wrong.square().mean().sqrt()), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--keys", type=int, default=1, help="keys of each kind; means are printed")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    table: dict[str, dict[str, dict[str, list[Cells]]]] = {}
    for name, spec in SOURCES.items():
        images = load(spec.format(arguments.root), arguments.images)
        for disguise in DISGUISES:
            runs = [tuple(compare(images, disguise)) for _ in range(arguments.keys)]
            own, shared = (list(each) for each in zip(*runs, strict=True))
            table.setdefault(name, {})[disguise] = {"own": own, "shared": shared}
            show(f"{name}, {disguise}, {arguments.images:,} images, {arguments.keys} keys", own, shared)
    settings = {"images": arguments.images, "keys": arguments.keys, **{name: getattr(SETTINGS, name) for name in TOLD}}
    document = {"machine": machine(), "settings": settings, "leakage": table}
    arguments.out.write_text(json.dumps(document, indent=2) + "\n")


def show(title: str, own: list[Cells], shared: list[Cells]) -> None:
    """Print means over the keys."""
    print(f"\n{title:<52}{'own':>9}{'shared':>9}")
    for name in shared[0]:
        form = ".2f" if name.startswith("grey levels") else ".1%"
        means = (statistics.mean(cells[name] for cells in each) if name in each[0] else None for each in (own, shared))
        columns = "".join("        -" if mean is None else f"{mean:>9{form}}" for mean in means)
        print(f"{name:<52}{columns}", flush=True)


if __name__ == "__main__":
    main()
