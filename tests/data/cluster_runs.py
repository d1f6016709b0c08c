"""Exports on clusters, each a process of its own: ``python cluster_runs.py RUN FOLDER``, which has a file ``key``.

Data sets and transforms are defined here, in the main script, as users' are.
"""

import base64
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from s3 import S3Server
from support import content, make_image
from torchvision.transforms import v2

from torchprotect import data, envelope, keys, transforms
from torchprotect.data import manifest as documents
from torchprotect.data.engines import RayEngine, ray
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import SourceError

IMAGES, SHARD = 300, 8
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - searched, not used


class Slow(torch.utils.data.Dataset):
    """Pictures that take a while, so that workers can be killed in the middle."""

    def __init__(self, seconds=0.005, payload=0, broken=None, log=None):
        self.seconds, self.broken, self.log = seconds, broken, log
        self.payload = np.random.default_rng(0).integers(0, 256, payload, dtype=np.uint8)

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        time.sleep(self.seconds)
        if index == self.broken:
            with Path(self.log).open("a") as log:
                log.write("read\n")
            raise ValueError("a broken file")
        return make_image(1, 16, 16, seed=index), index % 10


class FailsInWorkers(torch.nn.Module):
    """A mistake in a user's step, which shows in workers only."""

    def __init__(self):
        super().__init__()
        self.driver = os.getpid()

    def forward(self, image):
        if os.getpid() != self.driver:
            raise TypeError("a mistake")
        return image

    def __repr__(self):
        return "FailsInWorkers()"


def export(folder, out, dataset=None, steps=(), **options):
    bundle = keys.load(folder / "key")
    transform = v2.Compose([*steps, transforms.from_key(bundle)])
    place = out if "://" in out else folder / out
    return data.export(dataset or Slow(), place, transform=transform, key=bundle, shard_size=SHARD, **options)


def require_equal(folder):
    export(folder, "local", Slow(seconds=0))
    assert content(folder / "remote") == content(folder / "local")


@contextlib.contextmanager
def dask_client(folder):
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=folder / "dask"
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def on_dask(folder):
    """A worker is killed; then a transform fails, and Dask logs the arguments of the call."""
    with dask_client(folder) as client:
        processes = list(client.run(os.getpid).values())

        def kill_one(done, total):
            if done > total / 3 and len(processes) == 2:
                os.kill(processes.pop(), signal.SIGKILL)

        export(folder, "remote", engine=client.get_executor(), progress=kill_one)
        assert len(processes) == 1
        require_equal(folder)
        try:
            export(folder, "mistake", steps=[FailsInWorkers()], engine=client.get_executor())
        except TypeError as error:
            print(repr(error))
        else:
            raise AssertionError("no error")


@contextlib.contextmanager
def ray_cluster(nodes):
    import ray
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    try:
        others = [cluster.add_node(**options) for _ in range(nodes - 1)]
        yield cluster, others
    finally:
        ray.shutdown()
        cluster.shutdown()


def on_ray(folder):
    """A node is lost in a sealed export to a bucket; then an image is broken."""
    server = S3Server()
    os.environ |= server.environment
    bucket = server.make_bucket()
    with ray_cluster(nodes=2) as (cluster, others):

        def remove_one(done, total):
            if done > total / 3 and others:
                cluster.remove_node(others.pop(), allow_graceful=False)

        to = {"recipients": [envelope.generate_identity(folder / "identity")]}
        export(folder, f"{bucket}/remote", engine=RayEngine(address=cluster.address), progress=remove_one, **to)
        assert not others
        require_one_error(folder, RayEngine(address=cluster.address))
    data.open_export(f"{bucket}/remote", folder / "remote", identity=folder / "identity")
    server.stop()
    require_equal(folder)


def require_one_error(folder, engine):
    """An error ends the export and is not retried: the image is read as often as by this process."""
    logs = {}
    for name, chosen in (("local-broken", None), ("remote-broken", engine)):
        log = folder / f"{name}.log"
        try:
            export(folder, name, Slow(broken=77, log=str(log)), engine=chosen)
        except SourceError as error:
            logs[name] = type(error), str(error), log.read_text()
    assert logs["remote-broken"] == logs["local-broken"]


def needles(bundle, secrets):
    """Return parts of all key material as it is, in hex and in base64."""
    subkeys = [bundle.subkey(purpose) for purpose in ("id", "order", "noise", "manifest")]
    raw = [tensor.numpy().tobytes() for tensor in bundle.tensors().values()]
    found = {}
    for whole in [*raw, *map(bytes, subkeys), *map(bytes, secrets)]:
        for start in {0, len(whole) // 2 // 32 * 32, len(whole) - 32}:
            part = whole[start : start + 32]
            if len(set(part)) > 3:  # else it could be any file's
                found[part] = "raw"
                found[part.hex().encode()] = found[part.hex().upper().encode()] = "hex"
                for shift in range(3):
                    found[base64.b64encode(part[shift : shift + 27])] = "base64"
    return found


def open_shared_memory():
    """Yield files that processes hold open in shared memory; Ray deletes their names at once."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith((str(SHARED_MEMORY), os.environ["RAY_TMPDIR"])):
                yield link


def search(wanted):
    """Return where any of these bytes are: files of Ray, shared memory, command lines and environments."""
    session = Path(os.environ["RAY_TMPDIR"])
    places = [
        *(path for path in session.rglob("*") if path.is_file()),
        *(path for path in SHARED_MEMORY.glob("*") if path.is_file()),
        *open_shared_memory(),
        *Path("/proc").glob("[0-9]*/cmdline"),
        *Path("/proc").glob("[0-9]*/environ"),
    ]
    found = {}
    for place in places:
        with contextlib.suppress(OSError):
            body = place.read_bytes()
            found |= {(str(place), needle): kind for needle, kind in wanted.items() if needle in body}
    return found, len(places)


def ray_keys_stay_out(folder):
    """Search for keys in the middle of an export, while Ray has spilled the sealed task to its disk."""
    import ray as package

    sealed, fillers, findings = [], [], []

    def remember(task):
        sealed.append(real_seal(task))
        return sealed[-1]

    def fill_and_search(done, total):
        if done < total / 3 or findings:
            return
        task, secret = sealed[0]
        control = {task.content[1000:1032]: "sealed"}
        assert any("/fd/" in place for place, _ in search(control)[0]), "the search does not see shared memory"
        fillers.append(package.put(task))  # once more, since Ray spills no object that a worker is reading
        fillers.extend(package.put(np.full(16 << 20, number, np.uint8)) for number in range(8))
        deadline = time.monotonic() + 120
        while not any("spilled" in place for place, _ in search(control)[0]):
            assert time.monotonic() < deadline, "Ray did not spill the sealed task"
        key, plan = keys.load(folder / "key"), json.loads((folder / "remote" / "plan.json").read_text())
        data_key = DataKey.of_export(key, documents.digest(plan), 1)
        findings.append(search(needles(key, [secret, data_key.secret, data_key._file_key, data_key._salt_key])))

    real_seal, ray.seal = ray.seal, remember
    with ray_cluster(nodes=1) as (cluster, _):
        package.init(address=cluster.address, log_to_driver=False)
        to = {"recipients": [envelope.generate_identity(folder / "identity")]}
        export(folder, "remote", Slow(payload=20 << 20), engine=RayEngine(), progress=fill_and_search, **to)
    ((found, places),) = findings
    assert places > 50
    assert not found, {(place, kind) for (place, _), kind in found.items()}
    planted = Path(os.environ["RAY_TMPDIR"], "planted")  # the search itself works
    planted.write_bytes(b"..." + keys.load(folder / "key").root.numpy().tobytes())
    assert set(search(needles(keys.load(folder / "key"), []))[0].values()) == {"raw"}


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
    print("done")
