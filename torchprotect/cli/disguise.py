"""``torchprotect disguise``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import PassphraseFile, counted, errors_as_exit_codes, load_key
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._say import remark, say

if TYPE_CHECKING:
    from torch import Tensor


def disguise(
    pictures: Annotated[
        list[Path], typer.Argument(help="Picture files to disguise.", metavar="PICTURE", dir_okay=False, exists=True)
    ],
    like: Annotated[str, typer.Option(help="Folder or URL of the export whose settings to use.", metavar="EXPORT")],
    key: Annotated[Path, typer.Option(help="Key file of the export.", dir_okay=False)],
    out: Annotated[
        Path,
        typer.Option(help="Folder to write to. Existing files are never overwritten.", metavar="DIR", file_okay=False),
    ],
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Prepare and disguise pictures with the settings of an export, as input for a model trained on it.

    `a.jpg` becomes `DIR/a.png`, or `DIR/a.npy` under RMT. Pictures with the same name keep the folders or extensions
    that tell them apart. Noise is drawn anew from the operating system's entropy.
    """
    with errors_as_exit_codes():
        from torchprotect import data
        from torchprotect.data.images import encode_image
        from torchprotect.data.store import lies_in
        from torchprotect.errors import InputRangeError

        targets = _targets(pictures, out)
        identities = load_identities(identity, open_passphrase_file)
        disguiser = data.Disguiser(like, key=load_key(key, passphrase_file), identity=identities)
        if disguiser.note:
            remark(f"note: {disguiser.note}")
        if lies_in(out, like):
            raise InputRangeError(f"{out} lies inside {like}, where no other files belong; choose another folder")
        # Disguise every picture once before writing any, so that one that cannot be disguised stops the command early.
        kinds = {picture: encode_image(disguiser(picture))[0] for picture in pictures}
        files = {each: target.with_name(f"{target.name}.{kinds[each]}") for each, target in targets.items()}
        _require_free(files)
        for picture, file in files.items():
            _write(disguiser(picture), file)
        say(f"{out}: {counted(len(pictures), 'picture')} disguised as in {like}")


def _targets(pictures: list[Path], out: Path) -> dict[Path, Path]:
    """Return the path of each result, without its extension.

    Pictures with the same name keep the folders or extensions that tell them apart.
    """
    stems = [picture.stem for picture in pictures]
    if len(set(stems)) == len(stems):
        return {picture: out / picture.stem for picture in pictures}
    paths = [Path.cwd() / picture for picture in pictures]  # not resolved: links keep their names
    folder = os.path.commonpath([path.parent for path in paths])
    below = [path.relative_to(folder) for path in paths]
    short = [path.with_suffix("") for path in below]
    return {
        picture: out / (path if short.count(path.with_suffix("")) > 1 else path.with_suffix(""))
        for picture, path in zip(pictures, below, strict=True)
    }


def _require_free(files: dict[Path, Path]) -> None:
    """Check that every result has its own file, which does not exist yet."""
    from torchprotect.errors import InputRangeError

    if len({str(file) for file in files.values()}) < len(files):
        raise InputRangeError("two pictures would be written to the same file; disguise them into separate folders")
    if there := [file for file in files.values() if os.path.lexists(file)]:
        raise InputRangeError(f"{there[0]} exists and is never overwritten; choose another folder")


def _write(image: "Tensor", path: Path) -> None:
    from torchprotect._files import atomic_file
    from torchprotect.data.images import encode_image

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, overwrite=False) as file:
        file.write(encode_image(image)[1])
