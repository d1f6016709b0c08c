"""What is measured on networks that were trained on perturbed images, and on what an attacker makes of them."""

import functools
from dataclasses import replace

import torch
from adversarial_bench import Bench, Sizes, accuracy, as_floats, predictions
from common.images import Images
from common.networks import make_network
from common.trainings import TRAININGS
from torch import Tensor

from torchprotect import attacks, keys, training
from torchprotect.adversarial import PGDSettings
from torchprotect.models import GTANetworks


def clean(bench: Bench, *, fold: int, network: str) -> dict[str, float]:
    """Train a network on clean images: accuracy on clean ones, in percent."""
    return {"accuracy": accuracy(bench.clean(network, fold), bench.test, bench.device)}


def base(bench: Bench, *, fold: int) -> dict[str, float]:
    """Train the owner's network and the attacker's: accuracy on clean images, in percent."""
    return {
        "base": accuracy(bench.base(fold), bench.test, bench.device),
        "surrogate": accuracy(bench.surrogate(fold), bench.test, bench.device),
    }


def moved(bench: Bench, *, fold: int, plan: str) -> dict[str, float]:
    """Perturb the training set: share of images that the base network itself takes for a target of theirs, percent."""
    released = bench.released(plan, fold)
    answers = predictions(bench.base(fold), released, bench.device)
    targets, _ = keys.CorrespondenceKey.preset(plan).of(released.labels)
    return {"moved": _percent((answers[:, None] == targets).any(1))}


def victim(bench: Bench, *, fold: int, network: str, plan: str) -> dict[str, float]:
    """Train a network on released images and test it: accuracies in percent, and its answers to clean class 0.

    ``enc``: on test images perturbed toward the target of what the base network takes them for, as the authors did;
    ``enc, true labels``: toward the target of their labels; ``orig``: on clean images; ``orig + p``: there, with every
    answer replaced by its first target.
    """
    model, test = bench.victim(network, plan, fold), bench.test
    answers, target = predictions(model, test, bench.device), keys.CorrespondenceKey.preset(plan).targets[:, 0]
    found = {
        "enc": accuracy(model, bench.released_test(plan, fold, "predicted"), bench.device),
        "enc, true labels": accuracy(model, bench.released_test(plan, fold, "label"), bench.device),
        "orig": _percent(answers == test.labels),
        "orig + p": _percent(target[answers] == test.labels),
    }
    counts = torch.bincount(answers[test.labels == 0], minlength=bench.sizes.classes)
    return found | {f"0 to {label}": share for label, share in enumerate((100 * counts / counts.sum()).tolist())}


def strength(bench: Bench, *, fold: int, network: str, eps: float, steps: int) -> dict[str, float]:
    """Perturb by another radius or another number of steps, and train a network: shares moved and right in percent."""
    part = bench.resized(replace(bench.sizes, eps=eps, steps=steps))
    found = victim(part, fold=fold, network=network, plan="basic")
    return {name: found[name] for name in ("enc", "orig", "orig + p")} | moved(part, fold=fold, plan="basic")


def random_targets(bench: Bench, *, fold: int, network: str) -> dict[str, float]:
    """Train a network on images that were each perturbed toward a random class: accuracy on clean ones."""
    return {"orig": accuracy(bench.victim(network, "basic", fold, "random"), bench.test, bench.device)}


def medical(bench: Bench, *, fold: int, network: str, sizes: Sizes) -> dict[str, float]:
    """Set two versions of each image side by side, on the sizes of Table 12: accuracies in percent."""
    part, plan = bench.resized(sizes), "mri"
    model = part.victim(network, plan, fold)
    return {
        "enc": accuracy(model, part.released_test(plan, fold, "predicted"), bench.device),
        "orig": accuracy(model, part.test, bench.device),
        "clean": accuracy(part.clean(network, fold), part.test, bench.device),
        **moved(part, fold=fold, plan=plan),
    }


def enumeration(bench: Bench, *, fold: int, network: str, plan: str, images: int) -> dict[str, float]:
    """Recover the map of classes: by trying every target, and by two readings that need no trials.

    Returns:
        Accuracy with class 0 led to each target, in percent, and the number of classes whose target is found.
    """
    model, surrogate, test = bench.victim(network, plan, fold), bench.surrogate(fold), bench.test.first(images)
    floats, classes = as_floats(test), bench.sizes.classes
    tried = attacks.recover_correspondence(model, surrogate, *floats, classes=classes, settings=bench.settings)
    released = as_floats(bench.released(plan, fold))
    readings = {
        "found by trying": tried,
        "found by the victim's mistakes": attacks.read_correspondence_from_victim(model, *floats, classes=classes),
        "found by the surrogate's mistakes": attacks.read_correspondence_from_data(
            surrogate, *released, classes=classes
        ),
    }
    truth = keys.CorrespondenceKey.preset(plan).targets
    scores = {f"0 to {label}": 100 * score for label, score in enumerate(tried.scores[0].tolist())}
    return scores | {
        how: float(attacks.score_correspondence(result, truth).ordered.sum()) for how, result in readings.items()
    }


def pairs(bench: Bench, *, fold: int, network: str, plan: str, images: int) -> dict[str, float]:
    """Recover both targets of each class by trying all ordered pairs, half and half."""
    result = attacks.recover_correspondence(
        bench.victim(network, plan, fold),
        bench.surrogate(fold),
        *as_floats(bench.test.first(images)),
        classes=bench.sizes.classes,
        settings=bench.settings,
        targets=2,
    )
    truth = keys.CorrespondenceKey.preset(plan).targets
    score, scores = attacks.score_correspondence(result, truth), 100 * result.scores[0]
    right = int(truth[0, 0]) * bench.sizes.classes + int(truth[0, 1])
    return {
        "best": float(scores.max()),
        "worst": float(scores.min()),
        "true": float(scores[right]),
        "rank": 1.0 + result.ranking[0].tolist().index(right),
        "unordered": float(score.unordered.sum()),
        "hits": float(score.hits.sum()),
        "trials": float(result.cost["trials"]),
    }


def shares(bench: Bench, *, fold: int, network: str, plan: str, left: float, images: int) -> dict[str, float]:
    """Lead test images to the right targets in the wrong shares: accuracy in percent, and on clean images."""
    weights = torch.tensor([[left, 1 - left]]).expand(bench.sizes.classes, 2)
    return _hypothesis(bench, fold, network, plan, keys.CorrespondenceKey.preset(plan).targets, weights, images)


def partial(bench: Bench, *, fold: int, network: str, plan: str, count: int, images: int) -> dict[str, float]:
    """Lead test images to the first targets of a plan only: accuracy in percent, and on clean images.

    All of them are mixed as the plan says; two are set side by side, half and half.
    """
    key = keys.CorrespondenceKey.preset(plan)
    if count == key.targets.shape[1]:
        return _hypothesis(bench, fold, network, plan, key.targets, key.weights, images, key.mix_mode)
    weights = torch.full((bench.sizes.classes, count), 1 / count)
    return _hypothesis(bench, fold, network, plan, key.targets[:, :count], weights, images)


def _hypothesis(
    bench: Bench,
    fold: int,
    network: str,
    plan: str,
    targets: Tensor,
    weights: Tensor,
    images: int,
    mix_mode: str = "concat",
) -> dict[str, float]:
    result = attacks.hypothesis_accuracy(
        bench.victim(network, plan, fold),
        bench.surrogate(fold),
        *as_floats(bench.test.first(images)),
        targets=targets,
        weights=weights,
        mix_mode=mix_mode,
        settings=bench.settings,
    )
    return {"accuracy": 100 * result.accuracy, "clean": 100 * result.clean_accuracy}


def adaptation(bench: Bench, *, fold: int, case: str, epochs: int, large: bool) -> dict[str, float]:
    """Adapt from labelled images to clean ones by Generate To Adapt: accuracies in percent.

    ``"released to clean"``: from released images; ``"clean to shifted"``: from clean images to darker ones.
    """
    released = case == "released to clean"
    source, shift = bench.released("basic", fold) if released else bench.train, 1.0 if released else 0.5
    height, width = source.images.shape[-2:]
    size = {"features": 128, "width": 64, "noise": 512} if large else {"features": 64, "width": 16, "noise": 64}
    torch.manual_seed(fold)  # here, since the sets may have been made in this call
    networks = GTANetworks(source.images.shape[1], bench.sizes.classes, (height, width), **size)
    images, labels = as_floats(bench.test)
    result = attacks.adapt_gta(
        *as_floats(source),
        as_floats(bench.other)[0] * shift,
        (images * shift, labels),
        networks=networks.to(bench.device),
        epochs=epochs,
    )
    return {"source only": 100 * result.source_only, "last": 100 * result.last, "peak": 100 * result.peak}


def countermeasure(bench: Bench, *, fold: int, network: str, case: str, epochs: int) -> dict[str, float]:
    """Train on images that an attacker has treated: accuracy on clean ones after the last epoch and the best one."""
    released = bench.released("basic", fold)
    images, options = _treated(bench, released, case)
    size = images.shape[-2:]
    torch.manual_seed(fold)  # here, since the sets may have been made in this call
    model = make_network(network, images.shape[1], bench.sizes.classes, (size[0], size[1])).to(bench.device)
    how = TRAININGS[bench.sizes.training]
    curve = attacks.train_and_watch(
        model,
        (images, released.labels),
        as_floats(bench.test),
        epochs=epochs,
        batch_size=how.batch,
        recipe=how.recipe,
        precision=training.fast_precision(bench.device),
        channels_last=True,
        **options,
    )
    return {"last": 100 * curve.last, "peak": 100 * curve.peak}


def _treated(bench: Bench, released: Images, case: str) -> tuple[Tensor, dict[str, object]]:
    """Return images in 0..1 and options of the training."""
    floats, eps = as_floats(released)[0], bench.sizes.eps
    precision = training.fast_precision(bench.device)
    away = PGDSettings(eps, eps / 2, 5, random_start=True, targeted=False, precision=precision, channels_last=True)
    project = functools.partial(attacks.orthogonal_projection, classes=bench.sizes.classes)
    treat = {
        "clean images, plain training": lambda: as_floats(bench.train)[0],
        "JPEG, quality 10": lambda: attacks.squeeze_jpeg(released.images, 10).float() / 255,
        "grey": lambda: attacks.squeeze_grey(floats),
        "3 bits": lambda: attacks.squeeze_bits(floats, 3),
        "2 bits": lambda: attacks.squeeze_bits(floats, 2),
        "orthogonal projection": lambda: project(floats, released.labels).images,
    }
    options: dict[str, dict[str, object]] = {
        "strong augmentation": {"augment": attacks.strong_augmentation()},
        "adversarial training, 5 steps, the owner's eps": {"adversarial": away},
    }
    return treat.get(case, lambda: floats)(), options.get(case, {})


def _percent(right: Tensor) -> float:
    return 100 * float(right.float().mean())
