"""One `watchdog demo --keep` for all pages: started, followed to its end, always stopped."""

from __future__ import annotations

import http.client
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.docs.player import Demo
from tests.servers.process import Process
from tests.servers.require import require

_EXPORT = re.compile(r"export WATCHDOG_URL=(\S+) WATCHDOG_TOKEN=(\S+)")
_LAST = re.compile(r"watchdog audit verify -c \S+\n")


class KeptDemo(Process):
    """The command itself, as people type it."""

    def __init__(self, folder: Path) -> None:
        require("haproxy")
        argv = [str(Path(sys.executable).parent / "watchdog"), "demo", "--keep"]
        super().__init__(
            argv, log=folder / "demo.log", ready=self._settled, within=70.0, env={"PYTHONUNBUFFERED": "1"}
        )

    def demo(self) -> Demo:
        """How to reach it."""
        found = _EXPORT.search(self.output())
        assert found is not None, self.output()
        # A token is no use to readers, and what looks like one should not stand in a repository.
        printed = self.output().replace(found[2], "THE-TOKEN-OF-THIS-RUN")
        return Demo(printed=printed, url=found[1], token=found[2])

    def _settled(self) -> bool:
        """It has printed everything, and the version that is back is stable again."""
        if _LAST.search(self.output()) is None:
            return False
        demo = self.demo()
        connection = http.client.HTTPConnection(demo.url.removeprefix("http://"), timeout=5.0)
        try:
            connection.request(
                "GET", "/api/v1/services/shop", headers={"Authorization": f"Bearer {demo.token}"}
            )
            service: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return bool(service["deployment"]["state"] == "stable")
