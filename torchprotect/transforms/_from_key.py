"""``from_key``: make the transform that belongs to a key."""

import inspect
from collections.abc import Mapping
from typing import Any

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import InputTypeError, KeyKindError, NotInvertibleError
from torchprotect.keys import AESKey, CorrespondenceKey, Key, KeyBundle, OWSDKey, PermutationKey, RMTKey
from torchprotect.transforms.adversarial import AdversarialEncrypt
from torchprotect.transforms.aes_ecb import AESECBDisguise
from torchprotect.transforms.block_permute import BlockPermute
from torchprotect.transforms.owsd import OWSDScramble
from torchprotect.transforms.rmt import RMTDisguise

_TRANSFORMS: dict[type[Key], type[Any]] = {
    PermutationKey: BlockPermute,
    AESKey: AESECBDisguise,
    RMTKey: RMTDisguise,
    CorrespondenceKey: AdversarialEncrypt,
    OWSDKey: OWSDScramble,
}
_ONE_WAY = (AdversarialEncrypt, OWSDScramble)


def from_key(key: Key, *, inverse: bool = False, **options: Any) -> Any:
    """Make the transform that belongs to a key or bundle.

    Args:
        key: a block key, a correspondence or an OWSD key, or a bundle of one with an optional permutation. A label map
            in the bundle is not applied: pass it to the data set as ``labels``. The ``repr`` of the transform says so.
        inverse: make the inverse transform, for the key holder.
        **options: further keyword arguments of the transform, such as ``unit_pixels`` or ``noise``. A correspondence
            needs ``model``, ``eps``, ``step_size`` and ``steps``; an OWSD key needs ``encoder``.

    Returns:
        :class:`BlockPermute`, :class:`AESECBDisguise`, :class:`RMTDisguise`, :class:`AdversarialEncrypt` or
        :class:`OWSDScramble`.

    Raises:
        KeyKindError: there is no transform for this kind of key.
        InputTypeError: the transform does not have one of the options, or needs one that is missing.
        NotInvertibleError: the inverse of ``AdversarialEncrypt`` or ``OWSDScramble`` was asked for; they have none.

    Example::

        disguise = transforms.from_key(keys.load("rmt.key"), noise=100)
        disguised = disguise(image)
    """
    made, parts = class_and_keys(
        key, _TRANSFORMS, "transform", "use a permutation, AES, RMT, correspondence or OWSD key"
    )
    if made not in _ONE_WAY:
        parts["inverse"] = inverse
    elif inverse:
        raise NotInvertibleError(f"{made.__name__} cannot be taken back with the key; keep the plain images")
    transform = make(made, {**parts, **options})
    transform.leaves_labels = leaves_labels(key, inverse)
    return transform


def leaves_labels(key: Key, inverse: bool) -> bool:
    """Return whether a disguise made from this key leaves a label map to the data set."""
    return isinstance(key, KeyBundle) and key.labels is not None and not inverse


def class_and_keys(
    key: Key, classes: Mapping[type[Key], type[Any]], what: str, hint: str
) -> tuple[type[Any], dict[str, Any]]:
    """Return the class that belongs to a key or bundle, and the keys to construct it with, by parameter name.

    Args:
        key: key or bundle.
        classes: the class for each kind of key.
        what: what these classes are, for the error message.
        hint: advice for a kind of key without a class, for the error message.

    Raises:
        KeyKindError: there is no class for this kind of key.
    """
    if not isinstance(key, Key):
        raise KeyKindError(f"a key is needed, got {type_name(key)}; read one with keys.load")
    inner = key.transform if isinstance(key, KeyBundle) else key
    if type(inner) not in classes:
        raise KeyKindError(f"there is no {what} for {with_article(type(inner).__name__)}; {hint}")
    parts: dict[str, Any] = {"key": inner}
    if isinstance(key, KeyBundle) and key.permutation is not None:
        parts["permutation"] = key.permutation
    return classes[type(inner)], parts


def make(made: type[Any], options: Mapping[str, Any]) -> Any:
    """Construct a transform from options that it has.

    Raises:
        InputTypeError: the transform does not have one of the options, or needs one that is missing.
    """
    parameters = inspect.signature(made).parameters
    if unknown := sorted(options.keys() - parameters.keys()):
        raise InputTypeError(f"{made.__name__} does not take these options: {', '.join(unknown)}")
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    if missing := [name for name in needed if name not in options]:
        raise InputTypeError(f"{made.__name__} also needs these options: {', '.join(missing)}")
    return made(**options)
