"""A small server of the Open Inference Protocol on loopback that misbehaves as told, and keeps what it was sent."""

import contextlib
import json
import socket
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from oip_model import vectors_of


@dataclass
class Request:
    """One request as it came over the wire."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def tensor(self) -> torch.Tensor:
        [sent] = json.loads(self.body)["inputs"]
        return torch.tensor(sent["data"]).reshape(sent["shape"])


class FaultServer:
    """Answers each request by the next of some behaviours, and by the last one from then on."""

    def __init__(self, *behaviours, certificate=None, reads_slowly=False):
        self.requests: list[Request] = []
        self.behaviours = list(behaviours) or [right]
        self.closing = threading.Event()
        self.scheme = "https" if certificate else "http"
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = owner.read(self.rfile, int(self.headers["Content-Length"]))
                owner.requests.append(Request(self.path, self.headers.items(), body))
                behaviour = owner.behaviours.pop(0) if len(owner.behaviours) > 1 else owner.behaviours[0]
                with contextlib.suppress(OSError):  # clients hang up on those that misbehave
                    behaviour(self, owner)

            def log_message(self, *_):
                pass

        self.reads_slowly = reads_slowly
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if reads_slowly:
            self.server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def read(self, file, length: int) -> bytes:
        parts = []
        while length:
            parts.append(file.read(min(length, 1 << 16) if self.reads_slowly else length))
            length -= len(parts[-1])
            if self.reads_slowly:
                self.closing.wait(0.01)
        return b"".join(parts)

    def received(self) -> torch.Tensor:
        return torch.cat([request.tensor for request in self.requests])


def send(handler, status: int, body: bytes, headers=()) -> None:
    handler.send_response(status)
    for name, value in (*headers, ("Content-Length", str(len(body)))):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def message(vectors, **changes) -> bytes:
    vectors = np.asarray(vectors)
    output = {"name": "vectors", "shape": list(vectors.shape), "datatype": "FP32", "data": vectors.flatten().tolist()}
    return json.dumps({"model_name": "tiny", "outputs": [{**output, **changes}]}).encode()


def right(handler, owner) -> None:
    send(handler, 200, message(vectors_of(owner.requests[-1].tensor.numpy())))


def says(body: bytes, headers=()):
    return lambda handler, _: send(handler, 200, body, headers)


def answers(**changes):
    """Return a behaviour that answers with the right vectors but for some changes to their tensor."""
    return lambda handler, owner: send(handler, 200, message(vectors_of(owner.requests[-1].tensor.numpy()), **changes))


def status(code: int, text: str = "", **headers: str):
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda handler, _: send(handler, code, json.dumps({"error": text}).encode(), named)


def slow(handler, owner) -> None:
    """Say nothing until the test is over."""
    owner.closing.wait(30)
    handler.close_connection = True


def drip(handler, owner) -> None:
    """Send a byte now and then, for ever."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while not owner.closing.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def cut(handler, _) -> None:
    """Close the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def cut_short(handler, _) -> None:
    """Close the connection in the midst of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"outputs": [')
    handler.wfile.flush()
    cut(handler, _)


def endless(handler, owner) -> None:
    """Send more and more, in chunks."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    while not owner.closing.is_set():
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
