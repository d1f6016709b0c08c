"""The CPU kernels built with the address and the undefined-behaviour sanitizer: memory, and numbers that overflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE, SOURCES = Path(__file__).parent, Path(__file__).parents[2] / "cpp_ext"


def runtime(compiler: str, name: str) -> str:
    """Return the path of a sanitizer's shared library."""
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"the compiler has no {name}")
    return str(Path(path).resolve())


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The library, and what to preload before it."""
    compiler = shutil.which("g++")
    if sys.platform != "linux" or compiler is None or shutil.which("cmake") is None:
        pytest.skip("needs Linux, g++ and cmake")
    preloaded = [runtime(compiler, "libasan.so"), runtime(compiler, "libubsan.so")]
    folder = tmp_path_factory.mktemp("sanitized")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    flags = [f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1"]
    flags += ["-DTORCHPROTECT_SANITIZE=address,undefined", "-DTORCHPROTECT_CUDA=OFF"]
    for arguments in ([*generator, "-S", str(SOURCES), "-B", str(folder), *flags], ["--build", str(folder), "-j2"]):
        done = subprocess.run(["cmake", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "libtorchprotect_cpu.so", preloaded


def run(sanitized, *command):
    """Run a Python program with the path of the library as its last argument."""
    library, preloaded = sanitized
    variables = {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",  # Python itself leaks on purpose
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TORCHPROTECT_DISABLE_EXT": "1",
        "PYCRYPTODOME_DISABLE_DEEPBIND": "1",  # the sanitizer refuses libraries loaded so
        "PYTHONPATH": f"{HERE}:{HERE.parent}",
    }
    command = [sys.executable, *command, str(library)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **variables})


def test_no_report(sanitized):
    done = run(sanitized, str(HERE / "sanitized.py"))
    report = [line for line in done.stderr.splitlines() if "runtime error" in line or "Sanitizer" in line]
    assert report == [], done.stderr[-4000:]
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.startswith("checked ")
    assert int(done.stdout.split()[1]) > 500


def test_sanitizer_detects_errors(sanitized):
    """An image whose memory ends one byte early is reported: the test above can fail."""
    program = (
        "import sys, ctypes, torch; from torchprotect import ops; ctypes.CDLL(sys.argv[1]).torchprotect_register();"
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; memory = libc.malloc(8 * 12 - 1);"
        "short = (ctypes.c_char * 96).from_address(memory);"
        "image = torch.frombuffer(short, dtype=torch.uint8).view(1, 8, 12);"
        "ops.block_permute(image, torch.arange(6), (4, 4))"
    )
    done = run(sanitized, "-c", program)
    assert "heap-buffer-overflow" in done.stderr
    assert done.returncode == 99
