"""Summarise the number of images in each class in one line."""

from collections.abc import Mapping

from torchprotect.cli._common import counted

_TOLD = 12  # classes


def classes_line(counts: Mapping[str, int]) -> str:
    """Return the number of classes, the image counts of the first 12, and the range of the others."""
    told = [f"{name} {count:,}" for name, count in list(counts.items())[:_TOLD]]
    if rest := list(counts.values())[_TOLD:]:
        fewest, most = min(rest), max(rest)
        between = counted(most, "image") if fewest == most else f"{fewest:,} to {most:,} images"
        told.append(f"and {len(rest):,} more, {between} each")
    return f"{len(counts):,} {'class' if len(counts) == 1 else 'classes'}: {', '.join(told)}"
