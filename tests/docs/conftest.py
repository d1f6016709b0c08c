import importlib.util
import sys

import pytest

from torchprotect.demo import SAMPLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the empty folder that a page runs in. Modules that it writes there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["page"])
    monkeypatch.setenv("SOURCE", SAMPLE)  # the shell variable of docs/reference/command-line.md
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def s3_server(monkeypatch):
    """Return a server that has the bucket s3://bucket; credentials and endpoint are in the environment."""
    if not all(map(importlib.util.find_spec, ("s3fs", "moto", "flask"))):
        pytest.skip("s3fs or moto[server] is not installed")
    import s3fs
    from s3 import S3Server

    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
    yield server
    server.stop()
