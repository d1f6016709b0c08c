"""One way scrambling by deconvolution, after the encoder."""

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.functional._exact import full_precision
from torchprotect.keys import OWSDKey


@torch.no_grad()
def owsd_scramble(embeddings: Tensor, key: OWSDKey) -> Tensor:
    """Make an image of each embedding with the key's random generator.

    An image depends on its own embedding only. In another batch size, or on another device, sums may be rounded
    otherwise, so that a pixel differs by one grey level.

    Args:
        embeddings: floating point ``[N, embedding_size]``, on the 0-to-anything scale the key was calibrated with.
        key: the generator.

    Returns:
        uint8 ``[N, 3, H, W]``, on the embeddings' device.

    Raises:
        InputTypeError: they are no floating-point numbers.
        InputShapeError: they have another width than the key.
        InputRangeError: they hold NaN or infinity.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.
    """
    require_tensor("embeddings", embeddings)
    if not embeddings.is_floating_point():
        raise InputTypeError(f"embeddings are floating-point numbers, not {embeddings.dtype}")
    if embeddings.ndim != 2 or embeddings.shape[1] != key.embedding_size:
        raise InputShapeError(
            f"key {key.fingerprint[:12]} takes embeddings [N, {key.embedding_size}], not {list(embeddings.shape)}; "
            "make a key with the embedding_size of this encoder"
        )
    if not bool(embeddings.isfinite().all()):
        raise InputRangeError("some embeddings are NaN or infinite; look at the encoder and at what it was given")
    if not len(embeddings):
        return torch.empty(0, 3, *key.image_size, dtype=torch.uint8, device=embeddings.device)
    with full_precision(embeddings.device):
        made: Tensor = key.network_on(embeddings.device)(embeddings.float())
    return made.mul_(255).round_().to(torch.uint8)
