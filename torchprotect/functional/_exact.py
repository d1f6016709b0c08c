"""Networks whose results do not depend on what a caller allows elsewhere."""

import contextlib
import threading
from collections.abc import Iterator

import torch

_FLAGS = threading.RLock()  # they are the whole process's: two threads at once would restore each other's settings


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without autocast and TF32, by algorithms that repeat to the bit; on CUDA one thread at a time."""
    with contextlib.ExitStack() as settings:
        settings.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            settings.enter_context(_FLAGS)
            enabled = torch.backends.cudnn.enabled
            settings.enter_context(
                torch.backends.cudnn.flags(enabled=enabled, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield
