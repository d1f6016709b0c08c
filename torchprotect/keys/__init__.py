"""Secret keys, generated from the operating system's entropy and stored in safetensors files."""

from torchprotect.keys._base import BlockKey, Key
from torchprotect.keys._file import load, peek, save
from torchprotect.keys._secret import SecretBytes
from torchprotect.keys._transfer import reduce_key
from torchprotect.keys.aes import AESKey
from torchprotect.keys.bundle import KeyBundle
from torchprotect.keys.correspondence import CorrespondenceKey
from torchprotect.keys.labels import LabelKey
from torchprotect.keys.owsd import OWSDKey
from torchprotect.keys.permutation import PermutationKey
from torchprotect.keys.rmt import RMTKey

__all__ = [
    "AESKey",
    "BlockKey",
    "CorrespondenceKey",
    "Key",
    "KeyBundle",
    "LabelKey",
    "OWSDKey",
    "PermutationKey",
    "RMTKey",
    "SecretBytes",
    "load",
    "peek",
    "reduce_key",
    "save",
]
