"""Run the shards of a plan in this process, or in worker processes on this machine."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from torchprotect._lock import SharedDescriptor
from torchprotect.data._repeatable import one_thread
from torchprotect.data.engines._base import Advance, Made, Task, Work
from torchprotect.errors import ExportError, InputRangeError

_POLL_SECONDS = 0.1


class LocalEngine:
    """Make shards in this process (``workers=0``), or in worker processes by the default start method.

    Args:
        lock: the lock of the folder, if there is one. Workers hold it too, and exit when this process does.
    """

    def __init__(self, lock: SharedDescriptor | None = None) -> None:
        self._lock = lock

    def run(self, task: Task[Made], work: Work, *, workers: int, advance: Advance) -> Iterator[Made]:
        """Run a task for each shard, and yield one result per shard in order of completion."""
        if workers == 0:
            with one_thread():
                for index, needed in work:
                    yield task.run(index, needed, advance)
        elif work:
            if not task.shared:
                raise InputRangeError("worker processes do not see memory:// of this process; take workers=0")
            yield from _run_in_workers(task, work, min(workers, len(work)), self._lock, advance)


def _run_in_workers(
    task: Task[Made], work: Work, workers: int, lock: SharedDescriptor | None, advance: Advance
) -> Iterator[Made]:
    executor, counter = _make_executor(task, workers, lock)
    waiting, unreported, seen = iter(work), set[Future[Any]](), 0
    try:
        while True:
            for index, needed in waiting:
                unreported.add(executor.submit(_run_task, index, needed))
                if len(unreported) == 2 * workers:
                    break
            if not unreported:
                return
            done, _ = wait(unreported, _POLL_SECONDS, FIRST_COMPLETED)
            counted = counter.value
            advance(counted - seen)
            seen = counted
            for future in done:
                unreported.remove(future)
                yield future.result()
    except BrokenProcessPool:
        raise ExportError(
            "a worker process was killed, perhaps for lack of memory; run the same export again to resume"
        ) from None
    except GeneratorExit:
        raise
    except BaseException:  # a failed shard, or Ctrl-C: shards in progress are still finished and reported
        executor.shutdown(wait=True, cancel_futures=True)
        yield from (future.result() for future in unreported if _succeeded(future))
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _make_executor(task: Task[Any], workers: int, lock: SharedDescriptor | None) -> tuple[ProcessPoolExecutor, Any]:
    """Return an executor, and the counter of images done that its workers share."""
    context = _context(task)
    try:
        counter = context.Value("q", 0)
        return ProcessPoolExecutor(workers, context, _start_worker, (task, lock, counter)), counter
    except (OSError, ImportError) as error:  # such as a container without /dev/shm
        raise ExportError(
            f"worker processes need POSIX semaphores, which this system refuses ({error}); they usually live in "
            "/dev/shm: mount it, or take workers=0 (--workers 0)"  # noqa: S108 - names it, does not use it
        ) from error


def _context(task: Task[Any]) -> multiprocessing.context.BaseContext:
    """Return the default start method, or "spawn" where torch cannot compute gradients in a forked process."""
    forked = multiprocessing.get_start_method() == "fork"
    return multiprocessing.get_context("spawn" if forked and task.uses_gradients and _has_accelerator() else None)


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


_worker: tuple[Task[Any], SharedDescriptor | None, Any]


def _start_worker(task: Task[Any], lock: SharedDescriptor | None, counter: Any) -> None:
    global _worker
    _worker = (task, lock, counter)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and lets shards in progress finish
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - runs in workers only; tells the type checker
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_task(index: int, work: Any) -> Any:
    task, _, counter = _worker

    def advance(images: int) -> None:
        with counter.get_lock():
            counter.value += images

    return task.run(index, work, advance)
