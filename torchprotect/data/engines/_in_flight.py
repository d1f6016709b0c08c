"""Run a bounded number of shards at the same time on remote workers of any kind."""

import itertools
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from torchprotect.data._report import ShardReport
from torchprotect.data.engines._base import Advance, Work
from torchprotect.data.engines._sealed import seal_indices
from torchprotect.data.engines._worker import Outcome
from torchprotect.errors import ExportError
from torchprotect.keys import SecretBytes


class Cluster(Protocol):
    """Runs ``make_shard`` remotely. A handle stands for one call; handles can be hashed.

    Attributes:
        limit: largest number of calls at the same time.
        first: the sealed task as it is first sent with a shard.
        whole: the complete sealed task, for a worker that answers that it does not have it.
    """

    limit: int
    first: Any
    whole: Any

    def submit(self, sealed: Any, secret: SecretBytes, index: int, indices: bytes) -> Any:
        """Start a call of ``make_shard`` and return its handle."""

    def wait(self, handles: Collection[Any]) -> Collection[Any]:
        """Wait until a call has ended, and return the handles of all that have."""

    def result(self, handle: Any) -> Outcome:
        """Return the outcome of a call that has ended; raise :class:`ExportError` if its worker was lost."""

    def cancel(self, handles: Collection[Any]) -> None:
        """Cancel calls that have not started, as far as that is known."""


def run_on(cluster: Cluster, secret: SecretBytes, work: Work, advance: Advance) -> Iterator[ShardReport]:
    """Yield a report for each shard, in order of completion.

    After an error, shards in progress are still finished and reported.
    """
    waiting, running = iter(work), dict[Any, tuple[int, Any]]()

    def send(sealed: Any, index: int, indices: Any) -> None:
        sent = cluster.submit(sealed, secret, index, seal_indices(indices, secret, index))
        running[sent] = index, indices

    try:
        while True:
            for index, indices in itertools.islice(waiting, cluster.limit - len(running)):
                send(cluster.first, index, indices)
            if not running:
                return
            for handle in cluster.wait(running):
                index, indices = running.pop(handle)
                report = _require_no_error(cluster.result(handle))
                if report is None:
                    send(cluster.whole, index, indices)
                else:
                    advance(len(indices))
                    yield report
    except GeneratorExit:
        cluster.cancel(running)
        raise
    except BaseException:  # a failed shard, a lost worker, or Ctrl-C
        cluster.cancel(running)
        yield from _finished(cluster, set(running))
        raise


def _require_no_error(outcome: Outcome) -> ShardReport | None:
    if outcome.error is not None:
        raise outcome.error
    return outcome.report


def _finished(cluster: Cluster, handles: set[Any]) -> Iterator[ShardReport]:
    while handles:
        for handle in cluster.wait(handles):
            handles.remove(handle)
            report = _report_of(cluster, handle)
            if report is not None:
                yield report


def _report_of(cluster: Cluster, handle: Any) -> ShardReport | None:
    try:
        return cluster.result(handle).report
    except Exception:  # the first error is the one that is raised
        return None


def lost_worker(error: BaseException) -> ExportError:
    """Return the error to raise when a worker or the cluster has gone."""
    return ExportError(
        f"a worker was lost ({type(error).__name__}), perhaps for lack of memory; finished shards are kept: run the "
        "same export again to resume"
    )


def require_shared(shared: bool) -> None:
    """Check that workers can write to the destination.

    Raises:
        ExportError: it is in the memory of this process.
    """
    if not shared:
        raise ExportError("workers do not see memory:// of this process; write to a folder or URL that all of them see")
