"""Link scrambled images to plain ones by a linear map learned from known pairs."""

from collections.abc import Callable

from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import (
    require_plain,
    require_same_count,
    require_same_size,
    require_scrambled,
    require_vectors,
)
from torchprotect.attacks.images import flat_pixels, shrink
from torchprotect.attacks.owsd._ridge import fit_ridge
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, LinkageResult
from torchprotect.attacks.scores import ORIGINALS_FOUND
from torchprotect.errors import InputRangeError, InputShapeError


def ridge_reidentification(
    embeddings: Tensor, scrambled: Tensor, target: Tensor, candidates: Tensor, *, k: int = 10
) -> LinkageResult:
    """Find the plain image behind each scrambled one, from known pairs: level L2.

    A ridge regression learns embeddings from scrambled pixels. The predicted embedding is looked up among those of the
    candidates by cosine similarity. The encoder is assumed to be known, as pretrained ones are. The strength of
    regularisation is chosen by leave-one-out validation on the known pairs.

    Cost: ``pairs``; one eigendecomposition of ``[pairs, pairs]``, and ``comparisons`` of a target with a candidate.

    Args:
        embeddings: floating point ``[m, E]`` of the known plain images, m at least 3.
        scrambled: uint8 ``[m, C, H, W]``, of the same images.
        target: uint8 ``[N, C, H, W]``, under the same key.
        candidates: floating point ``[M, E]`` of the plain images to search.
        k: guesses for each target; at most M.

    Returns:
        For each target the candidates, best first, and their cosine distances.

    Raises:
        InputTypeError, InputShapeError, InputRangeError: the inputs do not fit together, or there are too few pairs.

    References:
        After the attacks on random encoders: Carlini et al., NeuraCrypt is not private (arXiv 2108.07256).
    """
    require_vectors("embeddings", embeddings)
    require_vectors("candidates", candidates)
    require_scrambled("scrambled images", scrambled)
    require_scrambled("targets", target)
    require_same_count("embeddings", embeddings, "scrambled images", scrambled)
    if embeddings.shape[1] != candidates.shape[1] or scrambled.shape[1:] != target.shape[1:]:
        raise InputShapeError("embeddings and candidates, scrambled images and targets must each have one size")
    if len(embeddings) < 3:
        raise InputRangeError(f"this attack needs at least 3 known pairs, not {len(embeddings)}")
    require_int("k", k, at_least=1, at_most=len(candidates))
    learned = fit_ridge(flat_pixels(scrambled).double(), embeddings.double())
    predicted, centre = learned(flat_pixels(target).double()), learned.mean
    cosines = _unit(predicted - centre) @ _unit(candidates.double() - centre).T
    best = cosines.topk(k, 1)
    cost = {"pairs": len(embeddings), "comparisons": cosines.numel()}
    return LinkageResult(Level.KNOWN_PAIRS, cost, guesses=best.indices, distances=(1 - best.values).float())


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


_SIDE = 16  # plain images are compared at this size
_GUESSES = 10


def _link(seen: Seen, features: Callable[[Tensor], Tensor]) -> LinkageResult:
    (plain, disguised, _), known = seen.need(Need.PAIRS), seen.need(Need.KNOWN)
    require_plain("plain images of pairs", plain)
    require_plain("known images", known)
    require_same_size("plain images of pairs", plain, "known images", known)
    candidates = features(known)
    return ridge_reidentification(features(plain), disguised, seen.target, candidates, k=min(_GUESSES, len(candidates)))


def _run_pixels(seen: Seen) -> LinkageResult:
    return _link(seen, lambda images: shrink(images, _SIDE))


def _run_embeddings(seen: Seen) -> LinkageResult:
    return _link(seen, seen.need(Need.ENCODER))


RIDGE = Attack(
    name="ridge_reidentification",
    title="Ridge re-identification",
    about="predicts plain images from scrambled ones, and looks them up among known images",
    finds="identity",
    level=Level.KNOWN_PAIRS,
    run=_run_pixels,
    score=ORIGINALS_FOUND,
    needs=frozenset({Need.PAIRS, Need.KNOWN}),
    reason=only_for("OWSDScramble"),
    any_size=True,
    least_pairs=3,
    note="assumes an attacker without the encoder, although one may well have it",
)

RIDGE_OF_EMBEDDINGS = Attack(
    name="ridge_reidentification (embeddings)",
    title="Ridge re-identification, with the encoder",
    about="the same with embeddings instead of pixels, for whoever can load the encoder",
    finds="identity",
    level=Level.KNOWN_PAIRS,
    run=_run_embeddings,
    score=ORIGINALS_FOUND,
    needs=frozenset({Need.PAIRS, Need.KNOWN, Need.ENCODER}),
    holder="Someone who can load the encoder and knows {pairs} of an original and its protected image, but no key,",
    reason=only_for("OWSDScramble"),
    any_size=True,
    least_pairs=3,
    note="assumes an attacker who can load the same encoder, such as a public one",
)
