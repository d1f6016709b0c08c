"""What levels, attacks and numbers are called on the page and in the terminal."""

import math
from typing import NamedTuple

from torchprotect.attacks import Level
from torchprotect.attacks.measures import Measure, Unit
from torchprotect.audit.report.finding import Cause

KNOWS = {
    Level.CIPHERTEXT_ONLY: "the protected images alone",
    Level.PUBLIC_DATA: "also public images of the same kind, and the algorithm",
    Level.KNOWN_PAIRS: "also some originals with their protected images",
    Level.CHOSEN_PLAINTEXT: "also images of one's choice, protected",
    Level.PARTIAL_KEY: "also a part of the key",
}

_NOTHING = "\u2013"

NO_SCALE = "no scale: models on plain images do no better than guessing; give more images"

LEAKS = {
    "class": "the class",
    "picture": "the picture",
    "identity": "which image it is",
    "key": "a part of the key",
    "distances": "which images are alike",
    "equality": "what is equal",
    "metadata": "what stands beside",
}


class AttackWords(NamedTuple):
    """What an attack is called, and what is said of it.

    Attributes:
        title: its name.
        about: what it does, in half a sentence.
        holder: who can do it, where its level alone does not tell; ``{pairs}`` are those it was given.
        deed: what it did, where it did not pick the originals of ``{right}`` protected images.
    """

    title: str
    about: str = ""
    holder: str | None = None
    deed: str | None = None


ATTACKS = {
    "duplicate_statistics": AttackWords("Duplicates", "counts images and cipher units that repeat"),
    "metadata_scan": AttackWords(
        "Metadata", "reads names, order, sizes, times and whatever else stands beside the pixels"
    ),
    "jigsaw_attack": AttackWords("Jigsaw", "puts blocks together by what fits at their edges"),
    "DNNExaminer": AttackWords(
        "Direct re-identification", "a network that knows plain images looks at disguised ones as they are"
    ),
    "recover_permutation_from_statistics": AttackWords(
        "Order from statistics", "matches blocks with places by public images"
    ),
    "row_energy_attack": AttackWords(
        "Row energies", "guesses the class from the norms of block rows, which rotations keep"
    ),
    "silhouette_attack": AttackWords("Silhouettes", "guesses the class from where cipher units repeat"),
    "linkage_attack": AttackWords(
        "Linkage",
        "finds the disguised version of a known image",
        holder="Someone who holds originals and looks for them, but has no key,",
        deed="found the protected version of {right} originals",
    ),
    "recover_permutation": AttackWords("Order from pairs", "matches blocks with places by known pairs"),
    "codebook_attack": AttackWords("Codebook", "looks cipher units up in a dictionary made of known pairs"),
    "regression_attack": AttackWords("Regression", "fits a linear way back to known pairs"),
    "ridge_reidentification": AttackWords(
        "Ridge re-identification", "fits plain to scrambled images by known pairs, and looks known ones up"
    ),
    "ridge_reidentification (embeddings)": AttackWords(
        "Ridge re-identification, with the encoder",
        "the same with embeddings of plain images, for whoever can load the encoder",
        holder="Someone who can load the encoder and knows {pairs} of an original and its protected image, but no key,",
    ),
    "distance_correlation": AttackWords("Distances", "tells how far distances between plain images survive"),
    "distance_correlation (embeddings)": AttackWords(
        "Distances, with the encoder", "tells how far distances between embeddings survive"
    ),
    "label_probe": AttackWords("Label probe", "learns classes from a few labelled scrambled images"),
    "autoencoder_attack": AttackWords("Autoencoder", "trains a network on known pairs to draw the plain image"),
    "reconstruction_attack": AttackWords(
        "Learned inversion", "fits all pixels to known pairs, then a U-Net that corrects what comes out"
    ),
    "recover_correspondence": AttackWords("Recovery of the correspondence"),
    "read_correspondence_from_victim": AttackWords("Correspondence from a trained network"),
    "read_correspondence_from_data": AttackWords("Correspondence from natural confusions"),
    "hypothesis_accuracy": AttackWords("Test of a supposed correspondence"),
    "train_and_watch": AttackWords("Training watched for its best epoch"),
    "squeeze_jpeg": AttackWords("Compression before training"),
    "orthogonal_projection": AttackWords("Orthogonal projection before training"),
    "adapt_gta": AttackWords("Domain adaptation"),
    "small_seed_search": AttackWords("Search of small seeds"),
    "label_probe (the cloud's answers)": AttackWords("Label probe on the cloud's answers"),
    "unpaired learned inversion (GAN)": AttackWords("Unpaired learned inversion (GAN)"),
    "chosen plaintext": AttackWords("Chosen plaintext"),
    "partial key": AttackWords("Partial key"),
}


_FACTS = {
    "image_groups": "groups of equal images",
    "image_share": "images that equal another one",
    "unit_share": "units that repeat at their place",
    "unit_share_by_position": "the same, place by place",
    "background_share": "units that are the most frequent at their place",
    "hit_rate": "units in the book",
    "hit_rate_non_constant": "units in the book, without even ones",
    "rank_least": "least rank",
    "rank_most": "largest rank",
}

_LONG = 12


def title(attack: str) -> str:
    """Return what an attack is called."""
    return ATTACKS[attack].title if attack in ATTACKS else attack


def about(attack: str) -> str:
    """Return what an attack does, in half a sentence."""
    return ATTACKS[attack].about if attack in ATTACKS else ""


COULD_NOT: dict[Cause, str] = {
    "not applicable": "not applicable",
    "missing input": "input missing",
    "refused": "refused the images",
    "not included": "not part of the audit",
}
"""Why attacks were not run, by cause."""


def percent(value: float | None) -> str:
    """Return a share for people."""
    return _NOTHING if value is None or math.isnan(value) else f"{value:.1%}".replace("%", " %")


def number(value: float | None, unit: Unit) -> str:
    """Return a number with its unit for people."""
    if value is None or math.isnan(value):
        return _NOTHING
    if unit == "share":
        return percent(value)
    return f"{value:.1f} dB" if unit == "dB" else f"{value:.2f}"


def interval(measure: Measure) -> str:
    """Return the 95 % interval of a measure for people."""
    if math.isnan(measure.low) and math.isnan(measure.high):
        return _NOTHING
    return f"{number(measure.low, measure.unit)} to {number(measure.high, measure.unit)}"


def bound(measure: Measure) -> str:
    """Return what is reached on plain images, for people."""
    if measure.unit == "dB":
        return "\u221e dB"  # of an image compared with itself
    return number(measure.upper, measure.unit)


def leakage_interval(measure: Measure) -> str:
    """Return where the ends of the 95 % interval lie between chance and plain images, for people."""
    if measure.leakage_low is None or measure.leakage_high is None:
        return ""
    return f"{percent(measure.leakage_low)} to {percent(measure.leakage_high)}"


def spaced(name: str) -> str:
    """Return a field's name in words."""
    return _FACTS.get(name, name.replace("_", " "))


def shown(name: str, value: object) -> str:
    """Return a fact for people, by its name and kind."""
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return percent(value) if {"share", "rate"} & set(name.split("_")) else f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list) and len(value) > _LONG:
        return f"{shown(name, min(value))} to {shown(name, max(value))}"
    if isinstance(value, list):
        return (" x " if name.endswith("size") else ", ").join(shown(name, each) for each in value)
    return str(value)
