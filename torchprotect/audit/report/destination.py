"""Check where a report may be written: neither into its export, nor over a file that no audit wrote."""

import os
from pathlib import Path

from torchprotect._files import read_regular
from torchprotect._json import parse
from torchprotect.audit.report.report import FORMAT, LARGEST
from torchprotect.data.manifest import MANIFEST
from torchprotect.errors import ExportError


def require_destination(page: Path, export: Path | None, *, document_format: str = FORMAT) -> None:
    """Check, before the work begins, that neither the page nor the JSON beside it destroys anything.

    A page counts as an audit's own if the JSON beside it is one, because an audit writes that first.

    Args:
        page: page to write.
        export: folder of the export, if there is one; a wrong one is refused when it is opened.
        document_format: format of the JSON beside the page; only a document of the same format is overwritten.

    Raises:
        ExportError: it is not a page, there is no such folder, the folder is the export's, or a file is in the way.
    """
    if page.suffix not in (".html", ".htm"):
        raise ExportError(f"the report is a page: give it a name that ends in .html, not {page.name}")
    if not page.parent.is_dir():
        raise ExportError(f"the folder to write {page} into does not exist")
    if export is not None and (export / MANIFEST).is_file() and _lies_in(page.parent, export):
        raise ExportError(
            f"{page} lies inside the export {export}, which is to be handed on and holds no other files: write the "
            "report somewhere else"
        )
    document, writer = page.with_suffix(".json"), document_format.removeprefix("torchprotect-")
    if os.path.lexists(document) and not _is_report(document, document_format):
        raise ExportError(
            f"{document} would be written beside the page, but it is there and no {writer} wrote it: {_DO}"
        )
    if os.path.lexists(page) and not os.path.lexists(document):
        raise ExportError(f"{page} is there without the {document.name} of the {writer} beside it: {_DO}")


_DO = "give the report another name, or move the file away"


def _lies_in(folder: Path, export: Path) -> bool:
    """Compare files, not names: because of links and case-insensitive file systems, a folder may have several names."""
    resolved = folder.resolve()
    return any(each.samefile(export) for each in (resolved, *resolved.parents))


def _is_report(path: Path, document_format: str) -> bool:
    try:
        document = parse(read_regular(path, LARGEST, ExportError))
    except (OSError, ValueError, ExportError):
        return False
    return isinstance(document, dict) and document.get("format") == document_format
