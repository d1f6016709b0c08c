"""Everything that stays inside the organisation, in one object."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchprotect import functional as F
from torchprotect.errors import CloudError, InputRangeError, InputShapeError, KeyKindError, ModelError
from torchprotect.keys import OWSDKey
from torchprotect.owsd._embed import embed
from torchprotect.owsd._fit import InferenceSettings
from torchprotect.owsd.answers import AnswerCache, image_ids
from torchprotect.owsd.cloud import Cloud, ask
from torchprotect.owsd.inference import Evaluation, Inference, Observations
from torchprotect.owsd.ledger import Ledger

Progress = Callable[[int, int], None]


class Client:
    """Uses a cloud classifier for images that the cloud never sees.

    Each image is embedded by each encoder, each embedding scrambled under each key, each scrambled image sent to the
    cloud. A small network inside reads embeddings and answers. Only scrambled images leave.

    Args:
        encoders: one or more networks whose embeddings all have the keys' length; in eval mode, and none of them the
            cloud's own.
        keys: one or more generators.
        cloud: takes uint8 images ``[N, 3, H, W]``, returns vectors ``[N, V]``.
        ledger: counts what is sent under each key and stops at its bound.
        answers: where answers are kept, so that none is paid for twice; not kept when ``None``.
        name: of the cloud and its model, under which answers are kept.
        batch_size: images embedded, scrambled and sent at once; a failure loses the answers of one batch at most.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.
    """

    def __init__(
        self,
        encoders: nn.Module | Sequence[nn.Module],
        keys: OWSDKey | Sequence[OWSDKey],
        cloud: Cloud,
        *,
        ledger: Ledger,
        answers: AnswerCache | None = None,
        name: str = "cloud",
        batch_size: int = 16,
    ) -> None:
        self.encoders = [encoders] if isinstance(encoders, nn.Module) else list(encoders)
        self.keys = [keys] if isinstance(keys, OWSDKey) else list(keys)
        if not self.encoders or not self.keys:
            raise InputRangeError("at least one encoder and one key are needed")
        if not all(isinstance(key, OWSDKey) for key in self.keys):
            raise KeyKindError("keys must be OWSDKeys; read them with keys.load")
        self.cloud, self.ledger, self.answers, self.name, self.batch_size = cloud, ledger, answers, name, batch_size
        self._inference: Inference | None = None

    @property
    def inference(self) -> Inference | None:
        """The network that reads answers; set by :meth:`fit`, or to one that was loaded."""
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
        """Ask the cloud about images, batch by batch.

        An interrupted call loses at most the answers of the batch in hand, if ``answers`` was given.

        Args:
            images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
            progress: called with images done and in all.

        Raises:
            CloudError: the cloud fails; LedgerError: a key is used up; ModelError: an encoder fails.
        """
        if images.ndim != 4 or not len(images):
            raise InputShapeError(f"images [N, C, H, W], at least one, are needed, not {list(images.shape)}")
        embeddings, vectors = [], []
        for part in images.split(self.batch_size):
            read = [embed(encoder, part, batch_size=self.batch_size) for encoder in self.encoders]
            said = [self._ask(F.owsd_scramble(each, key).cpu(), key) for each in read for key in self.keys]
            embeddings.append(torch.cat([each.cpu() for each in read], 1))
            vectors.append(torch.cat(said, 1))
            if vectors[-1].shape[1] != vectors[0].shape[1]:
                raise CloudError(
                    f"the length of the cloud's vectors changed from {vectors[0].shape[1]} to {vectors[-1].shape[1]}"
                )
            if progress is not None:
                progress(sum(map(len, embeddings)), len(images))
        return Observations(torch.cat(embeddings), torch.cat(vectors))

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
        """Train the inference network and its ablations; returns the client.

        Args:
            observed: images, or what :meth:`observe` returned for them.
            labels: int64 ``[N]``.
            classes: number of classes.
            settings: of the training.
            generator: draws validation images, batches, initial weights and dropout.
            progress: called with epochs done and at most in all.
        """
        self.inference = Inference.fit(
            self._observed(observed),
            labels,
            classes=classes,
            keys=self.fingerprints,
            settings=settings,
            generator=generator,
            progress=progress,
        )
        return self

    def predict(self, observed: Tensor | Observations) -> Tensor:
        """Return all classes of each image, best first: int64 ``[N, classes]``."""
        return self._trained().predict(self._observed(observed))

    def evaluate(self, observed: Tensor | Observations, labels: Tensor) -> Evaluation:
        """Count right labels, beside those of embeddings alone and of the cloud's answers alone."""
        return self._trained().evaluate(self._observed(observed), labels)

    def rotate(self, keys: OWSDKey | Sequence[OWSDKey]) -> "Client":
        """Return a client with other keys, to be fitted anew: cloud answers under old keys say nothing under new ones.

        To replace several keys one by one, hand over the new one among those that stay.
        """
        same = {"ledger": self.ledger, "answers": self.answers, "name": self.name, "batch_size": self.batch_size}
        return Client(self.encoders, keys, self.cloud, **same)  # type: ignore[arg-type]

    def _observed(self, observed: Tensor | Observations) -> Observations:
        return observed if isinstance(observed, Observations) else self.observe(observed)

    def _trained(self) -> Inference:
        if self._inference is None:
            raise ModelError("there is no inference network for these keys yet: call fit, or set one that was loaded")
        return self._inference

    def _ask(self, scrambled: Tensor, key: OWSDKey) -> Tensor:
        """Return an answer for each image, asking the cloud about those that have none yet."""
        if self.answers is None:
            return ask(self.cloud, scrambled, ledger=self.ledger, fingerprint=key.fingerprint)
        ids = image_ids(scrambled)
        known = self.answers.get(key.fingerprint, self.name, ids)
        missing = {each: place for place, each in enumerate(ids) if each not in known}  # equal images are asked once
        if missing:
            unknown = scrambled[list(missing.values())]
            said = ask(self.cloud, unknown, ledger=self.ledger, fingerprint=key.fingerprint)
            self.answers.put(key.fingerprint, self.name, list(missing), said)
            known |= dict(zip(missing, said, strict=True))
        return torch.stack([known[each] for each in ids])
