"""``AdversarialEncrypt``."""

import copy
import functools
import warnings
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import get_worker_info

from torchprotect._inputs import require_int
from torchprotect.adversarial import Perturbed, PGDSettings, distances, perturb_toward
from torchprotect.adversarial.combine import NEEDS_POSITIONS
from torchprotect.errors import InputRangeError, InputTypeError, LabelError
from torchprotect.functional.picture import on_picture, require_uint8_or_unit_float
from torchprotect.keys import CorrespondenceKey
from torchprotect.training import device_of, input_dtype_of, model_digest, predict
from torchprotect.transforms._disguise import (
    Disguise,
    DisguisedBatch,
    NoiseSource,
    draw_from_torch,
    require_batch,
)
from torchprotect.transforms._keys import require_kind
from torchprotect.transforms.labels import LabelsGetter, as_labels, as_labels_getter, one_for_each

TargetSource = Literal["label", "predicted", "random"]
"""Where the target classes of an image come from."""

_MANY_STEPS = 10


class AdversarialEncrypt(Disguise):
    """Perturb each picture toward secret target classes, so that models trained on the result fail on plain pictures.

    **It hides nothing.** People and other models see the same picture. Adversarial training, augmentation or coarse
    rounding undo much of its effect on a model; these countermeasures need only the released images (L0), or a few
    plain ones to know when to stop (L1). The name is the paper's; nothing is encrypted.

    Call it on a batch with labels, as a ``DataLoader`` returns it, or on a single sample. To perturb a whole data set,
    use :func:`torchprotect.data.export`, which works in batches: ``steps`` forward and backward passes for each picture
    are too slow for the worker processes of a training run, and there a warning says so.

    Args:
        model: takes float images ``[N, C, H, W]`` in 0..1 and returns scores ``[N, classes]``; normalisation belongs
            inside it. Its device, weights and train/eval mode stay unchanged; pictures are moved to its device and
            back. It is not registered as a submodule: ``to``, ``train`` and ``state_dict`` of this transform do not
            affect it.
        key: the secret map from classes to target classes, and how the versions of a picture are combined.
        eps: radius of the L2 ball around the whole picture, in pixel units (0..1). The paper uses 0.5 for 32 x 32
            pixels and 2 for 320 x 320. Pictures composed of K targets side by side can be farther away, by up to
            sqrt(K), and rounding adds to the distance; see ``reproject``.
        step_size: length of a step; 0.1 in the paper.
        steps: number of steps; 100 in the paper.
        target_source: ``"label"``: the targets of the picture's own class. ``"predicted"``: the targets of the class
            that the model predicts; no labels are needed. ``"random"``: one class other than the picture's own, drawn
            anew for each picture; of the key, only the number of classes matters. This is the paper's control
            experiment, from which models learn well.
        labels_getter: a function that takes a sample and returns its labels. ``"default"`` takes the second item of a
            tuple or list; in a dict (as that item or as the sample itself), the value under "label", under another name
            that contains "label", or under "cls". ``None``: there are no labels.
        batch_size: largest number of pictures in one call of the model; the last bits of a result depend on it.
        keep_best: return the iterate of lowest loss, as the paper's authors do, instead of the last one.
        reproject: keep every result within ``eps`` after combining and after rounding (as far as a plain picture allows
            whose pixels are not multiples of 1 / 255).
        to_8bit: round floating-point pictures to 256 levels too.
        precision: ``torch.bfloat16`` or ``torch.float16`` to run the model under autocast; ``None`` for its own dtype.
        channels_last: pass pictures to the model in channels-last memory format.

    Shape: uint8, or floating point in 0..1, ``[..., C, H, W]`` to the same. Labels are whole numbers of shape
    ``[...]``, or of its first dimensions.

    Raises:
        LabelError: a label is missing, or lies outside the key's map.
        ModelError: the model returns something other than finite scores, or normalises over the batch.

    References:
        Hu et al., Adversarial Data Encryption.
    """

    model: nn.Module
    key: CorrespondenceKey
    uses_gradients = True

    def __init__(
        self,
        model: nn.Module,
        key: CorrespondenceKey,
        *,
        eps: float,
        step_size: float,
        steps: int,
        target_source: TargetSource = "label",
        labels_getter: LabelsGetter | Literal["default"] | None = "default",
        batch_size: int = 100,
        keep_best: bool = True,
        reproject: bool = False,
        to_8bit: bool = False,
        precision: torch.dtype | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InputTypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        require_kind("key", key, CorrespondenceKey)
        if target_source not in get_args(TargetSource):
            raise InputRangeError(f"target_source must be one of {get_args(TargetSource)}, not {target_source!r}")
        require_int("batch_size", batch_size, at_least=1)
        self.__dict__["model"] = model  # bypass nn.Module.__setattr__, so that it is not registered as a submodule
        self.key = key
        self.settings = PGDSettings(
            eps, step_size, steps, keep_best=keep_best, precision=precision, channels_last=channels_last
        )
        self.target_source = target_source
        self.labels_getter = as_labels_getter(labels_getter)
        self.batch_size = batch_size
        self.reproject = reproject
        self.to_8bit = to_8bit
        self.needs_labels = target_source != "predicted"
        if self.needs_labels and labels_getter is None:
            raise InputRangeError(f"target_source={target_source!r} needs labels; without them take 'predicted'")

    @property
    def max_batch(self) -> int:
        """``batch_size``, on which the result depends."""
        return self.batch_size

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return device_of(self.model)

    def for_batches(self) -> "AdversarialEncrypt":
        """Return a copy without ``labels_getter``: batches carry their labels, and a function may not be picklable."""
        own = copy.copy(self)
        own.labels_getter = None
        return own

    def check_label(self, label: int | tuple[int, ...] | None, where: str) -> None:
        """Check that a class has target classes, if the targets depend on the class.

        Raises:
            LabelError: it has none, or the sample has no label.
        """
        if not self.needs_labels:
            return
        if label is None:
            raise LabelError(
                f"sample {where} has no label, so it has no target class; give the images labels, or take "
                "target_source='predicted' (--target-source predicted)"
            )
        if isinstance(label, tuple):
            raise LabelError(
                f"sample {where} has several labels, but a perturbation aims at the target of one; give each image one "
                "label, or take target_source='predicted' (--target-source predicted)"
            )
        if not 0 <= label < self.key.classes:
            last = self.key.classes - 1
            raise LabelError(f"class {label} of sample {where} has no target class: the key's map covers 0..{last}")

    def describe(self) -> dict[str, Any]:
        """Return the name and the public parameters: all that determines the bytes on one machine, except the map.

        The model is identified by a keyed digest of its class and weights.
        """
        chosen = self.settings
        return {
            **super().describe(),
            "key": self.key.fingerprint,
            "model": model_digest(self.model, self.key.subkey("manifest")),
            "eps": float(chosen.eps),
            "step_size": float(chosen.step_size),
            "steps": chosen.steps,
            "bounds": [float(edge) for edge in chosen.bounds],
            "keep_best": chosen.keep_best,
            "target_source": self.target_source,
            "way": self.key.mix_mode,
            "targets": self.key.targets.shape[1],
            "batch_size": self.batch_size,
            "reproject": self.reproject,
            "to_8bit": self.to_8bit,
            "precision": chosen.precision and str(chosen.precision).removeprefix("torch."),
            "channels_last": chosen.channels_last,
            "device": self.device.type,
            "torch": str(torch.__version__),
        }

    def disguise_batch(
        self, images: Tensor, labels: Tensor | None = None, *, noise: NoiseSource = draw_from_torch
    ) -> DisguisedBatch:
        """Perturb a batch of images according to their labels, see :meth:`Disguise.disguise_batch`."""
        require_batch(images)
        own = as_labels(labels) if self.needs_labels else None
        disguised = self.transform(images, {"labels": own, **self.draw(tuple(images.shape), noise)})
        return DisguisedBatch(disguised, distances(_in_pixel_units(disguised), _in_pixel_units(images)))

    def perturb(self, images: Tensor, labels: Tensor | None = None) -> Perturbed:
        """Perturb a batch, and also return the distance and the losses of each image.

        Args:
            images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
            labels: whole numbers ``[N]``; not needed with ``target_source="predicted"``.

        Returns:
            The perturbed images; L2 distances in pixel units ``[N]``, measured after rounding if there was any; and
            losses ``[N, K]`` toward each target, before the versions are combined.
        """
        require_batch(images)
        own = as_labels(labels) if self.needs_labels else None
        return self._perturb(images, own, self.make_params([images]))

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> dict[str, Any]:
        """Draw random numbers for each image: a position to paste at, or a random class."""
        leading = shape[:-3]
        if self.target_source == "random":
            return {"classes": noise(leading).reshape(-1)}
        if self.key.mix_mode in NEEDS_POSITIONS and self.key.targets.shape[1] > 1:
            return {"positions": noise((*leading, 2)).reshape(-1, 2)}
        return {}

    def forward(self, *inputs: Any) -> Any:
        """Perturb every picture of a sample according to the labels, and leave the rest unchanged."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(sample)
        self.check_inputs(flat)
        labels = as_labels(self._get_labels(sample)) if self.needs_labels else None

        def operate(value: Any) -> Any:
            return self.transform(value, {"labels": labels, **self.make_params([value])})

        return tree_unflatten([operate(value) if self.is_picture(value) else value for value in flat], spec)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Perturb one picture."""
        drawn = {name: value for name, value in params.items() if name != "labels"}

        def operate(image: Tensor) -> Tensor:
            flat = image.reshape(-1, *image.shape[-3:])
            labels = params["labels"]
            own = None if labels is None else one_for_each(labels, tuple(image.shape[:-3]))
            return self._perturb(flat, own, drawn).images.reshape(image.shape)

        return on_picture(operate)(inpt)

    def extra_repr(self) -> str:
        """Return the class of the model, the redacted key and the settings."""
        shown = {
            "model": type(self.model).__name__,
            "key": self.key,
            **{name: getattr(self.settings, name) for name in ("eps", "step_size", "steps", "keep_best", "precision")},
            **{name: getattr(self, name) for name in ("target_source", "batch_size", "reproject")},
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items() if value is not None)

    def _get_labels(self, sample: Any) -> Any:
        getter = self.labels_getter
        return None if getter is None else getter(sample)

    def _perturb(self, images: Tensor, labels: Tensor | None, drawn: dict[str, Tensor]) -> Perturbed:
        """Perturb ``images [N, C, H, W]``, at most ``batch_size`` at once."""
        if get_worker_info() is not None and self.settings.steps > _MANY_STEPS:
            _warn_of_worker(self.settings.steps)
        require_uint8_or_unit_float(images)
        if labels is not None:
            labels = one_for_each(labels, (len(images),))
        if not len(images):
            return Perturbed(images.clone(), torch.zeros(0), torch.zeros(0, self.key.targets.shape[1]))
        parts = []
        for start in range(0, len(images), self.batch_size):
            at = slice(start, start + self.batch_size)
            of_part = {name: values[at] for name, values in drawn.items()}
            parts.append(self._perturb_batch(images[at], None if labels is None else labels[at], of_part))
        result = torch.cat([part.images for part in parts])
        return Perturbed(
            torch.empty_like(images).copy_(result),  # keeps the memory format
            torch.cat([part.distances for part in parts]),
            torch.cat([part.losses for part in parts]),
        )

    def _perturb_batch(self, images: Tensor, labels: Tensor | None, drawn: dict[str, Tensor]) -> Perturbed:
        device, dtype = device_of(self.model), input_dtype_of(self.model)
        plain = images.to(device).to(dtype)
        plain = plain / 255 if images.dtype == torch.uint8 else plain
        if labels is None:
            labels = predict(self.model, plain, classes=self.key.classes, precision=self.settings.precision)
        targets, weights = self.key.of(labels.to(device))
        if "classes" in drawn:
            targets = self._wrong_classes(labels.to(device), drawn["classes"].to(device))
            weights = torch.ones_like(targets, dtype=torch.float32)
        found = perturb_toward(
            self.model,
            plain,
            targets,
            weights,
            self.settings,
            mix_mode=self.key.mix_mode,
            positions=drawn["positions"].to(device) if "positions" in drawn else None,
            reproject=self.reproject,
            to_8bit=self.to_8bit or images.dtype == torch.uint8,
        )
        pixels = found.images.mul(255).round_() if images.dtype == torch.uint8 else found.images
        home = images.device
        return Perturbed(pixels.to(home).to(images.dtype), found.distances.to(home), found.losses.to(home))

    def _wrong_classes(self, labels: Tensor, uniforms: Tensor) -> Tensor:
        """Return for each label a uniformly random other class, ``[N, 1]``."""
        others = self.key.classes - 1
        return ((labels + 1 + (uniforms.double() * others).long()) % self.key.classes)[:, None]


def _in_pixel_units(images: Tensor) -> Tensor:
    """Return pixels in 0..1 as float64."""
    images = images.as_subclass(Tensor)
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()


@functools.cache  # once a process
def _warn_of_worker(steps: int) -> None:
    warnings.warn(
        f"AdversarialEncrypt runs {steps} passes forward and backward for each picture, and does so in a DataLoader "
        "worker: training will wait for it. Perturb the data set once with torchprotect.data.export and train on that",
        stacklevel=2,
    )
