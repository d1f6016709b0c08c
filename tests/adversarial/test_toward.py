import pytest
import torch
from nets import make_net
from textbook import CLASSES, SIZE, losses_of, make_batch

from torchprotect.adversarial import PGDSettings, combine, distances, perturb_toward, pgd_l2, project, round_to_8bit
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError

HOW = {"eps": 0.5, "step_size": 0.15, "steps": 6}
SETTINGS = PGDSettings(**HOW)
NET = make_net()


def toward(images, targets, weights, settings=SETTINGS, **options):
    return perturb_toward(NET, images, torch.as_tensor(targets), torch.as_tensor(weights), settings, **options)


def on_grid(images):
    return float((images * 255 - (images * 255).round()).abs().max()) < 1e-9


@pytest.mark.parametrize("mix_mode", ["concat", "mixup", "mixup-and-concat", "cutmix", "random-square"])
def test_equals_separate_searches_and_one_mix(mix_mode):
    images, _ = make_batch(3)
    k = {"mixup-and-concat": 4}.get(mix_mode, 2)
    targets, weights = torch.tensor([[1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]])[:, :k], torch.full((3, k), 1 / k)
    positions = torch.rand(3, 2, generator=torch.Generator().manual_seed(0))
    found = toward(images, targets, weights, mix_mode=mix_mode, positions=positions, to_8bit=False)
    parts = [pgd_l2(NET, images, target, **HOW) for target in targets.T]
    expected = combine(mix_mode, torch.stack([part.images for part in parts]), weights, positions)
    assert torch.equal(found.images, expected)
    assert torch.equal(found.losses, torch.stack([part.losses for part in parts], 1))
    assert torch.equal(found.distances, distances(expected, images))
    rounded = toward(images, targets, weights, mix_mode=mix_mode, positions=positions)
    assert torch.equal(rounded.images, round_to_8bit(expected, images))
    assert torch.equal(rounded.distances, distances(rounded.images, images))  # measured after rounding


def test_classes_with_different_numbers_of_targets():
    images, _ = make_batch(4)
    targets = [[1, 2, 3], [2, 2, 2], [3, 0, 3], [0, 1, 2]]
    weights = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.4, 0.3, 0.3]]
    found = toward(images, targets, weights, to_8bit=False)
    for n in range(4):
        used = sum(weight > 0 for weight in weights[n])
        row, part = targets[n][:used], weights[n][:used]
        single = toward(images[n : n + 1], [row], [part], to_8bit=False)
        torch.testing.assert_close(single.images[0], found.images[n], rtol=0, atol=1e-9)
        torch.testing.assert_close(single.losses[0], found.losses[n, :used], rtol=0, atol=1e-9)
        assert bool(found.losses[n, used:].isnan().all())


def test_targets_of_weight_zero_cost_no_forward_pass():
    images, _ = make_batch(4)
    seen = []
    net = make_net()
    net.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    perturb_toward(net, images, torch.zeros(4, 2, dtype=torch.int64), weights, SETTINGS)
    assert seen == [4] * 7 + [1] * 7


@pytest.mark.parametrize("mix_mode", ["cutmix", "random-square"])
def test_first_targets_of_weight_zero_show_no_plain_pixels(mix_mode):
    """CutMix cuts its box off at the edges, and a square does not cover an oblong: the rest is perturbed too."""
    images, _ = make_batch(2)
    if mix_mode == "random-square":
        images = images[..., :4, :]
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, CLASSES)).double()
    else:
        net = NET
    weights, positions = torch.tensor([[0.0, 1.0]] * 2), torch.tensor([[0.9, 0.9]] * 2)
    targets = torch.tensor([[0, 1], [0, 2]])
    found = perturb_toward(
        net, images, targets, weights, SETTINGS, mix_mode=mix_mode, positions=positions, to_8bit=False
    )
    assert torch.equal(found.images, pgd_l2(net, images, targets[:, 1], **HOW).images)


@pytest.mark.parametrize("to_8bit", [True, False])
def test_reproject_keeps_concat_within_eps(to_8bit):
    images, _ = make_batch(4, seed=3)
    targets = torch.tensor([[1, 2]] * 4)
    weights = torch.full((4, 2), 0.5)
    settings = PGDSettings(eps=0.4, step_size=0.2, steps=8)

    # a network whose two targets look at one half each, so that concat keeps all of both perturbations
    class Halves(torch.nn.Module):
        def forward(self, x):
            left, right = x[..., :3].mean((1, 2, 3)), x[..., 3:].mean((1, 2, 3))
            return torch.stack([9 + 0 * left, 3 * left, 3 * right], 1)

    images = images * 0.5 + 0.25
    images = round_to_8bit(images, images)
    free = perturb_toward(Halves(), images, targets, weights, settings, to_8bit=to_8bit)
    kept = perturb_toward(Halves(), images, targets, weights, settings, to_8bit=to_8bit, reproject=True)
    assert free.max_distance > 0.4 * 1.2
    assert free.max_distance <= 0.4 * 2**0.5 + 0.04
    assert kept.max_distance <= 0.4 + 1e-6
    assert kept.mean_distance > 0.35
    assert on_grid(kept.images) == on_grid(free.images) == to_8bit
    if not to_8bit:
        torch.testing.assert_close(kept.images, project(free.images, images, 0.4), rtol=0, atol=1e-12)


def test_predictions_move_toward_the_targets():
    images, _ = make_batch(8)
    targets, weights = torch.tensor([[1, 2]] * 8), torch.full((8, 2), 0.5)
    found = toward(images, targets, weights, PGDSettings(eps=2.0, step_size=0.5, steps=8))
    for target in (1, 2):
        wanted = torch.full((8,), target)
        assert float(losses_of(NET, found.images, wanted).mean()) < float(losses_of(NET, images, wanted).mean()) - 0.01


@pytest.mark.parametrize("count", [0, 3])
def test_batch_sizes(count):
    images, _ = make_batch(count)
    for k in (1, 2):
        found = toward(images, torch.zeros(count, k, dtype=torch.int64), torch.full((count, k), 1 / k))
        assert found.images.shape == (count, *SIZE)
        assert found.losses.shape == (count, k)
        assert found.distances.shape == (count,)


def test_gradients_and_modes_of_the_caller_are_kept():
    images, _ = make_batch(3)
    expected = toward(images, [[1], [2], [3]], [[1.0]] * 3).images
    found = toward(images.clone().requires_grad_(), [[1], [2], [3]], [[1.0]] * 3)
    assert not found.images.requires_grad
    assert torch.equal(found.images, expected)
    with torch.inference_mode():
        inside = toward(images.clone(), [[1], [2], [3]], [[1.0]] * 3)
    assert torch.equal(inside.images, expected)


def test_random_starts_follow_the_generator():
    images, _ = make_batch(3)
    settings = PGDSettings(**HOW, random_start=True)
    runs = [
        toward(images, [[1, 2]] * 3, [[0.5, 0.5]] * 3, settings, generator=torch.Generator().manual_seed(s)).images
        for s in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_bounds_beyond_8_bits():
    images, _ = make_batch(3)
    settings = PGDSettings(**HOW, bounds=(-1.0, 1.0))
    with pytest.raises(InputRangeError, match="to_8bit=False"):
        toward(images, [[1]] * 3, [[1.0]] * 3, settings)
    found = toward(2 * images - 1, [[1]] * 3, [[1.0]] * 3, settings, to_8bit=False)
    assert float(found.images.min()) >= -1


def test_invalid_networks_are_reported_before_results():
    net = make_net().train()
    with pytest.raises(ModelError, match="a target lies outside of them"):
        perturb_toward(net, make_batch(2)[0], torch.tensor([[1, 7]] * 2), torch.full((2, 2), 0.5), SETTINGS)
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("targets", "weights", "error", "message"),
    [
        ([[1, 2]] * 3, [[0.5, 0.5]] * 2, InputShapeError, r"\[3, 2\] and \[2, 2\]"),
        ([[1, 2]] * 2, [[0.5, 0.5]] * 2, InputShapeError, "for 3"),
        ([1, 2, 3], [1.0, 1.0, 1.0], InputShapeError, "N, K"),
        ([[], [], []], [[], [], []], InputShapeError, "N, K"),
        ([[1, 2]] * 3, [[0.5, 0.6]] * 3, InputRangeError, "sum to 1"),
        ([[1.0]] * 3, [[1.0]] * 3, InputTypeError, "int64"),
        ([[-1]] * 3, [[1.0]] * 3, InputRangeError, "negative"),
        ([[1, 2]] * 3, [[0.5, 0.5]] * 3, InputRangeError, "mix_mode must be one of"),
    ],
)
def test_bad_input(targets, weights, error, message):
    with pytest.raises(error, match=message):
        toward(make_batch(3)[0], targets, weights, mix_mode="blend")
