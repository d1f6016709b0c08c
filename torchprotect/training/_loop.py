"""An ordinary training loop for small classifiers."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import InputRangeError, InputTypeError, ModelError
from torchprotect.training._checkpoint import Checkpoint
from torchprotect.training._network import device_of, eval_mode
from torchprotect.training._precision import require_precision
from torchprotect.training._recipe import DEFAULT_RECIPE, Recipe

Batches = tuple[Tensor, Tensor] | Iterable[Any]
"""Images and labels as two tensors, or an iterable of batches ``(images, labels)`` such as a ``DataLoader``."""


def fit(
    model: nn.Module,
    data: Batches,
    *,
    epochs: int,
    batch_size: int = 64,
    recipe: Recipe = DEFAULT_RECIPE,
    precision: torch.dtype | None = None,
    channels_last: bool = False,
    prepare: Callable[[Tensor, Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Train a classifier on the device where its parameters are.

    Args:
        model: takes float images, returns scores ``[N, classes]``.
        data: tensors, or an iterable of batches that is iterated once per epoch.
        epochs: passes over the data.
        batch_size: for tensors, which are shuffled anew each epoch.
        recipe: optimizer, learning rate and loss; AdamW with a cosine schedule by default.
        precision: ``torch.bfloat16`` or ``torch.float16`` to run the model under autocast, or ``None`` for its own
            dtype; :func:`torchprotect.training.fast_precision` returns a fast dtype for a device. In float16, small
            gradients can vanish, because losses are not scaled.
        channels_last: whether images and weights have channels-last memory format, which is faster for convolutions.
        prepare: called with the images and labels of each batch, on the model's device; returns the images to train
            on.
        generator: shuffles tensors; torch's global one when ``None``.
        progress: called with the number of epochs done and the total.
        checkpoint: file that is written after each epoch and removed at the end. If it exists, training continues from
            it. The result is the same as without the interruption if ``data`` draws only from ``generator`` or torch's
            global generators. The file holds weights, and the states of the optimizer and of these generators. The
            caller must make sure that the data are the same.

    Returns:
        The model, in eval mode.

    Raises:
        InputTypeError: ``data`` is an iterator, which can be used only once, but there are several epochs; the
            learning rate changes with each batch, but ``data`` has no length; or ``precision`` is not a half precision.
        InputRangeError: an epoch had no batch.
        ModelError: the checkpoint belongs to another model or to other settings, or the loss is not finite at the end
            of an epoch.
        FileNotFoundError: the checkpoint's folder does not exist.
    """
    require_repeatable("data", data, epochs)
    require_precision(precision)
    model.to(memory_format=torch.channels_last if channels_last else torch.preserve_format)
    optimizer = recipe.make_optimizer(model.parameters())
    settings = (recipe, epochs, batch_size, precision, channels_last)
    state = Checkpoint(checkpoint, model, optimizer, generator, settings)
    each = _count(data, batch_size) if recipe.by_batch else math.inf  # by epochs: fractions of an epoch count as 0
    model.train()
    for epoch in range(state.load(), epochs):
        seen = 0
        for batch in _batches(data, batch_size, generator):
            images, labels = (part.to(device_of(model)) for part in batch)
            if prepare is not None:
                images = prepare(images, labels)
            _set_rate(optimizer, recipe.rate_at((epoch + (seen + 0.5) / each) / epochs))
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(model, images, labels, recipe.label_smoothing, precision, channels_last)
            loss.backward()
            optimizer.step()
            seen += 1
        if not seen:
            raise InputRangeError(f"epoch {epoch + 1} of {epochs} had no batch: data is empty or used up")
        _require_finite(float(loss.detach()), epoch + 1)
        state.save(epoch + 1)
        if progress is not None:
            progress(epoch + 1, epochs)
    state.remove()
    return model.eval()


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Batches,
    *,
    batch_size: int = 256,
    precision: torch.dtype | None = None,
    channels_last: bool = False,
) -> float:
    """Compute the accuracy, 0..1, in eval mode; the modes of all modules are restored afterwards.

    Args:
        model: takes float images, returns scores ``[N, classes]``.
        data: tensors, or an iterable of batches.
        batch_size: for tensors.
        precision: ``torch.bfloat16`` or ``torch.float16`` to run the model under autocast, or ``None`` for its own
            dtype.
        channels_last: whether images are passed in channels-last memory format.

    Raises:
        InputRangeError: there are no images.
        InputTypeError: ``precision`` is not a half precision.
    """
    require_precision(precision)
    device = device_of(model)
    layout = torch.channels_last if channels_last else torch.preserve_format
    right = seen = 0
    with eval_mode(model), _autocast(device, precision):
        for images, labels in _batches(data, batch_size, None, shuffle=False):
            scores = model(images.to(device, memory_format=layout))
            right += int((scores.argmax(1) == labels.to(device)).sum())
            seen += len(labels)
    if not seen:
        raise InputRangeError("there are no images to evaluate: data is empty or used up")
    return right / seen


def require_repeatable(name: str, data: Batches, passes: int) -> None:
    """Check that data can be iterated as often as needed.

    Raises:
        InputTypeError: it is an iterator, such as a generator, but is needed more than once.
    """
    if passes > 1 and isinstance(data, Iterator):
        raise InputTypeError(
            f"{name} must give its batches {passes} times, but {with_article(type_name(data))} gives them once; use a "
            "list or a DataLoader"
        )


def _loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    label_smoothing: float,
    precision: torch.dtype | None,
    channels_last: bool,
) -> Tensor:
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with _autocast(images.device, precision):
        scores = model(images)
    return nn.functional.cross_entropy(
        scores if precision is None else scores.float(), labels, label_smoothing=label_smoothing
    )


def _require_finite(loss: float, epoch: int) -> None:
    """Check the loss of the last batch of an epoch: once a network becomes NaN, it stays NaN."""
    if not math.isfinite(loss):
        raise ModelError(
            f"the loss is {loss} after epoch {epoch}: train with a lower learning rate, or look for NaN in the images"
        )


def _autocast(device: torch.device, precision: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    """Compute in a precision; ``None`` leaves the caller's setting unchanged."""
    return contextlib.nullcontext() if precision is None else torch.autocast(device.type, precision)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _are_tensors(data: Batches) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor)


def _count(data: Batches, batch_size: int) -> int:
    """Return the number of batches of an epoch."""
    if isinstance(data, tuple) and _are_tensors(data):
        return -(-len(data[0]) // batch_size)
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:  # also of a DataLoader whose set has no length
        raise InputTypeError(
            "the recipe changes the learning rate with each batch, so data must have a length, in batches; "
            f"{with_article(type_name(data))} has none"
        ) from None


def _batches(
    data: Batches, batch_size: int, generator: torch.Generator | None, shuffle: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    if not _are_tensors(data):
        yield from data  # type: ignore[misc]
        return
    images, labels = data
    order = torch.randperm(len(images), generator=generator) if shuffle else torch.arange(len(images))
    for part in order.split(batch_size):
        yield images[part], labels[part]
