"""AES speed: ours beside the two Python packages that have AES, beside a copy, and on blocks of one cipher unit.

The packages get all the help there is: cipher objects and buffers made before, one call for all data of a key. The work
they are timed for is the whole of it, since the image is to be disguised in place: gather, cipher, scatter. Of the ways
to gather, the fastest counts. The cipher calls alone are shown too.

Usage: python benchmarks/aes_ecb.py [--device cuda] [--threads N] [--rounds N] [--quick] [--out FILE]
"""

from collections.abc import Callable
from functools import partial

import torch
from _cases import (
    COPY,
    REFERENCE,
    Builder,
    Case,
    Contestant,
    Goal,
    Setup,
    benchmark,
    block_grid,
    copy_limit,
    show_shape,
    size_of,
)
from torch import Tensor

from torchprotect import ops

OURS, FUSED, ALONE = "ours, out=", "ours, AES and permutation", "ours, AES alone"
ONE_KEY = "ours, one contiguous buffer, one key"
SLACK = 15
"""Bytes that ``cryptography`` asks for behind its output."""

Cipher = Callable[[memoryview, memoryview], object]


def open_cryptography(key: bytes) -> Cipher:
    """Return ``(input, output) ->`` with a key set up before."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update_into  # noqa: S305


def open_pycryptodome(key: bytes) -> Cipher:
    """Return ``(input, output) ->`` with a key set up before."""
    from Crypto.Cipher import AES

    cipher = AES.new(key, AES.MODE_ECB)
    return lambda source, target: cipher.encrypt(source, output=target[: len(source)])


PACKAGES = {"cryptography": open_cryptography, "pycryptodome": open_pycryptodome}


def _bytes_of(tensor: Tensor) -> memoryview:
    return memoryview(tensor.numpy()).cast("B")


class GatheredWhole:
    """The image gathered by position as a whole, one cipher call a key, the result scattered."""

    def __init__(self, image: Tensor, ciphers: list[Cipher], block: tuple[int, int], out: Tensor) -> None:
        self.source, self.target, self.out, self.ciphers = (
            block_grid(image, block),
            block_grid(out, block),
            out,
            ciphers,
        )
        length = size_of(image) // len(ciphers)
        inputs = torch.empty(len(ciphers), length, dtype=torch.uint8)
        outputs = torch.empty(len(ciphers) * length + SLACK, dtype=torch.uint8)
        self.gathered, self.done = inputs.view(self.source.shape), outputs[: inputs.numel()].view(self.source.shape)
        places = _bytes_of(outputs)
        starts = range(0, inputs.numel(), length)
        self.views = [(_bytes_of(row), places[i : i + length + SLACK]) for row, i in zip(inputs, starts, strict=True)]

    def cipher(self) -> None:
        """Run the ciphers alone. One that writes past its row does so before the next row is written."""
        for cipher, (source, target) in zip(self.ciphers, self.views, strict=True):
            cipher(source, target)

    def __call__(self) -> Tensor:
        self.gathered.copy_(self.source)
        self.cipher()
        self.target.copy_(self.done)
        return self.out


class GatheredByPosition:
    """Position by position through two buffers that stay in the cache: gather, one cipher call, scatter."""

    def __init__(self, image: Tensor, ciphers: list[Cipher], block: tuple[int, int], out: Tensor) -> None:
        source, target = block_grid(image, block), block_grid(out, block)
        places = [(row, column) for row in range(source.shape[0]) for column in range(source.shape[1])]
        self.steps = [(c, source[at], target[at]) for c, at in zip(ciphers, places, strict=True)]
        length = size_of(image) // len(ciphers)
        before, after = torch.empty(length, dtype=torch.uint8), torch.empty(length + SLACK, dtype=torch.uint8)
        self.views = _bytes_of(before), _bytes_of(after)
        self.gathered, self.done = before.view(source.shape[2:]), after[:length].view(source.shape[2:])
        self.out = out

    def __call__(self) -> Tensor:
        for cipher, source, target in self.steps:
            self.gathered.copy_(source)
            cipher(*self.views)
            target.copy_(self.done)
        return self.out


class BlockByBlock:
    """One cipher call a block, in place, where every block lies in one piece; the views are made before."""

    def __init__(self, image: Tensor, ciphers: list[Cipher], block: tuple[int, int], out: Tensor) -> None:
        length = block[0] * block[1]
        padded = torch.empty(size_of(image) + SLACK, dtype=torch.uint8)
        source, target = _bytes_of(image.flatten()), _bytes_of(padded)
        self.steps = [
            (ciphers[i // length % len(ciphers)], source[i : i + length], target[i : i + length + SLACK])
            for i in range(0, len(source), length)
        ]
        self.out = padded[: size_of(image)].view(out.shape)

    def __call__(self) -> Tensor:
        for cipher, source, target in self.steps:
            cipher(source, target)
        return self.out


def package_forms(image: Tensor, keys: Tensor, block: tuple[int, int], out: Tensor) -> list[Contestant]:
    """List the ways to use the two packages."""
    forms = []
    for name, open_cipher in PACKAGES.items():
        ciphers = [open_cipher(bytes(key.tolist())) for key in keys[:, 0]]
        whole = GatheredWhole(image, ciphers, block, out)
        forms += [
            Contestant(f"{name}, gathered as a whole", whole),
            Contestant(f"{name}, gathered by position", GatheredByPosition(image, ciphers, block, out)),
            Contestant(f"{name}, cipher calls alone", whole.cipher, "other"),
        ]
        if block[1] == image.shape[-1]:
            forms.append(Contestant(f"{name}, block by block", BlockByBlock(image, ciphers, block, out)))
    return forms


def draw_keys(setup: Setup, positions: int, bits: int = 128) -> Tensor:
    return setup.image(positions, 1, bits // 8)


def strip(setup: Setup) -> Tensor:
    """Draw 64 MiB (256 MiB on a GPU) as 196 strips of 768 bytes."""
    return setup.image(setup.batch(446, 1783), 1, 196, 768)


def photos(setup: Setup) -> Tensor:
    """Draw as many bytes as images."""
    return setup.image(setup.batch(446, 1783), 3, 224, 224)


def bulk(setup: Setup, draw: Callable[[Setup], Tensor], block: tuple[int, int]) -> Case:
    """Compare 196 keys on 768 bytes each an image with the packages and a copy."""
    image, keys = draw(setup), draw_keys(setup, 196)
    out = torch.empty_like(image)
    contestants = [
        Contestant(OURS, lambda: _crypt(image, keys, block, out), "ours"),
        copy_limit(out, image),
        Contestant(REFERENCE, lambda: torch.ops.torchprotect.aes_ecb.reference(image, keys, block)),
    ]
    name = f"AES-128 {show_shape(image)}, blocks {block[0]}x{block[1]}, 196 keys"
    if setup.cuda:
        goals = [Goal("GB/s", 300), Goal("x the reference", 5, [REFERENCE]), Goal("of copy_", None, [COPY])]
        return Case(name, contestants, goals, size_of(image))
    contestants += package_forms(image, keys, block, out)
    gathered = [c.name for c in contestants if ", gathered " in c.name]
    alone = [c.name for c in contestants if c.name.endswith("cipher calls alone")]
    goals = [
        Goal("of copy_", 1.0, [COPY]),
        Goal("x the best gathered use of a package", 4, gathered),
        Goal("x the best package's cipher calls alone", None, alone),
        Goal("x the reference", None, [REFERENCE]),
    ]
    return Case(name, contestants, goals, size_of(image))


def _crypt(image: Tensor, keys: Tensor, block: tuple[int, int], out: Tensor, **options: object) -> Tensor:
    return ops.aes_ecb(image, keys, block, out=out, **options)


def small_units(setup: Setup, shape: tuple[int, ...], block: tuple[int, int]) -> Case:
    """Compare many keys on few bytes each with one key on all of them, as one block."""
    image = setup.image(setup.batch(shape[0], 64 * shape[0]), *shape[1:])
    out, keys = torch.empty_like(image), draw_keys(setup, shape[-2] // block[0] * (shape[-1] // block[1]))
    line, line_out, line_block = image.view(1, 1, 1, -1), out.view(1, 1, 1, -1), (1, image.numel())
    contestants = [
        Contestant(OURS, lambda: _crypt(image, keys, block, out), "ours"),
        Contestant(ONE_KEY, lambda: _crypt(line, keys[:1], line_block, line_out), "other"),
        copy_limit(out, image),
        Contestant(REFERENCE, lambda: torch.ops.torchprotect.aes_ecb.reference(image, keys, block)),
    ]
    goals = [Goal("of one contiguous buffer with one key", None if setup.cuda else 0.5, [ONE_KEY])]
    goals += [Goal("GB/s", 300), Goal("x the reference", 5, [REFERENCE])] if setup.cuda else []
    name = f"AES-128 {show_shape(image)}, {block[0]}x{block[1]} blocks, {len(keys)} keys"
    return Case(name, contestants, goals, size_of(image))


def permuted(setup: Setup, draw: Callable[[Setup], Tensor], block: tuple[int, int]) -> Case:
    """Compare AES with a permutation in the same pass with AES alone, and with two passes."""
    image, keys, order = draw(setup), draw_keys(setup, 196), setup.order(196)
    out, between = torch.empty_like(image), torch.empty_like(image)

    def two_passes() -> Tensor:
        return ops.block_permute(_crypt(image, keys, block, between), order, block, out=out)

    contestants = [
        Contestant(FUSED, lambda: _crypt(image, keys, block, out, order=order), "ours"),
        Contestant(ALONE, lambda: _crypt(image, keys, block, out), "other"),
        Contestant("ours, AES, then permutation", two_passes),
        copy_limit(out, image),
    ]
    goals = [Goal("x AES alone", 1.15, [ALONE], at_most=True), Goal("of copy_", None, [COPY])]
    name = f"AES-128 and permutation {show_shape(image)}, blocks {block[0]}x{block[1]}"
    return Case(name, contestants, goals, size_of(image))


def variants(setup: Setup) -> Case:
    """Show decryption and longer keys beside AES-128 encryption."""
    image, block = strip(setup), (1, 768)
    out = torch.empty_like(image)
    keys = {bits: draw_keys(setup, 196, bits) for bits in (128, 192, 256)}
    contestants = [
        Contestant(
            f"ours, AES-{bits} {'decrypt' if decrypt else 'encrypt'}",
            partial(_crypt, image, keys[bits], block, out, decrypt=decrypt),
            "other" if decrypt or bits > 128 else "ours",
        )
        for bits in keys
        for decrypt in (False, True)
    ]
    others = [c.name for c in contestants[1:]]
    contestants.append(copy_limit(out, image))
    goals = [Goal("of AES-128 encrypt", None, [contestants[0].name], ours=name) for name in others]
    return Case(f"AES variants {show_shape(image)}, 196 keys", contestants, goals, size_of(image))


def large(setup: Setup) -> list[Builder]:
    """List the cases for two threads."""
    return [partial(bulk, setup, strip, (1, 768)), partial(bulk, setup, photos, (16, 16))]


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    return [
        *large(setup),
        partial(small_units, setup, (4096, 1, 28, 28), (4, 4)),
        partial(small_units, setup, (1024, 3, 32, 32), (8, 8)),
        partial(permuted, setup, strip, (1, 768)),
        partial(permuted, setup, photos, (16, 16)),
        partial(variants, setup),
    ]


if __name__ == "__main__":
    benchmark(__doc__, "aes_ecb", cases)
