"""An S3 server on loopback, one for a test session."""

import importlib.util

import pytest


@pytest.fixture(scope="session")
def s3_process_wide():
    if not all(map(importlib.util.find_spec, ("s3fs", "moto", "flask"))):
        pytest.skip("s3fs or moto[server] is not installed")
    from s3 import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3_server(s3_process_wide, monkeypatch):
    """Return the server; credentials and endpoint are in the environment."""
    import s3fs

    for name, value in s3_process_wide.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3_process_wide.fault = None
    s3_process_wide.requests.clear()
    yield s3_process_wide
    s3_process_wide.fault = None
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3(s3_server):
    """Return the URL of an empty bucket."""
    return s3_server.make_bucket()
