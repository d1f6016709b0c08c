"""Compare distances between scrambled images with those between plain ones."""

from torchprotect.attacks._inputs import require_scrambled
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, ReleasedImages
from torchprotect.attacks.scores.distances import DISTANCES, EMBEDDED_DISTANCES


def _run(seen: Seen) -> ReleasedImages:
    """Return the images, whose distances everybody can compute."""
    require_scrambled("released images", seen.target)
    return ReleasedImages(Level.CIPHERTEXT_ONLY, {"comparisons": 2 * len(seen.target) ** 2}, seen.target)


_NOTE = "a measure rather than an attack: it needs plain images, and has no scale that counts"

DISTANCE_CORRELATION = Attack(
    name="distance_correlation",
    title="Distances",
    about="measures how well distances between plain images survive",
    finds="distances",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=DISTANCES,
    reason=only_for("OWSDScramble"),
    any_size=True,
    note=_NOTE,
)

DISTANCE_CORRELATION_OF_EMBEDDINGS = Attack(
    name="distance_correlation (embeddings)",
    title="Distances, with the encoder",
    about="measures how well distances between embeddings survive",
    finds="distances",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=EMBEDDED_DISTANCES,
    needs=frozenset({Need.ENCODER}),
    reason=only_for("OWSDScramble"),
    any_size=True,
    note=_NOTE,
)
