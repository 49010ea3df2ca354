"""The rule packs in `rules/`, loaded all together as one configuration that uses every one of their rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from watchdog.config.load import load
from watchdog.config.loaded import Configuration
from watchdog.config.rule_files import is_test
from watchdog.core.rule import Rule

ROOT = Path(__file__).parents[2]
PACKS = {file.stem: file for file in sorted((ROOT / "rules").glob("*.yaml")) if not is_test(file.name)}
LABELS = {
    "team": "booking",
    "hosts": "trips-[0-9]+:9100",
    "database": "trips",
    "postgres": "db-1:9187",
    "namespace": "prod",
}


def all_together(folder: Path) -> Configuration:
    """Every pack for one service. Raises for whatever is wrong."""
    haproxy = {"kind": "haproxy", "socket": "/run/haproxy/admin.sock", "backend": "trips"}
    main = {
        "version": 1,
        "rules": [str(ROOT / "rules" / "*.yaml")],
        "sources": {"prometheus": {"kind": "prometheus", "url": "http://127.0.0.1:9090"}},
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
        "services": [
            {
                "name": "trips",
                "labels": LABELS,
                "rules": [{"tag": pack} for pack in PACKS],
                "traffic": {**haproxy, "variants": {"blue": "b", "green": "g"}},
            }
        ],
    }
    file = folder / "watchdog.yaml"
    file.write_text(yaml.safe_dump(main))
    return load(file, environ={})


def rules(folder: Path) -> dict[str, Rule]:
    """Every rule of every pack by name."""
    return dict(all_together(folder).rules)


def written(pack: str) -> list[dict[str, Any]]:
    """The rules of a pack as they stand in its file."""
    found: list[dict[str, Any]] = yaml.safe_load(PACKS[pack].read_text())["rules"]
    return found
