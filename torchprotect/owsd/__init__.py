"""One Way Scrambling by Deconvolution (OWSD): use a cloud classifier without showing it the images."""

from torchprotect.owsd._fit import InferenceSettings
from torchprotect.owsd.answers import AnswerCache, image_ids
from torchprotect.owsd.client import Client
from torchprotect.owsd.cloud import Cloud, InferenceProtocolCloud, ModelCloud, ask
from torchprotect.owsd.inference import Inference
from torchprotect.owsd.ledger import BudgetWarning, Ledger, Use
from torchprotect.owsd.observations import Evaluation, Observations

__all__ = [
    "AnswerCache",
    "BudgetWarning",
    "Client",
    "Cloud",
    "Evaluation",
    "Inference",
    "InferenceProtocolCloud",
    "InferenceSettings",
    "Ledger",
    "ModelCloud",
    "Observations",
    "Use",
    "ask",
    "image_ids",
]
