"""Classify plain pictures with a network that was trained on disguised ones, and match pretrained networks to a key."""

from torchprotect.predict._file import is_model_file, load_network, read_header
from torchprotect.predict._structure import MatchedStructure
from torchprotect.predict.header import ModelHeader
from torchprotect.predict.match import match_key
from torchprotect.predict.prediction import ClassScore, Prediction
from torchprotect.predict.predictor import Predictor
from torchprotect.predict.save import save

__all__ = [
    "ClassScore",
    "MatchedStructure",
    "ModelHeader",
    "Prediction",
    "Predictor",
    "is_model_file",
    "load_network",
    "match_key",
    "read_header",
    "save",
]
