"""A real Prometheus on loopback, scraping every second unless told otherwise.

Its first scrape comes some 5 s after the start, and as late it knows its Alertmanager: wait for `up()` and
`alertmanagers()`. An alert fired before that is sent again only a minute later.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.ports import free_port
from tests.servers.process import Process, answers, http_get
from tests.servers.require import require


@dataclass(frozen=True, kw_only=True)
class Target:
    """One page to scrape on 127.0.0.1; `labels` are put on its series."""

    job: str
    port: int
    path: str = "/metrics"
    labels: Mapping[str, str] = field(default_factory=dict)


def _import(history: str, file: Path, data: Path, *, blocks: str) -> None:
    file.write_text(f"{history.rstrip()}\n# EOF\n")
    promtool = require("promtool", package="prometheus")
    longest = f"--max-block-duration={blocks}"
    argv = [promtool, "tsdb", "create-blocks-from", "openmetrics", longest, str(file), str(data)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


class Prometheus(Process):
    """`url` is its address; `port` stays the same over restarts."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Target] = (),
        *,
        scrape_interval: str = "1s",
        evaluation_interval: str = "1s",
        rules: Sequence[Mapping[str, Any]] = (),
        alertmanager_port: int | None = None,
        history: str = "",
        blocks: str = "2h",
        flags: Sequence[str] = (),
    ) -> None:
        """`rules` are the rules of one group, as in a rule file (`alert`, `expr` … or `record`, `expr`).

        `history` is OpenMetrics text with timestamps, without its end: what was scraped before the start.
        `tests.servers.backfill` writes some; of days of it, `blocks` of `24h` are written in a tenth of the time.
        `flags` are more of the command line (`--query.max-samples=50000`).
        """
        binary = require("prometheus")
        data = folder / "prometheus-data"
        if history:
            _import(history, folder / "history.om", data, blocks=blocks)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": scrape_interval,
                "scrape_timeout": scrape_interval,
                "evaluation_interval": evaluation_interval,
            },
            "scrape_configs": [
                {
                    "job_name": f"{target.job}-{number}",
                    "metrics_path": target.path,
                    "static_configs": [
                        {
                            "targets": [f"127.0.0.1:{target.port}"],
                            "labels": {"job": target.job, **target.labels},
                        }
                    ],
                }
                for number, target in enumerate(targets)
            ],
        }
        if rules:
            rule_file = folder / "rules.yml"
            rule_file.write_text(json.dumps({"groups": [{"name": "test", "rules": list(rules)}]}))
            config["rule_files"] = [str(rule_file)]
        if alertmanager_port is not None:
            alertmanager = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}
            config["alerting"] = {"alertmanagers": [alertmanager]}
        config_file = folder / "prometheus.yml"
        config_file.write_text(json.dumps(config, indent=1))  # JSON is YAML
        super().__init__(
            [
                binary,
                f"--config.file={config_file}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--storage.tsdb.retention.time={'30d' if history else '2h'}",
                "--log.level=warn",
                *flags,
            ],
            log=folder / "prometheus.log",
            ready=answers(self.port, "/-/ready"),
            within=15.0,
        )

    def up(self) -> int:
        """How many targets answered their last scrape. Blocks."""
        status, body = http_get(self.port, "/api/v1/query?query=sum(up)")
        result = json.loads(body)["data"]["result"] if status == 200 else []
        return int(result[0]["value"][1]) if result else 0

    def alertmanagers(self) -> int:
        """How many Alertmanagers it would send to now. Blocks."""
        return len(json.loads(http_get(self.port, "/api/v1/alertmanagers")[1])["data"]["activeAlertmanagers"])
