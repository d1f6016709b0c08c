"""Learn to invert a disguise from known pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import like
from torchprotect.attacks.corrector import Corrector, device_of_draws
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._inputs import require_pairs
from torchprotect.attacks.disguise._ridge import ImageRidge
from torchprotect.attacks.disguise.permutation import order_or_pairs
from torchprotect.attacks.protocol import Attack, Need, Seen, unless_readable
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scores import PICTURES

_MOST_FOR_RIDGE = 2000  # its time grows as their cube
_FOLDS = 5
_FEWEST_FOR_NETWORK = 20
_IMAGES_AT_ONCE = 500  # bounds the memory


def reconstruction_attack(
    plain: Tensor,
    disguised: Tensor,
    target: Tensor,
    *,
    epochs: int = 8,
    batch_size: int = 20,
    learning_rate: float = 3e-3,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str | None = None,
) -> Reconstruction:
    """Learn to rebuild images from known pairs (level L2), without any knowledge of the disguise.

    The attack needs neither kind, block size, order nor noise. It has two steps: a ridge regression of all plain pixels
    on all disguised ones, which follows blocks to any position; and a U-Net that corrects the result, trained on pairs
    that the regression was not fitted to. A tenth of the pairs is held out, to determine how much of the correction is
    applied.

    Cost: ``pairs``, ``regression_pairs`` (at most 2,000 of them), ``images`` (training steps of one image; none with
    fewer than 20 pairs).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: the same images disguised, in the same order, any number type. Of bytes, the single bits are features
            too.
        target: disguised images to rebuild, ``[M, C, H, W]``.
        epochs: passes over the pairs.
        batch_size: pairs in a step.
        learning_rate: peak learning rate.
        generator: draws the initial weights, the folds and the order of training.
        progress: called with epochs done and the total.
        device: where to compute; the device of the disguised images when ``None``.

    Returns:
        Images on the device of the target.

    Raises:
        InputShapeError: pairs, or pairs and target, do not fit together, or there are none.
        InputRangeError: a setting is invalid.

    References:
        Networks trained on pairs, among other attacks: Sirichotedumrong, Kiya, Visual Security Evaluation of Learnable
        Image Encryption Methods against Ciphertext-only Attacks (arXiv 2010.06198). The regression before it is new
        here.
    """
    require_pairs(plain, disguised, target)
    require_int("epochs", epochs, at_least=1)
    require_int("batch_size", batch_size, at_least=1)
    home = disguised.device if device is None else torch.device(device)
    known, seen, wanted = (images.detach().to(home) for images in (plain, disguised, target))
    count = len(known)
    shuffled = torch.randperm(count, generator=generator, device=device_of_draws(generator)).to(home)
    known, seen = known[shuffled], seen[shuffled]
    used = min(count, _MOST_FOR_RIDGE)
    ridge = ImageRidge(seen[:used], known[:used].flatten(1).double(), generator)

    def first_guess(images: Tensor) -> Tensor:
        parts = [ridge.of_new(part).float() for part in images.split(_IMAGES_AT_ONCE)]
        return torch.cat(parts).reshape(-1, *plain.shape[1:])

    guesses = first_guess(wanted)
    steps = 0
    if count >= _FEWEST_FOR_NETWORK:
        folds = torch.arange(used, device=home).chunk(_FOLDS)
        honest = ridge.of_known(folds).float().reshape(-1, *plain.shape[1:])
        if used < count:
            honest = torch.cat([honest, first_guess(seen[used:])])
        correct = Corrector(honest, known.float(), generator)
        steps = correct.train(epochs, batch_size, learning_rate, generator, progress)
        guesses = correct(guesses)
    cost = {"pairs": count, "regression_pairs": used, "images": steps}
    return Reconstruction(Level.KNOWN_PAIRS, cost, like(guesses, plain).to(target.device))


def _run(seen: Seen) -> Reconstruction:
    plain, disguised, _ = seen.need(Need.PAIRS)
    target, scheme = seen.target, seen.scheme
    order = order_or_pairs(plain, disguised, scheme, seen.order) if scheme.preserved else None
    if order is not None:
        disguised, target = (undo_order(each, order, scheme.blocks) for each in (disguised, target))
    return reconstruction_attack(
        plain, disguised, target, epochs=seen.epochs, generator=seen.generator, device=seen.device
    )


INVERSION = Attack(
    name="reconstruction_attack",
    title="Learned inversion",
    about="fits a ridge regression of all pixels on known pairs, then a U-Net that corrects its result",
    finds="picture",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PAIRS}),
    reason=unless_readable,
    trains=True,
)
