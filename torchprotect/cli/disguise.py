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
    like: Annotated[str, typer.Option(help="Folder or URL of the export whose settings are used.", metavar="EXPORT")],
    key: Annotated[Path, typer.Option(help="Key file that the export was made with.", dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder to write to.", metavar="DIR", file_okay=False)],
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Prepare and disguise further pictures as an export did: the input for a model trained on it.

    PICTURE becomes DIR/PICTURE.png, or .npy under RMT; pictures of one name keep their folders. Noise is drawn anew.
    """
    with errors_as_exit_codes():
        from torchprotect import data
        from torchprotect.data.store import lies_in
        from torchprotect.errors import InputRangeError

        targets = _targets(pictures, out)
        identities = load_identities(identity, open_passphrase_file)
        disguiser = data.Disguiser(like, key=load_key(key, passphrase_file), identity=identities)
        if disguiser.note:
            remark(f"note: {disguiser.note}")
        if lies_in(out, like):
            raise InputRangeError(f"{out} lies inside {like}; an export holds no other files")
        for picture in pictures:
            disguiser(picture)  # nothing is written unless all can be
        for picture, target in targets.items():
            _write(disguiser(picture), target)
        say(f"{out}: {counted(len(pictures), 'picture')} disguised as in {like}")


def _targets(pictures: list[Path], out: Path) -> dict[Path, Path]:
    """Return the path of each result, without its extension.

    Pictures of one name keep the folders or the extensions that tell them apart.

    Raises:
        InputRangeError: a picture is given twice.
    """
    from torchprotect.errors import InputRangeError

    stems = [picture.stem for picture in pictures]
    if len(set(stems)) == len(stems):
        return {picture: out / picture.stem for picture in pictures}
    folder = os.path.commonpath([picture.resolve().parent for picture in pictures])
    below = {picture: picture.resolve().relative_to(folder) for picture in pictures}
    if len(set(below.values())) < len(pictures):
        raise InputRangeError("a picture is given twice")
    short = {picture: path.with_suffix("") for picture, path in below.items()}
    together = list(short.values())
    return {each: out / (below[each] if together.count(short[each]) > 1 else short[each]) for each in pictures}


def _write(image: "Tensor", target: Path) -> None:
    from torchprotect._files import atomic_file
    from torchprotect.data.images import encode_image

    kind, content = encode_image(image)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target.with_name(f"{target.name}.{kind}"), overwrite=False) as file:
        file.write(content)
