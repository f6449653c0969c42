"""A web server on loopback that holds one folder, understands ranges, and misbehaves on request."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import threading
import urllib.parse
from pathlib import Path


class Upstream:
    """`asked`: (method, path, range asked for) of every request, in order.

    `break_off_after`: bytes of a body after which the connection ends, one entry per reply;
    `ignores_ranges`: answer 200 with the whole file; `silent_about_length`: no Content-Length.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked: list[tuple[str, str, str]] = []
        self.break_off_after: list[int] = []
        self.ignores_ranges = False
        self.silent_about_length = False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Upstream:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def files(self) -> list[str]:
        """What was downloaded, in order."""
        return [path for method, path, _ in self.asked if method == "GET"]


def _handler(upstream: Upstream) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            body = self._answer()
            if upstream.break_off_after and body:
                body = body[: upstream.break_off_after.pop(0)]
            with contextlib.suppress(OSError):  # the client may be gone: that is its affair
                self.wfile.write(body)

        def _answer(self) -> bytes:
            path = urllib.parse.unquote(self.path)
            asked = self.headers.get("Range") or ""
            upstream.asked.append((self.command, path, asked))
            file = upstream.folder / path.lstrip("/")
            if not file.is_file():
                self.send_error(404, "not here")
                return b""
            data = file.read_bytes()
            span = re.fullmatch(r"bytes=(\d+)-", asked)
            begin = int(span[1]) if span and not upstream.ignores_ranges else 0
            if begin and begin >= len(data):
                self.send_error(416)
                return b""
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            if not upstream.silent_about_length:
                self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            return data[begin:]

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def sha256(data: bytes) -> str:
    """In hex, as artifacts.yml has it."""
    return hashlib.sha256(data).hexdigest()
