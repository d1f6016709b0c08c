"""Run an audit."""

import datetime
import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from torchprotect._inputs import type_name
from torchprotect._version import __version__
from torchprotect.attacks import STANDARD_ATTACKS, Attack, MatchedNetworks
from torchprotect.audit.bench.bench import Bench, usable_device
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.bench.store import Store
from torchprotect.audit.evidence.encoder import encoder_digest, require_encoder, scrambler_of
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.evidence.opening import open_evidence
from torchprotect.audit.report.destination import require_destination
from torchprotect.audit.report.page import require_page_tools
from torchprotect.audit.report.report import Report
from torchprotect.audit.session import Progress, Session
from torchprotect.data.finished import Identities
from torchprotect.data.several import Exports, as_list
from torchprotect.data.store import is_url
from torchprotect.errors import InputRangeError, InputTypeError
from torchprotect.keys import Key
from torchprotect.training import model_digest


def run(
    export: Exports | Evidence,
    *,
    plain: Any = None,
    key: Key | None = None,
    identity: Identities = None,
    labels_from: str | None = None,
    encoder: nn.Module | None = None,
    networks: MatchedNetworks | None = None,
    pretrained: nn.Module | None = None,
    attacks: Iterable[Attack] | None = None,
    report: str | os.PathLike[str] | None = None,
    fast: bool = False,
    limit: int = 10_000,
    device: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Report:
    """Run every attack that applies to an export, at every attacker level, and report what leaks.

    Half of the disguised images are attacked. An attacker has the plain images of the other half, with their labels,
    from L1 on, and known pairs of them at L2. No attack receives a key.

    Args:
        export: folder or URL of a finished export, or those of several exports of one key; or your own evidence.
        plain: the source it was made from, by name or opened; for several exports, a list with one source each.
        key: the key it was made with. It tells which plain image belongs to which disguised one.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        labels_from: where labels of sources given by name come from, as for :func:`torchprotect.data.open_source`.
        encoder: for images of ``OWSDScramble``, the encoder they went through, in eval mode: simulates an attacker who
            can load it too. Another encoder shows less than such an attacker can see.
        networks: a network matched to the key by :func:`torchprotect.predict.match_key`, and its public original:
            simulates an attacker who got the former.
        pretrained: a network trained on other images, for an attacker on perturbed ones: float images in 0..1 to
            features ``[N, E]``. ``None`` takes EfficientNet-Lite0, if it is installed (extra ``reproduce``).
        attacks: attacks to run: entries of :data:`torchprotect.attacks.ATTACKS`, and attacks of your own under other
            names. ``None`` runs all except long trainings.
        report: path of the HTML page to write, outside the export; the JSON is written beside it. Both are readable by
            their owner only. Only an earlier report is overwritten. ``None`` writes nothing.
        fast: do a fifth of the work, as :meth:`Settings.faster` says.
        limit: largest number of images to read.
        device: where attacks and networks run, ``"cpu"`` by default.
        settings: how much work is done, instead of the defaults; not together with ``fast``.
        progress: called before each attack and at the end.
        resume: whether to continue an interrupted audit of the same images, encoder, settings and report.

    Returns:
        The report, with its verdict.

    Raises:
        ExportError: ``export`` is not a finished export; a page is wanted but the extra ``audit`` is missing; the page
            would lie inside the export, or overwrite a file that is not a report; or another audit is writing it.
        EnvelopeError: the export is sealed, and neither identity nor key opens it.
        VerificationError: the export does not match its manifest.
        SourceError: ``plain`` cannot be read, or is not the source of this export.
        InputTypeError: an encoder was given for another disguise, or settings together with ``fast``.
        ModelError: the encoder is in training mode, cannot take the plain images, or returns no embeddings.

    Example::

        report = audit.run("out/", plain="photos/", key=keys.load("rmt.key"), report="report.html")
        print(report.verdict.levels[1].sentence)
    """
    if isinstance(export, Evidence) and (plain is not None or key is not None):
        raise InputTypeError("an Evidence holds its plain images and pairs; leave plain and key out")
    if fast and settings is not None:
        raise InputTypeError("fast and settings both say how much is done: give one, such as settings.faster()")
    wanted = STANDARD_ATTACKS if attacks is None else _require_attacks(attacks)
    path = None if report is None else Path(report)
    if path is not None:
        require_page_tools()
        for folder in _folders_of(export):
            require_destination(path, folder)
    started, start = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    chosen = settings or (Settings().faster() if fast else Settings())
    chosen = replace(chosen, device=device) if device is not None else chosen
    usable_device(chosen.device)
    evidence = (
        export
        if isinstance(export, Evidence)
        else open_evidence(export, plain, key, identity=identity, labels_from=labels_from, limit=limit)
    )
    if encoder is not None:
        require_encoder(encoder, evidence)
    if networks is not None and not isinstance(networks, MatchedNetworks):
        raise InputTypeError(f"networks must be attacks.MatchedNetworks, got {type_name(networks)}")
    if pretrained is not None and not isinstance(pretrained, nn.Module):
        raise InputTypeError(f"pretrained must be a torch.nn.Module, got {type_name(pretrained)}")
    bench = Bench(evidence, chosen, encoder, networks, scrambler_of(encoder, key), pretrained)
    with Store(None if path is None else _parts(path), _digest(bench)) as store:
        if not resume:
            store.clear()
        done = Session(bench, wanted, store, progress or _show_nothing).finish(started, start)
        if path is not None:
            done.write_json(path.with_suffix(".json"))  # first: a page without it would count as another program's file
            done.write_html(path)
            store.remove()
    return done


def _folders_of(export: Exports | Evidence) -> list[Path | None]:
    """Return the local folder of each export; ``None`` for one that has none."""
    if isinstance(export, Evidence):
        return [export.folder if isinstance(export.folder, Path) else None]
    return [None if is_url(each) else Path(each) for each in as_list(export)]


def _require_attacks(attacks: Iterable[Attack]) -> tuple[Attack, ...]:
    """Return attacks with distinct names.

    Raises:
        InputTypeError: one is something else.
        InputRangeError: there are none, or two have the same name.
    """
    if isinstance(attacks, Attack) or not isinstance(attacks, Iterable):
        raise InputTypeError(f"attacks must be a list of attacks.Attack objects, got {type_name(attacks)}")
    chosen = tuple(attacks)
    for attack in chosen:
        if not isinstance(attack, Attack):
            raise InputTypeError(f"attacks must hold attacks.Attack objects, got {type_name(attack)}")
    names = [attack.name for attack in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputRangeError(f"attacks must have different names, but these come twice: {', '.join(twice)}")
    if not chosen:
        raise InputRangeError("attacks must hold at least one attack; leave it out for all that apply")
    return chosen


def _parts(report: Path) -> Path:
    return report.with_name(report.name + ".parts")


def _digest(bench: Bench) -> str:
    encoder = None if bench.encoder is None else encoder_digest(bench.encoder, bench.evidence.plain)
    parts = [__version__, bench.evidence.digest, bench.settings, bench.settings.precision, encoder]
    if bench.networks is not None:
        matched, original, std, scale = bench.networks
        parts += [model_digest(matched, b""), model_digest(original, b""), std, scale]
    if bench.given_pretrained is not None:
        parts.append(encoder_digest(bench.given_pretrained, None))
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _show_nothing(name: str, done: int, total: int) -> None:
    """Do nothing."""
