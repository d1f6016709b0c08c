"""Export speed: our exports beside a bare ``webdataset.ShardWriter`` loop over the same plain images.

Usage: python benchmarks/export.py SOURCE [--rounds N] [--json FILE]; SOURCE as for `torchprotect export`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import webdataset
from _common import interleave, report

from torchprotect import data, keys, transforms
from torchprotect.demo._blocks import choose_block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()

    source = data.open_source(arguments.source)
    size = tuple(source[0].image.shape[-2:])
    fit = {"image_size": size, "block_size": choose_block(size, 16)}
    order, labels = keys.PermutationKey.generate(**fit), keys.LabelKey.generate(classes=1000)
    aes = keys.KeyBundle(keys.AESKey.generate(**fit), order, labels)
    rmt = keys.KeyBundle(keys.RMTKey.generate(**fit), order, labels)
    permute = keys.KeyBundle(order, None, labels)
    folder = Path(tempfile.mkdtemp())

    def bare() -> None:
        (folder / "bare").mkdir()
        with webdataset.ShardWriter(str(folder / "bare" / "s-%06d.tar"), maxcount=1000, verbose=0) as writer:
            for index in range(len(source)):
                image, label = source[index]
                pixels = image.movedim(0, -1).squeeze(-1).numpy()
                writer.write({"__key__": f"{index:08d}", "png": pixels, "cls": label})
        shutil.rmtree(folder / "bare")

    def export(bundle: keys.KeyBundle, workers: int, **options: object) -> None:
        transform = transforms.from_key(bundle, **options)
        data.export(source, folder / "out", transform=transform, key=bundle, workers=workers)
        shutil.rmtree(folder / "out")

    cases = {
        "bare webdataset.ShardWriter, plain PNG": bare,
        "AES, in this process": lambda: export(aes, 0),
        "AES, 1 worker": lambda: export(aes, 1),
        "AES, 2 workers": lambda: export(aes, 2),
        "AES, units of 2 pixels, 1 worker": lambda: export(aes, 1, unit_pixels=2),
        "BlockPermute, 1 worker": lambda: export(permute, 1),
        "RMT with noise, 1 worker": lambda: export(rmt, 1, noise=25.0),
    }
    seconds = interleave(cases, arguments.rounds)
    shutil.rmtree(folder)
    report(f"export of {len(source):,} images {size[0]} x {size[1]}", seconds, next(iter(cases)), arguments.json)
    one, two = seconds["AES, 1 worker"], seconds["AES, 2 workers"]
    ratios = sorted(a / b for a, b in zip(one, two, strict=True))
    print(f"\ntwo workers: {ratios[len(ratios) // 2]:.2f} times one (median of pairs)")


if __name__ == "__main__":
    main()
