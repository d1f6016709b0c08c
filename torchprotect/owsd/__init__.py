"""One way scrambling by deconvolution: what stays inside the organisation, and what it sends to a cloud."""

from torchprotect.owsd._fit import InferenceSettings
from torchprotect.owsd.answers import AnswerCache
from torchprotect.owsd.client import Client
from torchprotect.owsd.cloud import Cloud, InferenceProtocolCloud, ModelCloud, ask
from torchprotect.owsd.inference import Evaluation, Inference, Observations
from torchprotect.owsd.ledger import BudgetWarning, Ledger, Use

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
]
