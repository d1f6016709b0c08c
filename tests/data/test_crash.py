"""Kill exports at random moments; what is left must be whole files only, and a resume must give the same bytes."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import content, make_bundle

from torchprotect import keys

# A process of its own, so that the exports are forked from a small and quiet one. It reads "OUT WORKERS" lines, starts
# each export as the leader of a new process group, and says its process id, then how it ended.
DRIVER = """
import os, sys
import torch
from torchprotect import data, keys, transforms
from torchprotect.errors import ExportError

class Pictures(torch.utils.data.Dataset):
    noise = torch.randint(0, 256, (40000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    def __len__(self): return 20000
    def __getitem__(self, i): return self.noise[i : i + 256].reshape(1, 16, 16), i % 10

torch.set_num_threads(1)
bundle = keys.load(sys.argv[1])
transform = transforms.from_key(bundle, noise=20)
for line in sys.stdin:
    out, workers = line.split()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            data.export(Pictures(), out, transform=transform, key=bundle, shard_size=500, workers=int(workers))
        except ExportError as error:
            os._exit(3 if "in use" in str(error) else 4)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLS = 20


class Driver:
    def __init__(self, key):
        command = [sys.executable, "-c", DRIVER, str(key)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, out, workers):
        self.process.stdin.write(f"{out} {workers}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())

    def finish(self, out, workers):
        """Run to the end; workers of a killed export may still hold the folder for a moment."""
        for _ in range(200):
            self.start(out, workers)
            if (code := self.wait()) != 3:
                return code
            time.sleep(0.05)
        raise AssertionError("the folder stays locked")


@pytest.fixture
def driver(tmp_path):
    keys.save(make_bundle("rmt"), tmp_path / "key")
    driver = Driver(tmp_path / "key")
    yield driver
    driver.process.stdin.close()
    driver.process.wait(30)
    driver.process.stdout.close()


def group_members(group):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[2]) == group and stat[0] != "Z":
                found.append(int(entry))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_resumed_after_twenty_kills(tmp_path, driver):
    assert driver.finish(tmp_path / "undisturbed", 0) == 0
    start = time.monotonic()
    assert driver.finish(tmp_path / "again", 2) == 0
    duration = time.monotonic() - start
    expected = content(tmp_path / "undisturbed")
    out, kills, rounds = tmp_path / "out", 0, 0
    while kills < KILLS:
        child = driver.start(out, 2)
        time.sleep(random.uniform(0, duration / 2))
        whole_group = kills % 2 == 0
        with contextlib.suppress(ProcessLookupError):  # it may be through already
            (os.killpg if whole_group else os.kill)(child, signal.SIGKILL)
        kills += driver.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 10
        while group_members(child):  # workers end when their parent ends
            assert time.monotonic() < deadline, "workers outlive their parent"
            time.sleep(0.01)
        left = content(out) if out.exists() else {}
        for name, body in left.items():
            if not name.endswith(".tmp") and not name.startswith("report-"):
                assert body == expected[name], f"{name} is not whole"
        if "manifest.json" in left:  # it was through before the kill came: begin a new one
            assert driver.finish(out, 1) == 0
            assert content(out) == expected
            out, rounds = tmp_path / f"out{rounds}", rounds + 1
    assert driver.finish(out, 1) == 0
    assert content(out) == expected


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_killed_worker_is_an_error_and_the_export_resumes(tmp_path, driver):
    assert driver.finish(tmp_path / "undisturbed", 0) == 0
    child = driver.start(tmp_path / "out", 2)
    deadline = time.monotonic() + 20
    while len(members := group_members(child)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(max(members), signal.SIGKILL)
    assert driver.wait() == 4
    assert driver.finish(tmp_path / "out", 2) == 0
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
