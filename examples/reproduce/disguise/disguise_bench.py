"""What measurements on "Image Disguising" (Sharma, Alam, Chen) need: sets, repetitions, owners, examiners."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from common.images import Images, test_split
from common.kept import Kept
from owner import CLASSES, SIZE, Disguise, Owner

from torchprotect import attacks, data
from torchprotect.training import Recipe, fast_precision

RECIPE = Recipe(learning_rate=1e-3, schedule="one-cycle")  # larger steps miss images disguised by AES
BATCH = 128


@dataclass(frozen=True)
class Sizes:
    """What decides every number.

    Attributes:
        train: training images of a fold; ``None`` takes all.
        test: test images of a fold; ``None`` takes all.
        epochs: of every training.
    """

    train: int | None
    test: int | None
    epochs: int


class Bench:
    """Plain images, folds cut from them, an owner with fresh keys for each fold and disguise, and trained networks.

    Keys come from the operating system's entropy, so numbers do not repeat to the digit.

    Args:
        sizes: of sets and trainings.
        sources: images of each set by name, as for ``torchprotect export``; ``None``: they are drawn.
        kept: examiners.
        device: where networks run.
    """

    def __init__(self, sizes: Sizes, sources: dict[str, str | None], kept: Kept, device: torch.device) -> None:
        self.sizes, self._sources, self._kept, self.device = sizes, sources, kept, device
        self._owners: dict[tuple[str, int, Disguise], Owner] = {}

    @functools.cache  # noqa: B019 - there is one bench, and it lives as long as the program
    def whole(self, name: str, split: str) -> Images:
        """Return a whole set."""
        source = self._sources[name]
        if source is None:
            return _drawn_images(split)
        opened = data.open_source(source if split == "train" else test_split(source))
        images = torch.stack([opened[index].image for index in range(len(opened))])
        return Images(images, torch.tensor(opened.known_labels()))

    def sample(self, name: str, split: str, count: int | None, seed: int) -> Images:
        """Draw images of a set, or take all in a random order."""
        whole = self.whole(name, split)
        order = torch.randperm(len(whole.labels), generator=torch.Generator().manual_seed(seed))[:count]
        return Images(whole.images[order], whole.labels[order])

    def train(self, name: str, fold: int) -> Images:
        """Return the training images of a fold."""
        return self.sample(name, "train", self.sizes.train, fold)

    def test(self, name: str, fold: int) -> Images:
        """Return the test images of a fold."""
        return self.sample(name, "test", self.sizes.test, fold)

    def pairs(self, name: str, fold: int, count: int) -> Tensor:
        """Return training images that the attacker of a fold knows, of the whole set."""
        return self.sample(name, "train", count, fold).images

    def owner(self, name: str, fold: int, disguise: Disguise) -> Owner:
        """Return the owner of a fold, the same one each time in one run."""
        return self._owners.setdefault((name, fold, disguise), Owner(disguise))

    @functools.cache  # noqa: B019
    def examiner(self, name: str, fold: int) -> attacks.DNNExaminer:
        """Return the DNN examiner of a fold: the owner's network, trained on the plain training images."""
        state = self._kept.tensors(
            ("examiner", name, fold), lambda: self.learn(self.train(name, fold), fold).state_dict()
        )
        return attacks.DNNExaminer(CLASSES, (SIZE, SIZE), device=self.device).load_state_dict(state)

    def learn(self, images: Images, fold: int) -> attacks.DNNExaminer:
        """Train an AlexNet-like network behind a standardisation, on plain images or on disguised ones."""
        size: tuple[int, int] = tuple(images.images.shape[-2:])
        return attacks.DNNExaminer(CLASSES, size, device=self.device).fit(
            *images,
            epochs=self.sizes.epochs,
            batch_size=BATCH,
            recipe=RECIPE,
            precision=fast_precision(self.device),
            channels_last=True,
            generator=torch.Generator().manual_seed(fold),
        )


def _drawn_images(split: str) -> Images:
    """Draw images whose classes differ in a coarse pattern on black."""
    patterns = torch.rand(CLASSES, 1, 7, 7, generator=torch.Generator().manual_seed(1)) > 0.5
    generator = torch.Generator().manual_seed(2 if split == "train" else 3)
    labels = torch.randint(0, CLASSES, (120,), generator=generator)
    whole = nn.functional.interpolate(patterns[labels].float(), scale_factor=4)
    return Images((whole * (100 + 155 * torch.rand(120, 1, 1, 1, generator=generator))).byte(), labels)
