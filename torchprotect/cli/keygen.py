"""``torchprotect keygen``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from torchprotect._mix_modes import MixMode
from torchprotect.cli._common import errors_as_exit_codes, flag, given, parse_size, read_passphrase
from torchprotect.cli._say import clean, remark, say

if TYPE_CHECKING:
    from torch import Tensor

    from torchprotect.keys import Key, OWSDKey


Scheme = Literal["block-permute", "aes-ecb", "rmt", "adversarial", "owsd"]
Kind = Literal[Scheme, "identity", "signing"]
Matrix = Literal["orthogonal", "uniform", "gaussian"]
Side = Literal["right", "left"]
Preset = Literal["basic", "horizontal-concat", "mixup-and-concat", "mri"]

_ADVERSARIAL, _OWSD = "Options of adversarial keys", "Options of owsd keys"


def keygen(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="Disguise that the key is for; or `identity`, which opens sealed exports; or `signing`, which signs "
            "manifests."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Key file to write, with any name and mode 0600. An existing file is never overwritten.",
        ),
    ],
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Height and width of the images in pixels. Required for `block-permute`, `aes-ecb` and `rmt`. For "
            "`owsd`, even numbers: the size of the images that it makes.",
            metavar="HxW",
            show_default="256x256 for owsd",
        ),
    ] = None,
    block_size: Annotated[
        str | None,
        typer.Option(
            help="Height and width of a block in pixels; they must divide the image. Required for `block-permute`, "
            "`aes-ecb` and `rmt`.",
            metavar="HxW",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            help="`aes-ecb`, `rmt`: give each of N channels its own secrets.",
            min=1,
            show_default="one secret for any number of channels",
        ),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="`aes-ecb`: length of the AES keys, 128, 192 or 256 bits.", show_default="128")
    ] = None,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help="`aes-ecb`, `rmt`: use one secret at all positions (for each channel, with `--channels`) instead of "
            "one per position. It keeps more for a network and leaks more.",
        ),
    ] = False,
    permute: Annotated[
        bool,
        typer.Option("--permute", help="`aes-ecb`, `rmt`: also permute the disguised blocks; makes a bundle of keys."),
    ] = False,
    labels: Annotated[
        int | None,
        typer.Option(
            help="Also rename N classes; makes a bundle of keys. Not for `owsd`.",
            min=2,
            show_default="classes keep their numbers",
        ),
    ] = None,
    matrix: Annotated[
        Matrix | None, typer.Option(help="`rmt`: how the matrices are drawn.", show_default="orthogonal")
    ] = None,
    side: Annotated[
        Side | None,
        typer.Option(
            help="`rmt`: multiply blocks X by matrices R from the right, X R, or from the left, R X.",
            show_default="right",
        ),
    ] = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Protect the key file with a passphrase, which is asked for twice.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="Protect the key file with the passphrase in the first line of this file. Not with `--passphrase`.",
            dir_okay=False,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help="Number of classes. Required, except with `--preset`.",
            min=2,
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    targets: Annotated[
        int | None,
        typer.Option(
            help="Number of target classes of each class, at most 8.",
            min=1,
            show_default="1",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    mix_mode: Annotated[
        MixMode | None,
        typer.Option(
            help="How the versions of an image, one per target, are mixed. `mixup-and-concat` needs 4 targets; "
            "`cutmix` and `random-square` need 2.",
            show_default="concat",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Use a published map, which everyone knows, to reproduce results: `mri` has 5 classes, the others 10.",
            show_default="a secret map",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    embedding_size: Annotated[
        int | None,
        typer.Option(
            help="Length of the encoder's embeddings.",
            min=1,
            show_default="2048, or the length of --embeddings",
            rich_help_panel=_OWSD,
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Safetensors file with one tensor of n x E: embeddings of public images, to whose scale the key is "
            "fitted.",
            dir_okay=False,
            show_default="exponentially distributed embeddings",
            exists=True,
            rich_help_panel=_OWSD,
        ),
    ] = None,
) -> None:
    """Generate a key from the operating system's entropy and write it to a file.

    Keep a copy: without the key, an export cannot be resumed, authenticated or undone.

    Example: torchprotect keygen aes-ecb -o my.key --image-size 28x28 --block-size 4x4 --permute --labels 10

    `identity` makes an age identity and prints its public key `age1...`, the recipient, alone on standard output.
    `signing` makes an Ed25519 private key in PEM and writes its public key to OUTPUT.pub, for `--signer`. Neither takes
    other options.
    """
    with errors_as_exit_codes():
        from torchprotect import keys

        options = given(
            image_size=image_size,
            block_size=block_size,
            channels=channels,
            bits=bits,
            matrix=matrix,
            side=side,
            shared=shared or None,
            permute=permute or None,
            labels=labels,
            classes=classes,
            targets=targets,
            mix_mode=mix_mode,
            preset=preset,
            embedding_size=embedding_size,
            embeddings=embeddings,
        )
        if kind == "identity" or kind == "signing":
            _generate_for_envelopes(kind, output, options | given(passphrase=passphrase or passphrase_file))
            return
        _require_fitting(kind, options)
        key = _generate(kind, options)
        keys.save(key, output, _new_passphrase(passphrase, passphrase_file))
        say(f"wrote {output}: {key!r}")


def _generate_for_envelopes(kind: Literal["identity", "signing"], output: Path, options: dict[str, Any]) -> None:
    from torchprotect import envelope

    if options:
        raise typer.BadParameter(f"{kind} takes no {', '.join(map(flag, sorted(options)))}")
    if kind == "identity":
        recipient = envelope.generate_identity(output)
        remark(
            f"wrote {output}: an identity; exports are sealed for its public key, which is printed on standard output"
        )
        say(recipient)
    else:
        public = envelope.generate_signing_key(output)
        say(f"wrote {output}: a signing key, and {public}: its public key, for --signer")


_SIZES = {"image_size", "block_size"}
_OPTIONS: dict[Scheme, set[str]] = {
    "block-permute": _SIZES | {"labels"},
    "aes-ecb": _SIZES | {"labels", "channels", "bits", "shared", "permute"},
    "rmt": _SIZES | {"labels", "channels", "matrix", "side", "shared", "permute"},
    "adversarial": {"labels", "classes", "targets", "mix_mode", "preset"},
    "owsd": {"image_size", "embedding_size", "embeddings"},
}


def _require_fitting(scheme: Scheme, options: dict[str, Any]) -> None:
    """Check that all options belong to the scheme and none is missing."""
    if unknown := sorted(options.keys() - _OPTIONS[scheme]):
        raise typer.BadParameter(f"{scheme} takes no {', '.join(map(flag, unknown))}")
    if scheme == "adversarial":
        _require_fitting_map(options)
    elif scheme != "owsd" and (missing := sorted(_SIZES - options.keys(), reverse=True)):
        raise typer.BadParameter(f"{scheme} needs {' and '.join(map(flag, missing))}")


def _require_fitting_map(options: dict[str, Any]) -> None:
    if "preset" in options:
        if options.keys() - {"preset", "labels"}:
            raise typer.BadParameter("a preset fixes classes, targets and mix mode; give --preset without them")
    elif "classes" not in options:
        raise typer.BadParameter("adversarial needs --classes N or --preset NAME")
    elif "mix_mode" in options and options.get("targets", 1) == 1:
        raise typer.BadParameter("--mix-mode needs several targets; give their number with --targets")


def _generate(scheme: Scheme, options: dict[str, Any]) -> "Key":
    """Generate a key; in a bundle if there is also a permutation or a label map."""
    from torchprotect import keys

    classes, permute = options.pop("labels", None), options.pop("permute", False)
    options |= {name: parse_size(options[name]) for name in _SIZES & options.keys()}
    key = _generate_transform_key(scheme, options)
    permutation = keys.PermutationKey.generate(**{name: options[name] for name in _SIZES}) if permute else None
    labels = keys.LabelKey.generate(classes=classes) if classes is not None else None
    if permutation is None and labels is None:
        return key
    return keys.KeyBundle(key, permutation, labels)


def _generate_transform_key(scheme: Scheme, options: dict[str, Any]) -> Any:
    from torchprotect import keys

    if scheme == "adversarial":
        made = keys.CorrespondenceKey
        return made.preset(options["preset"]) if "preset" in options else made.generate(**options)
    if scheme == "owsd":
        return _generate_generator(**options)
    kinds: dict[str, Any] = {"block-permute": keys.PermutationKey, "aes-ecb": keys.AESKey, "rmt": keys.RMTKey}
    return kinds[scheme].generate(**options)


def _generate_generator(embeddings: Path | None = None, **sizes: Any) -> "OWSDKey":
    from torchprotect import keys

    if embeddings is None:
        return keys.OWSDKey.generate(**sizes)
    public = _read_embeddings(embeddings)
    return keys.OWSDKey.generate(**{"embedding_size": public.shape[-1], **sizes}, embeddings=public)


def _read_embeddings(path: Path) -> "Tensor":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = list(load_file(path).values())
    except SafetensorError as error:
        raise typer.BadParameter(clean(f"{path} is not a safetensors file: {error}")) from None
    if len(tensors) != 1:
        raise typer.BadParameter(clean(f"{path} must hold one tensor [n, E], got {len(tensors)} tensors"))
    return tensors[0]


def _new_passphrase(ask: bool, file: Path | None) -> str | None:
    if ask and file is not None:
        raise typer.BadParameter("give either --passphrase, which asks for it, or --passphrase-file, not both")
    if file is not None:
        return read_passphrase(file)
    secret: str | None = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True) if ask else None
    return secret
