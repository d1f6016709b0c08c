"""Rebuild plain images from scrambled ones by way of the embedding."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from torchprotect.attacks._inputs import (
    like,
    require_plain,
    require_same_count,
    require_same_size,
    require_scrambled,
    require_vectors,
)
from torchprotect.attacks.images import flat_pixels, shrink
from torchprotect.attacks.owsd._ridge import fit_ridge
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputRangeError, InputShapeError

_SIDE = 64  # largest side of rebuilt images: an embedding contains no finer detail


@dataclass(frozen=True, eq=False, repr=False)
class FeatureInversionResult(Reconstruction):
    """Images rebuilt by way of their embeddings.

    Attributes:
        embeddings: float32 ``[N, E]``, as recovered from the scrambled images.
        embeddings_explained: share of the variance of the known pairs' embeddings that is recovered for held-out pairs;
            0 or less if nothing is.
        pixels_explained: share of the variance of public images' pixels that their true embeddings explain, measured in
            the same way.
    """

    embeddings: Tensor = field(metadata={"json": False})
    embeddings_explained: float
    pixels_explained: float


def feature_inversion(
    embeddings: Tensor, scrambled: Tensor, target: Tensor, public_embeddings: Tensor, public: Tensor
) -> FeatureInversionResult:
    """Rebuild plain images by way of their embeddings, from known pairs and public images: level L2.

    One ridge regression learns embeddings from scrambled pixels, as in :func:`ridge_reidentification`; it needs the
    pairs. A second one learns plain pixels from embeddings of public images; whoever can load the encoder can embed as
    many as there are. The strength of regularisation is chosen by leave-one-out validation.

    Cost: ``pairs``, ``public``; two eigendecompositions: one of ``[pairs, pairs]``, one of the embeddings' length or
    the number of public images, whichever is smaller.

    Args:
        embeddings: floating point ``[m, E]`` of the known plain images, m at least 3.
        scrambled: uint8 ``[m, C, H, W]``, of the same images.
        target: uint8 ``[N, C, H, W]``, under the same key.
        public_embeddings: floating point ``[P, E]`` of the public images; a few thousand work best, 3 is the minimum.
        public: uint8, or floating point in 0..1, ``[P, c, h, w]``; images larger than 64 x 64 are rebuilt at that size.

    Returns:
        Images like the public ones.

    Raises:
        InputTypeError, InputShapeError, InputRangeError: the inputs do not fit together, or there are too few.

    References:
        After Dosovitskiy and Brox, Inverting visual representations with convolutional networks (arXiv 1506.02753);
        here the decoder is linear.
    """
    require_vectors("embeddings", embeddings)
    require_vectors("public embeddings", public_embeddings)
    require_plain("public images", public)
    require_scrambled("scrambled images", scrambled)
    require_scrambled("targets", target)
    require_same_count("embeddings", embeddings, "scrambled images", scrambled)
    require_same_count("public embeddings", public_embeddings, "public images", public)
    if embeddings.shape[1] != public_embeddings.shape[1] or scrambled.shape[1:] != target.shape[1:]:
        raise InputShapeError("embeddings of pairs and public images, scrambled images and targets must have one size")
    if len(embeddings) < 3:
        raise InputRangeError(
            f"this attack needs at least 3 known pairs, not {len(embeddings)}; a hundred are recommended"
        )
    if len(public) < 3:
        raise InputRangeError(
            f"this attack needs at least 3 public images, not {len(public)}; a few thousand are recommended"
        )
    reader = fit_ridge(flat_pixels(scrambled).double(), embeddings.double())
    recovered = reader(flat_pixels(target).double())
    drawer = fit_ridge(public_embeddings.double(), shrink(public, _SIDE))
    return FeatureInversionResult(
        Level.KNOWN_PAIRS,
        {"pairs": len(embeddings), "public": len(public)},
        images=_as_images(drawer(recovered.to(public.device)), public),
        embeddings=recovered.float(),
        embeddings_explained=reader.explained,
        pixels_explained=drawer.explained,
    )


def _as_images(pixels: Tensor, public: Tensor) -> Tensor:
    """Return flat pixels in grey levels as images of the public ones' kind."""
    channels, height, width = public.shape[1:]
    size = min(_SIDE, height), min(_SIDE, width)
    images = pixels.reshape(-1, channels, *size)
    if size != (height, width):
        images = nn.functional.interpolate(images, (height, width), mode="bilinear")
    return like(images if public.dtype == torch.uint8 else images / 255, public)


_PUBLIC = 2000  # public images that an audit embeds for it, at most


def _run(seen: Seen) -> FeatureInversionResult:
    (plain, disguised, _), public, embed = seen.need(Need.PAIRS), seen.need(Need.PUBLIC), seen.need(Need.ENCODER)
    require_plain("plain images of pairs", plain)
    require_plain("public images", public)
    require_same_size("plain images of pairs", plain, "public images", public)
    some = public[:_PUBLIC]
    return feature_inversion(embed(plain), disguised, seen.target, embed(some), some)


FEATURE_INVERSION = Attack(
    name="feature_inversion",
    title="Feature inversion",
    about="recovers embeddings with known pairs, then pixels with public images and the encoder",
    finds="picture",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PAIRS, Need.PUBLIC, Need.ENCODER}),
    holder="Someone who can load the encoder and knows {pairs} of an original and its protected image, but no key,",
    reason=only_for("OWSDScramble"),
    any_size=True,
    least_pairs=3,
    facts=lambda result: {
        "embeddings_explained": result.embeddings_explained,
        "pixels_explained": result.pixels_explained,
    },
    note="assumes an attacker who can load the same encoder, such as a public one",
)
