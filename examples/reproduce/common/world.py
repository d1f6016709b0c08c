"""What a reproduction is told on the command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from common.images import without_folder
from common.kept import Kept


@dataclass(frozen=True)
class Scale:
    """How much work to do; what there is to choose depends on the paper."""


S = TypeVar("S", bound=Scale)


class World(Generic[S]):
    """How much work to do, with which images, and where results go.

    Args:
        scale: how much work to do.
        sources: plain images, as for ``torchprotect export``; none: some are drawn, to see that everything runs.
        out: folder for results, and for what is kept.
        device: where networks run.
        kept: what decides the content of everything that is kept; as JSON.
    """

    def __init__(self, scale: S, sources: Sequence[str], out: Path, device: str, kept: Sequence[object]) -> None:
        self.scale, self.sources, self.out, self.device = scale, sources, out, torch.device(device)
        self.kept = Kept(out / "kept", *kept)

    @property
    def about(self) -> dict[str, object]:
        """Where the numbers come from."""
        shown = ", ".join(map(without_folder, self.sources)) or "drawn"
        return {"scale": asdict(self.scale), "source": shown, "device": str(self.device)}


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

    def read(self, sources: int) -> argparse.Namespace:
        """Read the arguments; at most as many sources may be given."""
        given = self.parser.parse_args()
        if not given.source and given.scale != "check":
            self.parser.error("--source is needed at this scale")
        if len(given.source) > sources:
            self.parser.error(f"--source may be given {sources} times at most")
        given.source, given.out = tuple(given.source), given.out / self._scheme
        return given
