"""Attacks: functions of what an attacker sees, each saying at which knowledge and cost."""

from torchprotect.attacks._result import AttackResult, Level
from torchprotect.attacks.perturbation._score import CorrespondenceScore, score_correspondence
from torchprotect.attacks.perturbation.adapt_gta import DomainAdaptationResult, adapt_gta
from torchprotect.attacks.perturbation.augmentation import strong_augmentation
from torchprotect.attacks.perturbation.correspondence import (
    CorrespondenceResult,
    EnumerationResult,
    recover_correspondence,
)
from torchprotect.attacks.perturbation.correspondence_reading import (
    ReadingResult,
    read_correspondence_from_data,
    read_correspondence_from_victim,
)
from torchprotect.attacks.perturbation.hypothesis import HypothesisResult, hypothesis_accuracy
from torchprotect.attacks.perturbation.orthogonal_projection import OrthogonalProjectionResult, orthogonal_projection
from torchprotect.attacks.perturbation.squeezing import squeeze_bits, squeeze_grey, squeeze_jpeg
from torchprotect.attacks.perturbation.train_and_watch import TrainingCurve, train_and_watch

__all__ = [
    "AttackResult",
    "CorrespondenceResult",
    "CorrespondenceScore",
    "DomainAdaptationResult",
    "EnumerationResult",
    "HypothesisResult",
    "Level",
    "OrthogonalProjectionResult",
    "ReadingResult",
    "TrainingCurve",
    "adapt_gta",
    "hypothesis_accuracy",
    "orthogonal_projection",
    "read_correspondence_from_data",
    "read_correspondence_from_victim",
    "recover_correspondence",
    "score_correspondence",
    "squeeze_bits",
    "squeeze_grey",
    "squeeze_jpeg",
    "strong_augmentation",
    "train_and_watch",
]
