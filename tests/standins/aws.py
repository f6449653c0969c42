"""A door in front of a stand-in AWS that can refuse, keep back and answer in its place.

`AwsDoor` speaks HTTP on loopback. What a test's rules do not answer goes to `upstream`, and every
call is kept: tests ask what was asked of AWS, not only what came of it.

AWS's own libraries ask again where an answer was lost, and most of EC2 refuses what is there
already. So an attempt that follows one that went well gets the answer of that one: what is lost
between two processes of a busy machine is no fault of AWS that a test could be about.
"""

from __future__ import annotations

import http.client
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

__all__ = ["Answer", "AwsDoor", "Call", "ec2_error", "refuse"]

_OWN = {"connection", "content-length"}
_HOPS = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


@dataclass(slots=True)
class Call:
    """One request: `action` is EC2's or STS's name for it, "" where it is none of theirs."""

    action: str
    parameters: dict[str, str]
    path: str
    method: str = "POST"
    invocation: str = ""  # the same for all attempts at one call
    attempt: str = ""  # `attempt=2; max=6`, as AWS's own libraries count
    status: int = 0  # of the answer, 0 until there is one

    def __str__(self) -> str:
        return f"{self.action or self.path} {self.invocation[:8]} {self.attempt} -> {self.status}"

    def values(self, prefix: str) -> list[str]:
        """Values of all parameters that begin so, such as `ResourceId.`."""
        return [value for name, value in self.parameters.items() if name.startswith(prefix)]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status of HTTP and a body of XML."""

    status: int
    body: str


_Said = tuple[int, dict[str, str], bytes]  # status, headers, body
Rule = Callable[[Call], Answer | None]
Edit = Callable[[Call, bytes], bytes]  # of what upstream is asked, or of what it said


def ec2_error(code: str, message: str = "as the test wants it", status: int = 400) -> Answer:
    """An error in the words of EC2."""
    return Answer(
        status,
        f'<?xml version="1.0"?><Response><Errors><Error><Code>{code}</Code>'
        f"<Message>{message}</Message></Error></Errors><RequestID>r-1</RequestID></Response>",
    )


def refuse(action: str, code: str, *, where: Callable[[Call], bool] = lambda _call: True) -> Rule:
    """A rule: calls of that action, of which `where` holds, end with that error."""

    def rule(call: Call) -> Answer | None:
        return ec2_error(code) if call.action == action and where(call) else None

    return rule


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # Terraform comes with ten connections at once

    def __init__(self, handler: type[BaseHTTPRequestHandler], faults: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.faults = faults

    def handle_error(self, *_: object) -> None:
        """Nobody to answer any more (a test killed who asked), or nobody behind the door."""
        self.faults.append(traceback.format_exc())


class AwsDoor:
    """A server of HTTP on loopback; `with AwsDoor(upstream) as door:` ends it."""

    def __init__(self, upstream: tuple[str, int] | None = None) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.last_rules: list[Rule] = []  # asked after all others
        self.asks: list[Edit] = []
        self.edits: list[Edit] = []
        self.calls: list[Call] = []
        self.faults: list[str] = []  # answers that never left: whoever asked asks again
        self._told: dict[str, _Said] = {}  # by invocation: what a rule had for it
        self._heard: dict[str, _Said] = {}  # what upstream had, before any edit
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                door.serve(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(Handler, self.faults)
        self._one_by_one = threading.Lock()  # moto gets into disorder when asked by several at once
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL is to be."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def asked(self, action: str) -> list[Call]:
        """The calls of one action so far."""
        return [call for call in self.calls if call.action == action]

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer by the first rule that has one, else as upstream does."""
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        form = request.headers.get("content-type", "").startswith("application/x-www-form")
        parameters = dict(parse_qsl(body.decode())) if form else {}
        call = Call(
            parameters.get("Action", ""),
            parameters,
            request.path,
            request.command,
            request.headers.get("amz-sdk-invocation-id", ""),
            request.headers.get("amz-sdk-request", ""),
        )
        self.calls.append(call)
        status, headers, said = self._by_rule(call) or self._by_upstream(call, request, body)
        call.status = status
        _reply(request, status, headers, said)

    def _by_rule(self, call: Call) -> _Said | None:
        if call.invocation in self._heard:
            return None
        if call.invocation in self._told:
            return self._told[call.invocation]
        for rule in [*self.rules, *self.last_rules]:
            if answer := rule(call):
                headers = {"content-type": "text/xml;charset=UTF-8"}
                said = answer.status, headers, answer.body.encode()
                return _kept(self._told, call, said)
        if self.upstream is None:
            answer = ec2_error("InternalError", "nobody behind the door", 500)
            return answer.status, {}, answer.body.encode()
        return None

    def _by_upstream(self, call: Call, request: BaseHTTPRequestHandler, body: bytes) -> _Said:
        with self._one_by_one:
            answer = self._heard.get(call.invocation)
            if answer is None:
                for ask in self.asks:
                    body = ask(call, body)
                answer = _kept(self._heard, call, self._forward(request, body))
        status, headers, said = answer
        for edit in self.edits:
            said = edit(call, said)
        return status, headers, said

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> _Said:
        assert self.upstream
        there = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN}
            there.request(request.command, request.path, body, headers)
            answer = there.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            there.close()

    def __enter__(self) -> AwsDoor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _kept(by_invocation: dict[str, _Said], call: Call, said: _Said) -> _Said:
    """The same; kept if the call went well. What was refused may be asked for again."""
    if call.invocation and said[0] < HTTPStatus.BAD_REQUEST:
        by_invocation[call.invocation] = said
    return said


def _reply(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], payload: bytes
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        if name.lower() not in _HOPS:
            request.send_header(name, value)
    request.send_header("content-length", str(len(payload)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(payload)
