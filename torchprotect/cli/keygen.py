"""``torchprotect keygen``."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, read_passphrase

if TYPE_CHECKING:
    from torchprotect.keys import BlockKey


class Scheme(str, enum.Enum):
    """Disguises a key can be made for."""

    BLOCK_PERMUTE = "block-permute"
    AES_ECB = "aes-ecb"
    RMT = "rmt"


class Matrix(str, enum.Enum):
    """Kinds of RMT matrices."""

    ORTHOGONAL = "orthogonal"
    UNIFORM = "uniform"
    GAUSSIAN = "gaussian"


class Side(str, enum.Enum):
    """Sides RMT matrices multiply from."""

    RIGHT = "right"
    LEFT = "left"


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no size; write it as HxW, for example 28x28")
    return int(height), int(width)


def keygen(
    scheme: Annotated[Scheme, typer.Argument(help="The disguise the key is for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Key file to write; never overwritten.")],
    image_size: Annotated[str, typer.Option(help="Size of the images in pixels.", metavar="HxW")],
    block_size: Annotated[str, typer.Option(help="Size of the blocks in pixels.", metavar="HxW")],
    channels: Annotated[int | None, typer.Option(help="Own keys for each of so many channels.", min=1)] = None,
    bits: Annotated[int | None, typer.Option(help="AES key length: 128 (default), 192 or 256.")] = None,
    permute: Annotated[bool, typer.Option("--permute", help="Also permute the disguised blocks.")] = False,
    labels: Annotated[int | None, typer.Option(help="Also rename so many classes.", min=2)] = None,
    matrix: Annotated[Matrix | None, typer.Option(help="Kind of RMT matrices; orthogonal by default.")] = None,
    side: Annotated[Side | None, typer.Option(help="Side RMT matrices multiply from; right by default.")] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a key from the operating system's entropy and write it to a file.

    Keep a copy: without the key an export cannot be resumed, checked or undone. Example: torchprotect keygen aes-ecb -o
    my.key --image-size 28x28 --block-size 4x4 --permute --labels 10
    """
    with errors_as_exit_codes():
        from torchprotect import keys

        size, block = _size(image_size), _size(block_size)
        given = {"channels": channels, "bits": bits, "matrix": matrix and matrix.value, "side": side and side.value}
        options = {name: value for name, value in given.items() if value is not None}
        key: keys.Key = _generate(scheme, size, block, options)
        if permute or labels is not None:
            order = keys.PermutationKey.generate(image_size=size, block_size=block) if permute else None
            names = keys.LabelKey.generate(classes=labels) if labels is not None else None
            key = keys.KeyBundle(key, order, names)  # type: ignore[arg-type]
        keys.save(key, output, _new_passphrase(passphrase, passphrase_file))
        typer.echo(f"wrote {output}: {key!r}")


def _generate(scheme: Scheme, size: tuple[int, int], block: tuple[int, int], options: dict[str, Any]) -> "BlockKey":
    from torchprotect import keys

    made: dict[Scheme, tuple[Any, set[str]]] = {
        Scheme.BLOCK_PERMUTE: (keys.PermutationKey, set()),
        Scheme.AES_ECB: (keys.AESKey, {"channels", "bits"}),
        Scheme.RMT: (keys.RMTKey, {"channels", "matrix", "side"}),
    }
    kind, takes = made[scheme]
    if unknown := sorted(options.keys() - takes):
        raise typer.BadParameter(f"{scheme.value} takes no {', '.join(f'--{name}' for name in unknown)}")
    key: BlockKey = kind.generate(image_size=size, block_size=block, **options)
    return key


def _new_passphrase(ask: bool, file: Path | None) -> str | None:
    if ask and file is not None:
        raise typer.BadParameter("give --passphrase to be asked, or --passphrase-file, not both")
    if file is not None:
        return read_passphrase(file)
    secret: str | None = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True) if ask else None
    return secret
