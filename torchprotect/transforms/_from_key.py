"""From a key to the transform it is for."""

import inspect
from typing import Any

from torchprotect.errors import InputTypeError, KeyKindError
from torchprotect.keys import AESKey, Key, KeyBundle, PermutationKey, RMTKey
from torchprotect.transforms.aes_ecb import AESECBDisguise
from torchprotect.transforms.block_permute import BlockPermute
from torchprotect.transforms.rmt import RMTDisguise

_MADE_FOR: dict[type[Key], type[Any]] = {
    PermutationKey: BlockPermute,
    AESKey: AESECBDisguise,
    RMTKey: RMTDisguise,
}


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
    if not isinstance(key, Key):
        raise KeyKindError(f"a key is needed, not a {type(key).__name__}; read one with keys.load")
    inner = key.transform if isinstance(key, KeyBundle) else key
    if type(inner) not in _MADE_FOR:
        raise KeyKindError(f"no transform goes with a {type(inner).__name__}; use a permutation, AES or RMT key")
    made = _MADE_FOR[type(inner)]
    if isinstance(key, KeyBundle) and key.permutation is not None:
        options = {"permutation": key.permutation, **options}
    if unknown := sorted(options.keys() - inspect.signature(made).parameters.keys()):
        raise InputTypeError(f"{made.__name__} does not take these options: {', '.join(unknown)}")
    return made(inner, inverse=inverse, **options)
