"""``torchprotect keygen``."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, read_passphrase
from torchprotect.cli._say import clean, say

if TYPE_CHECKING:
    from torch import Tensor

    from torchprotect.keys import BlockKey, CorrespondenceKey, OWSDKey, PermutationKey


class Scheme(str, enum.Enum):
    """Disguises a key can be made for."""

    BLOCK_PERMUTE = "block-permute"
    AES_ECB = "aes-ecb"
    RMT = "rmt"
    ADVERSARIAL = "adversarial"
    OWSD = "owsd"


class Matrix(str, enum.Enum):
    """Kinds of RMT matrices."""

    ORTHOGONAL = "orthogonal"
    UNIFORM = "uniform"
    GAUSSIAN = "gaussian"


class Side(str, enum.Enum):
    """Sides RMT matrices multiply from."""

    RIGHT = "right"
    LEFT = "left"


class Way(str, enum.Enum):
    """Ways to combine the versions of an image, one for each of its targets."""

    CONCAT = "concat"
    MIXUP = "mixup"
    MIXUP_AND_CONCAT = "mixup-and-concat"
    CUTMIX = "cutmix"
    RANDOM_SQUARE = "random-square"


class Preset(str, enum.Enum):
    """Published maps from classes to targets."""

    BASIC = "basic"
    HORIZONTAL_CONCAT = "horizontal-concat"
    MIXUP_AND_CONCAT = "mixup-and-concat"
    MRI = "mri"


_ADVERSARIAL, _OWSD = "Adversarial", "One way scrambling"


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no size; write it as HxW, for example 28x28")
    return int(height), int(width)


def keygen(
    scheme: Annotated[Scheme, typer.Argument(help="The disguise the key is for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Key file to write; never overwritten.")],
    image_size: Annotated[
        str | None, typer.Option(help="Size of the images in pixels; needed for blocks.", metavar="HxW")
    ] = None,
    block_size: Annotated[
        str | None, typer.Option(help="Size of the blocks in pixels; needed for blocks.", metavar="HxW")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="Own keys for each of so many channels.", min=1)] = None,
    bits: Annotated[int | None, typer.Option(help="AES key length: 128 (default), 192 or 256.")] = None,
    permute: Annotated[bool, typer.Option("--permute", help="Also permute the disguised blocks.")] = False,
    labels: Annotated[int | None, typer.Option(help="Also rename so many classes.", min=2)] = None,
    matrix: Annotated[Matrix | None, typer.Option(help="Kind of RMT matrices; orthogonal by default.")] = None,
    side: Annotated[Side | None, typer.Option(help="Side RMT matrices multiply from; right by default.")] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.", min=2, rich_help_panel=_ADVERSARIAL)] = None,
    targets: Annotated[
        int | None,
        typer.Option(help="Target classes of each class; 1 by default.", min=1, rich_help_panel=_ADVERSARIAL),
    ] = None,
    way: Annotated[
        Way | None,
        typer.Option(
            help="How the versions of an image, one a target, are combined; concat by default.",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="A published map, which everyone knows; for reproductions.", rich_help_panel=_ADVERSARIAL),
    ] = None,
    embedding_size: Annotated[
        int | None,
        typer.Option(help="Length of the encoder's embeddings; 2048 by default.", min=1, rich_help_panel=_OWSD),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Safetensors file with one tensor [n, E]: embeddings of public images, to which the key is fitted.",
            dir_okay=False,
            exists=True,
            rich_help_panel=_OWSD,
        ),
    ] = None,
) -> None:
    """Make a key from the operating system's entropy and write it to a file.

    Keep a copy: without the key an export cannot be resumed, checked or undone. Example: torchprotect keygen aes-ecb -o
    my.key --image-size 28x28 --block-size 4x4 --permute --labels 10
    """
    with errors_as_exit_codes():
        from torchprotect import keys

        given = {
            "image-size": image_size,
            "block-size": block_size,
            "channels": channels,
            "bits": bits,
            "matrix": matrix and matrix.value,
            "side": side and side.value,
            "permute": permute or None,
            "labels": labels,
            "classes": classes,
            "targets": targets,
            "way": way and way.value,
            "preset": preset and preset.value,
            "embedding-size": embedding_size,
            "embeddings": embeddings,
        }
        options = {name: value for name, value in given.items() if value is not None}
        _require_taken(scheme, options)
        options.pop("labels", None)
        key: BlockKey | CorrespondenceKey | OWSDKey | keys.KeyBundle
        order: PermutationKey | None = None
        if scheme is Scheme.ADVERSARIAL:
            key = _generate_map(options)
        elif scheme is Scheme.OWSD:
            key = _generate_generator(options)
        else:
            key, order = _generate_blocks(scheme, options)
        if not isinstance(key, keys.OWSDKey) and (order is not None or labels is not None):
            names = keys.LabelKey.generate(classes=labels) if labels is not None else None
            key = keys.KeyBundle(key, order, names)
        keys.save(key, output, _new_passphrase(passphrase, passphrase_file))
        say(f"wrote {output}: {key!r}")


_BLOCKS = {"image-size", "block-size"}
_LABELLED = _BLOCKS | {"labels"}
_TAKES = {
    Scheme.BLOCK_PERMUTE: _LABELLED,
    Scheme.AES_ECB: _LABELLED | {"channels", "bits", "permute"},
    Scheme.RMT: _LABELLED | {"channels", "matrix", "side", "permute"},
    Scheme.ADVERSARIAL: {"labels", "classes", "targets", "way", "preset"},
    Scheme.OWSD: {"image-size", "embedding-size", "embeddings"},
}


def _require_taken(scheme: Scheme, options: dict[str, Any]) -> None:
    """Check that the options given are the scheme's own, and that none is missing."""
    if unknown := sorted(options.keys() - _TAKES[scheme]):
        raise typer.BadParameter(f"{scheme.value} takes no {', '.join(f'--{name}' for name in unknown)}")
    if scheme is Scheme.OWSD:
        return
    if scheme is not Scheme.ADVERSARIAL:
        if missing := sorted(_BLOCKS - options.keys(), reverse=True):
            raise typer.BadParameter(f"{scheme.value} needs {' and '.join(f'--{name}' for name in missing)}")
    elif "preset" in options:
        if options.keys() - {"preset", "labels"}:
            raise typer.BadParameter("a preset has its own classes, targets and way; give --preset alone")
    elif "classes" not in options:
        raise typer.BadParameter("adversarial needs --classes, or a --preset")
    elif "way" in options and options.get("targets", 1) == 1:
        raise typer.BadParameter("--way combines several targets; say how many with --targets")


def _generate_map(options: dict[str, Any]) -> "CorrespondenceKey":
    from torchprotect import keys

    made = keys.CorrespondenceKey
    return made.preset(options["preset"]) if "preset" in options else made.generate(**options)


def _generate_generator(options: dict[str, Any]) -> "OWSDKey":
    from torchprotect import keys

    sizes: dict[str, Any] = {"image_size": _size(options["image-size"])} if "image-size" in options else {}
    seen = _read_embeddings(options["embeddings"]) if "embeddings" in options else None
    if "embedding-size" in options or seen is not None:
        sizes["embedding_size"] = options.get("embedding-size", seen.shape[-1] if seen is not None else None)
    return keys.OWSDKey.generate(**sizes, embeddings=seen)


def _read_embeddings(path: Path) -> "Tensor":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = list(load_file(path).values())
    except SafetensorError as error:
        raise typer.BadParameter(clean(f"{path} is no safetensors file: {error}")) from None
    if len(tensors) != 1:
        raise typer.BadParameter(clean(f"{path} holds {len(tensors)} tensors; one, [n, E], is needed"))
    return tensors[0]


def _generate_blocks(scheme: Scheme, options: dict[str, Any]) -> "tuple[BlockKey, PermutationKey | None]":
    from torchprotect import keys

    kinds: dict[Scheme, Any] = {
        Scheme.BLOCK_PERMUTE: keys.PermutationKey,
        Scheme.AES_ECB: keys.AESKey,
        Scheme.RMT: keys.RMTKey,
    }
    sizes = {"image_size": _size(options.pop("image-size")), "block_size": _size(options.pop("block-size"))}
    permute = options.pop("permute", False)
    key: BlockKey = kinds[scheme].generate(**sizes, **options)
    return key, keys.PermutationKey.generate(**sizes) if permute else None


def _new_passphrase(ask: bool, file: Path | None) -> str | None:
    if ask and file is not None:
        raise typer.BadParameter("give --passphrase to be asked, or --passphrase-file, not both")
    if file is not None:
        return read_passphrase(file)
    secret: str | None = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True) if ask else None
    return secret
