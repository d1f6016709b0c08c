"""What a bucket and a cluster cost beside a folder and workers: exports, and resumes of finished ones.

Usage: python benchmarks/storage.py SOURCE [--rounds N] [--json FILE]; SOURCE as for `torchprotect export`. Needs the
extras `s3` and `ray`, and moto[server], which is the server, in a process of its own. Of storage the processor time of
the client is taken, since the wall time depends on the server; of Ray the wall time, on a cluster that is up already.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from _common import interleave, machine, report

from torchprotect import data, keys, transforms
from torchprotect.data.engines import RayEngine
from torchprotect.data.keyed import keyed_order
from torchprotect.demo._blocks import choose_block

SERVER = Path(__file__).parent.parent / "tests" / "s3.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    arguments = parser.parse_args()

    source = data.open_source(arguments.source)
    size = tuple(source[0].image.shape[-2:])
    key = keys.AESKey.generate(image_size=size, block_size=choose_block(size, 16))
    transform = transforms.from_key(key)
    folder = Path(tempfile.mkdtemp())

    def export(out: str, shard_size: int = 1000) -> None:
        data.export(source, out, transform=transform, key=key, shard_size=shard_size)

    def to_folder() -> None:
        export(str(folder / "out"))
        shutil.rmtree(folder / "out")

    def to_memory() -> None:
        export("memory://storage/out")
        fsspec.filesystem("memory").store.clear()

    with s3_bucket() as bucket:
        cases = {
            "to a folder": to_folder,
            "to memory://": to_memory,
            "to s3:// on loopback": lambda: export(f"{bucket}/{uuid.uuid4().hex}"),
        }
        seconds = interleave(cases, arguments.rounds, clock=processor_clock)
        report(f"export of {len(source):,} images", seconds, "to a folder", arguments.json)
        small = max(1, len(source) // 1000)
        for name, out in (("a folder", str(folder / "many")), ("s3://", f"{bucket}/many")):
            export(out, small)
            taken = processor_clock(lambda out=out: export(out, small), 1)
            print(f"resume of a finished export of 1,000 shards in {name}: {taken:.2f} s")
    beside_ray(
        lambda **options: data.export(source, str(folder / "out"), transform=transform, key=key, **options),
        folder,
        arguments.rounds,
    )
    shutil.rmtree(folder)
    order_of_ten_million()


def beside_ray(export: Callable[..., object], folder: Path, rounds: int) -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

    def run(**options: object) -> None:
        export(workers=2, **options)
        shutil.rmtree(folder / "out")

    cases = {"2 workers": run, "Ray, 2 shards at once": lambda: run(engine=RayEngine())}
    report("exports to a folder, wall time", interleave(cases, rounds), "2 workers", None)
    ray.shutdown()


def processor_clock(action: Callable[[], object], count: int) -> float:
    """Return the processor seconds of this process and its ended children."""
    start = _processor_seconds()
    for _ in range(count):
        action()
    return _processor_seconds() - start


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@contextmanager
def s3_bucket() -> Iterator[str]:
    """Start a server, lead clients of this process to it, and yield the URL of a bucket."""
    with subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True) as server:
        os.environ |= {
            "AWS_ENDPOINT_URL": server.stdout.readline().strip() if server.stdout else "",
            "AWS_ACCESS_KEY_ID": "AKIDTESTING",
            "AWS_SECRET_ACCESS_KEY": "secret-for-testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        try:
            fsspec.filesystem("s3").mkdir("benchmark")
            yield "s3://benchmark"
        finally:
            server.kill()


def order_of_ten_million() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = processor_clock(lambda: keyed_order(bytes(32), 10_000_000), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"order of 10,000,000 images: {taken:.1f} s, {max(0, peak - before) // 1024} MB more at the peak")
    print(machine())


if __name__ == "__main__":
    main()
