"""Run shards on a Ray cluster."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from torchprotect.data._report import ShardReport
from torchprotect.data.engines._base import Advance, Task, Work
from torchprotect.data.engines._in_flight import lost_worker, require_shared, run_on
from torchprotect.data.engines._sealed import Sealed, seal
from torchprotect.data.engines._worker import Outcome, make_shard
from torchprotect.errors import ExportError, InputRangeError
from torchprotect.keys import SecretBytes

_RETRIES = 3  # of a shard whose worker or node was lost


class RayEngine:
    """Make shards on a Ray cluster: the one this process is connected to, or otherwise the one at ``address``.

    Ray receives the task as ciphertext, because it keeps objects in shared memory and spills them to disk. The one-time
    key travels with each shard. Whoever can run code in the cluster can read the keys from the memory of a worker.

    If a worker or node is lost, its shard is made again elsewhere. An error of the export itself ends the run at once.

    Args:
        gpus_per_task: accelerators reserved for a shard, or a fraction of one; needed for a model on an accelerator.
        cpus_per_task: CPUs reserved for a shard.
        address: address of the cluster, such as ``"auto"``. ``None`` takes ``RAY_ADDRESS`` from the environment, or
            starts a cluster on this machine for the duration of the export.
    """

    def __init__(self, *, gpus_per_task: float = 0.0, cpus_per_task: float = 1.0, address: str | None = None) -> None:
        if gpus_per_task < 0 or cpus_per_task <= 0:
            raise InputRangeError(
                f"gpus_per_task must be at least 0 and cpus_per_task more than 0, got {gpus_per_task}, {cpus_per_task}"
            )
        self._gpus, self._cpus, self._address = gpus_per_task, cpus_per_task, address

    def run(self, task: Task[ShardReport], work: Work, *, workers: int, advance: Advance) -> Iterator[ShardReport]:
        """Run a task for each shard, and yield one report per shard in order of completion."""
        if not work:
            return
        require_shared(task.shared)
        accelerators = sorted({device.type for device in task.devices} - {"cpu"})
        if accelerators and not self._gpus:
            raise InputRangeError(
                f"the model is on {accelerators[0]}: take RayEngine(gpus_per_task=1) (--gpus-per-task 1), or a "
                "fraction if several models fit onto one"
            )
        sealed, secret = seal(task)
        ray, started = _connect(self._address)
        try:
            yield from run_on(_Nodes(ray, sealed, self._cpus, self._gpus, workers), secret, work, advance)
        finally:
            if started:
                ray.shutdown()


def _connect(address: str | None) -> tuple[Any, bool]:
    """Return the package ray, connected to a cluster, and whether the connection is a new one."""
    try:
        import ray
    except ImportError:
        raise ExportError(
            'this engine needs ray: run pip install ray, or, in a checkout of torchprotect, pip install ".[ray]"'
        ) from None
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise ExportError(f"cannot connect to the Ray cluster at {address or 'RAY_ADDRESS'}: {error}") from None
    return ray, True


class _Nodes:
    """The nodes of a cluster, which share a sealed task through Ray's object store."""

    def __init__(self, ray: Any, sealed: Sealed, cpus: float, gpus: float, workers: int) -> None:
        self._ray = ray
        slots = self._slots(cpus, gpus)
        self.limit = workers or 2 * slots
        self.first = self.whole = ray.put(sealed)
        self._make_shard = ray.remote(make_shard).options(
            name="torchprotect: shard", num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES, retry_exceptions=False
        )

    def _slots(self, cpus: float, gpus: float) -> int:
        """Return how many tasks fit onto the nodes at the same time; with none, Ray would wait for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        slots = sum(int(min(_fit(node, "CPU", cpus), _fit(node, "GPU", gpus))) for node in nodes)
        if not slots:
            raise ExportError(
                f"no node of the Ray cluster has the {cpus:g} CPUs and {gpus:g} GPUs that each shard needs; start one, "
                "or ask for less"
            )
        return slots

    def submit(self, sealed: Any, secret: SecretBytes, index: int, indices: bytes) -> Any:
        with self._as_export_error():
            return self._make_shard.remote(sealed, secret, index, indices)

    def wait(self, handles: Collection[Any]) -> Collection[Any]:
        with self._as_export_error():
            done, _ = self._ray.wait(list(handles), num_returns=1)
        return done

    def result(self, handle: Any) -> Outcome:
        with self._as_export_error():
            return self._ray.get(handle)

    def cancel(self, handles: Collection[Any]) -> None:
        """Do nothing: Ray would interrupt calls that have started."""

    @contextlib.contextmanager
    def _as_export_error(self) -> Iterator[None]:
        errors = self._ray.exceptions
        try:
            yield
        except errors.RayTaskError as error:
            if not isinstance(error.cause, errors.RayError):
                raise  # a mistake in a data set or a transform: the error is also of the class that was raised there
            reason = str(error.cause).partition("\n")[0]  # the rest is a traceback
            raise ExportError(
                f"a node cannot load what it was sent ({reason}); install torchprotect there, of the same version"
            ) from None
        except errors.RayError as error:
            raise lost_worker(error) from None


def _fit(resources: dict[str, float], name: str, needed: float) -> float:
    return resources.get(name, 0) / needed if needed else float("inf")
