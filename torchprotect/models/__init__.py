"""Networks of the papers that no maintained library has."""

from torchprotect.models.dcgan import DCGANGenerator, ResidualEncoder
from torchprotect.models.gta import GTANetworks
from torchprotect.models.inference_network import InferenceNetwork
from torchprotect.models.small_alexnet import SmallAlexNet
from torchprotect.models.unet import UNet

__all__ = ["DCGANGenerator", "GTANetworks", "InferenceNetwork", "ResidualEncoder", "SmallAlexNet", "UNet"]
