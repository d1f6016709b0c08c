"""Computing the same bits every time on one machine."""

import contextlib
from collections.abc import Iterator

import torch

from torchprotect.errors import ModelError, ProtectError


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute as a worker does: large matrix products may round differently on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Run a network on one thread, by deterministic algorithms, none of them chosen by the clock.

    Raises:
        ModelError: it fails: it does not take such images, there is too little memory, or one of its operations has no
            deterministic algorithm on its device.
    """
    strict, warning = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    by_clock, products = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")  # what a worker that is spawned has, whatever this process has
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        with one_thread():
            yield
    except RuntimeError as error:
        if isinstance(error, ProtectError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the model fails on these images, or cannot be run repeatably: {reason}") from error
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warning)
        torch.backends.cudnn.benchmark = by_clock
        torch.set_float32_matmul_precision(products)
