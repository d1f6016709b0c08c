"""``torchprotect keygen``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from torchprotect._mix_modes import MixMode
from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, flag, given, parse_size, read_passphrase
from torchprotect.cli._say import clean, remark, say

if TYPE_CHECKING:
    from torch import Tensor

    from torchprotect.keys import Key, OWSDKey


Scheme = Literal["block-permute", "aes-ecb", "rmt", "adversarial", "owsd"]
Kind = Literal[Scheme, "identity", "signing"]
Matrix = Literal["orthogonal", "uniform", "gaussian"]
Side = Literal["right", "left"]
Preset = Literal["basic", "horizontal-concat", "mixup-and-concat", "mri"]

_ADVERSARIAL, _OWSD = "Adversarial", "One way scrambling"


def keygen(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="The scheme that the key is for; or `identity`, which opens sealed exports, or `signing`, for their "
            "manifests."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Key file to write; never overwritten.")],
    image_size: Annotated[
        str | None, typer.Option(help="Size of the images in pixels; needed for blocks.", metavar="HxW")
    ] = None,
    block_size: Annotated[
        str | None, typer.Option(help="Size of the blocks in pixels; needed for blocks.", metavar="HxW")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="Number of channels, each with keys of its own.", min=1)] = None,
    bits: Annotated[int | None, typer.Option(help="AES key length: 128 (default), 192 or 256.")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="One AES key or RMT matrix for all positions; keeps more, leaks more.")
    ] = False,
    permute: Annotated[bool, typer.Option("--permute", help="Also permute the disguised blocks.")] = False,
    labels: Annotated[int | None, typer.Option(help="Also rename classes: their number.", min=2)] = None,
    matrix: Annotated[Matrix | None, typer.Option(help="Kind of RMT matrices; orthogonal by default.")] = None,
    side: Annotated[Side | None, typer.Option(help="Side from which RMT matrices multiply; right by default.")] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.", min=2, rich_help_panel=_ADVERSARIAL)] = None,
    targets: Annotated[
        int | None,
        typer.Option(help="Target classes of each class; 1 by default.", min=1, rich_help_panel=_ADVERSARIAL),
    ] = None,
    mix_mode: Annotated[
        MixMode | None,
        typer.Option(
            help="How the versions of an image, one for each target, are mixed; concat by default.",
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
            help="Safetensors file with one tensor of n x E: embeddings of public images, to which the key is fitted.",
            dir_okay=False,
            exists=True,
            rich_help_panel=_OWSD,
        ),
    ] = None,
) -> None:
    """Generate a key from the operating system's entropy and write it to a file.

    Keep a copy: without the key an export cannot be resumed, checked or undone. Example: torchprotect keygen aes-ecb -o
    my.key --image-size 28x28 --block-size 4x4 --permute --labels 10

    An identity is an age identity; its public key, the recipient, is printed. A signing key is Ed25519 in PEM; its
    public key is written to OUTPUT.pub.
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
        remark(f"wrote {output}: an identity; its public key, for which exports are sealed, goes to standard output")
        say(recipient)
    else:
        public = envelope.generate_signing_key(output)
        say(f"wrote {output}: signing key, and {public}: its public key, for --signer")


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
            raise typer.BadParameter("a preset has its own classes, targets and mix mode; give --preset alone")
    elif "classes" not in options:
        raise typer.BadParameter("adversarial needs --classes, or a --preset")
    elif "mix_mode" in options and options.get("targets", 1) == 1:
        raise typer.BadParameter("--mix-mode mixes several targets; say how many with --targets")


def _generate(scheme: Scheme, options: dict[str, Any]) -> "Key":
    """Generate a key, in a bundle where there is also a permutation or a label map."""
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
        raise typer.BadParameter(clean(f"{path} must hold one tensor [n, E], but holds {len(tensors)} tensors"))
    return tensors[0]


def _new_passphrase(ask: bool, file: Path | None) -> str | None:
    if ask and file is not None:
        raise typer.BadParameter("give either --passphrase, to be asked for it, or --passphrase-file")
    if file is not None:
        return read_passphrase(file)
    secret: str | None = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True) if ask else None
    return secret
