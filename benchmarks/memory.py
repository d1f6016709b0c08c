"""Peak memory of an export with N images, each in a fresh process: does it stay flat?

Usage: python benchmarks/memory.py SOURCE; SOURCE as for `torchprotect export`. Exports 6,000 images, then 60,000.
"""

import subprocess
import sys

from _common import machine

PROGRAM = """
import resource, sys, tempfile
from torch.utils.data import Subset
from torchprotect import data, keys, transforms
source = data.open_source(sys.argv[1])
count = min(int(sys.argv[2]), len(source))
size = tuple(source[0].image.shape[-2:])
key = keys.AESKey.generate(image_size=size, block_size=(4, 4))
with tempfile.TemporaryDirectory() as folder:
    data.export(Subset(source, range(count)), folder + "/out", transform=transforms.from_key(key))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    print(machine())
    for count in (6_000, 60_000):
        done = subprocess.run([sys.executable, "-c", PROGRAM, sys.argv[1], str(count)], capture_output=True, text=True)
        images, peak = done.stdout.split()
        print(f"{int(images):,} images: peak {peak} MB")


if __name__ == "__main__":
    main()
