"""Adapt networks to disguised pictures without training. Their weights then give the key away."""

import warnings
from typing import Literal

import torch
from torch import nn

from torchprotect._inputs import PerChannel, per_channel, require_scale, type_name
from torchprotect.errors import InputTypeError, KeyInWeightsWarning, KeySizeError, ModelError
from torchprotect.models.first_layer import channels_of
from torchprotect.predict._linear import LinearDisguise
from torchprotect.predict._matcher import Matcher, copy_of
from torchprotect.transforms import Disguise


def match_key(
    network: nn.Module, disguise: Disguise, *, mean: PerChannel, std: PerChannel, scale: Literal[1, 255] = 1
) -> nn.Module:
    """Give the key away to whoever gets the result: return a copy of a network that reads disguised pictures.

    **For the owner of the key, on the owner's machines.** On disguised images, the copy returns what ``network``
    returns on plain ones, without any training. Whoever has the copy and the original network can compute order and
    matrices from the difference (:func:`torchprotect.attacks.read_key_from_weights`), even after fine-tuning. So never
    give the copy to a party that must not see the pictures: let that party fine-tune the original network.

    A permutation becomes the order of the position embedding. Matrices, scale, normalisation and the mean of the noise
    go into the first layer, whose kernel is shared by all positions if they share a matrix, and is separate for each
    position otherwise. Before it is returned, the result is compared with the original, in float64 and with other
    weights.

    Args:
        network: pretrained on plain images. Its first layer must be a convolution whose windows do not overlap, as in
            vision transformers, or a dense layer on all pixels. For permuted blocks, it must be a vision transformer of
            torchvision or timm, with learned or rotary positions, or have that dense layer.
        disguise: ``BlockPermute`` or ``RMTDisguise``. A matrix must not reach over the edge of a patch, and a permuted
            block must hold whole patches. Blocks of the size of a patch satisfy both.
        mean, std: normalisation of the plain images, on the scale of 0..1, that ``network`` was trained with; 0 and 1
            if there was none.
        scale: value of white in the images that the copy will receive: 255 for RMT images of an export of 8-bit
            pictures, 1 otherwise. Pass them to the copy without any normalisation.

    Returns:
        A network on the same device, with the same dtype, mode and number of layers.

    Raises:
        InputTypeError: the disguise is not linear.
        InputRangeError: a number is out of range.
        KeySizeError: blocks and patches do not fit together.
        ModelError: the network has another kind of first layer, or needs patches in their original places; or it is in
            half precision, and the matrices are not orthogonal.

    Warns:
        KeyInWeightsWarning: always.

    References:
        Kiya et al., Privacy-Preserving Image Classification Using Vision Transformer, arXiv 2205.12041, and Image and
        Model Transformation with Secret Key for Vision Transformer, arXiv 2207.05366.
    """
    linear = LinearDisguise.of(disguise)
    if not isinstance(network, nn.Module):
        raise InputTypeError(f"network must be a torch.nn.Module, got {type_name(network)}")
    require_scale(scale)
    channels = channels_of(network, linear.image_size)
    _require_channels(disguise, channels)
    _require_precision(network, disguise)
    normalisation = per_channel("mean", mean, channels), per_channel("std", std, channels)
    matcher = Matcher(linear, *normalisation, scale, disguise.describe())
    structure = matcher.structure(network, torch.zeros(1, channels, *linear.image_size))
    matcher.require_equal(network, structure)
    matched = copy_of(network)
    matcher.match(network, matched, structure)
    warnings.warn(
        "the matched network contains the key: whoever has it and the original network can undo the disguise. Keep it "
        "on the owner's side",
        KeyInWeightsWarning,
        stacklevel=2,
    )
    return matched


def _require_channels(disguise: Disguise, channels: int) -> None:
    wanted = getattr(disguise.key, "channels", None)
    if wanted not in (None, channels):
        raise KeySizeError(f"the key is for images of {wanted} channels, but the network takes {channels}")


def _require_precision(network: nn.Module, disguise: Disguise) -> None:
    """Check that the weights can hold the inverse of ill-conditioned matrices."""
    half = [name for name, each in network.named_parameters() if each.dtype in (torch.float16, torch.bfloat16)]
    if half and getattr(disguise.key, "matrix", "orthogonal") != "orthogonal":
        raise ModelError(
            f"weights in half precision ({half[0]} and others) cannot hold the inverse of matrices that are not "
            "orthogonal: match the network in float32 and leave it there, also without autocast"
        )
