"""Web servers on loopback that serve a folder, with and without byte ranges."""

import contextlib
import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class WithRanges(SimpleHTTPRequestHandler):
    """Serves a folder, and parts of its files."""

    def log_message(self, *args) -> None:
        pass

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            state = path.stat()
            self.send_header("ETag", f'"{state.st_mtime_ns:x}-{state.st_size:x}"')
        super().end_headers()

    def do_GET(self) -> None:
        path, asked = (
            Path(self.translate_path(self.path)),
            re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")),
        )
        if asked is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first > last:
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(content[first : last + 1])


class Redirecting(WithRanges):
    """Sends its visitors to signed URLs, as clouds do, but refuses to serve those."""

    def do_GET(self) -> None:
        if "X-Amz-Signature" in self.path:
            self.send_error(403)
            return
        self.send_response(302)
        self.send_header("Location", f"{self.path}?X-Amz-Signature=signed-by-a-test")
        super(SimpleHTTPRequestHandler, self).end_headers()


class WithoutRanges(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@contextlib.contextmanager
def serve_folder(folder: Path, handler: type = WithRanges) -> Iterator[str]:
    """Serve a folder over HTTP; yield its URL."""
    pytest.importorskip("aiohttp")  # fsspec's client
    handler = functools.partial(handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
