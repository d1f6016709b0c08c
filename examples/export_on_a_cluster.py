"""
Export on many machines
=======================

Exports the Fashion-MNIST sample that comes with the package twice: on a process pool, and in two parts, as a scheduler
such as Slurm would run them. Both exports have the same bytes.

Run ``python examples/export_on_a_cluster.py OUT``. It needs ``pip install cloudpickle`` and takes about four seconds of
processor time. On a cluster only the engine differs: ``engine=client.get_executor()`` with Dask,
``engine=MPIPoolExecutor()`` with MPI, ``engine=RayEngine()`` with Ray. OUT is then a folder or a URL that all machines
see.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from torchprotect import data, keys, transforms
from torchprotect.demo import SAMPLE

# %%
# A key
# -----
#
# The key has one matrix for each block of 7 x 7 pixels, and a secret order of the blocks.


def make_key():
    size = {"image_size": (28, 28), "block_size": (7, 7)}
    return keys.KeyBundle(keys.RMTKey.generate(**size), permutation=keys.PermutationKey.generate(**size))


# %%
# An engine
# ---------
#
# The pool receives the key, encrypted for this run. The export leaves the pool open, so that it can do other work too.


def export_on_a_pool(out, key, **options):
    with ProcessPoolExecutor(2) as pool:
        result = data.export(data.open_source(SAMPLE), out, engine=pool, key=key, **options)
    print(f"process pool: {result.images:,} images in {result.shards} shards")


# %%
# Parts
# -----
#
# On a cluster each part is a job of its own, which reads the key from its file. The last call, without ``part``, makes
# missing shards, of which there are none here, and writes the manifest.


def export_in_parts(out, key, **options):
    for number in range(2):
        part = data.export(data.open_source(SAMPLE), out, part=(number, 2), key=key, **options)
        print(f"part {number} of 2: {part.shards} shards")
    data.export(data.open_source(SAMPLE), out, key=key, **options)


def main():
    parser = argparse.ArgumentParser(description="Export a sample on a process pool, and in parts.")
    parser.add_argument("out", type=Path, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    key = make_key()
    options = {"transform": transforms.from_key(key), "shard_size": 200}
    export_on_a_pool(out / "pool", key, **options)
    export_in_parts(out / "parts", key, **options)
    files = sorted(path.name for path in (out / "pool").iterdir())
    same = all((out / "pool" / name).read_bytes() == (out / "parts" / name).read_bytes() for name in files)
    print(f"{len(files)} files, the same bytes in both: {same}")


if __name__ == "__main__":
    main()
