"""``torchprotect export``."""

import enum
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_key, progress_bar
from torchprotect.cli._model import load_model
from torchprotect.cli._say import remark, say

if TYPE_CHECKING:
    from torchprotect.data import ExportResult
    from torchprotect.keys import Key


class OnError(str, enum.Enum):
    """What to do at an image that cannot be read or does not fit."""

    STOP = "stop"
    SKIP = "skip"


class TargetSource(str, enum.Enum):
    """Where the target classes of an image come from."""

    LABEL = "label"
    PREDICTED = "predicted"
    RANDOM = "random"


class Precision(str, enum.Enum):
    """What a network may compute in."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


_PERTURBATION = "Adversarial"
_PAPER = {"eps": 0.5, "step_size": 0.1, "steps": 100}  # for 32 x 32 pixels


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Image folder (root/class/*.png), WebDataset pattern (train-{000000..000020}.tar), or mnist:ROOT, "
            "fashion-mnist:ROOT, cifar10:ROOT with torchvision's root; add :test for the test split."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; an unfinished export in it is resumed.")],
    key: Annotated[Path, typer.Option(help="Key file from `torchprotect keygen`.", dir_okay=False)],
    noise: Annotated[float | None, typer.Option(help="RMT: noise up to so many grey levels (0..255 scale).")] = None,
    salt_pepper: Annotated[float, typer.Option(help="Share of plain pixels turned black or white.")] = 0.0,
    unit_pixels: Annotated[int | None, typer.Option(help="AES: pixels in a unit: 16, 8, 4 or 2.")] = None,
    shard_size: Annotated[int, typer.Option(help="Images in a shard.", min=1)] = 1000,
    workers: Annotated[int, typer.Option(help="Worker processes; 0 works in this one.", min=0)] = 0,
    on_error: Annotated[
        OnError, typer.Option(help="At an image that cannot be read or does not fit: stop, or skip and list it.")
    ] = OnError.STOP,
    passphrase_file: PassphraseFile = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network to perturb against: a function without arguments that returns it. It takes images in 0..1.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_PERTURBATION,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Its weights, a safetensors file.", dir_okay=False, rich_help_panel=_PERTURBATION),
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            help="Farthest an image may be moved: L2, in pixel units (0..1); 0.5 by default.",
            rich_help_panel=_PERTURBATION,
        ),
    ] = None,
    step_size: Annotated[
        float | None, typer.Option(help="Length of a step; 0.1 by default.", rich_help_panel=_PERTURBATION)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of steps; 100 by default.", min=1, rich_help_panel=_PERTURBATION)
    ] = None,
    target_source: Annotated[
        TargetSource | None,
        typer.Option(
            help="Targets of the image's label, of the class predicted for it, or random ones; label by default.",
            rich_help_panel=_PERTURBATION,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images through the network at once; 100 by default.", min=1, rich_help_panel=_PERTURBATION),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where the network runs: cpu, cuda, ..; cpu by default.", rich_help_panel=_PERTURBATION),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Run the network in less than float32.", rich_help_panel=_PERTURBATION),
    ] = None,
    reproject: Annotated[
        bool, typer.Option("--reproject", help="Keep every stored image within eps.", rich_help_panel=_PERTURBATION)
    ] = False,
) -> None:
    """Disguise every image of SOURCE and write WebDataset shards with a manifest to OUT.

    With an adversarial key images are perturbed instead: they stay readable, and naive training on them is to fail.
    Run the same command again to finish an interrupted export; the bytes are the same as without the interruption.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        of_blocks = _given(noise=noise, salt_pepper=salt_pepper or None, unit_pixels=unit_pixels)
        of_model = _given(
            model=model,
            weights=weights,
            eps=eps,
            step_size=step_size,
            steps=steps,
            target_source=target_source and target_source.value,
            batch_size=batch_size,
            device=device,
            precision=precision and precision.value,
            reproject=reproject or None,
        )
        opened, secret = data.open_source(source), load_key(key, passphrase_file)
        transform = _make_transform(secret, of_blocks, of_model)
        start = time.monotonic()
        with progress_bar("exporting") as progress:
            result = data.export(
                opened,
                out,
                transform=transform,
                key=secret,
                shard_size=shard_size,
                workers=workers,
                progress=progress,
                on_error=on_error.value,
                notify=lambda note: remark(f"note: {note}"),
            )
        for name in result.skipped:
            remark(f"skipped: {name}")
        say(f"{out}: {_summary(result, opened.left_out.total())}, {time.monotonic() - start:.1f} s")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _make_transform(secret: "Key", of_blocks: dict[str, Any], of_model: dict[str, Any]) -> Any:
    """Return the transform for a key; options for the other kind of key raise."""
    from torchvision.transforms import v2

    from torchprotect import transforms
    from torchprotect.keys import CorrespondenceKey, KeyBundle

    inner = secret.transform if isinstance(secret, KeyBundle) else secret
    if isinstance(inner, CorrespondenceKey):
        _refuse("an adversarial key", of_blocks)
        return _make_perturbation(secret, of_model)
    _refuse(f"a key of kind {inner.kind}", of_model)
    salt_pepper = of_blocks.pop("salt_pepper", 0)
    transform = transforms.from_key(secret, **of_blocks)
    return v2.Compose([transforms.SaltAndPepper(salt_pepper), transform]) if salt_pepper else transform


def _make_perturbation(secret: "Key", options: dict[str, Any]) -> Any:
    import torch

    from torchprotect import transforms
    from torchprotect.errors import InputTypeError

    if "model" not in options or "weights" not in options:
        raise InputTypeError("an adversarial key needs --model package.module:factory and --weights file.safetensors")
    model = load_model(options.pop("model"), options.pop("weights"), options.pop("device", "cpu"))
    if "precision" in options:
        options["precision"] = getattr(torch, options["precision"])
    return transforms.from_key(secret, model=model, **{**_PAPER, **options})


def _refuse(kind: str, options: dict[str, Any]) -> None:
    from torchprotect.errors import InputTypeError

    if options:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
        raise InputTypeError(f"{kind} does not go with {names}")


def _summary(result: "ExportResult", left_out: int) -> str:
    done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
    moved = ""
    if result.max_distance is not None:
        moved = f", L2 distance at most {result.max_distance:.3f}, mean {result.mean_distance:.3f}"
    of_source = f", {left_out:,} files or members left out" if left_out else ""
    return f"{done}{moved}, {len(result.skipped)} skipped{of_source}"
