"""An S3 server on loopback, for one test session."""

import importlib.util
import logging
import uuid

import pytest

_INSTALLED = all(map(importlib.util.find_spec, ("s3fs", "moto", "flask")))


@pytest.fixture(scope="session")
def s3_server():
    """Start a server and return its URL."""
    if not _INSTALLED:
        pytest.skip("s3fs or moto[server] is not installed")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """Return the URL of an empty bucket; credentials and endpoint are in the environment."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDTESTING",
        "AWS_SECRET_ACCESS_KEY": "secret-for-testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(bucket)
    yield f"s3://{bucket}"
    s3fs.S3FileSystem.clear_instance_cache()
