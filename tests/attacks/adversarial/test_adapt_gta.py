import json

import pytest
import torch
from torch import nn

from torchprotect.attacks import Level, adapt_gta
from torchprotect.attacks.adversarial.adapt_gta import _Training
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError
from torchprotect.models import GTANetworks


def domain(count, seed, shift=0.0):
    """Bars, upright or lying, at three places; another domain is brighter."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 8, 8, generator=generator) * 0.2
    for number, label in enumerate(labels.tolist()):
        images[number, :, 2 * label + 1] += 0.4
    return (images + shift).clamp(0, 1), labels


def networks(seed=0, **options):
    torch.manual_seed(seed)
    return GTANetworks(1, 3, (8, 8), **{"features": 16, "width": 8, "noise": 4, **options})


def adapted(nets=None, **options):
    given = {"epochs": 3, "batch_size": 20, "learning_rate": 5e-3, **options}
    generator = torch.Generator().manual_seed(1)
    target = given.pop("target", domain(50, 1, 0.3)[0])
    return adapt_gta(
        *domain(99, 0), target, domain(60, 2, 0.3), networks=nets or networks(), generator=generator, **given
    )


@pytest.mark.slow
def test_runs_and_tells():
    seen = []
    nets = networks()
    result = adapted(nets, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"epochs": 3, "images": 3 * 99}
    assert result.losses.shape == (3, 3)
    assert bool((result.losses > 0).all())
    assert result.accuracies.shape == result.source_accuracies.shape == (3,)
    assert result.source_only == float(result.source_accuracies[-1])
    assert result.peak == float(result.accuracies.max()) >= result.last == float(result.accuracies[-1])
    assert float(result.accuracies[result.peak_epoch - 1]) == result.peak
    assert not nets.training
    images, labels = domain(60, 2, 0.3)
    assert float((nets(images).argmax(1) == labels).double().mean()) == pytest.approx(result.last)
    assert json.loads(result.to_json())["losses"] == result.losses.tolist()


@pytest.mark.slow
def test_repeats():
    first, again = adapted(), adapted()
    assert first.to_json() == again.to_json()


def test_networks_on_a_device(device):
    result = adapted(networks().to(device), epochs=1)
    assert bool(result.losses.isfinite().all())


@pytest.mark.slow
def test_learns_the_source():
    result = adapt_gta(
        *domain(200, 0),
        domain(50, 1)[0],
        domain(60, 2),
        networks=networks(),
        epochs=6,
        batch_size=20,
        learning_rate=5e-3,
        generator=torch.Generator().manual_seed(0),
    )
    assert result.source_only > 0.9
    assert result.peak > 0.9


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_each_network_is_trained():
    nets, before = networks(), networks()
    adapted(nets, epochs=1)
    for part in ("extractor", "classifier", "generator", "discriminator"):
        assert not torch.equal(weights(getattr(nets, part)), weights(getattr(before, part))), part


def test_a_step_is_the_one_written_out():
    """A slow reference of the losses: what each network learns from, in which order."""
    (source, labels), (target, _) = domain(20, 0), domain(20, 1, 0.3)
    source, target, nets, copied = source.double(), target.double(), networks().double(), networks().double()
    torch.manual_seed(5)
    noise = torch.randn(20, 4).double(), torch.randn(20, 4).double()
    rates = {"lr": 0.01, "betas": (0.8, 0.999)}
    torch.manual_seed(5)  # the step draws the noise for released images first
    losses = _Training(nets, rates, 0.1, 0.03, adapting=True)._step(source, labels, target, None)

    extractor, classifier = copied.extractor, copied.classifier
    generator, discriminator = copied.generator, copied.discriminator
    entropy = nn.functional.cross_entropy
    ones = torch.eye(4).double()

    def made(embedded, label_rows, z):
        return generator(torch.cat([embedded, z, label_rows], 1)[..., None, None])

    def released():
        return made(extractor(source), ones[labels], noise[0])

    def clean():
        return made(extractor(target), ones[torch.full((20,), 3)], noise[1])

    def step(part, loss):
        copied.zero_grad()
        loss.backward()
        torch.optim.Adam(part, **rates).step()
        return loss.detach()

    def looks_real(images):
        return torch.sigmoid(discriminator(images)[0])

    expected = [
        step(
            discriminator.parameters(),
            -looks_real(2 * source - 1).log().mean()
            + entropy(discriminator(2 * source - 1)[1], labels)
            - (1 - looks_real(released())).log().mean()
            - (1 - looks_real(clean())).log().mean(),
        ),
        step(
            generator.parameters(),
            -looks_real(released()).log().mean() + entropy(discriminator(released())[1], labels),
        ),
        step(
            [*extractor.parameters(), *classifier.parameters()],
            entropy(classifier(extractor(source)), labels)
            + 0.1 * entropy(discriminator(released())[1], labels)
            - 0.03 * looks_real(clean()).log().mean(),
        ),
    ]
    torch.testing.assert_close(losses, torch.stack(expected))
    for part in ("extractor", "classifier", "generator", "discriminator"):
        torch.testing.assert_close(weights(getattr(nets, part)), weights(getattr(copied, part)), atol=1e-6, rtol=0)


def test_without_weight_it_is_the_training_on_the_source_alone():
    """Both trainings begin at the same networks, and the first leaves nothing behind for the second."""
    torch.manual_seed(0)
    nets = networks(extractor=nn.Sequential(nn.Flatten(), nn.Linear(64, 16)))
    result = adapted(nets, epochs=8, batch_size=99, adv_weight=0.0, learning_rate=2e-2)
    assert torch.equal(result.accuracies, result.source_accuracies)
    assert len(result.accuracies.unique()) > 1


@pytest.mark.slow
def test_unlabelled_images_reach_the_extractor_by_the_discriminator_only():
    """With both weights 0 the extractor's gradients do not depend on the clean images; with them they do."""

    def extractor(target, **options):
        torch.manual_seed(0)
        nets = networks(extractor=nn.Sequential(nn.Flatten(), nn.Linear(64, 16)))
        adapted(nets, target=target, epochs=1, **options)
        return weights(nets.extractor)

    one, other = domain(50, 1, 0.3)[0], domain(50, 9, 0.1)[0]
    assert torch.equal(extractor(one, adv_weight=0.0), extractor(other, adv_weight=0.0))
    assert not torch.equal(extractor(one), extractor(other))


def test_few_clean_images_are_repeated_and_a_last_single_one_is_left_out():
    result = adapted(target=domain(3, 1, 0.3)[0], batch_size=14, epochs=1)  # 99 = 7 * 14 + 1
    assert result.cost["images"] == 98


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (16, 24), (6, 10)])
def test_networks(size):
    nets = GTANetworks(3, 4, size, features=12, width=4, noise=5)
    images = torch.rand(2, 3, *size)
    embedded = nets.extractor(images)
    assert embedded.shape == (2, 12)
    assert nets(images).shape == (2, 4)
    made = nets.generate(embedded, torch.tensor([0, 4]), torch.zeros(2, 5))
    assert made.shape == images.shape
    assert float(made.detach().abs().max()) <= 1
    real, kind = nets.discriminator(made)
    assert real.shape == (2,)
    assert kind.shape == (2, 4)


def test_label_and_noise_change_the_generated_image():
    nets = networks().eval()
    embedded = torch.ones(1, 16)
    made = [
        nets.generate(embedded, torch.tensor([label]), torch.full((1, 4), noise))
        for label, noise in [(0, 0.0), (3, 0.0), (0, 1.0)]
    ]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, InputRangeError, "epochs"),
        ({"batch_size": 1}, InputRangeError, "at least 2"),
        ({"target": torch.zeros(5, 3, 8, 8)}, InputShapeError, "of one size"),
        ({"target": torch.zeros(5, 1, 8, 8, dtype=torch.uint8)}, InputTypeError, "divide by 255"),
        ({"target": torch.zeros(0, 1, 8, 8)}, InputShapeError, "at least one"),
        ({"nets": GTANetworks(1, 2, (8, 8), width=2, noise=2, features=4)}, LabelError, r"0\.\.1"),
        ({"nets": GTANetworks(1, 3, (16, 16), width=2, noise=2, features=4)}, ModelError, r"\[1, 8, 8\]"),
        ({"nets": GTANetworks(3, 3, (8, 8), width=2, noise=2, features=4)}, ModelError, r"\[1, 8, 8\]"),
        ({"learning_rate": 1e30}, ModelError, "NaN"),
    ],
)
def test_refuses(change, error, message):
    with pytest.raises(error, match=message):
        adapted(**change)


def test_odd_sizes_are_refused():
    with pytest.raises(InputShapeError, match="even, not 7 x 8"):
        GTANetworks(1, 3, (7, 8))
