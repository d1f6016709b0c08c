import pytest
import torch
from toy_world import MAP, SETTINGS, nature, network, own_images, released, trained

from torchprotect.adversarial import perturb_toward
from torchprotect.attacks import Level, purify_by_pairs, train_and_watch
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.training import Recipe


def pairs(count):
    """Return other images and what the owner's network makes of them."""
    base, (plain, labels) = trained(*nature(1000, 2), seed=2), nature(count, 7)
    return plain, perturb_toward(base, plain, MAP[labels], torch.ones(count, 1), SETTINGS).images


def purified(known, images, seed=1, **options):
    return purify_by_pairs(*known, images, generator=torch.Generator().manual_seed(seed), **options)


def clean_accuracy(images, labels):
    generator = torch.Generator().manual_seed(0)
    return train_and_watch(
        network(0), (images, labels), own_images(), epochs=8, recipe=Recipe(learning_rate=5e-3), generator=generator
    ).last


def distance(one, other):
    return float((one - other).square().mean().sqrt())


def test_with_pairs_enough_training_succeeds_again():
    images, labels = released()
    plain, _ = nature(1000, 3)
    result = purified(pairs(200), images, epochs=30)
    assert result.level is Level.KNOWN_PAIRS
    assert result.cost == {"pairs": 200, "images": 30 * 180, "passes": 1000}
    assert float(result.images.min()) >= 0
    assert float(result.images.max()) <= 1
    assert distance(result.images, plain) < 0.6 * distance(images, plain)
    assert clean_accuracy(images, labels) < 0.2
    assert clean_accuracy(result.images, labels) > 0.8
    drawn = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    assert clean_accuracy(result.images, drawn) < 0.35  # chance is 0.2: labels in a drawn order teach nothing


def test_pairs_that_do_not_belong_together_do_not_help():
    images, labels = released()
    plain, disguised = pairs(100)
    assert clean_accuracy(purified((plain, disguised.roll(1, 0)), images, epochs=10).images, labels) < 0.3


def test_images_that_were_not_changed_stay_as_they_are():
    plain, _ = nature(100, 7)
    images, _ = nature(50, 3)
    assert distance(purified((plain, plain), images, epochs=2).images, images) < 1e-3


def test_it_repeats_and_takes_bytes():
    plain, disguised = (each.mul(255).round().to(torch.uint8) for each in pairs(20))
    images = released()[0][:30]
    one, again, other = (
        purified((plain, disguised), images, seed=seed, epochs=3, batch_size=10).images for seed in (1, 1, 2)
    )
    assert one.dtype == torch.float32
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"plain": torch.zeros(9, 3, 8, 8), "disguised": torch.zeros(9, 3, 8, 8)}, InputRangeError, "10 pairs .* 9"),
        ({"plain": torch.zeros(11, 3, 8, 8)}, InputShapeError, "not 11 and 12"),
        ({"images": torch.zeros(5, 1, 8, 8)}, InputShapeError, r"\[1, 8, 8\]"),
        ({"disguised": torch.full((12, 3, 8, 8), 3.0)}, InputRangeError, r"lie in 3\.\.3"),
        ({"plain": torch.zeros(12, 3, 8, 8, dtype=torch.int64)}, InputTypeError, "int64"),
        ({"epochs": 0}, InputRangeError, "epochs"),
        ({"batch_size": 0}, InputRangeError, "batch_size"),
    ],
)
def test_purifier_refuses(change, error, message):
    given = {name: torch.zeros(12, 3, 8, 8) for name in ("plain", "disguised", "images")} | change
    with pytest.raises(error, match=message):
        purify_by_pairs(**given)
