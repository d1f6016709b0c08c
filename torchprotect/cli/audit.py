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
_SCRAMBLING, _PERTURBED, _MATCHED = "One way scrambling", "Perturbed images", "A network matched to the key"


def audit(
    exports: Annotated[
        list[str],
        typer.Argument(help="Folder or URL of a finished export; or several of one key.", metavar="EXPORT"),
    ],
    report: Annotated[Path, typer.Option(help="Page to write; the same in JSON is written beside it.", dir_okay=False)],
    plain: Annotated[
        list[str] | None,
        typer.Option(
            help="The source it was made from, as for `torchprotect export`; repeated for several exports. It is "
            "prepared as the export was.",
            metavar="SOURCE",
        ),
    ] = None,
    labels_from: Annotated[
        str | None,
        typer.Option(
            help="Where the labels of SOURCE come from, as for `torchprotect export`.",
            metavar="none|txt|json:FIELD|FILE",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Key file: tells which plain image is which; attacks never see it.", dir_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Run this attack and no others, by its name or title; an unknown name lists them all. May be "
            "repeated. Attacks that take long run only so.",
            metavar="NAME",
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="A fifth of the work.")] = False,
    limit: Annotated[int, typer.Option(help="Images to read at most.", min=20)] = 10_000,
    max_leakage: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit code 3 if more leaks at a level, such as L1=0.5; may be repeated.", metavar="LEVEL=VALUE"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where attacks and networks run: cpu, cuda, ..")] = "cpu",
    pictures: Annotated[bool, typer.Option(help="Show some plain, disguised and rebuilt images on the page.")] = True,
    model: Annotated[
        str | None,
        typer.Option(
            help="The encoder, for an attacker who can load it too: a function without arguments that returns it. It "
            "takes images in 0..1.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_SCRAMBLING,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights, a safetensors file; by default those with which the function returns it.",
            dir_okay=False,
            rich_help_panel=_SCRAMBLING,
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            help="A network trained on other images, for an attacker on perturbed ones: a function without arguments "
            "that returns it. It takes images in 0..1 and returns features; EfficientNet-Lite0 by default, if "
            "it is installed.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_PERTURBED,
        ),
    ] = None,
    matched: Annotated[
        Path | None,
        typer.Option(
            help="Model file of a network that was matched to the key, for an attacker who got it.",
            dir_okay=False,
            rich_help_panel=_MATCHED,
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option(
            help="Its public original: a function without arguments that returns it with its weights.",
            metavar="PACKAGE.MODULE:FACTORY",
            rich_help_panel=_MATCHED,
        ),
    ] = None,
    original_std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation that the original's pictures are normalised with, on the scale of 0..1: one "
            "number, or one for each channel, such as 0.229,0.224,0.225.",
            rich_help_panel=_MATCHED,
        ),
    ] = None,
) -> None:
    """Run every attack that applies to an export, and write one page that says what leaks.

    Run the same command again to go on with an interrupted audit.
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
            f"--max-leakage takes LEVEL=VALUE with a value of 0 to 1, such as L1=0.5, not {text!r}"
        ) from None
    return level_of(level).value, bound


def _choose(names: list[str] | None) -> "Sequence[Attack] | None":
    """Return attacks by their names or titles; ``None`` without any, for all that are usually run."""
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
    """Print what comes first, one line for each level, and one that counts the attacks."""
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
    """End with code 3 if more leaks than is allowed, with 1 if nothing was measured, at all or at a bounded level.

    Of attacks that were asked for it is enough that one ran: some have no scale.
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
    """Draw what is being run, parts done and time on standard error; nothing where that is no terminal."""
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
