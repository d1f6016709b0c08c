"""Networks the papers name that no kept library has."""

from torchprotect.models.small_alexnet import SmallAlexNet

__all__ = ["SmallAlexNet"]
