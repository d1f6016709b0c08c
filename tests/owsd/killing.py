"""Start a process that counts, and kill it without warning."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator


def start_all(workers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons dislike forks beside threads
        for worker in workers:
            worker.start()


def told_before_kill(work: Callable[[], Iterator[int]], at_least: int) -> list[int]:
    """Run an endless generator in a fork, kill it after it has yielded a few times, return what it did."""
    reader, writer = os.pipe()

    def run():
        for number in work():
            os.write(writer, number.to_bytes(8, "little"))

    worker = multiprocessing.get_context("fork").Process(target=run)
    start_all([worker])
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        first = told.read(8 * at_least)
        worker.kill()
        content = first + told.read()
    worker.join()
    return [int.from_bytes(content[i : i + 8], "little") for i in range(0, len(content), 8)]
