"""Compute the same bits every time on one machine."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from torchprotect.errors import ExportError, ModelError, ProtectError

_TRIES = 5
_Result = TypeVar("_Result")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, like a worker: large matrix products may round differently on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Run a network on one thread, with deterministic algorithms that are not chosen by benchmarking.

    Raises:
        ModelError: it fails: it does not take such images, there is too little memory, or one of its operations has no
            deterministic algorithm on its device.
    """
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn_benchmark, matmul_precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")  # the default, which a spawned worker has
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
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.backends.cudnn.benchmark = cudnn_benchmark
        torch.set_float32_matmul_precision(matmul_precision)


def without_draws(run: Callable[[], _Result]) -> _Result:
    """Run a transform that must not draw from the global generators of Python, NumPy and torch.

    Other threads, such as those of network clients and clusters, may draw at the same time. A transform that draws does
    so each time it runs, but other threads only now and then. Therefore it is run again.

    Raises:
        ExportError: a generator was used every time.
    """
    for _ in range(_TRIES):
        before = _generator_states()
        result = run()
        if _generator_states() == before:
            return result
    raise ExportError(
        "the transform drew random numbers, so the export could not be repeated or resumed; take random "
        "augmentation out of it and put it into the training pipeline"
    )


def _generator_states() -> tuple[Any, ...]:
    legacy: Any = np.random.get_state(legacy=True)
    on_cuda = (
        [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else []
    )
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), *on_cuda, legacy[1].tobytes(), legacy[2:]
