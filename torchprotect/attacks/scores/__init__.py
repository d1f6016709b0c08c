"""How results of attacks are compared with the truth, for :class:`torchprotect.attacks.Attack`.

Each constant is a :class:`torchprotect.attacks.Score`. Scores are the only functions that receive the truth.
"""

from torchprotect.attacks.scores.classes import CLASSES
from torchprotect.attacks.scores.correspondence import CORRESPONDENCE
from torchprotect.attacks.scores.distances import DISTANCES, EMBEDDED_DISTANCES
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.links import KNOWN_FOUND, ORIGINALS_FOUND
from torchprotect.attacks.scores.order import LAYOUT, ORDER
from torchprotect.attacks.scores.pictures import PICTURES, PICTURES_UP_TO_MIRROR
from torchprotect.attacks.scores.truth import NOTHING
from torchprotect.attacks.scores.use import USE

__all__ = [
    "CLASSES",
    "CORRESPONDENCE",
    "DISTANCES",
    "EMBEDDED_DISTANCES",
    "KNOWN_FOUND",
    "LAYOUT",
    "NOTHING",
    "ORDER",
    "ORIGINALS_FOUND",
    "PICTURES",
    "PICTURES_UP_TO_MIRROR",
    "USE",
    "wilson",
]
