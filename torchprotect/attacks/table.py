"""All attacks of this package, in the order in which an audit runs them."""

from torchprotect.attacks.adversarial.adapt_gta import GTA
from torchprotect.attacks.adversarial.augmentation import STRONG_AUGMENTATION
from torchprotect.attacks.adversarial.correspondence import ENUMERATION
from torchprotect.attacks.adversarial.correspondence_reading import READING_OF_DATA, READING_OF_VICTIM
from torchprotect.attacks.adversarial.hypothesis import HYPOTHESIS
from torchprotect.attacks.adversarial.orthogonal_projection import ORTHOGONAL_PROJECTION
from torchprotect.attacks.adversarial.pretrained_probe import PRETRAINED_PROBE
from torchprotect.attacks.adversarial.purification import PURIFIER
from torchprotect.attacks.adversarial.squeezing import SQUEEZE_BITS, SQUEEZE_GREY, SQUEEZE_JPEG
from torchprotect.attacks.adversarial.staged_training import STAGED_TRAINING
from torchprotect.attacks.adversarial.train_and_watch import TRAIN_AND_WATCH
from torchprotect.attacks.disguise.chain import CHAIN_FROM_KNOWN_IMAGES
from torchprotect.attacks.disguise.codebook import CODEBOOK
from torchprotect.attacks.disguise.direct import DIRECT
from torchprotect.attacks.disguise.duplicates import DUPLICATES
from torchprotect.attacks.disguise.inversion import INVERSION
from torchprotect.attacks.disguise.jigsaw import JIGSAW
from torchprotect.attacks.disguise.key_from_weights import KEY_FROM_WEIGHTS
from torchprotect.attacks.disguise.linkage import LINKAGE
from torchprotect.attacks.disguise.matrix_rows import MATRIX_ROWS
from torchprotect.attacks.disguise.metadata import METADATA
from torchprotect.attacks.disguise.moments import MOMENTS
from torchprotect.attacks.disguise.permutation import PERMUTATION, PERMUTATION_FROM_STATISTICS
from torchprotect.attacks.disguise.rarity import RARITY, RARITY_OF_CLASSES
from torchprotect.attacks.disguise.regression import REGRESSION
from torchprotect.attacks.disguise.row_energy import ROW_ENERGY
from torchprotect.attacks.disguise.silhouette import SILHOUETTE
from torchprotect.attacks.owsd.autoencoder import AUTOENCODER
from torchprotect.attacks.owsd.distances import DISTANCE_CORRELATION, DISTANCE_CORRELATION_OF_EMBEDDINGS
from torchprotect.attacks.owsd.feature_inversion import FEATURE_INVERSION
from torchprotect.attacks.owsd.label_probe import LABEL_PROBE
from torchprotect.attacks.owsd.ridge import RIDGE, RIDGE_OF_EMBEDDINGS
from torchprotect.attacks.protocol import Attack

ATTACKS: tuple[Attack, ...] = (
    DUPLICATES,
    METADATA,
    JIGSAW,
    MATRIX_ROWS,
    DIRECT,
    PERMUTATION_FROM_STATISTICS,
    ROW_ENERGY,
    SILHOUETTE,
    RARITY,
    RARITY_OF_CLASSES,
    LINKAGE,
    MOMENTS,
    CHAIN_FROM_KNOWN_IMAGES,
    KEY_FROM_WEIGHTS,
    PERMUTATION,
    CODEBOOK,
    REGRESSION,
    INVERSION,
    DISTANCE_CORRELATION,
    DISTANCE_CORRELATION_OF_EMBEDDINGS,
    RIDGE,
    RIDGE_OF_EMBEDDINGS,
    LABEL_PROBE,
    FEATURE_INVERSION,
    AUTOENCODER,
    READING_OF_DATA,
    READING_OF_VICTIM,
    ENUMERATION,
    HYPOTHESIS,
    TRAIN_AND_WATCH,
    STRONG_AUGMENTATION,
    SQUEEZE_JPEG,
    SQUEEZE_GREY,
    SQUEEZE_BITS,
    ORTHOGONAL_PROJECTION,
    STAGED_TRAINING,
    PRETRAINED_PROBE,
    PURIFIER,
    GTA,
)
"""All attacks of the package, as an audit can run them."""

STANDARD_ATTACKS: tuple[Attack, ...] = tuple(attack for attack in ATTACKS if not attack.long)
"""The attacks that an audit runs by default: all except long trainings."""
