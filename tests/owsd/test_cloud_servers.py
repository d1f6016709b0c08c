"""The client of the Open Inference Protocol against real servers, MLServer and KServe's own.

They pin much, so they may live in an interpreter of their own, which TORCHPROTECT_OIP_PYTHON names; it needs mlserver
or kserve, and no torch. Without the variable they are looked for here.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from socket import socket

import pytest
import torch
from oip_model import MODEL, vectors_of
from support import make_image

from torchprotect.errors import CloudError
from torchprotect.owsd.cloud import InferenceProtocolCloud, ask
from torchprotect.owsd.ledger import Ledger

PYTHON = os.environ.get("TORCHPROTECT_OIP_PYTHON", sys.executable)
IMAGES = make_image(7, 3, 16, 12)
KEY = "ab" * 32


@pytest.fixture(scope="module", params=["mlserver", "kserve"])
def server(request, tmp_path_factory):
    kind = request.param
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({kind!r}) is None)"
    if subprocess.run([PYTHON, "-c", look]).returncode:
        pytest.skip(f"{PYTHON} has no {kind}; name an interpreter that has it in TORCHPROTECT_OIP_PYTHON")
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp(kind) / "log"
    with log.open("wb") as output:
        command = [PYTHON, "-c", f"import oip_{kind}; oip_{kind}.serve({port})"]
        process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/v2/models/{MODEL}/ready", process, log)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_until_ready(url, process, log):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
                return answer.read()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def client(url, **options):
    return InferenceProtocolCloud(url, MODEL, **{"input_name": "image", "output": "vectors", **options})


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_vectors_are_those_of_the_images(server, datatype, layout):
    images = IMAGES.numpy() if datatype == "UINT8" else (IMAGES / 255).numpy()
    sent = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
    got = client(server[1], datatype=datatype, layout=layout, batch_size=3)(IMAGES)
    torch.testing.assert_close(got, torch.from_numpy(vectors_of(sent)), rtol=1e-5, atol=1e-6)


def test_large_images(server):
    images = make_image(16, 3, 256, 256)
    got = client(server[1])(images)
    torch.testing.assert_close(got, torch.from_numpy(vectors_of(images.numpy())), rtol=1e-5, atol=1e-6)


def test_asking_through_the_ledger(server, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    got = ask(client(server[1]), IMAGES, ledger=ledger, fingerprint=KEY)
    torch.testing.assert_close(got, torch.from_numpy(vectors_of(IMAGES.numpy())), rtol=1e-5, atol=1e-6)
    assert ledger.use(KEY).used == 7


def test_server_errors(server):
    with pytest.raises(CloudError, match="2 outputs: seen, vectors"):
        client(server[1], output=None)(IMAGES)
    with pytest.raises(CloudError, match="HTTP 404") as caught:
        InferenceProtocolCloud(server[1], "another", input_name="image")(IMAGES)
    assert not caught.value.again
    with pytest.raises(CloudError, match="HTTP 500") as caught:  # the tiny model raises
        client(server[1], input_name="picture")(IMAGES)
    assert caught.value.again


def test_a_server_that_hangs_and_then_dies(server):
    """Must be the last test: the server is not restarted."""
    process, url = server
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(CloudError, match="not answer in time") as caught:
        client(url, timeout=(1.0, 0.3))(IMAGES)
    assert caught.value.again
    process.kill()
    process.wait()
    with pytest.raises(CloudError, match="cannot be made or is cut") as caught:
        client(url)(IMAGES)
    assert caught.value.again
