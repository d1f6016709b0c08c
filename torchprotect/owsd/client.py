"""The client of a cloud: the part that stays inside the organisation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchprotect import functional as F
from torchprotect._inputs import require_int, require_tensor
from torchprotect.errors import CloudError, InputRangeError, InputShapeError, KeyKindError, ModelError
from torchprotect.keys import OWSDKey
from torchprotect.owsd._fit import InferenceSettings
from torchprotect.owsd.answers import AnswerCache, image_ids
from torchprotect.owsd.cloud import Cloud, ask
from torchprotect.owsd.inference import Inference
from torchprotect.owsd.ledger import Ledger
from torchprotect.owsd.observations import Evaluation, Observations

Progress = Callable[[int, int], None]


class Client:
    """Classify images with a cloud classifier that never sees them.

    Each image is embedded by each encoder, each embedding is scrambled under each key, and each scrambled image is sent
    to the cloud. A small local network then combines embeddings and answers. Only scrambled images leave.

    Args:
        encoders: one or more networks whose embeddings all have the keys' length; in eval mode, and none of them the
            cloud's own. Their order matters to the inference network.
        keys: one or more generators.
        cloud: takes uint8 images ``[N, 3, H, W]`` and returns vectors ``[N, V]``. If it has a ``batch_size``, no
            request is larger.
        ledger: counts what is sent under each key, and stops at its bound.
        answers: cache of answers, so that no answer is paid for twice; no caching when ``None``.
        name: name of the cloud and its model, under which answers are cached; needed with ``answers``. Another model
            needs another name.
        batch_size: images embedded and scrambled together. Do not change it if answers are cached: in batches of
            another size a pixel may differ by one grey level, and the answer for that image is requested again.

    Raises:
        InputRangeError: encoders, keys or the name are missing, or ``batch_size`` is out of range.
        ModelError, KeyKindError: an encoder is not a module, or a key is not an ``OWSDKey``.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.

    Example::

        client = owsd.Client(encoder, key, cloud, ledger=owsd.Ledger("use.sqlite"))
        classes = client.fit(train_images, labels, classes=10).predict(images)[:, 0]
    """

    def __init__(
        self,
        encoders: nn.Module | Sequence[nn.Module],
        keys: OWSDKey | Sequence[OWSDKey],
        cloud: Cloud,
        *,
        ledger: Ledger,
        answers: AnswerCache | None = None,
        name: str | None = None,
        batch_size: int = 16,
    ) -> None:
        require_int("batch_size", batch_size, at_least=1)
        self.encoders = [encoders] if isinstance(encoders, nn.Module) else list(encoders)
        self.keys = [keys] if isinstance(keys, OWSDKey) else list(keys)
        if not self.encoders or not self.keys:
            raise InputRangeError("at least one encoder and one key are needed")
        if not all(isinstance(encoder, nn.Module) for encoder in self.encoders):
            raise ModelError("encoders must be torch.nn.Modules")
        if not all(isinstance(key, OWSDKey) for key in self.keys):
            raise KeyKindError("keys must be OWSDKeys; read them with keys.load")
        if answers is not None and not name:
            raise InputRangeError("answers are cached by the name of the cloud and its model: give name=...")
        self.cloud, self.ledger, self.answers, self.name, self.batch_size = cloud, ledger, answers, name, batch_size
        self._inference: Inference | None = None
        self._length: int | None = None  # of the cloud's vectors, after the first answer

    @property
    def inference(self) -> Inference | None:
        """The network that interprets answers, trained by :meth:`fit`; a loaded one can be assigned."""
        return self._inference

    @inference.setter
    def inference(self, inference: Inference) -> None:
        if inference.keys != self.fingerprints:
            raise ModelError("this inference network was trained with other keys than the client's: fit a new one")
        self._inference = inference

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the keys."""
        return tuple(key.fingerprint for key in self.keys)

    def observe(self, images: Tensor, *, progress: Progress | None = None) -> Observations:
        """Query the cloud about images, batch by batch.

        With an answer cache, an interrupted call loses at most the answers that had not arrived yet.

        Args:
            images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
            progress: called with the number of images done and the total.

        Raises:
            InputTypeError, InputShapeError: images are not such a tensor.
            CloudError: the cloud fails; LedgerError: a key is used up; ModelError: an encoder fails.
        """
        require_tensor("images", images)
        if images.ndim != 4 or not len(images):
            raise InputShapeError(f"images [N, C, H, W], at least one, are needed, not {list(images.shape)}")
        embeddings, vectors = [], []
        for part in images.split(self.batch_size):
            read, said = self._observe(part)
            embeddings.append(read)
            vectors.append(said)
            if progress is not None:
                progress(sum(map(len, embeddings)), len(images))
        return Observations(torch.cat(embeddings), torch.cat(vectors), self.fingerprints)

    def fit(
        self,
        observed: Tensor | Observations,
        labels: Tensor,
        *,
        classes: int,
        settings: InferenceSettings = InferenceSettings(),  # noqa: B008 - frozen
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> "Client":
        """Train the inference network and its ablations.

        Args:
            observed: images, or the result of :meth:`observe` for them.
            labels: int64 ``[N]``: true labels, or the cloud's answers for the plain images, to learn to imitate it.
            classes: number of classes.
            settings: training settings.
            generator: draws validation images, batches, initial weights and dropout.
            progress: called with epochs done and the largest possible number.

        Returns:
            The client itself.
        """
        self.inference = Inference.fit(
            self._observed(observed),
            labels,
            classes=classes,
            settings=settings,
            generator=generator,
            progress=progress,
        )
        return self

    def predict(self, observed: Tensor | Observations) -> Tensor:
        """Return all classes of each image, best first: int64 ``[N, classes]``."""
        return self._trained().predict(self._observed(observed))

    def evaluate(self, observed: Tensor | Observations, labels: Tensor) -> Evaluation:
        """Return the accuracy, and for comparison those with embeddings alone and with the cloud's answers alone."""
        return self._trained().evaluate(self._observed(observed), labels)

    def rotate(self, keys: OWSDKey | Sequence[OWSDKey]) -> "Client":
        """Return a client with other keys. It must be fitted anew: answers under old keys say nothing about new ones.

        To replace several keys one by one, pass each new key together with the ones that stay.
        """
        same = {"ledger": self.ledger, "answers": self.answers, "name": self.name, "batch_size": self.batch_size}
        return Client(self.encoders, keys, self.cloud, **same)  # type: ignore[arg-type]

    def _observed(self, observed: Tensor | Observations) -> Observations:
        if not isinstance(observed, Observations):
            return self.observe(observed)
        if observed.keys != self.fingerprints:
            raise ModelError("these images were observed under other keys than the client's: observe them again")
        return observed

    def _trained(self) -> Inference:
        if self._inference is None:
            raise ModelError("there is no inference network for these keys yet: call fit, or set one that was loaded")
        return self._inference

    def _observe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings and answers of one batch."""
        filled = images
        if self.answers is not None:  # scrambled images must be equal to the bit, whatever else is in their batch
            filled = torch.cat([images, images[:1].expand(self.batch_size - len(images), *images.shape[1:])])
        read = [F.embed(filled, encoder, batch_size=self.batch_size) for encoder in self.encoders]
        said = [self._ask(F.owsd_scramble(each, key)[: len(images)].cpu(), key) for each in read for key in self.keys]
        return torch.cat([each[: len(images)].cpu() for each in read], 1), torch.cat(said, 1)

    def _ask(self, scrambled: Tensor, key: OWSDKey) -> Tensor:
        """Return an answer for each image."""
        if self.answers is None or self.name is None:
            return self._require_length(ask(self.cloud, scrambled, ledger=self.ledger, fingerprint=key.fingerprint))
        ids = image_ids(scrambled)
        known = self.answers.get(key.fingerprint, self.name, ids)
        missing = list({each: index for index, each in enumerate(ids) if each not in known}.values())
        at_once = getattr(self.cloud, "batch_size", self.batch_size)
        for start in range(0, len(missing), at_once):  # store answers as soon as they arrive
            chosen = missing[start : start + at_once]
            said = ask(self.cloud, scrambled[chosen], ledger=self.ledger, fingerprint=key.fingerprint)
            asked = [ids[index] for index in chosen]
            self.answers.put(key.fingerprint, self.name, asked, self._require_length(said))
            known |= dict(zip(asked, said, strict=True))
        return torch.cat([self._require_length(known[each][None]) for each in ids])

    def _require_length(self, vectors: Tensor) -> Tensor:
        self._length = self._length or vectors.shape[1]
        if vectors.shape[1] != self._length:
            raise CloudError(f"the length of the cloud's vectors changed from {self._length} to {vectors.shape[1]}")
        return vectors
