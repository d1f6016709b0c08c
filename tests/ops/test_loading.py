"""Kernels that are there, are switched off, are missing, or do not load."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from torchprotect import ops
from torchprotect.ops import _kernels

PACKAGE = Path(ops.__file__).parents[1]
LIBRARIES = list(_kernels._find())

PROGRAM = """
import json, sys, warnings
folder = sys.argv[1]
if folder:  # the copy of the package that lies there, whatever is installed
    sys.meta_path[:] = [finder for finder in sys.meta_path if "torchprotect" not in repr(vars(finder))]
    sys.path.insert(0, folder)
import torch
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torchprotect
    from torchprotect import ops
image, order = torch.arange(96).reshape(1, 8, 12), torch.tensor([4, 2, 0, 5, 1, 3])
moved = ops.block_permute(image, order, (4, 4))
keys = torch.arange(96, dtype=torch.uint8).reshape(6, 1, 16)
crypted = ops.aes_ecb(image.to(torch.uint8), keys, (4, 4), order=order)
product = ops.block_matmul(image.float(), torch.ones(6, 1, 4, 4), (4, 4), order=order)
print(json.dumps({
    "file": torchprotect.__file__,
    "backend": ops.backend(),
    "warnings": [[w.category.__name__, str(w.message)] for w in caught if "kernels" in str(w.message)],
    "sums": [int((result.flatten().long() * torch.arange(96)).sum()) for result in (moved, crypted, product)],
}))
"""


def run(folder="", **environment):
    """Import the package in a process of its own and use each operator."""
    variables = {k: v for k, v in os.environ.items() if k not in ("TORCHPROTECT_DISABLE_EXT", "PYTHONWARNINGS")}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env={**variables, **environment}, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    if folder:
        assert Path(result["file"]).parent == folder / "torchprotect"
    return result


def backends(result, device="cpu"):
    return {kinds[device] for kinds in result["backend"].values()}


@pytest.fixture
def copied(tmp_path):
    """A copy of the package with an empty folder for libraries."""
    ignored = shutil.ignore_patterns("lib", "__pycache__", "sample")
    shutil.copytree(PACKAGE, tmp_path / "torchprotect", ignore=ignored)
    (tmp_path / "torchprotect" / "lib").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def switched_off():
    return run(TORCHPROTECT_DISABLE_EXT="1")


def test_disabled_kernels_are_silent(switched_off):
    assert backends(switched_off) == backends(switched_off, "cuda") == {"reference"}
    assert switched_off["warnings"] == []


@pytest.mark.slow
def test_missing_kernels_are_silent(copied, switched_off):
    result = run(copied)
    assert backends(result) == backends(result, "cuda") == {"reference"}
    assert result["warnings"] == []
    assert result["sums"] == switched_off["sums"]


@pytest.mark.slow
def test_found_inside_the_package(copied, switched_off):
    """As in a wheel."""
    if not LIBRARIES:
        pytest.skip("the kernels are not built")
    shutil.copy(LIBRARIES[0], copied / "torchprotect" / "lib")
    result = run(copied)
    assert backends(result) == {"compiled"}
    assert result["warnings"] == []
    assert result["sums"] == switched_off["sums"]


@pytest.mark.slow
def test_broken_kernels_give_one_warning_and_fall_back(copied, switched_off):
    (copied / "torchprotect" / "lib" / "libtorchprotect_cpu.so").write_text("this is no library\n")
    result = run(copied)
    ((category, message),) = result["warnings"]
    assert category == "RuntimeWarning"
    assert "libtorchprotect_cpu.so do not load; the slower reference kernels are used" in message
    assert backends(result) == {"reference"}
    assert result["sums"] == switched_off["sums"]


# Loading once more in this process: nothing is registered by what follows


@pytest.fixture
def load(monkeypatch):
    def load_from(*paths):
        monkeypatch.setattr(_kernels, "_find", lambda: iter(paths))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _kernels.load()
        return caught

    monkeypatch.delenv("TORCHPROTECT_DISABLE_EXT", raising=False)
    return load_from


def refusing(folder):
    """Return a library whose registration is refused."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    source, library = folder / "refuses.c", folder / "librefuses.so"
    source.write_text("int torchprotect_register(void) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def empty(folder):
    (folder / "libempty.so").write_bytes(b"")
    return folder / "libempty.so"


def another(folder):
    """Return a library that loads but is none of ours."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    return library if library.is_file() else pytest.skip("no libtorch_cpu.so here")


def gone(folder):
    return folder / "libgone.so"


@pytest.mark.parametrize("make", [refusing, empty, another, gone])
def test_one_warning_names_the_file(load, tmp_path, make):
    library = make(tmp_path)
    (warning,) = load(library)
    assert warning.category is RuntimeWarning
    assert library.name in str(warning.message)
    assert str(tmp_path) not in str(warning.message).partition(":")[0]


def test_each_broken_library_has_its_warning(load, tmp_path):
    assert len(load(empty(tmp_path), gone(tmp_path))) == 2


def test_the_switch(load, monkeypatch, tmp_path):
    for value, warned in [("1", 0), ("true", 0), ("0", 1)]:
        monkeypatch.setenv("TORCHPROTECT_DISABLE_EXT", value)
        assert len(load(empty(tmp_path))) == warned


def test_libraries_of_another_cuda_are_left_alone(monkeypatch):
    if not LIBRARIES:
        pytest.skip("the kernels are not built")
    monkeypatch.setattr(torch.version, "cuda", "11.8")
    assert [path.name for path in _kernels._find()] == [LIBRARIES[0].name]
    monkeypatch.setattr(torch.version, "cuda", None)
    assert [path.name for path in _kernels._find()] == [LIBRARIES[0].name]


def test_kernels_are_used_where_they_must_be():
    """Set TORCHPROTECT_BUILD_EXT=1 where the build must have given kernels: a silent fallback is an error then."""
    if os.environ.get("TORCHPROTECT_BUILD_EXT", "0") != "1":
        pytest.skip("TORCHPROTECT_BUILD_EXT is not 1: kernels are not demanded")
    assert {kinds["cpu"] for kinds in ops.backend().values()} == {"compiled"}
