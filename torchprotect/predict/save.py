"""Write a trained network to a file that records how pictures become its input."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchprotect import data
from torchprotect._inputs import PerChannel, per_channel, type_name
from torchprotect.data import Recipe, Shape
from torchprotect.data.finished import Identities, open_finished
from torchprotect.data.preparation import CHANNELS
from torchprotect.errors import ExportError, InputRangeError, InputTypeError, KeyKindError, ModelError
from torchprotect.models.first_layer import channels_of
from torchprotect.predict._file import write_model
from torchprotect.predict._input import CHECKED, answers_of, check_scores, normalise
from torchprotect.predict._structure import MatchedStructure, matched_structure
from torchprotect.predict.header import ModelHeader
from torchprotect.training import eval_mode, require_running_statistics
from torchprotect.transforms import Disguise
from torchprotect.transforms.from_description import settings_of

_LARGEST_MEAN = 20  # general matrices make means of more than 1


def save(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | Recipe,
    mean: PerChannel,
    std: PerChannel,
    plain_labels: bool | None = None,
    identity: Identities = None,
) -> ModelHeader:
    """Write the weights of a network, and how its images were disguised, to a model file. No key is needed.

    The network is run on one image first.

    Args:
        network: takes disguised images, divided by the value of white (255 for 8-bit pictures) and normalised; returns
            scores ``[N, classes]``, before any softmax.
        path: path of the safetensors file; never overwritten.
        like: folder or URL of the finished export that the network was trained on. For images that were disguised on
            the fly: :meth:`torchprotect.data.Recipe.of_disguise`.
        mean, std: normalisation that the network was trained with, on the scale of 0..1; 0 and 1 if there was none. A
            network that took images on the scale of 0..255 has ``std=1/255``.
        plain_labels: whether the network answers with plain class numbers although the key may rename classes. A
            matched network that was not trained does, as its original did. Required for matched networks; any other
            network is assumed to answer with the numbers that the key makes.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`.

    Returns:
        The header that was written.

    Raises:
        FileExistsError: ``path`` exists.
        ModelError: the network does not take such images, normalises over the batch, or returns scores that are not
            finite or fewer than there are classes.
        KeyKindError: the network was matched to another key than that of the images.
        ExportError: the export is not finished.
        NotInvertibleError: the disguise depends on a network, so that a key holder cannot make the input of this one.
    """
    _require_arguments(network, like)
    network = getattr(network, "_orig_mod", network)  # unwrap torch.compile
    require_running_statistics("network", network)
    recipe = like if isinstance(like, Recipe) else Recipe.of_export(like, identity=identity)
    settings_of(recipe.transform)  # raises if the steps cannot be repeated
    image, needed = _example(network, recipe) if isinstance(like, Recipe) else _first_image(like, identity)
    shape, matched = Shape(*image.shape), matched_structure(network)
    normalisation = (per_channel("mean", mean, shape.channels), per_channel("std", std, shape.channels))
    if matched is not None:
        _require_same_disguise(matched, recipe, *normalisation)
        _require_word_on_labels(plain_labels)
    if float(normalisation[0].abs().max()) > _LARGEST_MEAN:
        raise InputRangeError("mean and std must be on the scale of 0..1: divide those of grey levels by 255")
    with eval_mode(network):
        scores = answers_of(network, normalise(image[None], recipe.scale, *normalisation, like=network))
        check = check_scores(network, shape)
    _require_outputs(needed, scores)
    numbers = [tuple(float(each) for each in values.flatten()) for values in normalisation]
    header = ModelHeader(
        recipe=recipe,
        mean=numbers[0],
        std=numbers[1],
        shape=shape,
        classes=scores.shape[1],
        check=tuple(check[:CHECKED].tolist()),
        several_labels=needed.several,
        plain_labels=bool(plain_labels),
        matched=matched,
    )
    write_model(network, header, Path(path))
    return header


def _require_arguments(network: Any, like: Any) -> None:
    """Refuse arguments that are often mixed up."""
    if not isinstance(network, nn.Module):
        raise InputTypeError(f"network must be a torch.nn.Module, got {type_name(network)}")
    if isinstance(like, Disguise):
        raise InputTypeError("like must be an export or a recipe: make one with data.Recipe.of_disguise(disguise, ..)")


def _require_word_on_labels(plain_labels: bool | None) -> None:
    if plain_labels is None:
        raise InputTypeError(
            "say whether this matched network answers with plain class numbers, as its original does "
            "(plain_labels=True), or with renamed ones, after training on them (plain_labels=False)"
        )


def _require_same_disguise(matched: MatchedStructure, recipe: Recipe, mean: Tensor, std: Tensor) -> None:
    """Check that a network that was matched to a key is saved for images under that key, without a normalisation.

    Raises:
        KeyKindError: the images are under another disguise.
        InputRangeError: the network would be given normalised images.
    """
    if matched.disguise not in recipe.transform:
        key = str(matched.disguise.get("key"))[:12]
        raise KeyKindError(
            f"the network was matched to {matched.disguise.get('name')} with key {key}, but these images went through "
            f"{', '.join(str(step['name']) for step in recipe.transform)} with other keys or settings"
        )
    if bool((mean != 0).any()) or not torch.allclose(std, torch.tensor(1 / matched.scale, dtype=std.dtype)):
        wanted = "1" if matched.scale == 1 else f"1/{matched.scale}"
        raise InputRangeError(
            f"a matched network has the normalisation in its weights, and takes images as they are at a scale of "
            f"{matched.scale}: save it with mean=0, std={wanted}"
        )


class _Labels(NamedTuple):
    """The minimum number of classes, and whether an image may have several labels."""

    least: int = 0
    several: bool = False


def _first_image(export: str | os.PathLike[str], identity: Identities) -> tuple[Tensor, _Labels]:
    manifest = open_finished(export, identity=identity).manifest
    for image, label in data.read(export, identity=identity):
        if isinstance(label, Tensor):
            return image, _Labels(len(label), several=True)
        return image, _Labels(max(manifest["labels"], 0 if label is None else label + 1))
    raise ExportError(f"{export} holds no images")


def _example(network: nn.Module, recipe: Recipe) -> tuple[Tensor, _Labels]:
    """Return a black image of the shape that the disguise produces."""
    step = recipe.transform[-1]
    height, width = (int(side) for side in step["image_size"])
    prepared = CHANNELS.get(recipe.preparation.mode) if recipe.preparation.mode else None
    channels = prepared or step.get("channels") or channels_of(network, (height, width))
    return torch.zeros(channels, height, width), _Labels()


def _require_outputs(labels: _Labels, scores: Tensor) -> None:
    """Check for finite scores, at least as many as there are labels; the key holder's names determine the rest."""
    if not bool(scores.isfinite().all()):
        raise ModelError("the network's scores of the first image are NaN or infinite; check its weights")
    if labels.least > scores.shape[1]:
        raise ModelError(
            f"the network returns {scores.shape[1]} scores, but the export has at least {labels.least} classes"
        )
