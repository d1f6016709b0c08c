"""How much an audit does."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """How much an audit does. The defaults are for ten thousand small images on two cores.

    Attributes:
        seed: of the split, of every network and of every attack that draws; no key depends on it.
        trainings: networks trained on plain images, and as many on disguised ones, for the utility.
        train_images: images that each of them is trained on, at most.
        epochs: passes over these.
        targets: images that attacks rebuild, at most.
        pairs: numbers of known pairs, ascending, as far as there are so many.
        inversion_pairs: known pairs of the learned inversion, at most.
        inversion_epochs: passes over these.
        device: where attacks and networks run.
        pictures: whether the page shows plain, disguised and rebuilt images.
    """

    seed: int = 0
    trainings: int = 3
    train_images: int = 4000
    epochs: int = 6
    targets: int = 1000
    pairs: tuple[int, ...] = (1, 5, 20, 100, 1000)
    inversion_pairs: int = 1000
    inversion_epochs: int = 10
    device: str = "cpu"
    pictures: bool = True

    def faster(self) -> "Settings":
        """Return settings for a fifth of the time: one training, fewer images, fewer points on a curve."""
        return replace(
            self,
            trainings=1,
            train_images=3000,
            epochs=4,
            targets=500,
            pairs=(5, 100, 1000),
            inversion_pairs=500,
            inversion_epochs=5,
        )
