"""Run shards on any executor with the interface of ``concurrent.futures``: process pools, Dask, MPI, Parsl, loky."""

import concurrent.futures
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future
from typing import Any

from torchprotect.data._report import ShardReport
from torchprotect.data.engines._base import Advance, Task, Work
from torchprotect.data.engines._in_flight import lost_worker, require_shared, run_on
from torchprotect.data.engines._sealed import Sealed, seal
from torchprotect.data.engines._worker import Outcome, make_shard
from torchprotect.errors import ExportError
from torchprotect.keys import SecretBytes

_SMALL = 1 << 20  # bytes of a sealed task that goes with each shard
_DEFAULT_LIMIT = 16


class ExecutorEngine:
    """Make shards on the workers of a ``concurrent.futures`` executor, which stays open afterwards.

    Workers need the same version of this package, and the source under the same path. The key is sent to them: whoever
    can run code in a worker can read it.

    Args:
        executor: such as ``ProcessPoolExecutor()``, Dask's ``client.get_executor()`` or ``MPIPoolExecutor()``.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def run(self, task: Task[ShardReport], work: Work, *, workers: int, advance: Advance) -> Iterator[ShardReport]:
        """Run a task for each shard, and yield one report per shard in order of completion."""
        if work:
            require_shared(task.shared)
            sealed, secret = seal(task)
            yield from run_on(_Workers(self._executor, sealed, workers), secret, work, advance)


class _Workers:
    """The workers of an executor; they are sent a large task only if they ask for it."""

    def __init__(self, executor: Executor, sealed: Sealed, workers: int) -> None:
        self._executor = executor
        self.limit = workers or 2 * _size(executor) or _DEFAULT_LIMIT
        self.whole = sealed
        self.first = sealed if len(sealed.content or b"") <= _SMALL else sealed.head

    def submit(self, sealed: Any, secret: SecretBytes, index: int, indices: bytes) -> Future[Outcome]:
        try:
            return self._executor.submit(make_shard, sealed, secret, index, indices)
        except BrokenExecutor as error:
            raise lost_worker(error) from None
        except RuntimeError as error:
            raise ExportError(f"the executor takes no work: {error}") from None

    def wait(self, handles: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        return concurrent.futures.wait(handles, return_when=FIRST_COMPLETED).done

    def result(self, handle: Future[Outcome]) -> Outcome:
        try:
            return handle.result()
        except (BrokenExecutor, CancelledError) as error:
            raise lost_worker(error) from None
        except Exception as error:
            if _package(error) == _package(self._executor):  # such as KilledWorker of Dask
                raise lost_worker(error) from None
            raise

    def cancel(self, handles: Collection[Future[Outcome]]) -> None:
        for handle in handles:
            handle.cancel()


def _size(executor: Executor) -> int:
    """Return the number of workers, or 0 if the executor does not say."""
    size = getattr(executor, "_max_workers", 0) or getattr(executor, "num_workers", 0)
    return size if isinstance(size, int) else 0


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]
