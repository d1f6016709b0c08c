"""The attacks that an audit runs, one file for each family, in the order in which they run."""

from torchprotect.audit._checks._base import Check
from torchprotect.audit._checks.codebook import CODEBOOK
from torchprotect.audit._checks.equality import DUPLICATES, METADATA
from torchprotect.audit._checks.examiner import EXAMINER
from torchprotect.audit._checks.inversion import INVERSION
from torchprotect.audit._checks.jigsaw import JIGSAW
from torchprotect.audit._checks.linkage import LINKAGE
from torchprotect.audit._checks.permutation import PERMUTATION_FROM_PAIRS, PERMUTATION_FROM_STATISTICS
from torchprotect.audit._checks.regression import REGRESSION
from torchprotect.audit._checks.row_energy import ROW_ENERGY
from torchprotect.audit._checks.scrambled import (
    DISTANCES,
    DISTANCES_WITH_ENCODER,
    LINK,
    LINK_WITH_ENCODER,
    PROBE,
    REBUILD,
)
from torchprotect.audit._checks.silhouette import SILHOUETTE

CHECKS: tuple[Check, ...] = (
    DUPLICATES,
    METADATA,
    JIGSAW,
    EXAMINER,
    PERMUTATION_FROM_STATISTICS,
    ROW_ENERGY,
    SILHOUETTE,
    LINKAGE,
    PERMUTATION_FROM_PAIRS,
    CODEBOOK,
    REGRESSION,
    INVERSION,
    DISTANCES,
    DISTANCES_WITH_ENCODER,
    LINK,
    LINK_WITH_ENCODER,
    PROBE,
    REBUILD,
)

__all__ = ["CHECKS", "Check"]
