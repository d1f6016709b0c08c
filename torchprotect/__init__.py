"""Image disguises for PyTorch, with measured leakage.

These are obfuscation schemes, not cryptographic confidentiality:
``docs/explain/threat-model.md`` says what was measured.

``import torchprotect`` loads neither torch nor a subpackage. ``torchprotect.keys`` and the other subpackages load on
first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from torchprotect._version import __version__

__all__ = [
    "__version__",
    "adversarial",
    "attacks",
    "audit",
    "data",
    "demo",
    "envelope",
    "errors",
    "functional",
    "keys",
    "models",
    "ops",
    "owsd",
    "predict",
    "training",
    "transforms",
]

if TYPE_CHECKING:
    from torchprotect import (
        adversarial,
        attacks,
        audit,
        data,
        demo,
        envelope,
        errors,
        functional,
        keys,
        models,
        ops,
        owsd,
        predict,
        training,
        transforms,
    )
else:  # hidden from type checkers, which would accept any name if they saw __getattr__

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return importlib.import_module(f"torchprotect.{name}")
        raise AttributeError(f"module 'torchprotect' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
