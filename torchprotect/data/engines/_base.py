"""The interface of an engine: it runs one task for each shard of a plan."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch

from torchprotect.data._report import ShardReport

Advance = Callable[[int], None]
"""Called with each number of images done."""

Work = list[tuple[int, Any]]
"""Index of each shard, and the data that work on it requires: to make it, the source indices of its samples."""


Made = TypeVar("Made", covariant=True)


class Task(Protocol[Made]):
    """Works on one shard, such as making it and writing it and its report; can be sent to other processes."""

    @property
    def uses_gradients(self) -> bool:
        """Whether gradients are computed."""

    @property
    def shared(self) -> bool:
        """Whether other processes can write to the destination."""

    @property
    def devices(self) -> set[torch.device]:
        """Devices that models are on."""

    def run(self, index: int, work: Any, advance: Advance) -> Made:
        """Work on shard ``index``, calling ``advance`` with each number of images done."""


class Engine(Protocol):
    """Base class of engines, which decide where and when the shards of a plan are made.

    The bytes of the shards do not depend on the engine.
    """

    def run(self, task: Task[ShardReport], work: Work, *, workers: int, advance: Advance) -> Iterator[ShardReport]:
        """Run a task for each shard, and yield one report per shard in order of completion.

        Args:
            task: makes a shard.
            work: shards to be made.
            workers: how many shards at once; 0 leaves it to the engine.
            advance: called with each number of images done.

        Raises:
            ExportError: a worker was lost, or has another version of torchprotect.
        """
