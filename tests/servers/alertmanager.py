"""A real Alertmanager on loopback that sends everything at once to one webhook."""

from __future__ import annotations

import json
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from tests.servers.require import require


class Alertmanager(Process):
    """No cluster, no group wait: what remains is its own time."""

    def __init__(self, folder: Path, *, webhook: str, token: str = "") -> None:
        """`token` is presented to the webhook."""
        binary = require("prometheus-alertmanager")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config_file = folder / "alertmanager.yml"
        hook: dict[str, object] = {"url": webhook}
        if token:
            hook["http_config"] = {"authorization": {"credentials": token}}
        config_file.write_text(
            json.dumps(
                {
                    "route": {
                        "receiver": "hook",
                        "group_by": ["..."],
                        "group_wait": "0s",
                        "group_interval": "1s",
                        "repeat_interval": "1h",
                    },
                    "receivers": [{"name": "hook", "webhook_configs": [hook]}],
                }
            )
        )
        super().__init__(
            [
                binary,
                f"--config.file={config_file}",
                f"--storage.path={folder / 'alertmanager-data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            log=folder / "alertmanager.log",
            ready=answers(self.port, "/-/ready"),
        )
