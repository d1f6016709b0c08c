"""What pages expect in their folder: photographs, keys and exports."""

import shutil
from pathlib import Path

import PIL.Image
from support import Pictures, make_bundle, run_export

from torchprotect import keys
from torchprotect.demo import PHOTOGRAPHS


def write_photos(root, later=None, every=1):
    """Write what pages call photos/: photographs of mixed sizes, modes and orientations in seven folders.

    ``later`` gets others, in the same classes. Both together have each photograph that there is, or every third, say.
    """
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    for number, path in enumerate(sorted(Path(PHOTOGRAPHS).rglob("*.jpg"))[::every]):
        folder = (later if later is not None and number % 5 == 4 else root) / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        with PIL.Image.open(path) as picture:
            if number % 9 == 0:
                picture.convert("L").save(folder / path.name)
            elif number % 9 == 1:
                picture.convert("P").save(folder / f"{path.stem}.png")
            elif number % 9 == 2:
                picture.convert("RGBA").save(folder / f"{path.stem}.png")
            elif number % 9 == 3:
                picture.save(folder / path.name, exif=turned, quality=90)
            else:
                shutil.copy(path, folder / path.name)
    return root


def readers():
    run_export("out", dataset=Pictures(channels=3))  # 20 colour images in three shards


def key_files():
    keys.save(keys.PermutationKey.generate(image_size=(8, 8), block_size=(4, 4)), "my.key")
    phrase = "of the tests"
    Path("passphrase.txt").write_text(f"{phrase}\n")
    keys.save(keys.load("my.key"), "wrapped.key", passphrase=phrase)


def own_export():
    bundle = make_bundle()
    keys.save(bundle, "my.key")
    run_export("out", bundle=bundle)


SAMPLES = {
    "docs/guides/readers.md": readers,
    "docs/reference/export-format.md": own_export,
    "docs/reference/key-format.md": key_files,
}
