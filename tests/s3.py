"""An S3 server on loopback whose requests can be answered otherwise, to see what a fault does."""

import logging
import threading
import uuid


class S3Server:
    """moto's server in a thread.

    Attributes:
        url: of the endpoint.
        fault: ``None``, or a function of (environ, start_response) that may change the request, and returns an answer
            or ``None`` to let the server answer.
        requests: method and path of each request so far.
    """

    def __init__(self):
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class QuietHandler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *_):
                pass

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self.fault, self.requests = None, []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=QuietHandler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, environ, start_response):
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        answer = self.fault(environ, start_response) if self.fault is not None else None
        return self._app(environ, start_response) if answer is None else answer

    @property
    def environment(self):
        """Return environment variables that lead clients to this server."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIDTESTING",
            "AWS_SECRET_ACCESS_KEY": "secret-for-testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def make_bucket(self):
        """Return the URL of a new bucket."""
        import s3fs

        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        return f"s3://{bucket}"

    def stop(self):
        self._server.shutdown()


def error(status, code):
    """Return a fault: an error as S3 writes it."""

    def answer(environ, start_response):
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told by the test</Message></Error>".encode()
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def ignore_conditions(environ, start_response):
    """A fault: overwrite an object although the request forbids it, as some servers do."""
    environ.pop("HTTP_IF_NONE_MATCH", None)


def only(method, part, fault):
    """Return a fault that meets requests with this method and this part of a path."""
    return lambda environ, start_response: (
        fault(environ, start_response) if environ["REQUEST_METHOD"] == method and part in environ["PATH_INFO"] else None
    )


if __name__ == "__main__":  # a process of its own, for tests that kill others
    server = S3Server()
    print(server.url, flush=True)
    threading.Event().wait()
