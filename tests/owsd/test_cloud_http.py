"""The client of the Open Inference Protocol against a server that misbehaves."""

import json
import pickle
import shutil
import socket
import subprocess
import threading
import traceback

import pytest
import requests
import torch
from fault_server import (
    FaultServer,
    answers,
    cut,
    cut_short,
    drip,
    endless,
    message,
    right,
    says,
    slow,
    status,
)
from oip_model import vectors_of
from support import make_image

from torchprotect.errors import CloudError, InputRangeError, InputShapeError, InputTypeError
from torchprotect.owsd import _http
from torchprotect.owsd.cloud import CloudBusyError, InferenceProtocolCloud

IMAGES = make_image(5, 3, 8, 6)


def client(server, **options):
    options = {"input_name": "image", "timeout": (2.0, 2.0), **options}
    return InferenceProtocolCloud(server if isinstance(server, str) else server.url, "tiny", **options)


def failing(server, images=IMAGES, **options):
    with pytest.raises(CloudError) as caught:
        client(server, **options)(images)
    return caught.value


def test_requests_hold_the_images_only():
    with FaultServer() as server:
        vectors = client(server, batch_size=2)(IMAGES)
        assert torch.equal(vectors, torch.from_numpy(vectors_of(IMAGES.numpy())))
        assert vectors.dtype == torch.float32
        assert [len(request.tensor) for request in server.requests] == [2, 2, 1]
        assert torch.equal(server.received(), IMAGES)
        for request in server.requests:
            sent = json.loads(request.body)
            assert list(sent) == ["inputs"]
            [tensor] = sent["inputs"]
            assert {**tensor, "shape": 0, "data": 0} == {"name": "image", "shape": 0, "datatype": "UINT8", "data": 0}
            assert all(type(level) is int for level in tensor["data"])
            assert request.path == "/v2/models/tiny/infer"
            assert dict(request.headers) == {
                "Host": server.url.removeprefix("http://"),
                "User-Agent": requests.utils.default_user_agent(),
                "Accept-Encoding": "identity",
                "Accept": "*/*",
                "Connection": "keep-alive",
                "Content-Length": str(len(request.body)),
                "Content-Type": "application/json",
            }


def test_forms_of_the_tensor():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    floats = IMAGES / 255
    normalised = (floats - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    small = torch.nn.functional.interpolate(IMAGES.float(), (4, 3), mode="bilinear", antialias=True)
    for options, wanted in [
        ({"datatype": "FP32"}, floats),
        ({"datatype": "FP32", "mean": mean, "std": std}, normalised),
        ({"datatype": "FP32", "size": (4, 3)}, small / 255),
        ({"size": (4, 3)}, small.round()),
        ({"layout": "NHWC"}, IMAGES.permute(0, 2, 3, 1)),
        ({"size": (8, 6)}, IMAGES),
    ]:
        with FaultServer() as server:
            client(server, **options)(IMAGES)
            torch.testing.assert_close(server.received().float(), wanted.float(), rtol=0, atol=2e-6)


def test_address_output_and_version():
    with FaultServer() as server:
        cloud = InferenceProtocolCloud(
            server.url + "/base/", "a/b c", input_name="image", version="2", output="vectors"
        )
        cloud(IMAGES)
        [request] = server.requests
        assert request.path == "/base/v2/models/a%2Fb%20c/versions/2/infer"
        assert json.loads(request.body)["outputs"] == [{"name": "vectors"}]


def test_nested_data_and_other_floats():
    wanted = torch.from_numpy(vectors_of(IMAGES.numpy()))
    for changes in ({"data": wanted.tolist()}, {"datatype": "FP64"}, {"datatype": "FP16"}):
        with FaultServer(answers(**changes)) as server:
            assert torch.equal(client(server)(IMAGES), wanted)


NOT_AGAIN = {
    "400": (status(400, "bad request"), "HTTP 400: bad request"),
    "401": (status(401), "HTTP 401"),
    "404": (status(404, "no such model"), "HTTP 404: no such model"),
    "413": (status(413), "HTTP 413"),
    "204": (status(204), "HTTP 204"),
    "not JSON": (says(b"<html>hello</html>"), "not JSON"),
    "deep JSON": (says(b"[" * 100_000), "not JSON"),
    "no outputs": (says(b'{"outputs": 3}'), "no list of outputs"),
    "not a dictionary": (says(b"[1, 2]"), "no list of outputs"),
    "two outputs": (says(b'{"outputs": [{"name": "a"}, {"name": "b"}]}'), "2 outputs: a, b"),
    "too few vectors": (says(message(torch.ones(4, 10))), "4 vectors to 5 images"),
    "wrong shape": (answers(shape=[5, 5, 2]), r"\[5, V\], not of shape \[5, 5, 2\]"),
    "shape of truths": (answers(shape=[5, True]), "not of shape"),
    "no numbers": (answers(shape=[5, 0], data=[]), "not of shape"),
    "fewer numbers than the shape says": (answers(data=[1.0] * 49), "5 x 10 numbers, but there are 49"),
    "ragged": (answers(data=[[1.0] * 10] * 4 + [[1.0] * 9]), "10 numbers"),
    "binary": (answers(data=None), "none in JSON"),
    "integers": (answers(datatype="INT64"), "not INT64"),
    "text": (answers(data=["1"] * 50), "not numbers"),
    "null": (answers(data=[None] * 50), "not numbers"),
    "truths": (answers(data=[True] * 50), "not numbers"),
    "NaN": (answers(data=[1.0] * 49 + [float("nan")]), "NaN or infinite"),
    "beyond float32": (answers(data=[1.0] * 49 + [1e300]), "NaN or infinite"),
    "beyond float64": (answers(data=[1.0] * 49 + [10**400]), "too large"),
    "compressed": (says(b"{}", [("Content-Encoding", "gzip")]), "compresses"),
}
AGAIN = {
    "429": (status(429, "slow down"), "HTTP 429: slow down"),
    "500": (status(500), "HTTP 500"),
    "502": (status(502), "HTTP 502"),
    "503": (status(503), "HTTP 503"),
    "504": (status(504), "HTTP 504"),
    "cut": (cut, "cut"),
    "cut short": (cut_short, "cut"),
}


@pytest.mark.parametrize("name", NOT_AGAIN)
def test_wrong_answers_are_not_retried(name):
    behaviour, text = NOT_AGAIN[name]
    with FaultServer(behaviour) as server:
        error = failing(server)
        assert not error.again
        assert len(server.requests) == 1
        with pytest.raises(CloudError, match=text):
            raise error


@pytest.mark.parametrize("name", AGAIN)
def test_transient_failures_are_marked_and_not_retried(name):
    behaviour, text = AGAIN[name]
    with FaultServer(behaviour, right) as server:
        cloud = client(server)
        with pytest.raises(CloudError, match=text) as caught:
            cloud(IMAGES)
        assert caught.value.again
        assert len(server.requests) == 1
        assert torch.equal(cloud(IMAGES), torch.from_numpy(vectors_of(IMAGES.numpy())))


@pytest.mark.parametrize("behaviour", [slow, drip])
def test_timeouts(behaviour):
    with FaultServer(behaviour) as server:
        error = failing(server, timeout=(2.0, 0.2))
        assert error.again
        assert "time" in str(error) or "takes longer" in str(error)


@pytest.mark.slow
def test_sending_may_take_longer_than_connecting():
    with FaultServer(reads_slowly=True) as server:
        images = make_image(16, 3, 256, 256)
        client(server, timeout=(1.0, 20.0))(images)
        assert torch.equal(server.received(), images)


def test_a_connection_cut_in_the_tls_handshake():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            connection, _ = listener.accept()
            connection.recv(100_000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = failing(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert error.again
    assert "cut" in str(error)


def test_connection_refused():
    with FaultServer() as server:
        pass
    error = failing(server)
    assert error.again
    assert "cannot be made" in str(error)


def test_an_answer_that_never_ends(monkeypatch):
    monkeypatch.setattr(_http, "MOST_BYTES", 1 << 20)
    with FaultServer(endless) as server:
        error = failing(server)
        assert not error.again
        assert "longer than 1,048,576 bytes" in str(error)


def test_length_may_not_change():
    shorter = says(message(torch.ones(2, 9)))
    with FaultServer(right, shorter) as server:
        assert "10 numbers before, and now have 9" in str(failing(server, batch_size=2))
    with FaultServer(right, shorter) as server:
        cloud = client(server)
        cloud(IMAGES)
        with pytest.raises(CloudError, match="10 numbers before, and now have 9"):
            cloud(IMAGES[:2])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code):
    with FaultServer() as elsewhere:
        location = {"Location": f"{elsewhere.url}/v2/models/tiny/infer"}
        with FaultServer(status(code, **location), right) as server:
            error = failing(server)
            assert not error.again
            assert "redirect" in str(error)
            assert len(server.requests) == 1
        with FaultServer(status(code, Location="/v2/models/tiny/infer"), right) as server:
            assert "redirect" in str(failing(server))
        assert not elsewhere.requests


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [("7", 7, 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("Wed, 21 Oct 2115 07:28:00 -0000", 1e9, 1e10)],
)
def test_retry_after(said, low, high):
    for code in (429, 503):
        with FaultServer(status(code, Retry_After=said)) as server:
            error = failing(server)
            assert isinstance(error, CloudBusyError)
            assert error.again
            assert low <= error.wait <= high
    for code, text in ((429, "soon"), (429, "-3"), (400, "7")):
        with FaultServer(status(code, Retry_After=text)) as server:
            assert not isinstance(failing(server), CloudBusyError)


TOKEN, API_KEY = "tok-3N.c0/de+d=", "key 8c1f99ab"


def echo(code):
    """Return a behaviour that sends headers and pixels back in its error."""

    def behave(handler, owner):
        sent = owner.requests[-1]
        given = f"token={TOKEN} x-{TOKEN[:-1]}x {dict(sent.headers)['Authorization']} '{API_KEY}'"
        text = f"{given} {sent.tensor.flatten().tolist()}"
        status(code, text)(handler, owner)

    return behave


@pytest.mark.parametrize("behaviour", [echo(400), echo(503), cut, slow])
def test_no_secrets_and_no_pixels_in_errors(behaviour):
    with FaultServer(behaviour) as server:
        cloud = client(server, token=lambda: TOKEN, headers={"X-Api-Key": API_KEY}, timeout=(2.0, 0.3))
        with pytest.raises(CloudError) as caught:
            cloud(torch.full((2, 3, 4, 4), 211, dtype=torch.uint8))
    assert dict(server.requests[0].headers)["Authorization"] == f"Bearer {TOKEN}"
    assert dict(server.requests[0].headers)["X-Api-Key"] == API_KEY
    assert caught.value.__context__ is None  # no chained error, which would hold the request
    for text in (str(caught.value), repr(cloud), *traceback.format_exception_only(caught.value)):
        for word in (TOKEN, "3N.c0", API_KEY, "8c1f99ab", "211"):
            assert word not in text.replace(server.url.rpartition(":")[2], "port")


def test_token_is_called_for_each_request():
    tokens = iter(["first", "second", "third"])
    with FaultServer() as server:
        client(server, batch_size=2, token=lambda: next(tokens))(IMAGES)
        sent = [dict(request.headers)["Authorization"] for request in server.requests]
        assert sent == ["Bearer first", "Bearer second", "Bearer third"]
        for wrong in ("", "two words", "line\nbreak", None):
            with pytest.raises(InputRangeError) as caught:
                client(server, token=lambda wrong=wrong: wrong)(IMAGES)
            assert "break" not in str(caught.value)
        assert len(server.requests) == 3


def test_no_cookies_are_kept():
    with FaultServer(says(message(torch.ones(2, 3)), [("Set-Cookie", "who=you; Path=/")])) as server:
        client(server, batch_size=2)(IMAGES[:4])
        assert len(server.requests) == 2
        assert not [name for request in server.requests for name, _ in request.headers if name.lower() == "cookie"]


def test_proxies_come_from_the_environment_but_not_for_loopback(monkeypatch, tmp_path):
    """A file with passwords is not read in either case, though requests would."""
    (tmp_path / "netrc").write_text(
        "machine cloud.invalid login me password x\nmachine 127.0.0.1 login me password x\n"
    )
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer() as proxy, FaultServer() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        client(server)(IMAGES)
        assert not proxy.requests
        client("http://cloud.invalid")(IMAGES)
        assert [request.path for request in proxy.requests] == ["http://cloud.invalid/v2/models/tiny/infer"]
        headers = [name for request in proxy.requests + server.requests for name, _ in request.headers]
        assert "Authorization" not in headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    with open(path, "a") as file:
        file.write((path.parent / "certificate.pem.crt").read_text())
    return path


def test_certificates_are_verified(certificate, monkeypatch, tmp_path):
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    with FaultServer(certificate=certificate) as server:
        error = failing(server)
        assert not error.again
        assert "certificate" in str(error)
        error = failing(server.url.replace("127.0.0.1", "localhost"), ca_bundle=f"{certificate}.crt")
        assert not error.again  # the certificate is for another name
        assert "certificate" in str(error)
        (tmp_path / "nonsense").write_text("no certificate")
        error = failing(server, ca_bundle=tmp_path / "nonsense")
        assert not error.again
        assert "ca_bundle" in str(error)
        assert not server.requests
        cloud = client(server, ca_bundle=f"{certificate}.crt", token=lambda: "token")
        assert torch.equal(cloud(IMAGES), torch.from_numpy(vectors_of(IMAGES.numpy())))
        assert torch.equal(server.received(), IMAGES)
    with FaultServer() as server:
        error = failing(server.url.replace("http", "https"))
        assert not error.again
        assert not server.requests


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "ftp://host"},
        {"url": "host:8000"},
        {"url": "http://"},
        {"url": "https://me:word@host"},
        {"url": "https://me@host"},
        {"url": "https://host?key=word"},
        {"url": "https://host#word"},
        {"url": "https://host:99999"},
        {"url": "https://ho st"},
        {"url": 3},
        {"model": ""},
        {"model": ".."},
        {"model": None},
        {"version": 3},
        {"input_name": ""},
        {"output": ""},
        {"datatype": "INT8"},
        {"layout": "CHW"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"datatype": "FP32", "std": (0.5, 0.5, 0.0)},
        {"datatype": "FP32", "mean": (0.5, 0.5)},
        {"datatype": "FP32", "mean": (0.5, 0.5, float("nan"))},
        {"size": 224},
        {"size": (0, 224)},
        {"batch_size": 0},
        {"batch_size": True},
        {"timeout": 3},
        {"timeout": (None, 3)},
        {"timeout": (0, 3)},
        {"timeout": (1, float("inf"))},
        {"headers": {"X": "line\nbreak"}},
        {"headers": {"X Y": "word"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"Authorization": "word"}, "token": lambda: "word"},
        {"url": "http://host", "token": lambda: "word"},
        {"url": "HTTP://host", "token": lambda: "word"},
        {"url": "http://host", "headers": {"authorization": "word"}},
        {"ca_bundle": False},
        {"ca_bundle": True},
        {"ca_bundle": "no/such/file"},
    ],
)
def test_bad_options(changes):
    options = {"url": "https://host", "model": "tiny", "input_name": "image", **changes}
    with pytest.raises(InputRangeError) as caught:
        InferenceProtocolCloud(options.pop("url"), options.pop("model"), **options)
    assert "word" not in str(caught.value).replace("password", "")


def test_bad_images():
    with FaultServer() as server:
        cloud = client(server)
        for images, error in [
            (IMAGES.float() / 255, InputTypeError),
            (IMAGES.numpy(), InputTypeError),
            (IMAGES[0], InputShapeError),
            (IMAGES[:, :1], InputShapeError),
            (IMAGES[:0], InputShapeError),
        ]:
            with pytest.raises(error):
                cloud(images)
        assert not server.requests


def test_repr_and_pickle():
    cloud = InferenceProtocolCloud("https://host", "tiny", input_name="image", headers={"X-Api-Key": API_KEY})
    assert "https://host/v2/models/tiny/infer" in repr(cloud)
    assert API_KEY not in repr(cloud) + repr(vars(cloud))
    with FaultServer() as server:
        assert torch.equal(pickle.loads(pickle.dumps(client(server)))(IMAGES), client(server)(IMAGES))  # noqa: S301


def test_without_requests(monkeypatch):
    monkeypatch.setattr("torchprotect.owsd._inference_protocol.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install requests, or, .* pip install \"\.\[cloud\]\""):
        client("https://host")
