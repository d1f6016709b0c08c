"""Scores: the only functions that receive the truth."""

from torchprotect.attacks.scores.classes import (
    CLASSES,
    ExaminerScore,
    examiner_score,
    score_balanced_classes,
    score_both_ways,
    score_classes,
)
from torchprotect.attacks.scores.correspondence import CORRESPONDENCE, CorrespondenceScore, score_correspondence
from torchprotect.attacks.scores.distances import DISTANCES, EMBEDDED_DISTANCES, DistanceResult, distance_correlation
from torchprotect.attacks.scores.fisher import FisherLeakage, diagonal_fisher_leakage
from torchprotect.attacks.scores.links import KNOWN_FOUND, ORIGINALS_FOUND, LinkageScore, score_linkage
from torchprotect.attacks.scores.order import LAYOUT, ORDER, score_permutation
from torchprotect.attacks.scores.pictures import (
    PICTURES,
    PICTURES_UP_TO_MIRROR,
    ReconstructionScore,
    score_reconstruction,
    up_to_mirror_image,
)
from torchprotect.attacks.scores.shares import ShareScore
from torchprotect.attacks.scores.truth import NOTHING, Score, Truth
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
    "CorrespondenceScore",
    "DistanceResult",
    "ExaminerScore",
    "FisherLeakage",
    "LinkageScore",
    "ReconstructionScore",
    "Score",
    "ShareScore",
    "Truth",
    "diagonal_fisher_leakage",
    "distance_correlation",
    "examiner_score",
    "score_balanced_classes",
    "score_both_ways",
    "score_classes",
    "score_correspondence",
    "score_linkage",
    "score_permutation",
    "score_reconstruction",
    "up_to_mirror_image",
]
