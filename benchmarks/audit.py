"""How long an audit takes, and which of its parts: exports of one set by three disguises, in full and with ``fast``.

Usage: python benchmarks/audit.py SOURCE [--limit N] [--out FILE]; SOURCE as for `torchprotect export`, small images
of one size. One run of each, one after the other; blocks of 4 x 4, permuted.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import machine

from torchprotect import audit, data, keys, transforms

LONGEST = 6  # parts that are named


class Parts:
    """Times the parts of an audit, which says when one begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._since = "reading", time.perf_counter()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Take the time since the last call for the part that began then."""
        now = time.perf_counter()
        self.seconds[self._name] = now - self._since
        self._name, self._since = name, now

    def longest(self) -> dict[str, float]:
        """Return the parts that took longest."""
        found = sorted(self.seconds.items(), key=lambda each: -each[1])[:LONGEST]
        return {name: round(seconds, 1) for name, seconds in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    source = data.open_source(arguments.source)
    fit = {"image_size": tuple(source[0].image.shape[-2:]), "block_size": (4, 4)}
    order = keys.PermutationKey.generate(**fit)
    given = {
        "permutation": order,
        "AES": keys.KeyBundle(keys.AESKey.generate(**fit), order),
        "RMT": keys.KeyBundle(keys.RMTKey.generate(**fit), order),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, key in given.items():
            export = Path(folder) / name
            data.export(source, export, transform=transforms.from_key(key), key=key)
            known = {"plain": source, "key": key, "limit": arguments.limit}
            rows += [timed(name, export, fast, known) for fast in (False, True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory {peak} MiB; {machine()}")
    if arguments.out:
        found = {"machine": machine(), "peak_mib": peak, "rows": rows}
        Path(arguments.out).write_text(json.dumps(found, indent=1) + "\n")


def timed(name: str, export: Path, fast: bool, known: dict[str, Any]) -> dict[str, Any]:
    """Run one audit with its page."""
    parts, start = Parts(), time.perf_counter()
    report = audit.run(export, report=export.parent / f"{name}{fast}.html", fast=fast, progress=parts, **known)
    seconds = round(time.perf_counter() - start, 1)
    kind = "fast" if fast else "full"
    print(f"{name}, {kind}: {seconds} s, {len(report.findings)} findings; {parts.longest()}", flush=True)
    return {"disguise": name, "kind": kind, "seconds": seconds, "parts": parts.longest()}


if __name__ == "__main__":
    main()
