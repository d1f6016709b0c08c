"""All operator benchmarks in one run: a summary of every goal, and the large cases on two threads.

Usage: python benchmarks/kernels.py [--device cuda] [--rounds N] [--quick] [--out FILE]
"""

from functools import partial
from types import ModuleType

import aes_ecb
import block_matmul
import block_permute
import per_sample
from _cases import Builder, Setup, print_table, read_setup, run_cases, summary_rows, two_threads, write_results

OPERATORS = (block_permute, aes_ecb, block_matmul)


def cases(setup: Setup) -> list[Builder]:
    """List the cases of all scripts; on a GPU those of the operators."""
    scripts: tuple[ModuleType, ...] = OPERATORS if setup.cuda else (*OPERATORS, per_sample)
    builders = [build for script in scripts for build in script.cases(setup)]
    if setup.cuda:
        return builders
    return builders + [partial(two_threads, build, setup) for script in OPERATORS for build in script.large(setup)]


def main() -> None:
    setup, out = read_setup(__doc__, "kernels")
    results = run_cases(cases(setup), setup)
    print()
    print_table(list(summary_rows(results)))
    write_results(out, "kernels", setup, results)


if __name__ == "__main__":
    main()
