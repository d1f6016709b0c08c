"""What is measured on the search for perturbations alone, without training a network on its results."""

from dataclasses import asdict, replace

from adversarial_bench import Bench, batches, predict

from torchprotect import adversarial, keys


def search(bench: Bench, *, fold: int, eps: float, steps: int, images: int) -> dict[str, float]:
    """Perturb the first training images by one radius and number of steps: share moved to the target, percent."""
    base, settings = bench.base(fold), asdict(replace(bench.settings, eps=eps, steps=steps))
    targets = keys.CorrespondenceKey.preset("basic").targets[:, 0].to(bench.device)
    moved, plain = 0, bench.train.first(images)
    for part, labels in batches(plain, bench.device):
        found = adversarial.pgd_l2(base, part, targets[labels], **settings).images
        stored = found.mul(255).round() / 255  # as released
        moved += int((predict(base, stored) == targets[labels]).sum())
    return {"moved": 100 * moved / len(plain.labels)}
