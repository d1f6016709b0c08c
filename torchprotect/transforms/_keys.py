"""From keys to transforms."""

from typing import Any

from torchprotect.errors import InputTypeError, KeyKindError
from torchprotect.keys import AESKey, Key, KeyBundle, PermutationKey, RMTKey


def require_kind(name: str, key: Any, kind: type[Key]) -> None:
    """Check that a key is of the kind a transform needs.

    Raises:
        KeyKindError: it is another; the message names both.
    """
    if not isinstance(key, kind):
        hint = "; hand a bundle to transforms.from_key" if isinstance(key, KeyBundle) else ""
        raise KeyKindError(f"{name} must be a {kind.__name__}, not {type(key).__name__}{hint}")


def from_key(key: Key, *, inverse: bool = False, **options: Any) -> Any:
    """Make the transform that a key or bundle is for.

    Args:
        key: a block key, or a bundle of one with an optional permutation; a label map in it is left to the data set.
        inverse: make the inverse transform, for the key holder.
        **options: further keyword arguments of the transform, such as ``unit_pixels`` or ``noise``.

    Returns:
        :class:`BlockPermute`, :class:`AESECBDisguise` or :class:`RMTDisguise`.

    Raises:
        KeyKindError: no transform goes with this kind of key.
        InputTypeError: an option the transform does not have.
    """
    from torchprotect.transforms import AESECBDisguise, BlockPermute, RMTDisguise

    made_for: dict[type[Key], type[Any]] = {PermutationKey: BlockPermute, AESKey: AESECBDisguise, RMTKey: RMTDisguise}
    inner = key.transform if isinstance(key, KeyBundle) else key
    if type(inner) not in made_for:
        raise KeyKindError(f"no transform goes with a {type(inner).__name__}; use a permutation, AES or RMT key")
    if isinstance(key, KeyBundle) and key.permutation is not None:
        options["permutation"] = key.permutation
    try:
        return made_for[type(inner)](inner, inverse=inverse, **options)
    except TypeError as error:
        if isinstance(error, InputTypeError | KeyKindError):
            raise
        name = made_for[type(inner)].__name__
        raise InputTypeError(f"{name} does not take these options: {sorted(options)}") from None
