"""A server with Prometheus's range API that tests can make refuse, limit, stall and lie, and that counts.

Every expression has one series, whose value at a moment is that moment (Unix seconds): what is twice, missing or
shifted shows. Written from the HTTP API's documentation ("Range queries", "Format overview") and web/api/v1/api.go.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

RESOLUTION = (
    "exceeded maximum resolution of 11,000 points per timeseries. "
    "Try decreasing the query resolution (?step=XX)"
)
SAMPLES = "query processing would load too many samples into memory in query execution"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One range query as it came."""

    method: str
    query: str
    start: float
    end: float
    step: float
    headers: dict[str, str]

    @property
    def points(self) -> int:
        return int((self.end - self.start) / self.step) + 1


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer other than the usual one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def error(status: int, kind: str, text: str) -> Said:
    body = json.dumps({"status": "error", "errorType": kind, "error": text}).encode()
    return Said(status=status, body=body)


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], warnings: tuple[str, ...] = ()) -> Said:
    data = {
        "resultType": "matrix",
        "result": [{"metric": metric, "values": pairs} for metric, pairs in series],
    }
    reply: dict[str, Any] = {"status": "success", "data": data}
    if warnings:
        reply["warnings"] = list(warnings)
    return Said(body=json.dumps(reply).encode())


def usual(asked: Request, *, warnings: tuple[str, ...] = ()) -> Said:
    moments = [asked.start + asked.step * number for number in range(asked.points)]
    return matrix(({"job": "trips"}, [(at, str(at)) for at in moments]), warnings=warnings)


class FakeRange:
    """A context manager; `answer` may be replaced, and may block. Refuses what Prometheus's limit of points refuses."""

    def __init__(
        self, answer: Callable[[Request], Said | None] = lambda _: None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """`answer` gives the answer to a request; `None` is the usual one."""
        self.answer = answer
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def asked(self) -> list[tuple[float, int]]:
        """Begin and number of points of every query so far, in order of time."""
        return sorted((one.start, one.points) for one in self.requests)

    def taken(self, asked: Request) -> Said:
        with self._lock:
            self.requests.append(asked)
        said = self.answer(asked)
        if said is None and (asked.end - asked.start) // asked.step > 11000:
            said = error(400, "bad_data", RESOLUTION)
        return usual(asked) if said is None else said

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._reply(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _reply(self, text: str) -> None:
                given = {name: values[0] for name, values in parse_qs(text).items()}
                asked = Request(
                    method=self.command,
                    query=given["query"],
                    start=float(given["start"]),
                    end=float(given["end"]),
                    step=float(given["step"]),
                    headers={name.lower(): value for name, value in self.headers.items()},
                )
                assert urlsplit(self.path).path == "/api/v1/query_range"
                said = fake.taken(asked)
                try:
                    self.send_response(said.status)
                    for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(said.body)
                except OSError:
                    self.close_connection = True  # the client went away

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                pass

        return Handler
