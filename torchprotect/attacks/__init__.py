"""Attacks on disguised images. Each is a function of what an attacker sees, and states its attacker level and its cost.

Attacker levels: L0 has the disguised images, the algorithm and all public settings; L1 also has public images of the
same kind; L2 also has known pairs of a plain and its disguised image; L3 has disguised versions of images of their
choice; L4 has a part of the key. Attacks never see a key. Scores are computed by separate functions, which alone
receive the truth.
"""

from torchprotect.attacks.adversarial.adapt_gta import DomainAdaptationResult, adapt_gta
from torchprotect.attacks.adversarial.augmentation import strong_augmentation
from torchprotect.attacks.adversarial.correspondence import (
    EnumerationResult,
    recover_correspondence,
)
from torchprotect.attacks.adversarial.correspondence_reading import (
    read_correspondence_from_data,
    read_correspondence_from_victim,
)
from torchprotect.attacks.adversarial.hypothesis import HypothesisResult, hypothesis_accuracy
from torchprotect.attacks.adversarial.orthogonal_projection import OrthogonalProjectionResult, orthogonal_projection
from torchprotect.attacks.adversarial.pretrained_probe import pretrained_probe
from torchprotect.attacks.adversarial.purification import purify_by_pairs
from torchprotect.attacks.adversarial.squeezing import squeeze_bits, squeeze_grey, squeeze_jpeg
from torchprotect.attacks.adversarial.staged_training import staged_training
from torchprotect.attacks.adversarial.train_and_watch import TrainingCurve, train_and_watch
from torchprotect.attacks.disguise.chain import ChainResult, chain_from_known_images
from torchprotect.attacks.disguise.codebook import CodebookResult, codebook_attack
from torchprotect.attacks.disguise.direct import direct_reidentification
from torchprotect.attacks.disguise.duplicates import DuplicateResult, duplicate_statistics
from torchprotect.attacks.disguise.examiner import DNNExaminer
from torchprotect.attacks.disguise.inversion import reconstruction_attack
from torchprotect.attacks.disguise.jigsaw import jigsaw_attack
from torchprotect.attacks.disguise.key_from_weights import KeyFromWeights, read_key_from_weights
from torchprotect.attacks.disguise.linkage import linkage_attack
from torchprotect.attacks.disguise.matrix_rows import MatrixRowsResult, read_matrix_rows
from torchprotect.attacks.disguise.metadata import MetadataResult, metadata_scan
from torchprotect.attacks.disguise.metadata_finding import MetadataFinding
from torchprotect.attacks.disguise.moments import MomentsResult, match_moments
from torchprotect.attacks.disguise.permutation import recover_permutation, recover_permutation_from_statistics
from torchprotect.attacks.disguise.rarity import RarityResult, rarity_regression
from torchprotect.attacks.disguise.regression import RegressionResult, regression_attack
from torchprotect.attacks.disguise.row_energy import row_energy_attack
from torchprotect.attacks.disguise.silhouette import SilhouetteResult, silhouette_attack
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.owsd.autoencoder import autoencoder_attack
from torchprotect.attacks.owsd.feature_inversion import FeatureInversionResult, feature_inversion
from torchprotect.attacks.owsd.label_probe import label_probe
from torchprotect.attacks.owsd.ridge import ridge_reidentification
from torchprotect.attacks.owsd.small_seed import SeedResult, small_seed_search
from torchprotect.attacks.protocol import Attack, MatchedNetworks, Need, Pairs, Seen
from torchprotect.attacks.quality import psnr, ssim
from torchprotect.attacks.results import (
    AttackResult,
    ClassGuesses,
    CorrespondenceResult,
    LayoutResult,
    Level,
    LinkageResult,
    NetworkResult,
    PermutationResult,
    ReadingResult,
    Reconstruction,
    ReleasedImages,
    StatisticsResult,
)
from torchprotect.attacks.scheme import Scheme
from torchprotect.attacks.scores.classes import (
    ExaminerScore,
    examiner_score,
    score_balanced_classes,
    score_classes,
)
from torchprotect.attacks.scores.correspondence import CorrespondenceScore, score_correspondence
from torchprotect.attacks.scores.distances import DistanceResult, distance_correlation
from torchprotect.attacks.scores.fisher import FisherLeakage, diagonal_fisher_leakage
from torchprotect.attacks.scores.links import LinkageScore, score_linkage
from torchprotect.attacks.scores.order import score_permutation
from torchprotect.attacks.scores.pictures import ReconstructionScore, score_reconstruction, up_to_mirror_image
from torchprotect.attacks.scores.shares import ShareScore
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.attacks.table import ATTACKS, STANDARD_ATTACKS

__all__ = [
    "ATTACKS",
    "STANDARD_ATTACKS",
    "Attack",
    "AttackResult",
    "ChainResult",
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
    "FeatureInversionResult",
    "FisherLeakage",
    "HypothesisResult",
    "KeyFromWeights",
    "LayoutResult",
    "Level",
    "LinkageResult",
    "LinkageScore",
    "MatchedNetworks",
    "MatrixRowsResult",
    "Measure",
    "MetadataFinding",
    "MetadataResult",
    "MomentsResult",
    "Need",
    "NetworkResult",
    "OrthogonalProjectionResult",
    "Pairs",
    "PermutationResult",
    "RarityResult",
    "ReadingResult",
    "Reconstruction",
    "ReconstructionScore",
    "RegressionResult",
    "ReleasedImages",
    "Scheme",
    "Score",
    "SeedResult",
    "Seen",
    "ShareScore",
    "SilhouetteResult",
    "StatisticsResult",
    "TrainingCurve",
    "Truth",
    "adapt_gta",
    "autoencoder_attack",
    "chain_from_known_images",
    "codebook_attack",
    "diagonal_fisher_leakage",
    "direct_reidentification",
    "distance_correlation",
    "duplicate_statistics",
    "examiner_score",
    "feature_inversion",
    "hypothesis_accuracy",
    "jigsaw_attack",
    "label_probe",
    "linkage_attack",
    "match_moments",
    "metadata_scan",
    "orthogonal_projection",
    "pretrained_probe",
    "psnr",
    "purify_by_pairs",
    "rarity_regression",
    "read_correspondence_from_data",
    "read_correspondence_from_victim",
    "read_key_from_weights",
    "read_matrix_rows",
    "reconstruction_attack",
    "recover_correspondence",
    "recover_permutation",
    "recover_permutation_from_statistics",
    "regression_attack",
    "ridge_reidentification",
    "row_energy_attack",
    "score_balanced_classes",
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
    "staged_training",
    "strong_augmentation",
    "train_and_watch",
    "up_to_mirror_image",
]
