"""Writing a trained network to a file that says how pictures become its input."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from torchprotect import data
from torchprotect._inputs import type_name
from torchprotect.data import Recipe, Shape
from torchprotect.data.finished import Identities
from torchprotect.errors import ExportError, InputTypeError, ModelError
from torchprotect.models.first_layer import channels_of
from torchprotect.predict._file import write_model
from torchprotect.predict._input import normalise
from torchprotect.predict._structure import matched_structure
from torchprotect.predict.header import ModelHeader
from torchprotect.predict.match import PerChannel, per_channel
from torchprotect.training import device_of, eval_mode, input_dtype_of, scores_of
from torchprotect.transforms.from_description import settings_of


def save(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | Recipe,
    mean: PerChannel,
    std: PerChannel,
    identity: Identities = None,
) -> ModelHeader:
    """Write the weights of a network, and what it needs to know of its data, to a model file. No key is needed.

    The network is tried on one image first.

    Args:
        network: takes disguised images, divided by the value of white (255 for 8-bit pictures) and normalised; returns
            scores ``[N, classes]``, before any softmax.
        path: of the safetensors file; never overwritten.
        like: folder or URL of the finished export that the network was trained on. For images that were disguised as
            they were read: :meth:`torchprotect.data.Recipe.of_disguise`.
        mean, std: normalisation that the network was trained with, on the scale of 0..1; 0 and 1 if there was none. A
            network that took images on the scale of 0..255 has ``std=1/255``.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`.

    Returns:
        The header that was written.

    Raises:
        FileExistsError: ``path`` exists.
        ModelError: the network does not take such images, or returns no finite scores, or fewer than there are classes.
        ExportError: the export is not finished.
        NotInvertibleError: its disguise depends on a network, so that a key holder cannot make the input of this one.
    """
    if not isinstance(network, nn.Module):
        raise InputTypeError(f"network must be a torch.nn.Module, got {type_name(network)}")
    recipe = like if isinstance(like, Recipe) else Recipe.of_export(like, identity=identity)
    settings_of(recipe.transform)  # refuses what nobody can repeat
    image, label = _example(network, recipe) if isinstance(like, Recipe) else _first_sample(like, identity)
    shape = Shape(*image.shape)
    normalisation = (per_channel("mean", mean, shape.channels), per_channel("std", std, shape.channels))
    inputs = normalise(image[None], recipe.scale, *normalisation, like=network)
    classes = _count_classes(network, inputs)
    _require_outputs(label, classes)
    numbers = [tuple(float(each) for each in values.flatten()) for values in normalisation]
    header = ModelHeader(
        recipe=recipe,
        mean=numbers[0],
        std=numbers[1],
        shape=shape,
        classes=classes,
        several_labels=isinstance(label, Tensor),
        matched=matched_structure(network),
    )
    write_model(network, header, Path(path))
    return header


def _first_sample(export: str | os.PathLike[str], identity: Identities) -> tuple[Tensor, int | Tensor | None]:
    for image, label in data.read(export, identity=identity):
        return image, label
    raise ExportError(f"{export} holds no images")


def _example(network: nn.Module, recipe: Recipe) -> tuple[Tensor, None]:
    """Return a black image of the size that the disguise makes."""
    height, width = (int(side) for side in recipe.transform[-1]["image_size"])
    return torch.zeros(channels_of(network, (height, width)), height, width), None


def _count_classes(network: nn.Module, inputs: Tensor) -> int:
    try:
        with eval_mode(network), torch.inference_mode():
            scores = scores_of(network, inputs.to(device_of(network), input_dtype_of(network)))
    except ModelError:
        raise
    except Exception as error:  # user code may raise anything
        raise ModelError(f"the network does not take images {list(inputs.shape[1:])}: {error}") from error
    if not bool(scores.isfinite().all()):
        raise ModelError("the network's scores of the first image are NaN or infinite; check its weights")
    return scores.shape[1]


def _require_outputs(label: int | Tensor | None, classes: int) -> None:
    """Check that a network can give the label of a sample; the key holder's names and label map tell the rest."""
    needed = len(label) if isinstance(label, Tensor) else 0 if label is None else label + 1
    if needed > classes:
        raise ModelError(f"the network returns {classes} scores, but the export has at least {needed} classes")
