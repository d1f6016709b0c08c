"""Networks from the papers that no maintained library provides."""

from torchprotect.models.dcgan import DCGANGenerator, ResidualEncoder
from torchprotect.models.gta import GTANetworks
from torchprotect.models.inference_network import InferenceNetwork
from torchprotect.models.small_alexnet import SmallAlexNet
from torchprotect.models.unet import UNet

__all__ = ["DCGANGenerator", "GTANetworks", "InferenceNetwork", "ResidualEncoder", "SmallAlexNet", "UNet"]
