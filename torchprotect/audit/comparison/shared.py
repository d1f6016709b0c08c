"""Networks trained on plain images, which all settings of a comparison share."""

from functools import cached_property
from typing import Any

from torchprotect.attacks import ClassGuesses, DNNExaminer
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.bench.store import Store
from torchprotect.audit.evidence.evidence import Evidence


class SharedBench(Bench):
    """A bench that takes networks for plain images from another bench with the same images and split.

    Args:
        evidence: evidence of one setting.
        settings: the settings of ``plain``.
        plain: the bench on which networks for plain images are trained.
    """

    def __init__(self, evidence: Evidence, settings: Settings, plain: Bench) -> None:
        super().__init__(evidence, settings)
        self._plain = plain

    @cached_property
    def examiner(self) -> DNNExaminer:
        """The network that judges images, trained on public ones once for all settings."""
        return self._plain.examiner

    @cached_property
    def clean_guesses(self) -> ClassGuesses:
        """The examiner's guesses for plain images that it has not seen."""
        return self._plain.clean_guesses


class Parts(Store):
    """Finished trainings on plain images, as a session looks them up; nothing else is kept."""

    def __init__(self, parts: dict[str, dict[str, Any]]) -> None:
        super().__init__(None, "")
        self._parts = parts

    def load(self, name: str) -> dict[str, Any] | None:
        """Return a finished training, or ``None``."""
        return self._parts.get(name)
