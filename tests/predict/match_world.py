"""Small transformers pretrained on nothing, and keys for their images of 16 x 16 in patches of 4 x 4."""

import copy
import warnings

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from torchprotect import keys, predict, transforms
from torchprotect.errors import KeyInWeightsWarning

SIZE, PATCH = (16, 16), (4, 4)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def transformer(**options) -> nn.Module:
    """Return torchvision's vision transformer in small, with a head that is not zero."""
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    network = VisionTransformer(**{**sizes, "num_classes": 5, **options})
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def dense(out: int = 12) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, out), nn.GELU(), nn.Linear(out, 5)).eval()


def order(block=PATCH) -> keys.PermutationKey:
    """Return a permutation that moves blocks: of few blocks some orders do not."""
    while True:
        key = keys.PermutationKey.generate(image_size=SIZE, block_size=block)
        if not torch.equal(key.order, key.inverse_order):
            return key


def rmt(block=PATCH, *, permuted: bool = True, **options) -> keys.KeyBundle:
    key = keys.RMTKey.generate(image_size=SIZE, block_size=block, **options)
    return keys.KeyBundle(key, order(block) if permuted else None)


def match(network: nn.Module, key: keys.Key, *, scale: int = 1, **options) -> nn.Module:
    disguise = transforms.from_key(key, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyInWeightsWarning)
        return predict.match_key(network, disguise, mean=MEAN, std=STD, scale=scale)


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(each, dtype=images.dtype).reshape(-1, 1, 1) for each in (MEAN, STD))
    return (images - mean) / std


def in_float64(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).double().eval()


@torch.no_grad()
def jitter(network: nn.Module) -> None:
    """Move all weights a little: some networks start with zeros, which hide differences."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1)
