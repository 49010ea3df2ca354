"""A configuration of real kinds whose outside is files in the test's folder: nothing is asked over a network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from watchdog.config.load import load
from watchdog.config.loaded import Configuration

RULES = """version: 1
rules:
  - name: error-rate
    unit: ratio
    ratio:
      bad: 'requests_total{service="$service",version="$version",status=~"5.."}'
      total: 'requests_total{service="$service",version="$version"}'
    threshold: {warning: 0.5%, critical: 1%, rollback: 150%}
"""


@dataclass
class Home:
    """`settings` is written at every `load`; `switch` gives a switch that reads a file of this folder."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "rules.yaml").write_text(RULES)
        self.settings = {
            "version": 1,
            "rules": ["rules.yaml"],
            "store": {"url": f"sqlite:///{self.store}"},
            "pause_file": str(self.folder / "pause"),
            "server": {"listen": "127.0.0.1:0"},
            "sources": {"app": {"kind": "scrape", "urls": ["http://127.0.0.1:9/metrics"]}},
            "services": [self.service("trips", "trips")],
            "channels": {"log": {"kind": "log"}},
            "routes": [{"to": ["log"]}],
        }

    @property
    def store(self) -> Path:
        return self.folder / "watchdog.db"

    def service(self, name: str, target: str, **traffic: Any) -> dict[str, Any]:
        return {
            "name": name,
            "environment": "production",
            "rules": ["error-rate"],
            "mode": "enforce",
            "traffic": {**self.switch(target), **traffic},
        }

    def switch(self, target: str) -> dict[str, Any]:
        state = self.folder / f"{target}.json"
        variants = {
            "blue": {"weight": 100, "ready": 1, "total": 1, "version": "v1"},
            "green": {"weight": 0, "ready": 1, "total": 1, "version": "v2"},
        }
        state.write_text(json.dumps({"variants": variants, "revision": "1"}))
        return {"kind": "command", "read": ["cat", str(state)], "apply": ["true", str(state), "{variant}"]}

    @property
    def path(self) -> Path:
        path = self.folder / "watchdog.yaml"
        path.write_text(json.dumps(self.settings))
        return path

    def load(self) -> Configuration:
        return load(self.path, environ={})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
