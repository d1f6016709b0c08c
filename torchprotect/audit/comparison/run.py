"""Run a comparison of settings."""

import datetime
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchprotect._version import __version__
from torchprotect.attacks import STANDARD_ATTACKS
from torchprotect.audit.bench import pretrained
from torchprotect.audit.bench.bench import usable_device
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.bench.store import Store
from torchprotect.audit.comparison import probe as probes
from torchprotect.audit.comparison.comparison import FORMAT, Comparison
from torchprotect.audit.comparison.defaults import Defaults, default_settings
from torchprotect.audit.comparison.images import LEAST_IMAGES, Images, read_images
from torchprotect.audit.comparison.measuring import Measuring
from torchprotect.audit.comparison.reading import read_settings, require_settings
from torchprotect.audit.comparison.setting import Setting
from torchprotect.audit.report.destination import require_destination
from torchprotect.audit.report.page import require_page_tools
from torchprotect.audit.session import Progress
from torchprotect.data import Preparation
from torchprotect.errors import BlockSizeError

EFFORT = Settings(epochs=12, targets=500, pictures=False)
"""Amount of work for each setting: more epochs than in an audit, because there are fewer images."""

FAST = replace(EFFORT, trainings=1, epochs=8, targets=200, pairs=(5, 100), inversion_pairs=200, inversion_epochs=3)
"""The same for ``fast``."""

_NOT_COMPARED = (
    (
        "AdversarialEncrypt",
        "has the opposite aim: people can read its images, and networks are to learn little from them. It also needs a "
        "base network. Audit an export of it",
    ),
    ("OWSDScramble", "needs an encoder, and networks that read scrambled images; audit an export of it"),
)

_PRETRAINED = "a pretrained network"


def compare(
    source: Any,
    *,
    settings: Sequence[Setting] | str | os.PathLike[str] | None = None,
    labels_from: str | None = None,
    prepare: Preparation | None = None,
    report: str | os.PathLike[str] | None = None,
    fast: bool = False,
    limit: int = 2_000,
    probe: bool = True,
    device: str | None = None,
    effort: Settings | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Comparison:
    """Compare disguise settings on your own images: how much a network keeps, and how much the best attacks find.

    Images are disguised in memory, for each setting under fresh keys that are thrown away; nothing is exported. Half of
    them are attacked, at each level, by all attacks of :data:`torchprotect.attacks.STANDARD_ATTACKS` that apply, as in
    :func:`run`. Networks on plain images are trained once for all settings.

    Args:
        source: plain images with labels: a name as for :func:`torchprotect.data.open_source`, a source, or a map-style
            data set.
        settings: the settings to compare, or a file with them; those of :func:`default_settings` when ``None``.
        labels_from: where labels of a source given by name come from, as for :func:`torchprotect.data.open_source`.
        prepare: preparation of pictures before the disguise, as for :func:`torchprotect.data.export`.
        report: path of the HTML page to write; the JSON is written beside it. Only an earlier comparison is
            overwritten. ``None`` writes nothing.
        fast: fewer settings, and less work for each: three to four CPU minutes for 2,000 images of 32 x 32 pixels.
        limit: largest number of images, drawn from the source.
        probe: whether to use a pretrained network too, if the packages of the extra ``reproduce`` are installed.
        device: where attacks and networks run, ``"cpu"`` by default.
        effort: how much work is done for each setting, instead of the defaults.
        progress: called before each step and at the end.
        resume: whether to continue an interrupted comparison of the same images and effort. Finished settings are kept,
            even if others join the list.

    Raises:
        SourceError: an image cannot be read, or images have several shapes.
        LabelError: images have no label or several labels, or only one class.
        InputTypeError, InputRangeError: a setting has an invalid value; there are too few images; or they are not
            8-bit.
        BlockSizeError: the blocks of a setting do not divide the images.
        ExportError: a page is wanted but the extra ``audit`` is missing; the page would overwrite a file that is not a
            comparison; or another comparison is writing it.

    Example::

        result = audit.compare("photos/", report="comparison.html", fast=True)
        for advice in result.advice:
            print(advice.question, advice.sentence)
    """
    path = None if report is None else Path(report)
    if path is not None:
        require_page_tools()
        require_destination(path, None, document_format=FORMAT)
    given = _given(settings)
    started, start, cpu = datetime.datetime.now(datetime.timezone.utc), time.monotonic(), time.process_time()
    chosen = effort or (FAST if fast else EFFORT)
    chosen = replace(chosen, device=device) if device is not None else chosen
    usable_device(chosen.device)
    images = read_images(source, labels_from=labels_from, prepare=prepare, limit=limit, seed=chosen.seed)
    wanted = Defaults(given, ()) if given is not None else default_settings(images.size, fast=fast)
    for number, each in enumerate(wanted.settings, 1):
        _require_fits(each, number, images)
    asked, why_not = _probe(probe, images, chosen.device)
    with Store(None if path is None else path.with_name(f"{path.name}.parts"), _digest(images, chosen, asked)) as store:
        if not resume:
            store.clear()
        measuring = Measuring(
            *(images, wanted.settings, chosen, STANDARD_ATTACKS, store), probe=asked, progress=progress or _show_nothing
        )
        plain, plain_probe = measuring.measure_plain()
        compared = measuring.measure_all()
        told = {
            "started": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round(time.monotonic() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            **measuring.facts(),
            "skipped": [list(each) for each in wanted.skipped],
            "not_compared": [list(each) for each in (*_NOT_COMPARED, *why_not)],
        }
        done = Comparison(compared, plain, plain_probe, measuring.chance, told)
        if path is not None:
            done.write_json(path.with_suffix(".json"))  # first: a page without it would count as another program's file
            done.write_html(path)
            store.remove()
    return done


def defaults_for(
    source: Any, *, labels_from: str | None = None, prepare: Preparation | None = None, fast: bool = False
) -> Defaults:
    """Return the settings that are compared on a source by default; arguments are those of :func:`compare`."""
    images = read_images(source, labels_from=labels_from, prepare=prepare, limit=LEAST_IMAGES, seed=EFFORT.seed)
    return default_settings(images.size, fast=fast)


def _given(settings: Any) -> tuple[Setting, ...] | None:
    if settings is None:
        return None
    if isinstance(settings, str | os.PathLike):
        return read_settings(settings)
    return require_settings(settings)


def _require_fits(setting: Setting, number: int, images: Images) -> None:
    try:
        setting.require_fits(images.size)
    except BlockSizeError as error:
        raise BlockSizeError(f"setting {number}: {error}") from None


def _probe(wanted: bool, images: Images, device: str) -> tuple[probes.Probe | None, list[tuple[str, str]]]:
    """Return the pretrained network, or why it is not used."""
    channels = images.plain.shape[1]
    if not wanted:
        return None, [(_PRETRAINED, "not requested")]
    if not pretrained.is_installed():
        return None, [(_PRETRAINED, f"{pretrained.NAME} is not installed: {pretrained.how_to_install()}")]
    if channels not in (1, 3):
        return None, [(_PRETRAINED, f"{pretrained.NAME} takes one channel or three, and the images have {channels}")]
    return probes.Probe(device), []


def _digest(images: Images, effort: Settings, probe: probes.Probe | None) -> str:
    names = [attack.name for attack in STANDARD_ATTACKS]
    parts = [__version__, images.digest, effort, effort.precision, names, probe is not None]
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _show_nothing(name: str, done: int, total: int) -> None:
    """Do nothing."""
