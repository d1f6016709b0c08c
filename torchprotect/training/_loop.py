"""An ordinary training loop for small classifiers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import InputRangeError, InputTypeError
from torchprotect.training._network import device_of, eval_mode

Batches = tuple[Tensor, Tensor] | Iterable[Any]
"""Images and labels as two tensors, or an iterable of batches ``(images, labels)`` such as a ``DataLoader``."""


def fit(
    model: nn.Module,
    data: Batches,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    prepare: Callable[[Tensor, Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Train a classifier with AdamW and a cosine schedule, on the device its parameters are on.

    Args:
        model: takes float images, returns scores ``[N, classes]``.
        data: tensors, or an iterable of batches, iterated once per epoch.
        epochs: passes over the data.
        batch_size: for tensors, which are shuffled anew each epoch.
        learning_rate: initial one.
        prepare: called with the images and labels of each batch, on the model's device; returns the images to train
            on.
        generator: shuffles tensors; torch's global one when ``None``.
        progress: called with the number of epochs done and of all.

    Returns:
        The model, in eval mode.

    Raises:
        InputTypeError: ``data`` is an iterator, which can be used only once, but there are several epochs.
        InputRangeError: an epoch had no batch.
    """
    require_repeatable("data", data, epochs)
    device = device_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for epoch in range(epochs):
        batches = 0
        for batch in _batches(data, batch_size, generator):
            batches += 1
            images, labels = (part.to(device) for part in batch)
            if prepare is not None:
                images = prepare(images, labels)
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        if not batches:
            raise InputRangeError(f"epoch {epoch + 1} of {epochs} had no batch: data is empty or used up")
        schedule.step()
        if progress is not None:
            progress(epoch + 1, epochs)
    return model.eval()


@torch.no_grad()
def evaluate(model: nn.Module, data: Batches, *, batch_size: int = 256) -> float:
    """Return the accuracy, 0..1, in eval mode; the modes of all modules are restored afterwards.

    Args:
        model: takes float images, returns scores ``[N, classes]``.
        data: tensors, or an iterable of batches.
        batch_size: for tensors.

    Raises:
        InputRangeError: there are no images.
    """
    device = device_of(model)
    right = seen = 0
    with eval_mode(model):
        for images, labels in _batches(data, batch_size, None, shuffle=False):
            right += int((model(images.to(device)).argmax(1) == labels.to(device)).sum())
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


def _batches(
    data: Batches, batch_size: int, generator: torch.Generator | None, shuffle: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    if not (isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor)):
        yield from data  # type: ignore[misc]
        return
    images, labels = data
    order = torch.randperm(len(images), generator=generator) if shuffle else torch.arange(len(images))
    for part in order.split(batch_size):
        yield images[part], labels[part]
