"""``torchprotect audit``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._audited import load_encoder, load_matched, require_attacked
from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, load_optional_key, require_folder
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._model import load_model
from torchprotect.cli._say import complain, say

if TYPE_CHECKING:
    from torchprotect.attacks import Attack
    from torchprotect.audit import Progress, Report

_EXCEEDED = 3
_SCRAMBLING, _PERTURBED, _MATCHED = (
    "Options for OWSDScramble",
    "Options for AdversarialEncrypt",
    "Options for matched networks",
)


def audit(
    exports: Annotated[
        list[str],
        typer.Argument(
            help="Folder or URL of a finished export, which is verified first. Several under one key are audited as "
            "one.",
            metavar="EXPORT",
        ),
    ],
    report: Annotated[
        Path,
        typer.Option(
            help="HTML page to write, outside the export; `report.json` is written beside `report.html`. Only an "
            "earlier report is overwritten.",
            dir_okay=False,
        ),
    ],
    plain: Annotated[
        list[str] | None,
        typer.Option(
            help="Source that the export was made from, given as for `torchprotect export`; it is prepared as the "
            "export was. For several exports, repeat it in their order.",
            metavar="SOURCE",
            show_default="attacks that need plain images are not run",
        ),
    ] = None,
    labels_from: Annotated[
        str | None,
        typer.Option(
            help="Where the labels of SOURCE come from, as for `torchprotect export`.",
            metavar="none|txt|json:FIELD|FILE",
            show_default="class folders, or .cls members",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Key file. It is used to pair plain with disguised images; attacks never see it.",
            dir_okay=False,
            show_default="attacks that need pairs are not run",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Run this attack, given by name or title, and no others; an unknown name lists all attacks. May be "
            "repeated. Slow attacks run only if they are named here.",
            metavar="NAME",
            show_default="all that apply and are not slow",
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do a fifth of the work.")] = False,
    limit: Annotated[
        int,
        typer.Option(
            help="Largest number of images to read; 10,000 large images take more than 4 GB of memory.", min=20
        ),
    ] = 10_000,
    max_leakage: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with code 3 if the leakage at a level, 0 to 1, exceeds this value, such as L1=0.5. May be "
            "repeated.",
            metavar="LEVEL=VALUE",
            show_default="no limit",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device that runs attacks and networks, such as `cpu` or `cuda`.", metavar="DEVICE")
    ] = "cpu",
    pictures: Annotated[
        bool, typer.Option(help="Show some plain, disguised and reconstructed images on the page.")
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            help="The encoder, for an attacker who can load it too: a function without arguments that returns it. It "
            "takes images in 0..1. The module is imported, so its code runs.",
            metavar="PACKAGE.MODULE:FACTORY",
            show_default="only attacks on pixels are run",
            rich_help_panel=_SCRAMBLING,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights of the encoder, a safetensors file.",
            dir_okay=False,
            show_default="those that the function returns",
            rich_help_panel=_SCRAMBLING,
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            help="A network trained on other images, for linear probes of perturbed ones: a function without arguments "
            "that returns it. It takes images in 0..1 and returns features.",
            metavar="PACKAGE.MODULE:FACTORY",
            show_default="EfficientNet-Lite0, if it is installed (extra reproduce)",
            rich_help_panel=_PERTURBED,
        ),
    ] = None,
    matched: Annotated[
        Path | None,
        typer.Option(
            help="Model file of a network matched to the key, for an attacker who obtained it. Needs `--original`.",
            dir_okay=False,
            show_default="the attack is not run",
            rich_help_panel=_MATCHED,
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option(
            help="Public original of that network: a function without arguments that returns it with its weights.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_MATCHED,
        ),
    ] = None,
    original_std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation by which the original normalises its input, on the scale of 0..1: one number, or "
            "one per channel, such as 0.229,0.224,0.225.",
            metavar="VALUES",
            show_default="1; required for matrices that are not orthogonal",
            rich_help_panel=_MATCHED,
        ),
    ] = None,
) -> None:
    """Run every attack that applies to an export, and write a page that says what leaks.

    Needs the extra `audit`. Run the same command again to continue an interrupted audit.
    """
    with errors_as_exit_codes():
        require_folder(report)
        bounds = [_bound(each) for each in max_leakage or []]
        from dataclasses import replace

        from torchprotect import audit as room

        settings = room.Settings().faster() if fast else room.Settings()
        settings = replace(settings, device=device, pictures=pictures)
        secret = load_optional_key(key, passphrase_file)
        identities = load_identities(identity, open_passphrase_file)
        encoder = load_encoder(model, weights, device)
        features = None if pretrained is None else load_model(pretrained, None, device).eval()
        networks = load_matched(matched, original, original_std, exports[0], identities)
        with _progress() as progress:
            found = room.run(
                exports,
                plain=plain or None,
                labels_from=labels_from,
                key=secret,
                identity=identities,
                encoder=encoder,
                networks=networks,
                pretrained=features,
                attacks=_choose(attack),
                report=report,
                limit=limit,
                settings=settings,
                progress=progress,
            )
        _print_verdict(found, report)
        if networks is not None:
            require_attacked(found)
        _compare(found, bounds, chosen=bool(attack))


def _bound(text: str) -> tuple[str, float]:
    from torchprotect.audit.assertion import require_share
    from torchprotect.audit.report.outcome import level_of
    from torchprotect.errors import InputRangeError

    level, _, value = text.partition("=")
    try:
        bound = require_share(float(value))
    except ValueError:  # of float, or of the range
        raise InputRangeError(
            f"--max-leakage takes LEVEL=VALUE with a value from 0 to 1, such as L1=0.5, got {text!r}"
        ) from None
    return level_of(level).value, bound


def _choose(names: list[str] | None) -> "Sequence[Attack] | None":
    """Return attacks by name or title; ``None`` if none is named, which runs the standard ones."""
    from torchprotect.attacks import ATTACKS
    from torchprotect.errors import InputRangeError

    if not names:
        return None
    by_name, by_title = {each.name: each for each in ATTACKS}, {each.title.lower(): each for each in ATTACKS}
    found = {name: by_name.get(name) or by_title.get(name.lower()) for name in names}
    if unknown := [name for name, attack in found.items() if attack is None]:
        raise InputRangeError(
            f"--attack takes the name or title of an attack, got {unknown[0]!r}; there are: {', '.join(by_name)}"
        )
    return list({attack.name: attack for attack in found.values() if attack is not None}.values())


def _print_verdict(found: "Report", page: Path) -> None:
    """Print the warning, if any, one line per level, and one line that counts the attacks."""
    from collections import Counter

    from torchprotect.audit.report.sentences import attacks_and_scans
    from torchprotect.audit.report.words import COULD_NOT

    verdict = found.verdict
    if verdict.warning:
        say(verdict.warning)
    for level in verdict.levels:
        say(str(level))
    causes = Counter(each.cause for each in found.not_run)
    told = ", ".join(f"{causes[cause]} {words}" for cause, words in COULD_NOT.items() if causes[cause])
    not_run = f"{len(found.not_run)} did not" + (f" ({told})" if told else "")
    say(f"{page}: {attacks_and_scans(found.findings)} ran, {not_run}, {found.facts['seconds']} s")


def _compare(found: "Report", bounds: list[tuple[str, float]], chosen: bool) -> None:
    """Exit with code 3 if a limit is exceeded, with 1 if nothing was measured at all or at a limited level.

    If attacks were named, it is enough that one of them ran: some attacks have no scale.
    """
    from torchprotect.attacks import Level

    compared = found.facts.get("data", {}).get("comparable", True)
    unknown = [level for level, _ in bounds if not found.measured(level)]
    nothing = not found.findings if chosen else not any(found.measured(level) for level in Level)
    exceeded = [(level, bound) for level, bound in bounds if (found.leakage(level) or 0.0) > bound]
    for level, bound in exceeded:
        complain(f"leakage at {level} is {found.leakage(level):.1%}, at most {bound:.1%} is allowed")
    if unknown:
        complain(f"error: no attack was measured at {', '.join(unknown)}; the report says why")
    elif not compared:
        complain("error: the plain images have another shape than the protected ones; the report says what to do")
    elif nothing:
        lacking = "" if found.facts.get("data", {}).get("plain_images") else ": give the plain images (--plain)"
        complain(f"error: no attack on the images was measured at any level{lacking}; the report says why")
    if exceeded or unknown or nothing or not compared:
        raise typer.Exit(_EXCEEDED if exceeded else 1)


@contextmanager
def _progress() -> Iterator["Progress | None"]:
    """Show the running attack, progress and time on standard error, if it is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from torchprotect.attacks import ATTACKS

    titles = {each.name: each.title for each in ATTACKS}
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task("reading", total=None)

        def advance(name: str, done: int, total: int) -> None:
            drawn.update(task, completed=done, total=total, description=titles.get(name, name))

        yield advance
