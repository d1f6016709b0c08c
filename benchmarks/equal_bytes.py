"""One export made in many places and ways: are the bytes the same?

Pictures are prepared, classes renamed, results rounded to float16, names kept for the owner, and the export is a split.

Usage: python benchmarks/equal_bytes.py SOURCE [--images N] [--shard-size N]; SOURCE as for `torchprotect export`. Needs
the extras `s3`, `dask` and `ray`, and moto[server]. Workers, parts and nodes are killed in the middle, as they are in
life.
"""

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import machine
from storage import s3_bucket
from torch.utils.data import Subset

from torchprotect import data, keys, transforms
from torchprotect.data.engines import RayEngine
from torchprotect.data.store import open_store
from torchprotect.demo._blocks import choose_block

PREPARATION = data.Preparation(exif=True, mode="rgb", resize=(64, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--shard-size", type=int, default=500)
    parser.add_argument("--part", help=argparse.SUPPRESS)  # what this script starts in other processes
    parser.add_argument("--key", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    source = data.open_source(arguments.source)
    if arguments.out:
        part = tuple(map(int, arguments.part.split("/"))) if arguments.part else None
        print("begins", flush=True)
        Export(source, arguments, keys.load(arguments.key))(arguments.out, part=part)
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder, s3_bucket() as bucket:
        compare(Path(folder), bucket, source, arguments)


class Export:
    """The export that is made again and again."""

    def __init__(self, source: data.Source, arguments: argparse.Namespace, key: keys.Key) -> None:
        images = arguments.images
        self._dataset = source if len(source) <= images else Subset(source, range(images))
        self._key, self._shard_size = key, arguments.shard_size

    def __call__(self, out: str, **options: Any) -> None:
        data.export(
            self._dataset,
            out,
            transform=transforms.from_key(self._key, noise=25.0),
            key=self._key,
            prepare=PREPARATION,
            split="train",
            store="float16",
            shard_size=self._shard_size,
            **options,
        )


def compare(folder: Path, bucket: str, source: data.Source, arguments: argparse.Namespace) -> None:
    size = PREPARATION.resize
    fit = {"image_size": size, "block_size": choose_block(size, 16)}
    labels = keys.LabelKey.generate(classes=1000)
    key = keys.KeyBundle(keys.RMTKey.generate(**fit), keys.PermutationKey.generate(**fit), labels)
    keys.save(key, folder / "key")
    export = Export(source, arguments, key)

    def part(out: str, of: str | None = None, kill: bool = False) -> None:
        command = [sys.executable, __file__, arguments.source, "--images", str(arguments.images)]
        command += [
            "--shard-size",
            str(arguments.shard_size),
            "--key",
            str(folder / "key"),
            "--out",
            out,
            *(["--part", of] if of else []),
        ]
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
            if kill:
                wait_for_shards(out, 2, process)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def parts(out: str) -> None:
        part(out, "0/3", kill=True)
        for of in ("1/3", "1/3", "2/3"):
            part(out, of)
        export(out)

    def killed(out: str) -> None:
        for _ in range(10):
            kill_at_random(out)
        export(out)

    def kill_at_random(out: str) -> None:
        command = [sys.executable, __file__, arguments.source, "--images", str(arguments.images)]
        command += ["--shard-size", str(arguments.shard_size), "--key", str(folder / "key"), "--out", out]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            if process.stdout is not None:
                process.stdout.readline()
            time.sleep(4 * int.from_bytes(os.urandom(2), "big") / (1 << 16))
            process.kill()

    ways: dict[str, tuple[str, Callable[[str], None]]] = {
        "folder, in this process": (str(folder / "0"), export),
        "folder, 1 worker": (str(folder / "1"), lambda out: export(out, workers=1)),
        "folder, 2 workers": (str(folder / "2"), lambda out: export(out, workers=2)),
        "memory://": ("memory://equal/bytes", export),
        "s3://": (f"{bucket}/0", export),
        "s3://, 2 workers": (f"{bucket}/2", lambda out: export(out, workers=2)),
        "s3://, killed ten times at random": (f"{bucket}/killed", killed),
        "folder, 3 parts, one killed, one run twice": (str(folder / "parts"), parts),
        "s3://, 3 parts, one killed, one run twice": (f"{bucket}/parts", parts),
        "folder, Dask, a worker killed": (str(folder / "dask"), lambda out: on_dask(export, folder, out)),
        "folder, Ray, a node lost": (str(folder / "ray"), lambda out: on_ray(export, out)),
        "s3://, Ray, a node lost": (f"{bucket}/ray", lambda out: on_ray(export, out)),
    }
    first = None
    for name, (out, make) in ways.items():
        start = time.monotonic()
        make(out)
        found = digest(out)
        first = first or found
        data.verify(out, key)
        print(
            f"{name:<44}{found[:16]}  {'equal' if found == first else 'DIFFERENT'}  {time.monotonic() - start:.0f} s",
            flush=True,
        )


def digest(out: str) -> str:
    """Return one hash over the names and contents of all files."""
    store, whole = open_store(out), hashlib.sha256()
    for name in sorted(store.entries()):
        with store.open(name) as file:
            whole.update(f"{name} {hashlib.sha256(file.read()).hexdigest()}\n".encode())
    return whole.hexdigest()


def wait_for_shards(out: str, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has written so many shards, or has ended."""
    store = open_store(out)
    before = sum(".tar" in name for name in store.entries())
    while process.poll() is None:
        if sum(".tar" in name for name in store.entries()) >= before + count:
            return
        time.sleep(0.2)


def on_dask(export: Export, folder: Path, out: str) -> None:
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=folder / "local"
    )
    with cluster, distributed.Client(cluster) as client:
        processes = list(client.run(os.getpid).values())

        def kill_one(done: int, total: int) -> None:
            if done > total / 3 and len(processes) == 2:
                os.kill(processes.pop(), signal.SIGKILL)

        export(out, engine=client.get_executor(), progress=kill_one)


def on_ray(export: Export, out: str) -> None:
    import ray
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    others = [cluster.add_node(**options)]

    def remove_one(done: int, total: int) -> None:
        if done > total / 3 and others:
            cluster.remove_node(others.pop(), allow_graceful=False)

    try:
        export(out, engine=RayEngine(address=cluster.address), progress=remove_one)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
