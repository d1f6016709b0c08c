"""What the kernels declare and need of PyTorch, and what the built libraries need of the system."""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from torchprotect.ops import _kernels

HERE, SOURCES = Path(__file__).parent, Path(__file__).parents[2] / "cpp_ext" / "csrc"
HEADER = SOURCES / "abi" / "torch_abi.h"
TORCH = Path(torch.__file__).parent
FUNCTION = re.compile(r"^(AOTITorchError|int32_t|size_t) (\w+)\(([^)]*)((?:\)\([^)]*\)[^)]*)?)\);", re.MULTILINE)


def declared() -> list[str]:
    return [match[2] for match in FUNCTION.finditer(HEADER.read_text())]


def test_every_declaration_is_seen():
    """The other tests look at functions one by one: they must not lose any."""
    text = re.sub(r"//.*", "", HEADER.read_text())
    assert sorted(declared()) == sorted(re.findall(r"\b((?:aoti_)?torch_\w+)\(", text))
    assert len(declared()) > 20


# Declarations


@pytest.fixture(scope="module")
def compile_header():
    compiler = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    if not (TORCH / "include" / "torch" / "csrc" / "stable" / "c" / "shim.h").is_file():
        pytest.skip("this PyTorch comes without its headers")

    def run(header: Path = HEADER) -> tuple[bool, str]:
        flags = ["-std=c++20", "-fsyntax-only", "-DUSE_CUDA", "-isystem", str(TORCH / "include"), f"-I{SOURCES}"]
        flags.append(f'-DTORCH_ABI_HEADER="{header}"')
        command = [compiler, *flags, "-Wall", "-Wextra", "-Werror", str(HERE / "abi_check.cpp")]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode == 0, done.stderr

    return run


def test_declarations_are_those_of_pytorch(compile_header):
    compiles, errors = compile_header()
    assert compiles, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant",
    [r"double \2(\3\4);", r"\1 \2(double, \3\4);", r"\1 \2(\3\4, ...);"],
    ids=["result", "first argument", "last argument"],
)
def test_other_declarations_do_not_compile(compile_header, tmp_path, mutant):
    """Each of them is refused: so PyTorch declares each, and it is compared."""
    text = FUNCTION.sub(mutant, HEADER.read_text()).replace("(double, )", "(double)").replace("(, ...)", "(int)")
    changed = tmp_path / "torch_abi.h"
    changed.write_text(text)
    compiles, errors = compile_header(changed)
    assert not compiles
    lines = [line for line in errors.splitlines() if "error:" in line]
    assert [name for name in declared() if not any(re.search(rf"\b{name}\b", line) for line in lines)] == []


# The built libraries


LIBRARIES = [path for path in _kernels._find() if path.suffix == ".so"] if os.name == "posix" else []
if not LIBRARIES:
    LIBRARIES = [pytest.param(None, marks=pytest.mark.skip(reason="the kernels are not built"))]


def read(*command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def symbols(library: Path, kind: str) -> list[str]:
    return [line.split()[-1] for line in read("nm", "-D", f"--{kind}-only", str(library))]


def library_id(library: Path | None) -> str:
    return library.name if library else ""


@pytest.mark.parametrize("library", LIBRARIES, ids=library_id)
def test_symbols_of_pytorch(library):
    needed = [name for name in symbols(library, "undefined") if name.startswith(("aoti_torch_", "torch_"))]
    assert needed
    assert set(needed) <= set(declared())
    parts = [ctypes.CDLL(str(TORCH / "lib" / name)) for name in entries(library, "NEEDED") if "libtorch" in name]
    assert [name for name in needed if not any(hasattr(part, name) for part in parts)] == []


@pytest.mark.parametrize("library", LIBRARIES, ids=library_id)
def test_no_symbol_of_python_or_of_c10(library):
    for name in symbols(library, "undefined"):
        assert not name.startswith(("Py", "_Py", "_ZN3c10", "_ZN2at", "_ZN5torch")), name


@pytest.mark.parametrize("library", LIBRARIES, ids=library_id)
def test_nothing_is_exported_but_the_entry_points(library):
    entry_points = {"torchprotect_register", "torchprotect_limit_cpu_level", "torchprotect_read_stored"}
    assert "torchprotect_register" in symbols(library, "defined")
    assert not [name for name in symbols(library, "defined") if "torchprotect" in name and name not in entry_points]


def entries(library: Path, tag: str) -> list[str]:
    lines = [line for line in read("readelf", "-d", str(library)) if f"({tag})" in line]
    return [re.search(r"\[(.*)\]", line)[1] for line in lines]


@pytest.mark.parametrize("library", LIBRARIES, ids=library_id)
def test_needed_libraries(library):
    needed = entries(library, "NEEDED")
    assert "libtorch_cpu.so" in needed
    if "cuda" in library.name:
        assert "libtorch_cuda.so" in needed
        assert f"libcudart.so.{torch.version.cuda.partition('.')[0]}" in needed
    assert not [name for name in needed if "python" in name]
    assert entries(library, "RUNPATH") == entries(library, "RPATH") == []


@pytest.mark.parametrize("library", LIBRARIES, ids=library_id)
def test_old_systems_will_do(library):
    versions = [
        tuple(map(int, found[1].split(".")))
        for name in symbols(library, "undefined")
        if (found := re.search(r"@GLIBC_(\d+(?:\.\d+)*)", name))
    ]
    assert versions
    assert max(versions) <= (2, 17)
