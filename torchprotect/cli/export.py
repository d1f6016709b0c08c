"""``torchprotect export``."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from torchprotect.cli._classes import classes_line
from torchprotect.cli._common import (
    PassphraseFile,
    by_size,
    counted,
    errors_as_exit_codes,
    flag,
    given,
    load_key,
    progress_bar,
)
from torchprotect.cli._envelope import (
    Generation,
    RecipientKeys,
    RecipientsFile,
    SealPassphraseFile,
    SigningKeyFile,
    load_recipients,
)
from torchprotect.cli._model import load_model
from torchprotect.cli._prepare import Crop, Exif, Mode, Pad, Resize, make_preparation
from torchprotect.cli._say import remark, say

if TYPE_CHECKING:
    from torchprotect.data import ExportResult
    from torchprotect.data.engines import Engine
    from torchprotect.keys import Key


OnError = Literal["stop", "skip"]
EngineName = Literal["local", "ray"]
TargetSource = Literal["label", "predicted", "random"]
Precision = Literal["bfloat16", "float16"]

_ADVERSARIAL = "Perturbation, with an adversarial key"
_PAPER = {"eps": 0.5, "step_size": 0.1, "steps": 100}  # for 32 x 32 pixels


def export(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Image folder (`ROOT/CLASS/*.png`) or WebDataset pattern (`train-{000000..000020}.tar`), local or at "
            "a URL such as `s3://bucket/images/`; or `mnist:ROOT`, `fashion-mnist:ROOT` or `cifar10:ROOT` with "
            "torchvision's root folder, plus `:test` for the test split. With `--splits`, one or more NAME=SOURCE.",
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            help="Folder or URL to write, such as `s3://bucket/prefix`: new, empty, or with an unfinished export by "
            "the same plan, which is resumed.",
            metavar="OUT",
        ),
    ],
    key: Annotated[
        Path, typer.Option(help="Key file from `torchprotect keygen`; a bundle of keys too.", dir_okay=False)
    ],
    noise: Annotated[
        float | None,
        typer.Option(
            help="RMT: add uniform noise from 0 to this many grey levels of the 0..255 scale.", show_default="0"
        ),
    ] = None,
    exif: Exif = False,
    mode: Mode = None,
    resize: Resize = None,
    crop: Crop = None,
    pad: Pad = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Name of this split of the data, such as train. Order, ids and noise are derived from it; the "
            "disguise is the same for all splits. Use each name only once with a key.",
            metavar="NAME",
            show_default="no name",
        ),
    ] = None,
    splits: Annotated[
        bool,
        typer.Option(
            "--splits",
            help="Export several splits, each given as NAME=SOURCE, to OUT/NAME, and check them together: shapes, "
            "labels, classes, and that no picture file is in two of them. Not with `--split`, `--part` or `--index`.",
        ),
    ] = False,
    owner_file: Annotated[
        bool,
        typer.Option(
            "--owner-file/--no-owner-file",
            help="Write `owner.sealed`: the names of classes and pictures, encrypted for the key holder.",
        ),
    ] = True,
    store: Annotated[
        Literal["float16"] | None,
        typer.Option(help="RMT: round results to float16, which halves the size.", show_default="float32"),
    ] = None,
    salt_pepper: Annotated[
        float, typer.Option(help="Fraction of plain pixels, 0 to 1, turned black or white before the disguise.")
    ] = 0.0,
    unit_pixels: Annotated[
        int | None, typer.Option(help="AES: pixels in one cipher unit: 16, 8, 4 or 2.", show_default="16")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Number of images in a shard.", min=1)] = 1000,
    workers: Annotated[
        int,
        typer.Option(
            help="Number of worker processes; 0 uses the main process. With `--engine ray`, the largest number of "
            "shards in flight; 0 is twice as many as the cluster's CPUs can make at once.",
            min=0,
        ),
    ] = 0,
    engine: Annotated[
        EngineName, typer.Option(help="Make shards on this machine, or on the Ray cluster at `$RAY_ADDRESS`.")
    ] = "local",
    gpus_per_task: Annotated[
        float | None,
        typer.Option(
            help="Ray: GPUs for each shard. A fraction lets several shards share one GPU. A network on a GPU needs it.",
            min=0,
            show_default="0",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Make only shards I, I+N, I+2N, ..., with I from 0 to N-1. The same command without `--part` "
            "makes missing shards and finishes the export.",
            metavar="I/N",
            show_default="all shards",
        ),
    ] = None,
    on_error: Annotated[
        OnError,
        typer.Option(
            help="What to do at an image that cannot be read or does not fit (size, channels, label): stop, or leave "
            "it out and name it on standard error."
        ),
    ] = "stop",
    passphrase_file: PassphraseFile = None,
    recipient: RecipientKeys = None,
    recipients_file: RecipientsFile = None,
    seal_passphrase_file: SealPassphraseFile = None,
    generation: Generation = None,
    sign: SigningKeyFile = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Of tars at URLs: keep copies of whole tars in this folder and read those.",
            metavar="DIR",
            show_default="byte ranges are read",
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            help="Of tars: read the positions of all samples from this file, a path or URL, or create it. It contains "
            "sample names, so keep it beside the source, never in the export.",
            metavar="FILE",
            show_default="all tars are scanned",
        ),
    ] = None,
    labels_from: Annotated[
        str | None,
        typer.Option(
            help="Where labels come from: `none`; `txt` or `json:FIELD`, in a file beside each image; or a `.csv` or "
            "`.jsonl` file, a path or URL, with `file_name` and `label` (or `labels`).",
            metavar="none|txt|json:FIELD|FILE",
            show_default="class folders, or .cls members",
        ),
    ] = None,
    classes_of: Annotated[
        str | None,
        typer.Option(
            help="Number the classes as in this earlier export under the same key, whose owner's file has their names.",
            metavar="EXPORT",
            show_default="sorted order of the names",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Required. Network to perturb against: a function without arguments that returns it. The network "
            "takes images in 0..1 and returns scores, so it must normalise its input itself. The module is imported, "
            "so its code runs: name only modules that you trust. The current folder is searched too.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Required. Weights of the network, a safetensors file with exactly the tensors that it has.",
            dir_okay=False,
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            help="Largest L2 distance of a perturbed image from the plain one, in pixel units (0..1).",
            show_default="0.5",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    step_size: Annotated[
        float | None,
        typer.Option(help="L2 length of a step.", show_default="0.1", rich_help_panel=_ADVERSARIAL),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Number of steps.", min=1, show_default="100", rich_help_panel=_ADVERSARIAL),
    ] = None,
    target_source: Annotated[
        TargetSource | None,
        typer.Option(
            help="Perturb an image toward the targets of its label, toward those of the class that the network "
            "predicts for it, or toward one random class other than its own.",
            show_default="label",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images in a forward pass.", min=1, show_default="100", rich_help_panel=_ADVERSARIAL),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Device that runs the network, such as `cpu`, `cuda` or `cuda:1`. Other devices than `cpu` need "
            "`--workers 0`.",
            metavar="DEVICE",
            show_default="cpu",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Run the network in this precision (autocast).", show_default="its own", rich_help_panel=_ADVERSARIAL
        ),
    ] = None,
    reproject: Annotated[
        bool,
        typer.Option(
            "--reproject",
            help="Keep every stored image within `--eps`, which mixing and rounding can exceed otherwise.",
            rich_help_panel=_ADVERSARIAL,
        ),
    ] = False,
) -> None:
    """Disguise every image of SOURCE and write WebDataset shards with a manifest to OUT.

    Run the same command again to finish an interrupted export: its bytes equal those of an undisturbed one. The
    finished export prints its digest, the SHA-256 of its manifest, for `--expect`.

    With an adversarial key, images are perturbed instead. This hides nothing: people see the same image. It is meant to
    make naive training on the images fail; adversarial training, augmentation or coarse rounding undo much of the
    effect.
    """
    with errors_as_exit_codes():
        from torchprotect.envelope import SigningKey
        from torchprotect.errors import InputTypeError

        for_blocks = given(noise=noise, salt_pepper=salt_pepper or None, unit_pixels=unit_pixels)
        for_model = given(
            model=model,
            weights=weights,
            eps=eps,
            step_size=step_size,
            steps=steps,
            target_source=target_source,
            batch_size=batch_size,
            device=device,
            precision=precision,
            reproject=reproject or None,
        )
        share = None if part is None else _parse_part(part)
        if index is not None:
            _require_outside(index, out)
        secret = load_key(key, passphrase_file)
        to = load_recipients(recipient, recipients_file, seal_passphrase_file)
        if to is None and generation is not None:
            raise InputTypeError(
                "--generation applies to sealed exports: give a recipient too, for example --recipient KEY"
            )
        options = {
            "transform": _make_transform(secret, for_blocks, for_model),
            "key": secret,
            "prepare": make_preparation(exif, mode, resize, crop, pad),
            "owner_file": owner_file,
            "store": store,
            "shard_size": shard_size,
            "workers": workers,
            "engine": _make_engine(engine, gpus_per_task),
            "on_error": on_error,
            "notify": lambda note: remark(f"note: {note}"),
            "recipients": to,
            "generation": generation,
            "signing_key": None if sign is None else SigningKey.load(sign),
        }
        names = None if classes_of is None else _class_names(classes_of, secret)
        how = {"cache": cache, "labels_from": labels_from, "class_names": names}
        named = _parse_sources(sources, splits)
        if named is not None:
            _require_alone(split=split, part=part, index=index)
            _export_splits(named, out, how, options)
            return
        _export_one(sources[0], out, part, how | {"index": index}, options | {"split": split, "part": share})


def _class_names(export: str, key: "Key") -> tuple[str, ...]:
    """Return the names of the classes of an earlier export, in order of their numbers."""
    from torchprotect import data
    from torchprotect.errors import ExportError

    owner = data.read_owner(export, key=key)
    if owner is None or owner.class_names is None:
        raise ExportError(
            f"{export} has no class names in an owner's file, so --classes-of cannot number classes by it"
        )
    return owner.class_names


def _parse_sources(sources: list[str], splits: bool) -> dict[str, str] | None:
    """Return the source of each split by name; ``None`` if there is one source without a name."""
    if not splits:
        if len(sources) > 1:
            raise typer.BadParameter(
                "expected one SOURCE and OUT; to export several splits, give --splits and NAME=SOURCE for each"
            )
        return None
    pairs = [source.partition("=") for source in sources]
    if wrong := next((name + mark + value for name, mark, value in pairs if not (name and mark and value)), None):
        raise typer.BadParameter(f"with --splits, give every SOURCE as NAME=SOURCE, not {wrong!r}")
    names = [name for name, _, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise typer.BadParameter(f"split {twice!r} is given twice; every split needs its own name")
    return {name: value for name, _, value in pairs}


def _require_alone(**options: Any) -> None:
    """Refuse options that apply to a single export only."""
    if used := [flag(name) for name, value in options.items() if value is not None]:
        raise typer.BadParameter(f"--splits cannot be combined with {', '.join(used)}")


def _export_one(source: str, out: str, part: str | None, how: dict[str, Any], options: dict[str, Any]) -> None:
    from torchprotect import data

    opened, start = data.open_source(source, **how), time.monotonic()
    with progress_bar("exporting") as progress:
        result = data.export(opened, out, progress=progress, **options)
    for name in result.skipped:
        remark(f"skipped: {name}")
    if result.class_counts:
        remark(classes_line(result.class_counts))
    if part is not None and result.finished:
        say(f"{out}: the export is already finished; part {part} made nothing")
        return
    of_part = "" if part is None else f"part {part}: "
    sealed = options["recipients"] is not None
    digest = "" if result.digest is None else f"; digest {result.digest}"
    summary = _summary(result, opened.left_out.total(), sealed=sealed)
    say(f"{out}: {of_part}{summary}, {time.monotonic() - start:.1f} s{digest}")
    if part is not None:
        remark("when all parts are done, run the same command without --part to finish the export")


def _export_splits(sources: dict[str, str], out: str, how: dict[str, Any], options: dict[str, Any]) -> None:
    from torchprotect import data

    opened, start = data.open_sources(sources, **how), time.monotonic()
    with progress_bar("exporting") as progress:
        results = data.export_splits(opened, out, progress=progress, **options)
    for name, result in results.items():
        for skipped in result.skipped:
            remark(f"skipped in {name}: {skipped}")
        if result.class_counts:
            remark(f"{name}: {classes_line(result.class_counts)}")
        summary = _summary(result, opened[name].left_out.total(), sealed=options["recipients"] is not None)
        remark(f"{result.location}: {summary}; digest {result.digest}")
    told = ", ".join(f"{name} {result.images:,}" for name, result in results.items())
    total = sum(result.images for result in results.values())
    done = f"{counted(total, 'image')} in {counted(len(results), 'split')} ({told})"
    say(f"{out}: {done}, {time.monotonic() - start:.1f} s")


def _require_outside(index: str, out: str) -> None:
    """Refuse an index inside the export: it contains names of the source, and an export holds no other files."""
    from torchprotect.data.store import lies_in
    from torchprotect.errors import InputRangeError

    if lies_in(index, out):
        raise InputRangeError(f"--index {index} lies inside {out}; put it elsewhere, for example beside the source")


def _parse_part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise typer.BadParameter(f"--part takes I/N with I from 0 to N-1, such as 0/16 or 15/16, got {text!r}")
    return int(found[1]), int(found[2])


def _make_engine(name: EngineName, gpus_per_task: float | None) -> "Engine | None":
    """Return the engine of that name; ``None`` is this machine."""
    from torchprotect.data.engines import RayEngine
    from torchprotect.errors import InputTypeError

    if name == "ray":
        return RayEngine(gpus_per_task=gpus_per_task or 0.0)
    if gpus_per_task is not None:
        raise InputTypeError("--gpus-per-task applies to Ray only: add --engine ray, or leave it out")
    return None


def _make_transform(secret: "Key", for_blocks: dict[str, Any], for_model: dict[str, Any]) -> Any:
    """Return the transform for a key; options of other kinds of keys raise."""
    from torchvision.transforms import v2

    from torchprotect import transforms
    from torchprotect.keys import CorrespondenceKey, KeyBundle

    inner = secret.transform if isinstance(secret, KeyBundle) else secret
    if isinstance(inner, CorrespondenceKey):
        _refuse("an adversarial key", for_blocks)
        return _make_adversarial(secret, for_model)
    _refuse(f"a key of kind {inner.kind}", for_model)
    salt_pepper = for_blocks.pop("salt_pepper", 0)
    transform = transforms.from_key(secret, **for_blocks)
    return v2.Compose([transforms.SaltAndPepper(salt_pepper), transform]) if salt_pepper else transform


def _make_adversarial(secret: "Key", options: dict[str, Any]) -> Any:
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
        raise InputTypeError(f"{kind} cannot be combined with {', '.join(map(flag, options))}")


def _summary(result: "ExportResult", left_out: int, *, sealed: bool) -> str:
    kept = f" ({result.made:,} made now)" if result.made < result.shards else ""
    done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}{kept}, {by_size(result.size)}"
    distance = ""
    if result.max_distance is not None:
        distance = f", L2 distance at most {result.max_distance:.3f}, mean {result.mean_distance:.3f}"
    files = "file or member" if left_out == 1 else "files or members"
    of_source = f", {left_out:,} {files} left out" if left_out else ""
    return f"{done}{distance}, {len(result.skipped)} skipped{of_source}{', sealed' if sealed else ''}"
