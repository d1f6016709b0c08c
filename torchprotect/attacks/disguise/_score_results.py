"""What the scores of attacks on disguised images hold."""

from dataclasses import dataclass

from torch import Tensor

from torchprotect.attacks.results import AttackResult


@dataclass(frozen=True, eq=False)
class ReconstructionScore(AttackResult):
    """How near rebuilt images are to the true ones, with the level and cost of the attack.

    The chance level is what somebody gets who guesses, for every image, the mean of all other true images (middle grey
    for a single one). Intervals are those of the means at 95 %, by the normal approximation.

    Attributes:
        rmse: float32 ``[N]``, root of the mean squared difference in grey levels of 0..255; 0 for an exact image.
        psnr: float32 ``[N]``, in dB; infinite for an exact image.
        ssim: float32 ``[N]``, structural similarity, -1..1; 1 for an exact image.
        mean_rmse: over all images.
        mean_psnr: likewise; infinite as soon as one image is exact, and then without an interval (NaN).
        mean_ssim: likewise.
        rmse_interval: of ``mean_rmse``.
        psnr_interval: of ``mean_psnr``.
        ssim_interval: of ``mean_ssim``.
        rmse_chance: chance level of ``mean_rmse``; smaller is better.
        psnr_chance: chance level of ``mean_psnr``.
        ssim_chance: chance level of ``mean_ssim``.
        exact: share of images that are rebuilt to the last bit.
    """

    rmse: Tensor
    psnr: Tensor
    ssim: Tensor
    mean_rmse: float
    mean_psnr: float
    mean_ssim: float
    rmse_interval: tuple[float, float]
    psnr_interval: tuple[float, float]
    ssim_interval: tuple[float, float]
    rmse_chance: float
    psnr_chance: float
    ssim_chance: float
    exact: float


@dataclass(frozen=True, eq=False)
class ShareScore(AttackResult):
    """A share of right guesses, with the level and cost of the attack.

    Attributes:
        accuracy: share of guesses that are right.
        low: lower end of its Wilson interval at 95 %.
        high: upper end.
        chance: share that guessing without looking would give.
        count: guesses it was counted over.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    count: int


@dataclass(frozen=True, eq=False)
class ExaminerScore(ShareScore):
    """What an examiner still recognises.

    Attributes:
        baseline: accuracy of the same examiner on original images; ``None`` if it was not given.
        success_rate: ``accuracy / baseline``, the paper's attack success rate, as a share: 1 is as good as on original
            images, and chance is not 0 but ``chance / baseline``. ``None`` without a baseline.
    """

    baseline: float | None
    success_rate: float | None


@dataclass(frozen=True, eq=False)
class LinkageScore(AttackResult):
    """Re-identification at k: shares of known images whose disguised one is among the first k guesses.

    Attributes:
        k: numbers of guesses looked at.
        shares: of known images, for each ``k``.
        low: lower ends of the Wilson intervals at 95 %.
        high: upper ends.
        chance: shares of the candidates that are one of the ``k`` most frequent images: what the best guesses give that
            do not look at the disguised images.
        count: known images.
        candidates: disguised images that were taken to be candidates.
    """

    k: tuple[int, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    chance: tuple[float, ...]
    count: int
    candidates: int
