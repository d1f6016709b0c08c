"""Networks the papers name that no kept library has."""

from torchprotect.models.gta import GTANetworks
from torchprotect.models.small_alexnet import SmallAlexNet

__all__ = ["GTANetworks", "SmallAlexNet"]
