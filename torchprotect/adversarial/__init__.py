"""Perturb images toward target classes: PGD in an L2 ball, and combining its results.

Everything here takes and returns plain tensors, and knows neither keys nor data sets.
"""

from torchprotect._mix_modes import MIX_MODES
from torchprotect.adversarial.combine import combine
from torchprotect.adversarial.l2 import distances, project, round_to_8bit
from torchprotect.adversarial.pgd import Perturbed, PGDSettings, pgd_l2
from torchprotect.adversarial.toward import perturb_toward

__all__ = [
    "MIX_MODES",
    "PGDSettings",
    "Perturbed",
    "combine",
    "distances",
    "perturb_toward",
    "pgd_l2",
    "project",
    "round_to_8bit",
]
