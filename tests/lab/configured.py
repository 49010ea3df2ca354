"""Configurations of one service and some rules, for the tests of what is asked over history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchdog.config.load import load
from watchdog.config.loaded import Configuration

QUEUE: Mapping[str, Any] = {
    "name": "queue",
    "unit": "count",
    "gauge": {"of": 'queue_depth{service="$service"}', "by": "max"},
    "max_age": "2m",
    "threshold": {"warning": 30, "critical": 50, "rollback": "150%"},
}
ERRORS: Mapping[str, Any] = {
    "name": "error-rate",
    "unit": "ratio",
    "ratio": {
        "bad": 'http_requests_total{service="$service",version="$version",status=~"5.."}',
        "total": 'http_requests_total{service="$service",version="$version"}',
    },
    "window": "5m",
    "max_age": "2m",
    "threshold": {"warning": "1%", "critical": "2%", "rollback": "150%"},
}


def configured(
    folder: Path,
    url: str,
    *rules: Mapping[str, Any],
    sources: Mapping[str, Any] | None = None,
    services: Mapping[str, Mapping[str, str]] | None = None,
) -> Configuration:
    """A configuration with the rules and `queue` on every service, `services` by name with their labels: `trips` alone.

    `queue` is armed, without which no configuration loads.
    """
    rules = rules if any(rule["name"] == "queue" for rule in rules) else (*rules, QUEUE)
    switch = {"kind": "command", "read": ["true"], "apply": ["true", "{variant}"]}
    main = {
        "version": 1,
        "rules": ["rules.yaml"],
        "store": {"url": f"sqlite:///{folder}/watchdog.db"},
        "sources": {"prometheus": {"kind": "prometheus", "url": url}, **(sources or {})},
        "services": [
            {
                "name": name,
                "environment": "production",
                "labels": dict(labels),
                "rules": [rule["name"] for rule in rules],
                "traffic": switch,
            }
            for name, labels in (services or {"trips": {"team": "booking"}}).items()
        ],
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
    }
    (folder / "rules.yaml").write_text(json.dumps({"version": 1, "rules": list(rules)}))
    path = folder / "watchdog.yaml"
    path.write_text(json.dumps(main))
    return load(path, environ={})
