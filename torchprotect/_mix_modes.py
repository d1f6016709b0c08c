"""The modes by which the versions of an image, one for each of its target classes, are combined into one image."""

from typing import Literal, get_args

MixMode = Literal["concat", "mixup", "mixup-and-concat", "cutmix", "random-square"]
MIX_MODES: tuple[str, ...] = get_args(MixMode)
"""Names of the modes, see :func:`torchprotect.adversarial.combine`."""

MIXED_VERSIONS = {"mixup-and-concat": 4, "cutmix": 2, "random-square": 2}
"""Number of versions that a mode combines, if it is fixed."""
