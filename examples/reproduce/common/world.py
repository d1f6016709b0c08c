"""What a reproduction is told on the command line."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from common.cells import Cells
from common.images import without_folder


@dataclass(frozen=True)
class Scale:
    """How much work to do; each paper adds sizes of its own.

    Attributes:
        folds: repetitions of everything, each with seeds of its own.
    """

    folds: int


@dataclass(frozen=True)
class Given:
    """What the command line says.

    Attributes:
        scale: name of the scale.
        sources: plain images, as for ``torchprotect export``; none: some are drawn, to see that everything runs.
        out: folder for results.
        device: where networks run.
        plan: only say what is left to measure.
        minutes: no measurement is begun after so many.
        fold: the only repetition to measure; ``None``: all.
    """

    scale: str
    sources: tuple[str, ...]
    out: Path
    device: str
    plan: bool = False
    minutes: float = math.inf
    fold: int | None = None

    @property
    def shown_sources(self) -> str:
        """The sources without the folders they lie in."""
        return ", ".join(map(without_folder, self.sources)) or "drawn"

    @property
    def command(self) -> str:
        """The call without the options that decide no number, and without folders, which differ between machines."""
        script, *arguments = sys.argv
        for option in ("--out", "--minutes", "--fold"):
            if option in arguments:
                index = arguments.index(option)
                del arguments[index : index + 2]
        shown = (without_folder(each) if ":" in each or "/" in each else each for each in arguments)
        path = "/".join(Path(script).parts[-2:])  # reproduce/all.py, or SCHEME/SCRIPT.py
        return " ".join([path if path.startswith("reproduce/") else f"reproduce/{path}", *shown])


S = TypeVar("S", bound=Scale)


class World(Generic[S]):
    """How much work to do, and the numbers that are measured so far.

    Args:
        given: on the command line.
        scale: how much work to do.
        bench: what measuring functions are given.
        sizes: what decides numbers beside the settings of a cell; as JSON.
    """

    def __init__(self, given: Given, scale: S, bench: Any, sizes: Mapping[str, object]) -> None:
        self.given, self.scale, self.bench = given, scale, bench
        self.out = given.out / given.scale
        self.kept = given.out / "kept"
        self.kept.mkdir(parents=True, exist_ok=True)
        self.cells = Cells(given.out / f"{given.scale}.jsonl", sizes, self.kept, given.command)
        self.planning = False

    @property
    def folds(self) -> range:
        """The repetitions."""
        return range(self.scale.folds)

    def each(self, measure: Callable[..., dict[str, float]], **settings: Any) -> list[Mapping[str, float]]:
        """Return the numbers of a cell for each repetition."""
        return [self.cells.get(measure, fold=fold, **settings) for fold in self.folds]

    def run(self, *scripts: Callable[[Any], None]) -> None:
        """Measure what tables need, then make them; each script is called with this world, and asks for its cells."""
        self.planning = True
        for script in scripts:
            script(self)
        missing = self.cells.missing(self.given.fold)
        print(self.cells.plan(missing), flush=True)
        if self.given.plan:
            for kind, count in Counter(cell.kind for cell in missing).items():
                print(f"  {count} x {kind}")
            return
        try:
            self.cells.measure(missing, self.bench, self.given.minutes)
        except KeyboardInterrupt:
            raise SystemExit(
                f"stopped; call again to go on: {self.cells.plan(self.cells.missing(self.given.fold))}"
            ) from None
        self.planning = False
        self.out.mkdir(parents=True, exist_ok=True)
        for script in scripts:
            script(self)

    def about(self) -> dict[str, object]:
        """Return the provenance of the numbers that were asked for since the last call."""
        lines = self.cells.take_asked()
        origin = {name: sorted({line[name] for line in lines}) for name in ("date", "machine", "versions", "command")}
        digests = sorted({line["code"] for line in lines})
        return {"scale": asdict(self.scale), "source": self.given.shown_sources, "code": digests, **origin}


class CommandLine:
    """The options of every script; a scheme adds its own to ``parser``.

    Args:
        description: of the script.
        scales: by name.
        scheme: folder of the results in ``--out``.
        source: help for ``--source``.
    """

    def __init__(self, description: str | None, scales: Mapping[str, Scale], scheme: str, source: str) -> None:
        self.parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._scheme = scheme
        self.parser.add_argument("--scale", choices=scales, default="smoke")
        self.parser.add_argument("--source", action="append", default=[], help=source)
        self.parser.add_argument("--out", type=Path, default=Path("reproductions"), help="folder for results")
        self.parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        self.parser.add_argument(
            "--plan", action="store_true", help="only say what is left to measure, and how long it takes"
        )
        self.parser.add_argument("--minutes", type=float, default=math.inf, help="begin no measurement after so many")
        self.parser.add_argument("--fold", type=int, help="measure only this repetition, counted from 0")

    def read(self, sources: int) -> tuple[argparse.Namespace, Given]:
        """Read the arguments; at most as many sources may be given."""
        found = self.parser.parse_args()
        if not found.source and found.scale != "check":
            self.parser.error("--source is needed at this scale")
        if len(found.source) > sources:
            self.parser.error(f"--source may be given {sources} times at most")
        out: Sequence[Any] = (found.out / self._scheme, found.device, found.plan, found.minutes, found.fold)
        return found, Given(found.scale, tuple(found.source), *out)
