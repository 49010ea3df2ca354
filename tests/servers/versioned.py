"""The small service of `tests.servers.app`, started as its own process."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, answers


class VersionedApp(Process):
    """One version of the service on a free port; `control` changes it while it runs."""

    def __init__(self, folder: Path, *, version: str, service: str = "trips", fail_every: int = 0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.version = version
        super().__init__(
            [
                sys.executable,
                "-m",
                "tests.servers.app",
                f"--port={self.port}",
                f"--version={version}",
                f"--service={service}",
                f"--fail-every={fail_every}",
            ],
            log=folder / f"app-{version}-{self.port}.log",
            ready=answers(self.port, "/healthz"),
        )

    def control(
        self,
        *,
        fail_every: int | None = None,
        healthy: bool | None = None,
        delay: float | None = None,
        gauges: dict[str, float] | None = None,
    ) -> None:
        """Change the behaviour from the next request on. Blocks."""
        wanted = {"fail_every": fail_every, "healthy": healthy, "delay": delay, "gauges": gauges}
        body = json.dumps({name: value for name, value in wanted.items() if value is not None})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("POST", "/control", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 200:
            raise RuntimeError(f"the app refused {body} with {status}")
