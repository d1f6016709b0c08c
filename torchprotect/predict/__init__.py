"""From a trained network to predictions, and from a pretrained one to disguised images."""

from torchprotect.predict.match import match_key

__all__ = ["match_key"]
