"""A Prometheus that is asked once a tick for all services, and knows of each whether its live version is bad."""

from __future__ import annotations

import asyncio
import json
import time
from types import TracebackType
from typing import Any, Self

from tests.faults.recorded import Recorded
from tests.servers.raw import RawRequest, RawServer, packed

#: The rule that goes with it: bare, so that one sample is enough and a life can be short.
RULE: dict[str, Any] = {
    "name": "error-rate",
    "unit": "ratio",
    "source": "numbers",
    "ratio": {"bad": 'http_requests_total{status=~"5.."}', "total": "http_requests_total"},
    "match": {"service": "name"},
    "window": "1s",
    "threshold": {"warning": "1%", "critical": "2%", "rollback": "150%"},
    "hold": {"warning": "1 samples", "critical": "1 samples", "rollback": "1 samples"},
    "clear": "1 samples",
    "evidence": "none",
}


class Numbers:
    """`async with Numbers(recorded, names) as numbers:`; half of the requests of the versions in `bad` fail."""

    def __init__(self, recorded: Recorded, names: list[str]) -> None:
        self.bad: set[str] = set()
        self._recorded = recorded
        self._names = names
        self._server = RawServer(self._answer)

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": "prometheus", "url": self._server.url, "timeout": "5s"}

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def _answer(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        self._server.requests.clear()
        if not request.path.endswith("/api/v1/query"):
            writer.write(packed("no such page", status=404))
            return
        now = time.time()
        samples = [sample for name in self._names for sample in self._samples(name, now)]
        answer = {"status": "success", "data": {"resultType": "vector", "result": samples}}
        writer.write(packed(json.dumps(answer)))

    def _samples(self, name: str, now: float) -> list[dict[str, Any]]:
        bad = 50.0 if self._recorded.version(name) in self.bad else 0.0
        parts = {"bad": bad, "total": 100.0, "newest": now, "samples": 4.0}
        return [
            {"metric": {"service": name, "watchdog_part": part}, "value": [now, str(value)]}
            for part, value in parts.items()
        ]
