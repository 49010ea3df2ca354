"""What `watchdog status --watch` shows: lines for a pipe, and the same drawn for a terminal of 80 columns or more.

Values in, text out. This module must never ask a daemon, nor hand an escape sequence from elsewhere to a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from watchdog.cli.ladders import coming
from watchdog.cli.looking import alarms
from watchdog.telemetry.redact import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

#: The worst first.
_ORDER = {"rollback": 0, "critical": 1, "warning": 2, "unknown": 3, "ok": 4}
_STYLES = {
    "ok": "green",
    "warning": "yellow",
    "unknown": "magenta",
    "critical": "bold red",
    "rollback": "bold red",
}
_COLUMNS = ("SERVICE", "LEVEL", "VERSION", "TRAFFIC", "CAN ROLL BACK")
_WIDTHS = (20, 8, 20, 0, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One look. `missing` says why there was none, since `away_at`; then `seen` is what was seen last."""

    where: str
    service: str | None = None
    at: datetime
    seen: dict[str, Any] | None = None
    missing: str = ""
    away_at: datetime | None = None

    def showing(self, seen: dict[str, Any], at: datetime) -> Picture:
        """The daemon answered."""
        return replace(self, seen=seen, at=at, missing="", away_at=None)

    def without(self, why: str, at: datetime) -> Picture:
        """The daemon did not answer."""
        return replace(self, at=at, missing=one_line(why), away_at=self.away_at or at)


def written(picture: Picture) -> list[str]:
    """Lines that change only when what they say does: no clock, nothing that counts up."""
    if picture.missing:
        return [picture.missing]
    seen = picture.seen or {"services": []}
    rows = [_COLUMNS, *(_row(one) for one in _worst_first(seen["services"]))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return lines + [text for text, _ in _remarks(picture, clock=False)]


def drawn(picture: Picture, *, width: int, height: int) -> RenderableType:
    """The same for a terminal of this size: cut where there is no room, and it says so."""
    from rich.console import Group
    from rich.text import Text

    head = [Text(f"watchdog {picture.where}  {picture.at:%H:%M:%S} UTC  Ctrl-C ends", style="dim")]
    if picture.missing and picture.away_at is not None:
        since = f"no answer since {picture.away_at:%H:%M:%S} UTC, trying again: {picture.missing}"
        head.append(Text(since, style="bold red"))
    if picture.seen is None:
        return Group(*head)
    remarks = [Text(text, style=style) for text, style in _remarks(picture, clock=True)]
    services = _worst_first(picture.seen["services"])
    # Two lines of a table's head, one empty line, one for what does not fit.
    taken = sum(_lines(text, width) for text in (*head, *remarks)) + 4
    room = max(height - taken, 3)
    parts: list[RenderableType] = [*head, _table(services[:room], stale=bool(picture.missing))]
    if len(services) > room:
        rest = services[room:]
        worst = rest[0]["level"]
        parts.append(Text(f"… and {len(rest)} more, none worse than {worst}", style="dim"))
    return Group(*parts, Text(""), *remarks)


def _lines(text: Any, width: int) -> int:
    return max(-(-len(str(text)) // max(width, 1)), 1)


def _table(services: list[dict[str, Any]], *, stale: bool) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True, style="dim" if stale else "")
    for name, most in zip(_COLUMNS, _WIDTHS, strict=True):
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=most or None)
    for one in services:
        style = "dim" if stale else ""
        cells = [Text(cell, style=_STYLES.get(cell, style) if not stale else style) for cell in _row(one)]
        table.add_row(*cells)
    return table


def _worst_first(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(services, key=lambda one: (_ORDER.get(one["level"], 0), one["name"]))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    deployment = one["deployment"]
    weights = sorted((one["traffic"] or {"variants": {}})["variants"].items())
    return tuple(
        one_line(cell)
        for cell in (
            one["name"],
            one["level"],
            deployment["version"] if deployment else "-",
            ", ".join(f"{name} {spot['weight']}" for name, spot in weights) or "-",
            "yes" if one["rollback_ready"] else "no",
        )
    )


def _remarks(picture: Picture, *, clock: bool) -> list[tuple[str, str]]:
    """Everything that is not as it should be, in lines of their own, the most urgent first."""
    seen = picture.seen
    if seen is None:
        return []
    found = [(line, "bold red") for line in alarms(seen["daemon"])]
    for one in seen["services"]:
        if one["paused"]:
            why = f": {one['paused']['reason']}" if one["paused"]["reason"] else ""
            found.append((f"{one['name']}: paused by {one['paused']['by']}{why}", "yellow"))
        if one["traffic"] and one["traffic"].get("paused"):
            why = one["traffic"]["paused"]
            found.append((f"{one['name']}: paused by a mark on the target: {why}", "yellow"))
        if one["traffic"] and one["traffic"].get("suspended"):
            found.append((f"{one['name']}: suspended by us: {one['traffic']['suspended']}", "yellow"))
        if one["rollback"]:
            found.append((_rollback(one, picture.at, clock=clock), "bold yellow"))
        if one["traffic_error"]:
            found.append((f"{one['name']}: switch: {one['traffic_error']}", "bold red"))
    names = {one["name"] for one in seen["services"]}
    incidents = [
        one
        for one in seen["incidents"]
        if picture.service is None or names & {one["subject"], *one["services"]}
    ]
    for incident in incidents:
        style = "bold red" if incident["severity"] in {"high", "critical"} else "yellow"
        found.append((_incident(incident, picture.at, clock=clock), style))
    if not incidents:
        found.append(("no open incidents", "green"))
    return [(one_line(text), style) for text, style in found]


def _rollback(service: dict[str, Any], now: datetime, *, clock: bool) -> str:
    """The step a rollback is at, how long it has been there, and what it waits for."""
    rollback = service["rollback"]
    step = rollback["history"][-1] if rollback["history"] else {"at": rollback["decided_at"], "why": ""}
    passed = f" for {_for(step['at'], now)}" if clock else ""
    move = f"{rollback['from']['version']} → {rollback['to']['version']}"
    why = f": {step['why']}" if step["why"] else ""
    return f"{service['name']}: rollback {rollback['id']} {move} {rollback['state']}{passed}{why}"


def _incident(incident: dict[str, Any], now: datetime, *, clock: bool) -> str:
    passed = f" for {_for(incident['opened_at'], now)}" if clock else ""
    acked = f", {incident['acknowledged_by']} has it" if incident["acknowledged_by"] else ""
    silent = ", silenced" if incident["silenced_by"] else ""
    on = incident["subject"]
    soon = f" (next: {then})" if clock and (then := coming(incident)) else ""
    return (
        f"{incident['id']} {incident['severity']}{passed}{acked}{silent}: {on}: {incident['summary']}{soon}"
    )


def _for(moment: str, now: datetime) -> str:
    seconds = max(int((now - datetime.fromisoformat(moment)).total_seconds()), 0)
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 48:
        return f"{hours // 24} d"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
