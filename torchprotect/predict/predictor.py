"""Predict plain classes with a network that was trained on disguised images."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchprotect._inputs import per_channel, require_int, type_name
from torchprotect.data import Disguiser, Picture, Shape, read_owner
from torchprotect.data.finished import Identities
from torchprotect.errors import InputRangeError, InputTypeError, KeySizeError, ModelError
from torchprotect.keys import Key, KeyBundle, LabelKey
from torchprotect.predict._file import load_network, read_header
from torchprotect.predict._input import answers_of, normalise
from torchprotect.predict.header import ModelHeader
from torchprotect.predict.prediction import Prediction
from torchprotect.training import require_running_statistics


class Predictor:
    """Classify plain pictures with a network that was trained on disguised ones; make one with :meth:`load`.

    For the owner of the key: pictures come in plain, and answers are plain classes. Each picture is prepared and
    disguised first. Noise is replaced by its mean, half of its upper end, and salt and pepper is left out, so that a
    picture always gets the same answer. Threads may share a predictor.

    Attributes:
        header: the description of the network in the model file.
        network: the network, in eval mode.
        class_names: names of the plain class numbers from 0 up; ``None`` if they are not known.
        note: warns that image decoders have other versions than those of the export, so that pixels may differ; or
            ``None``.

    Example::

        predictor = predict.Predictor.load("model.safetensors", key=key, network=resnet18(num_classes=10))
        for prediction in predictor.predict(["cat.jpg", "dog.jpg"]):
            print(prediction.name, prediction.score)
    """

    def __init__(
        self,
        network: nn.Module,
        header: ModelHeader,
        *,
        key: Key,
        class_names: Sequence[str] | None = None,
    ) -> None:
        header.recipe.require_key(key, "the model")
        labels = key.labels if isinstance(key, KeyBundle) and not header.plain_labels else None
        _require_same_classes(header, labels, class_names)
        require_running_statistics("network", network)
        self.header, self.network = header, network.eval()
        self.class_names = None if class_names is None else tuple(class_names)
        self._disguiser, self._labels = Disguiser(header.recipe, key=key), labels
        self.note = self._disguiser.note
        channels = header.shape.channels
        self._normalisation = per_channel("mean", header.mean, channels), per_channel("std", header.std, channels)
        self._answer(torch.zeros(1, *header.shape))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        key: Key,
        network: nn.Module | Callable[[], nn.Module],
        class_names: Sequence[str] | None = None,
        export: str | os.PathLike[str] | None = None,
        identity: Identities = None,
        device: torch.device | str | None = None,
    ) -> "Predictor":
        """Load a model file that :func:`torchprotect.predict.save` wrote.

        Args:
            path: path of the model file.
            key: the key that the training images were disguised with.
            network: a network of the architecture that was trained, or a function that returns one; for a matched
                network, the architecture that was matched. It is not changed.
            class_names: names of all plain class numbers, from 0 up.
            export: folder or URL of an export of the same key, whose owner's file has the names; instead of
                ``class_names``.
            identity: opens that export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
            device: device for the network; where it already is when ``None``.

        Raises:
            ModelFileError: it is not a model file, has a newer version, or is truncated or damaged.
            KeyKindError: the key is another one.
            ModelError: the weights do not fit the network, or it returns something other than one score per class.
            InputRangeError: the number of names differs from the number of classes.
        """
        header = read_header(path)
        header.recipe.require_key(key, os.fspath(path))
        if export is not None:
            if class_names is not None:
                raise InputTypeError("give class_names or export, not both")
            owner = read_owner(export, key=key, identity=identity)
            class_names = None if owner is None else owner.class_names
        made = load_network(path, network)
        if device is not None:
            made = _moved(made, device)
        predictor = cls(made, header, key=key, class_names=class_names)
        if export is None and class_names is not None and len(class_names) < header.classes:
            raise InputRangeError(f"{header.classes} classes need as many names, got {len(class_names)}")
        return predictor

    def __repr__(self) -> str:
        return f"Predictor({type(self.network).__name__}, {self.header.classes} classes, {self.header.recipe})"

    def __call__(self, picture: Picture) -> Prediction:
        """Classify one picture.

        Raises:
            SourceError: it cannot be read or prepared.
            KeySizeError: after the preparation it has another shape than the network takes.
        """
        return Prediction(self.scores([picture])[0], self.class_names)

    def predict(self, pictures: Iterable[Picture], *, batch_size: int = 64) -> Iterator[Prediction]:
        """Classify pictures in batches, and yield a prediction for each in their order.

        Args:
            pictures: paths, PIL images, arrays or tensors. A batch, uint8 ``[N, C, H, W]``, is an iterable of these.
            batch_size: number of pictures that are prepared and classified together.

        Raises:
            SourceError, KeySizeError: as when one picture is classified.
        """
        require_int("batch_size", batch_size, at_least=1)
        if isinstance(pictures, str | os.PathLike) or not isinstance(pictures, Iterable):
            raise InputTypeError(f"pictures must be several, got {type_name(pictures)}; call the predictor for one")
        _require_several(pictures)
        rest = iter(pictures)
        while batch := list(itertools.islice(rest, batch_size)):
            yield from (Prediction(scores, self.class_names) for scores in self.scores(batch))

    def scores(self, pictures: Sequence[Picture] | Tensor) -> Tensor:
        """Classify one batch of pictures.

        Args:
            pictures: as for :meth:`predict`.

        Returns:
            float32 ``[N, classes]`` on the CPU, 0..1, in the order of the plain class numbers.

        Raises:
            SourceError, KeySizeError: as when one picture is classified.
        """
        _require_several(pictures)
        if not len(pictures):
            return torch.empty(0, self.header.classes)
        plain = [self._prepared(picture) for picture in pictures]
        found = self._answer(self._disguiser.disguise(torch.stack(plain), noise=_mean_noise))
        return found if self._labels is None else found[:, self._labels.labels]

    def _prepared(self, picture: Any) -> Tensor:
        image = self._disguiser.prepare(picture)
        if (received := Shape(*image.shape)) != self.header.shape:
            told = f" {os.fspath(picture)}" if isinstance(picture, str | os.PathLike) else ""
            raise KeySizeError(
                f"picture{told} is {received}, but the model takes {self.header.shape}; resize or convert it first, or "
                "train on an export that prepares pictures (--resize, --mode)"
            )
        return image

    def _answer(self, disguised: Tensor) -> Tensor:
        """Return scores in 0..1 of disguised images, in the order of the network's classes."""
        inputs = normalise(disguised, self.header.recipe.scale, *self._normalisation, like=self.network)
        scores = answers_of(self.network, inputs, self.header.classes)
        if not bool(scores.isfinite().all()):
            raise ModelError("the network's scores are NaN or infinite; check its weights and precision")
        return (scores.sigmoid() if self.header.several_labels else scores.softmax(1)).cpu()


def _require_several(pictures: Any) -> None:
    """Refuse an array or tensor that is one picture, because its rows would be taken for pictures."""
    if isinstance(pictures, np.ndarray | Tensor) and pictures.ndim != 4:
        expected = "[N, H, W, C]" if isinstance(pictures, np.ndarray) else "[N, C, H, W]"
        raise InputTypeError(
            f"several pictures in one {type_name(pictures)} must be {expected}, got {list(pictures.shape)}; call the "
            "predictor for one"
        )


def _moved(network: nn.Module, device: torch.device | str) -> nn.Module:
    try:
        return network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"cannot use device {str(device)!r}: {(str(error).splitlines() or [''])[0]}") from error


def _mean_noise(shape: tuple[int, ...]) -> Tensor:
    """Return the mean of uniform noise."""
    return torch.full(shape, 0.5)


def _require_same_classes(header: ModelHeader, labels: LabelKey | None, names: Sequence[str] | None) -> None:
    """Check that scores, label map and names fit together.

    Raises:
        ModelError: the number of scores differs from the number of classes that the key renames.
        InputRangeError: there are more names than classes.
    """
    if labels is not None and labels.classes != header.classes:
        raise ModelError(
            f"the key renames {labels.classes} classes, but the network returns {header.classes} scores; train one "
            f"with {labels.classes} outputs"
        )
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputTypeError("class_names must be a sequence of str, in the order of the plain class numbers")
    if not all(name.strip() for name in names):
        raise InputRangeError("a class name is empty")
    if len(names) > header.classes:
        raise InputRangeError(
            f"there are names of {len(names)} classes, but the network returns {header.classes} scores"
        )
