"""The worker's side on any machine: decrypt the task once, then make shards with it."""

import threading
from typing import NamedTuple

from torchprotect.data._repeatable import one_thread
from torchprotect.data._report import ShardReport
from torchprotect.data.engines._base import Task
from torchprotect.data.engines._sealed import Sealed, open_indices, open_sealed
from torchprotect.errors import ProtectError
from torchprotect.keys import SecretBytes


class Outcome(NamedTuple):
    """A worker's answer: a report, an error, or neither if it was sent a digest and does not have the task.

    An error is returned as a value. Raised, it would be wrapped, logged or retried by some clusters.
    """

    report: ShardReport | None
    error: ProtectError | None


_one_at_a_time = threading.Lock()  # settings of torch are those of the process, and some clusters run tasks in threads
_last_opened: tuple[str, Task[ShardReport]] | None = None


def make_shard(sealed: Sealed, secret: SecretBytes, index: int, indices: bytes) -> Outcome:
    """Make one shard and write it and its report.

    Args:
        sealed: the task, or its digest.
        secret: key of the task and the indices.
        index: index of the shard.
        indices: indices of its samples in the source, sealed.
    """
    with _one_at_a_time, one_thread():
        try:
            task = _open_once(sealed, secret)
            if task is None:
                return Outcome(None, None)
            report = task.run(index, open_indices(indices, secret, index), _no_progress)
        except ProtectError as error:
            return Outcome(None, error)
        return Outcome(report, None)


def _open_once(sealed: Sealed, secret: SecretBytes) -> Task[ShardReport] | None:
    """Return the task, which is kept for the next shard; ``None`` if this worker does not have it."""
    global _last_opened
    if _last_opened is None or _last_opened[0] != sealed.digest:
        if sealed.content is None:
            return None
        _last_opened = None  # two tasks may not fit into memory
        _last_opened = (sealed.digest, open_sealed(sealed, secret))
    return _last_opened[1]


def _no_progress(images: int) -> None:
    """Do nothing: the driver counts whole shards."""
