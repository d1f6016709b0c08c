"""``torchprotect predict``."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from torchprotect.cli._common import PassphraseFile, counted, errors_as_exit_codes, load_key
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._model import load_model
from torchprotect.cli._say import complain, remark, say

if TYPE_CHECKING:
    from torchprotect.predict import ClassScore, Prediction, Predictor

_BATCH = 64

OnError = Literal["stop", "skip"]


def predict(
    model: Annotated[
        Path, typer.Argument(help="Model file from `predict.save`.", metavar="MODEL", dir_okay=False, exists=True)
    ],
    pictures: Annotated[
        list[Path], typer.Argument(help="Picture files to classify.", metavar="PICTURE", dir_okay=False, exists=True)
    ],
    key: Annotated[Path, typer.Option(help="Key file that disguised the training images.", dir_okay=False)],
    network: Annotated[
        str,
        typer.Option(
            "--model",
            help="Function without arguments that builds the trained architecture. Its module is imported, so its code "
            "runs; the current folder is searched too.",
            metavar="PACKAGE.MODULE:FACTORY",
        ),
    ],
    classes_of: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL of an export under this key, whose owner's file names the classes.",
            metavar="EXPORT",
            show_default="class numbers",
        ),
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(
            help="UTF-8 text file with the name of one class on each line, in the order of the plain class numbers "
            "from 0 up.",
            dir_okay=False,
            show_default="class numbers",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Print the N classes with the highest scores, best first.", min=1)] = 1,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Print every class with at least this score instead of the best N; for networks that give an image "
            "several labels.",
            min=0,
            max=1,
            show_default="off",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    on_error: Annotated[
        OnError,
        typer.Option(
            help="What to do at a picture that cannot be used: stop, or skip it and continue. The exit code is 1 "
            "either way."
        ),
    ] = "stop",
    device: Annotated[
        str, typer.Option(help="Device that runs the network, such as `cpu`, `cuda` or `cuda:1`.", metavar="DEVICE")
    ] = "cpu",
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Classify plain pictures with a network that was trained on disguised ones.

    Each picture is prepared and disguised as the training images were. Prints one line for each picture: its path, two
    spaces, then the plain class and a score from 0 to 1.
    """
    with errors_as_exit_codes():
        from torchprotect.predict import Predictor

        predictor = Predictor.load(
            model,
            key=load_key(key, passphrase_file),
            network=load_model(network, None, device),
            class_names=_read_names(class_names),
            export=classes_of,
            identity=load_identities(identity, open_passphrase_file),
        )
        if predictor.note:
            remark(f"note: {predictor.note}")
        failed = 0
        for picture, answer in _answers(predictor, pictures):
            if not isinstance(answer, Exception):
                found = answer.top(top) if threshold is None else answer.above(threshold)
                say(json.dumps(_as_json(picture, answer, found)) if as_json else _as_line(picture, found))
            elif on_error == "stop":
                raise answer
            else:
                failed += 1
                remark(f"skipped {_told(picture)}: {answer}")
        if failed:
            complain(f"error: {failed:,} of {counted(len(pictures), 'picture')} could not be used")
            raise typer.Exit(1)


def _answers(predictor: "Predictor", pictures: list[Path]) -> "Iterator[tuple[Path, Prediction | Exception]]":
    """Yield each picture with its prediction, or with the error that replaces it."""
    from torchprotect.errors import KeySizeError, SourceError

    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH]
        try:
            yield from zip(batch, list(predictor.predict(batch, batch_size=_BATCH)), strict=True)
        except (SourceError, KeySizeError):  # one of them cannot be used: retry them one by one
            for picture in batch:
                try:
                    yield picture, predictor(picture)
                except (SourceError, KeySizeError) as error:
                    yield picture, error


def _told(path: Path) -> str:
    """Return a path as text that every JSON reader accepts."""
    return os.fsencode(path).decode(errors="replace")


def _read_names(path: Path | None) -> list[str] | None:
    from torchprotect.errors import InputTypeError

    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n").splitlines()
    except UnicodeDecodeError:
        raise InputTypeError(f"{path} is not UTF-8 text") from None


def _as_json(picture: Path, answer: "Prediction", found: "tuple[ClassScore, ...]") -> dict[str, Any]:
    best = {"label": answer.label, "name": answer.name, "score": round(answer.score, 6)}
    classes = [{"label": each.label, "name": each.name, "score": round(each.score, 6)} for each in found]
    return {"picture": _told(picture), **best, "classes": classes}


def _as_line(picture: Path, found: "tuple[ClassScore, ...]") -> str:
    told = [f"{each.label if each.name is None else each.name} {each.score:.3f}" for each in found]
    return f"{_told(picture)}  {', '.join(told) or 'none'}"
