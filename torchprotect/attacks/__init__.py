"""Attacks: functions of what an attacker sees, each saying at which knowledge and cost."""

from torchprotect.attacks.adversarial._score import CorrespondenceScore, score_correspondence
from torchprotect.attacks.adversarial.adapt_gta import DomainAdaptationResult, adapt_gta
from torchprotect.attacks.adversarial.augmentation import strong_augmentation
from torchprotect.attacks.adversarial.correspondence import (
    CorrespondenceResult,
    EnumerationResult,
    recover_correspondence,
)
from torchprotect.attacks.adversarial.correspondence_reading import (
    ReadingResult,
    read_correspondence_from_data,
    read_correspondence_from_victim,
)
from torchprotect.attacks.adversarial.hypothesis import HypothesisResult, hypothesis_accuracy
from torchprotect.attacks.adversarial.orthogonal_projection import OrthogonalProjectionResult, orthogonal_projection
from torchprotect.attacks.adversarial.squeezing import squeeze_bits, squeeze_grey, squeeze_jpeg
from torchprotect.attacks.adversarial.train_and_watch import TrainingCurve, train_and_watch
from torchprotect.attacks.disguise._metadata_checks import MetadataFinding
from torchprotect.attacks.disguise._score import (
    examiner_score,
    score_classes,
    score_linkage,
    score_permutation,
    score_reconstruction,
)
from torchprotect.attacks.disguise._score_results import ExaminerScore, LinkageScore, ReconstructionScore, ShareScore
from torchprotect.attacks.disguise.codebook import CodebookResult, codebook_attack
from torchprotect.attacks.disguise.duplicates import DuplicateResult, duplicate_statistics
from torchprotect.attacks.disguise.examiner import DNNExaminer
from torchprotect.attacks.disguise.inversion import reconstruction_attack
from torchprotect.attacks.disguise.jigsaw import JigsawResult, jigsaw_attack
from torchprotect.attacks.disguise.linkage import linkage_attack
from torchprotect.attacks.disguise.metadata import MetadataResult, metadata_scan
from torchprotect.attacks.disguise.permutation import recover_permutation, recover_permutation_from_statistics
from torchprotect.attacks.disguise.quality import psnr, ssim
from torchprotect.attacks.disguise.regression import RegressionResult, regression_attack
from torchprotect.attacks.disguise.row_energy import row_energy_attack
from torchprotect.attacks.disguise.silhouette import SilhouetteResult, silhouette_attack
from torchprotect.attacks.owsd.autoencoder import autoencoder_attack
from torchprotect.attacks.owsd.distances import DistanceResult, distance_correlation
from torchprotect.attacks.owsd.label_probe import label_probe
from torchprotect.attacks.owsd.ridge import ridge_reidentification
from torchprotect.attacks.owsd.small_seed import SeedResult, small_seed_search
from torchprotect.attacks.results import (
    AttackResult,
    ClassGuesses,
    Level,
    LinkageResult,
    PermutationResult,
    Reconstruction,
)
from torchprotect.attacks.scheme import Scheme

__all__ = [
    "AttackResult",
    "ClassGuesses",
    "CodebookResult",
    "CorrespondenceResult",
    "CorrespondenceScore",
    "DNNExaminer",
    "DistanceResult",
    "DomainAdaptationResult",
    "DuplicateResult",
    "EnumerationResult",
    "ExaminerScore",
    "HypothesisResult",
    "JigsawResult",
    "Level",
    "LinkageResult",
    "LinkageScore",
    "MetadataFinding",
    "MetadataResult",
    "OrthogonalProjectionResult",
    "PermutationResult",
    "ReadingResult",
    "Reconstruction",
    "ReconstructionScore",
    "RegressionResult",
    "Scheme",
    "SeedResult",
    "ShareScore",
    "SilhouetteResult",
    "TrainingCurve",
    "adapt_gta",
    "autoencoder_attack",
    "codebook_attack",
    "distance_correlation",
    "duplicate_statistics",
    "examiner_score",
    "hypothesis_accuracy",
    "jigsaw_attack",
    "label_probe",
    "linkage_attack",
    "metadata_scan",
    "orthogonal_projection",
    "psnr",
    "read_correspondence_from_data",
    "read_correspondence_from_victim",
    "reconstruction_attack",
    "recover_correspondence",
    "recover_permutation",
    "recover_permutation_from_statistics",
    "regression_attack",
    "ridge_reidentification",
    "row_energy_attack",
    "score_classes",
    "score_correspondence",
    "score_linkage",
    "score_permutation",
    "score_reconstruction",
    "silhouette_attack",
    "small_seed_search",
    "squeeze_bits",
    "squeeze_grey",
    "squeeze_jpeg",
    "ssim",
    "strong_augmentation",
    "train_and_watch",
]
