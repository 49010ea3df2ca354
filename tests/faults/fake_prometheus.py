"""A Prometheus that lies as told: for what a real one cannot be brought to say.

One server answers for many sources, each at an address of its own (`url("trips")`). As long as nothing is wrong with a
source, the versions in its `bad` fail half of their requests and all others none.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.servers.raw import RawRequest, RawServer, hang, packed

_VERSION = re.compile(r'version="([^"]*)"')
_ERROR = {"status": "error", "errorType": "execution", "error": "found duplicate series"}

Sample = dict[str, Any]
Fault = Callable[[list[Sample]], bytes]


def vector(samples: list[Sample], **more: Any) -> bytes:
    """A good answer, but for what its samples say."""
    data = {"resultType": "vector", "result": samples}
    return packed(json.dumps({"status": "success", "data": data, **more}))


def _every(samples: list[Sample], part: str, change: Callable[[float], object]) -> list[Sample]:
    """The samples with the value of one part changed."""
    return [
        one
        if one["metric"]["watchdog_part"] != part
        else {**one, "value": [one["value"][0], str(change(float(one["value"][1])))]}
        for one in samples
    ]


def _moved(samples: list[Sample], seconds: float) -> list[Sample]:
    return _every(samples, "newest", lambda at: at + seconds)


def _doubled(samples: list[Sample]) -> list[Sample]:
    return [{**one, "metric": {**one["metric"], "pod": pod}} for one in samples for pod in ("a", "b")]


#: What an answer is made of instead; every one of them says "half of the requests fail" to somebody who does not look.
FAULTS: dict[str, Fault] = {
    "status-503": lambda samples: packed(vector(samples).partition(b"\r\n\r\n")[2], status=503),
    "api-error": lambda _: packed(json.dumps(_ERROR), status=422),
    "warnings": lambda samples: vector(samples, warnings=["fetching from store 3: connection refused"]),
    "two-series": lambda samples: vector(_doubled(samples)),
    "empty": lambda _: vector([]),
    "no-total": lambda samples: vector([one for one in samples if one["metric"]["watchdog_part"] == "bad"]),
    "not-a-number": lambda samples: vector(_every(samples, "bad", lambda _: "NaN")),
    "infinite": lambda samples: vector(_every(samples, "total", lambda _: "+Inf")),
    "stale": lambda samples: vector(_moved(samples, -60)),
    "future": lambda samples: vector(_moved(samples, +60)),
    "impossible": lambda samples: vector(_every(samples, "bad", lambda bad: bad * 100)),
    "cut-off": lambda samples: packed(vector(samples).partition(b"\r\n\r\n")[2][:-20]),
    "a-login-page": lambda _: packed("<html>Please log in</html>"),
}
HANGING = "hanging"


class FakePrometheus:
    """`async with FakePrometheus() as prometheus:`."""

    def __init__(self) -> None:
        self.bad: dict[str, set[str]] = defaultdict(set)
        self.faults: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self._server = RawServer(self._answer)

    def url(self, source: str) -> str:
        return f"{self._server.url}/{source}"

    def settings(self, source: str) -> dict[str, Any]:
        """The configuration of one source."""
        return {"kind": "prometheus", "url": self.url(source), "timeout": "1s"}

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def _answer(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        source = request.path.split("/")[1]
        fault = self.faults.get(source, "")
        if not request.path.endswith("/api/v1/query"):
            writer.write(packed("no such page", status=404))
            return
        self.asked[source] += 1
        if fault == HANGING:
            await hang(request, writer)
        samples = self._samples(source, request.form["query"])
        writer.write(FAULTS.get(fault, vector)(samples))

    def _samples(self, source: str, query: str) -> list[Sample]:
        bad = bool(self.bad[source] & set(_VERSION.findall(query)))
        now = time.time()
        # Four samples in the window: Prometheus would have scraped some three times a second.
        parts = {"bad": 50.0 if bad else 0.0, "total": 100.0, "newest": now, "samples": 4.0}
        return [
            {"metric": {"watchdog_part": part}, "value": [now, str(value)]} for part, value in parts.items()
        ]
