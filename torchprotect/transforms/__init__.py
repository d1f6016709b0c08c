"""Transforms of torchvision v2 that disguise pictures; :mod:`torchprotect.transforms.kornia` has them for kornia.

A disguise is an obfuscation, not encryption. Each class says at which attacker level (L0 to L4, see the threat model)
its known weaknesses begin.
"""

from torchprotect.transforms._disguise import Disguise, DisguisedBatch, NoiseSource
from torchprotect.transforms._from_key import from_key
from torchprotect.transforms.adversarial import AdversarialEncrypt
from torchprotect.transforms.aes_ecb import AESECBDisguise
from torchprotect.transforms.batch import disguise_batch
from torchprotect.transforms.block_permute import BlockPermute
from torchprotect.transforms.noise import SaltAndPepper
from torchprotect.transforms.owsd import OWSDScramble
from torchprotect.transforms.rmt import RMTDisguise

__all__ = [
    "AESECBDisguise",
    "AdversarialEncrypt",
    "BlockPermute",
    "Disguise",
    "DisguisedBatch",
    "NoiseSource",
    "OWSDScramble",
    "RMTDisguise",
    "SaltAndPepper",
    "disguise_batch",
    "from_key",
]
