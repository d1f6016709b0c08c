"""The command line answers without loading torch, and its idle threads leave the cores to others."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "numpy", "PIL", "scipy", "webdataset", "safetensors", "Crypto", "kornia")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
RUN = f"""
import atexit, runpy, sys
atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
sys.argv[0] = "torchprotect"
runpy.run_module("torchprotect", run_name="__main__")
"""
SHOW = """
import os, runpy, sys
from torchprotect import cli
cli.app = lambda: print({name: os.environ.get(name) for name in %r}, "torch" in sys.modules)
runpy.run_module("torchprotect", run_name="__main__")
"""


def python(program, *arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **variables})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        *([verb, "--help"] for verb in ("keygen", "inspect", "export", "verify", "index", "audit", "demo")),
    ],
    ids=" ".join,
)
def test_version_and_help_load_nothing_heavy(arguments):
    done = python(RUN, *arguments)
    assert done.stderr == "[]\n"
    assert done.stdout


def test_shell_completion_loads_nothing_heavy():
    done = python(RUN, _TORCHPROTECT_COMPLETE="complete_bash", COMP_WORDS="torchprotect exp", COMP_CWORD="1")
    assert (done.stdout.split(), done.stderr) == (["export"], "[]\n")


@pytest.mark.slow
def test_the_test_sees_what_is_loaded(tmp_path):
    sizes = ["--image-size", "8x8", "--block-size", "4x4"]
    assert "'torch'" in python(RUN, "keygen", "block-permute", "-o", str(tmp_path / "key"), *sizes).stderr


def test_idle_threads_sleep_from_before_torch_loads():
    shown = dict.fromkeys(WAITING) | {"OMP_WAIT_POLICY": "passive"}
    assert python(SHOW % (WAITING,)).stdout == f"{shown} False\n"


@pytest.mark.parametrize("name", WAITING)
def test_user_settings_are_kept(name):
    shown = dict.fromkeys(WAITING) | {name: "7"}
    assert python(SHOW % (WAITING,), **{name: "7"}).stdout == f"{shown} False\n"


@pytest.mark.slow
def test_the_library_leaves_the_environment_alone():
    program = "import os, torchprotect.cli, torchprotect.keys; print(os.environ.get('OMP_WAIT_POLICY'))"
    assert python(program).stdout == "None\n"
