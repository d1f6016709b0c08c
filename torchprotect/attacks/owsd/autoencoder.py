"""Rebuild plain images from scrambled ones with an autoencoder, the attack of the paper."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import like, require_plain, require_same_count, require_scrambled
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputShapeError
from torchprotect.models import DCGANGenerator, ResidualEncoder

_CODE = 128


def autoencoder_attack(
    plain: Tensor,
    scrambled: Tensor,
    target: Tensor,
    *,
    epochs: int = 30,
    batch_size: int = 32,
    width: int = 32,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str | None = None,
) -> Reconstruction:
    """Train a network on known pairs to rebuild plain images from scrambled ones: level L2.

    The discriminator of DCGAN, with residual blocks, encodes the scrambled image, and the generator of DCGAN decodes it
    to the plain one; the loss is the mean squared error. To see how hard scrambled images are to rebuild, compare with
    a run on plain images in their place.

    Cost: ``pairs``, ``epochs``.

    Args:
        plain: uint8, or floating point in 0..1, ``[m, C, h, w]``, both sides even.
        scrambled: uint8 ``[m, 3, H, W]``, of the same images.
        target: uint8 ``[N, 3, H, W]``, under the same key.
        epochs: passes over the pairs.
        batch_size: pairs per step.
        width: channels of the outermost layers.
        learning_rate: of Adam.
        generator: draws initial weights and batches.
        progress: called with epochs done and the total.
        device: where to train; the device of the scrambled images when ``None``.

    Raises:
        InputTypeError, InputShapeError, InputRangeError: the inputs do not fit together.

    References:
        Savransky et al., One Way Scrambling by Deconvolution, section 5.3.
    """
    require_plain("plain images", plain)
    require_scrambled("scrambled images", scrambled)
    require_scrambled("targets", target)
    require_same_count("plain images", plain, "scrambled images", scrambled)
    require_int("epochs", epochs, at_least=1)
    if scrambled.shape[1:] != target.shape[1:]:
        raise InputShapeError("scrambled images and targets must have one size")
    wanted = plain.float() / (255 if plain.dtype == torch.uint8 else 1)
    home = scrambled.device if device is None else torch.device(device)
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global generator
        # torch.manual_seed would seed accelerators too, whose generators nothing restores
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        network = nn.Sequential(
            ResidualEncoder(_CODE, _size(scrambled), channels=scrambled.shape[1], width=width),
            DCGANGenerator(_CODE, _size(plain), channels=plain.shape[1], width=width),
        ).to(home)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for epoch in range(epochs):
        for part in torch.randperm(len(plain), generator=generator).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            made = network(scrambled[part].to(home).float() / 255)
            nn.functional.mse_loss(made, wanted[part].to(home)).backward()
            optimizer.step()
        if progress is not None:
            progress(epoch + 1, epochs)
    rebuilt = _rebuild(network.eval(), target, batch_size, home)
    scale = 255 if plain.dtype == torch.uint8 else 1
    cost = {"pairs": len(plain), "epochs": epochs}
    return Reconstruction(Level.KNOWN_PAIRS, cost, images=like(rebuilt * scale, plain))


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


@torch.no_grad()
def _rebuild(network: nn.Module, target: Tensor, batch_size: int, device: torch.device) -> Tensor:
    return torch.cat([network(part.to(device).float() / 255).to(target.device) for part in target.split(batch_size)])


def _run(seen: Seen) -> Reconstruction:
    plain, disguised, _ = seen.need(Need.PAIRS)
    return autoencoder_attack(
        plain, disguised, seen.target, epochs=seen.epochs, generator=seen.generator, device=seen.device
    )


AUTOENCODER = Attack(
    name="autoencoder_attack",
    title="Autoencoder",
    about="trains a network on known pairs to rebuild the plain image",
    finds="picture",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PAIRS}),
    reason=only_for("OWSDScramble"),
    any_size=True,
    trains=True,
)
