"""Tables of the rule packs, made from their files, so that no number in a page can drift."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from watchdog.config.rule_files import is_test

_FOLDER = Path(__file__).parents[2] / "rules"
_LEVELS = ("warning", "critical", "rollback")
_ORIGIN = re.compile(r"# origin: (runbook|convention|to be set by you)\b")


def packs() -> list[str]:
    """The names of all packs."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml") if not is_test(file.name))


def rows(pack: str) -> Iterator[tuple[str, ...]]:
    """A row for each rule: name, what it measures, its levels as they are written, and where they come from."""
    text = (_FOLDER / f"{pack}.yaml").read_text()
    for rule in yaml.safe_load(text)["rules"]:
        place = text.index(f"- name: {rule['name']}\n")
        origin = _ORIGIN.search(text, place)
        assert origin is not None, rule["name"]
        levels = (_level(rule, level) for level in _LEVELS)
        yield f"`{rule['name']}`", rule["summary"], *levels, origin[1]


HEAD = ("rule", "measures", *_LEVELS, "origin")


def _level(rule: dict[str, Any], level: str) -> str:
    if "baseline" in rule:
        margin = rule["baseline"]["worse_by"].get(level)
        word = "fewer" if rule.get("direction") == "below" else "more"
        return "never" if margin is None else f"{margin} {word}"
    limit = rule["threshold"].get(level)
    if limit is None:
        return "never"
    if "probe" in rule:
        return str(limit)
    side = "below" if rule.get("direction") == "below" else "above"
    if level == "rollback" and str(limit).endswith("%"):
        return f"{limit} of critical"
    shown = f"{limit * 100:g}%" if rule["unit"] == "ratio" and isinstance(limit, float) else limit
    return f"{side} {shown}"
