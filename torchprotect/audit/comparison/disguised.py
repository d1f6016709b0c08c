"""Disguise images in memory under a setting, with fresh keys that nobody keeps."""

import os
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprotect import transforms
from torchprotect.attacks import Scheme
from torchprotect.audit.comparison.images import Images
from torchprotect.audit.comparison.setting import Setting
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.data.keyed import KeystreamNoise
from torchprotect.keys import AESKey, KeyBundle, LabelKey, PermutationKey, RMTKey

_AT_ONCE = 256
_WHITE = 255  # plain images are uint8


class Cost(NamedTuple):
    """CPU seconds to disguise 1,000 images, and bytes of an image as a multiple of the plain one's."""

    seconds: float
    bytes: float


def disguise(setting: Setting, images: Images) -> tuple[Evidence, Cost]:
    """Disguise images under fresh keys from the operating system's entropy; the keys are in nothing that is returned.

    Classes are renamed, as in an export whose key has labels. The order of the blocks is returned for scores.
    """
    bundle = _fresh_keys(setting, images)
    options: dict[str, Any] = {"rmt": {"noise": setting.noise}, "aes-ecb": {"unit_pixels": setting.unit_pixels}}
    transform = transforms.from_key(bundle, **options.get(setting.scheme, {}))
    start = time.process_time()
    disguised = _disguised(transform, images.plain)
    seconds = (time.process_time() - start) * 1000 / len(disguised)
    names = bundle.labels
    assert names is not None  # noqa: S101 - made with labels; tells the type checker
    order = bundle.transform if isinstance(bundle.transform, PermutationKey) else bundle.permutation
    evidence = Evidence(
        disguised,
        Scheme.of({"transform": [transform.describe()], "plain": {"scale": _WHITE}}),
        labels=names.labels[images.labels],
        plain=images.plain,
        plain_labels=images.labels,
        pairing=torch.arange(len(disguised)),
        order=None if order is None else order.order,
        label_map=names.labels,
    )
    return evidence, Cost(round(seconds, 3), disguised.element_size() / images.plain.element_size())


def _disguised(transform: Any, plain: Tensor) -> Tensor:
    """Return images disguised in parts, with noise from the operating system's entropy, as in an export."""
    made: Tensor | None = None
    for start in range(0, len(plain), _AT_ONCE):
        part = plain[start : start + _AT_ONCE]
        noise = KeystreamNoise(os.urandom(32), [os.urandom(16) for _ in part])
        disguised = transform.disguise_batch(part, noise=noise).images
        made = disguised.new_empty(len(plain), *disguised.shape[1:]) if made is None else made
        made[start : start + len(part)] = disguised
    assert made is not None  # noqa: S101 - there are images; tells the type checker
    return made


def _fresh_keys(setting: Setting, images: Images) -> KeyBundle:
    sizes: dict[str, Any] = {"image_size": images.size, "block_size": setting.block_size}
    names = LabelKey.generate(classes=images.classes)
    if setting.scheme == "block-permute":
        return KeyBundle(PermutationKey.generate(**sizes), None, names)
    order = PermutationKey.generate(**sizes) if setting.permute else None
    sizes |= {"shared": setting.shared, "channels": images.plain.shape[1] if setting.per_channel else None}
    if setting.scheme == "aes-ecb":
        return KeyBundle(AESKey.generate(**sizes), order, names)
    return KeyBundle(RMTKey.generate(**sizes, matrix=setting.matrix, side=setting.side), order, names)
