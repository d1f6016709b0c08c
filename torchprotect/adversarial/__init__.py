"""Small perturbations that lead a network to chosen classes: PGD in an L2 ball, and ways to combine its results.

Plain tensors in and out; keys and data sets are not known here.
"""

from torchprotect.adversarial.combine import WAYS, combine
from torchprotect.adversarial.l2 import distances, project, round_to_8bit
from torchprotect.adversarial.pgd import Perturbed, PGDSettings, pgd_l2
from torchprotect.adversarial.toward import perturb_toward

__all__ = [
    "WAYS",
    "PGDSettings",
    "Perturbed",
    "combine",
    "distances",
    "perturb_toward",
    "pgd_l2",
    "project",
    "round_to_8bit",
]
