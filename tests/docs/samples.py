"""What pages expect: photographs, and images and labels by the names that a page uses."""

import itertools
import shutil
import warnings
from pathlib import Path

import PIL.Image
import torch
from support import Pictures, make_bundle, make_image, run_export
from torchvision.models import VisionTransformer

from torchprotect import attacks, data, keys, predict, transforms
from torchprotect.demo import PHOTOGRAPHS, SAMPLE
from torchprotect.errors import KeyInWeightsWarning


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
    return {}


def pictures(count, size=28):
    """Return grey images of the bundled sample, padded to a size, and their labels."""
    images, labels = zip(*itertools.islice(data.open_source(SAMPLE), count))
    border = (size - 28) // 2
    return torch.nn.functional.pad(torch.stack(images), [border] * 4), torch.tensor(labels)


def disguised_under(kind, block, count=40, size=28, **options):
    """Return what pages on attacks call their images: as many of each kind, the known ones with their disguised ones."""
    bundle = make_bundle(kind, (size, size), block)
    transform = transforms.from_key(bundle.transform, permutation=bundle.permutation, **options)
    images, labels = pictures(3 * count, size)
    plain, public, hidden = images.split(count)
    return {
        "transform": transform,
        "plain": plain,
        "known": plain,
        "disguised": transform(plain),
        "truth": labels[:count],
        "released_labels": labels[:count],
        "public": public,
        "labels": labels[count : 2 * count],
        "target": transform(hidden),
    }


def rmt(block, **options):
    return lambda: disguised_under("rmt", block, **options)


def aes(**options):
    return lambda: disguised_under("aes", (4, 4), **options)


def measures():
    names = disguised_under("rmt", (7, 7))
    scheme = attacks.Scheme.of(names["transform"].describe())
    result = attacks.regression_attack(names["plain"], names["disguised"], names["disguised"], scheme=scheme)
    links = attacks.linkage_attack(names["plain"], names["disguised"], scheme=scheme)
    return {"result": result, "plain": names["plain"], "links": links, "truth": torch.arange(len(names["plain"]))}


def examiner():
    names = disguised_under("aes", (4, 4))
    scheme = attacks.Scheme.of(names["transform"].describe())
    result = attacks.codebook_attack(names["plain"], names["disguised"], names["disguised"], scheme=scheme)
    return {**names, "result": result}


def linkage():
    run_export("export")
    return disguised_under("rmt", (7, 7), noise=100)


def jigsaw():
    key = keys.PermutationKey.generate(image_size=(28, 28), block_size=(4, 4))
    return {"disguised": transforms.BlockPermute(key)(pictures(40)[0])}


def key_from_weights():
    size = {"image_size": (224, 224), "block_size": (16, 16)}
    bundle = keys.KeyBundle(keys.RMTKey.generate(**size), keys.PermutationKey.generate(**size))
    disguise = transforms.from_key(bundle)
    shape = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16, "num_classes": 5}
    original = VisionTransformer(224, 16, **shape).eval()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyInWeightsWarning)
        matched = predict.match_key(original, disguise, mean=mean, std=std)
    return {"matched": matched, "original": original, "disguised": disguise(torch.rand(2, 3, 224, 224))}


def adversarial():
    """Small linear networks on small colour images: the page runs ten attacks and trainings."""

    def network():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))

    def images(count):
        return torch.rand(count, 3, 32, 32), torch.arange(count) % 10

    plain, labels = images(10)
    return {
        **{name: network() for name in ("victim", "surrogate", "model")},
        **{name: plain for name in ("images", "plain", "disguised", "released", "released_of_them")},
        "labels": labels,
        "released_labels": labels,
        "clean_without_labels": plain,
        "encoder": torch.nn.Flatten(),
        "test": images(10),
        "test_images": plain,
        "test_labels": labels,
        "targets": (torch.arange(10) + 1).remainder(10)[:, None],
        "weights": torch.ones(10, 1),
    }


def owsd():
    known, seen, candidates, public_embeddings = torch.rand(4, 40, 64)
    shape = (40, 3, 32, 32)
    images = {name: make_image(*shape) for name in ("known_scrambled", "scrambled", "known_plain", "public")}
    return {
        **images,
        "known_embeddings": known,
        "embeddings": seen,
        "candidate_embeddings": candidates,
        "public_embeddings": public_embeddings,
        "known_vectors": known,
        "known_labels": torch.arange(40) % 10,
        "vectors": seen,
        "images": torch.rand(4, 3, 32, 32),
        "encoder": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 64)).eval(),
        "key": keys.OWSDKey.generate(embedding_size=64, image_size=(32, 32)),
    }


def key_files():
    keys.save(keys.PermutationKey.generate(image_size=(8, 8), block_size=(4, 4)), "my.key")
    Path("passphrase.txt").write_text("of the tests\n")
    keys.save(keys.load("my.key"), "wrapped.key", passphrase="of the tests")
    return {}


def own_export():
    bundle = make_bundle()
    keys.save(bundle, "my.key")
    run_export("out", bundle=bundle)
    return {}


SAMPLES = {
    "docs/guides/readers.md": readers,
    "docs/explain/attacks/chains.md": rmt((8, 8), size=32, noise=100),
    "docs/explain/attacks/codebook.md": aes(),
    "docs/explain/attacks/duplicates.md": aes(),
    "docs/explain/attacks/examiner.md": examiner,
    "docs/explain/attacks/inversion.md": aes(),
    "docs/explain/attacks/jigsaw.md": jigsaw,
    "docs/explain/attacks/key-from-weights.md": key_from_weights,
    "docs/explain/attacks/linkage.md": linkage,
    "docs/explain/attacks/matrix-rows.md": rmt((8, 8), size=32),
    "docs/explain/attacks/measures.md": measures,
    "docs/explain/attacks/metadata.md": own_export,
    "docs/explain/attacks/moments.md": rmt((8, 8), size=32, noise=100),
    "docs/explain/attacks/permutation.md": rmt((7, 7)),
    "docs/explain/attacks/rarity.md": aes(),
    "docs/explain/attacks/regression.md": rmt((7, 7)),
    "docs/explain/attacks/row-energy.md": rmt((7, 7), noise=100),
    "docs/explain/attacks/silhouette.md": aes(),
    "docs/explain/attacks-adversarial.md": adversarial,
    "docs/explain/attacks-owsd.md": owsd,
    "docs/reference/export-format.md": own_export,
    "docs/reference/key-format.md": key_files,
}
