"""What happened while a test was played, a line each for people, verdicts only where they change.

This module must never print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import assert_never

from watchdog.core.units import format_duration
from watchdog.lab.expectations import Fact
from watchdog.lab.recording import Happening, Recording, What
from watchdog.lab.script import ClockSet, Deployed, Down, Occurrence, Patched, Script, Wanted

#: Narrower than this nothing can be drawn.
NARROWEST = 60
#: Columns for the times.
_TIMES = 10
_STYLES = {
    "ok": "green",
    "warning": "yellow",
    "critical": "bold red",
    "rollback": "bold red",
    "unknown": "magenta",
}


def happened(script: Script, recording: Recording, width: int) -> Iterator[list[tuple[str, str]]]:
    """Every event of the script and everything that came of it, in order, with its time."""
    verdicts: dict[str, tuple[object, ...]] = {}
    events = [(one.at, occurs(one.what), "cyan") for one in script.events if one.at or not _vouches(one.what)]
    lines = [*events]
    for one in recording.happenings:
        facts = one.facts
        if one.what is What.VERDICT:
            check = f"{facts.get('service')}/{facts.get('rule')}@{facts.get('version')}"
            said = (facts.get("level"), facts.get("held"), facts.get("reason"))
            if verdicts.get(check) == said:
                continue
            verdicts[check] = said
        if one.what is What.ESCALATION or _granted(one):
            continue
        lines.append((one.at, told(one), _style(one)))
    for at, words, style in sorted(lines, key=lambda line: line[0]):
        first = f"{format_duration(at):>{_TIMES}}  "
        rest = " " * (_TIMES + 4)
        for line in wrap(words, width=width, initial_indent=first, subsequent_indent=rest):
            yield [(line, style)]


def occurs(what: Occurrence) -> str:
    """An event of a test in words."""
    match what:
        case Deployed():
            how = "deployed" if what.announced else "deployed, announced by nobody"
            return f"> {what.version} is {how} on {what.variant}"
        case Patched():
            weights = ", ".join(f"{name} {spot.weight}" for name, spot in what.variants.items())
            return f"> somebody sets the switch: {weights}"
        case Wanted():
            said = ", ".join(f"{name} {value}" for name, value in what.arguments.items())
            return f"> {what.by} asks: {what.kind}" + (f" ({said})" if said else "")
        case ClockSet():
            return f"> the clock is set by {format_duration(what.by)}"
        case Down():
            place = f"channel {what.channel}" if what.channel else f"the switch of {what.service}"
            return f"> {place} is down for {format_duration(what.lasts)}"
        case _:
            assert_never(what)


def told(one: Happening) -> str:
    """A happening in words."""
    facts = {name: _word(value) for name, value in one.facts.items()}
    because = facts.get("because", "")
    match one.what:
        case What.VERDICT:
            version = f"@{facts['version']}" if facts.get("version") else ""
            held = facts.get("held", "")
            lasts = f", held {held}" if held not in ("ok", facts.get("level")) else ""
            words = f"{facts.get('rule', '')}{version} is {facts.get('level', '')}{lasts}"
        case What.INCIDENT:
            words = f"incident ({facts.get('kind', '')}) {facts.get('state', '')}, {facts.get('level', '')}"
        case What.GUARD:
            words = f"guard {facts.get('guard', '')} says no ({facts.get('reason', '')})"
        case What.ROLLBACK:
            words = f"rollback {_move(facts)} {facts.get('state', '')}"
        case What.SWITCH:
            return f"traffic moved {_move(facts)} ({facts.get('variant', '')})"
        case What.DEPLOYMENT:
            words = f"deployment {facts.get('version', '')} on {facts.get('variant', '')}: {facts.get('state', '')}"
        case What.NOTIFICATION:
            return f"{facts.get('channel', '')} hears {facts.get('kind', '')} ({facts.get('severity', '')})"
        case What.ESCALATION:
            return f"{facts.get('channel', '')} hears step {facts.get('step', '')}"
        case What.REPLY:
            words = f"{facts.get('request', '')} answered {facts.get('status', '')}"
        case _:
            assert_never(one.what)
    return f"{words}: {because}" if because else words


def _move(facts: Mapping[str, str]) -> str:
    return f"{facts.get('from', '')} → {facts.get('to', '')}"


def _word(value: Fact) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _granted(one: Happening) -> bool:
    """Whether it only says that a request was carried out, which other lines show. So do those of an escalation."""
    return one.what is What.REPLY and float(one.facts.get("status", 0)) < 300


def _vouches(what: Occurrence) -> bool:
    return isinstance(what, Wanted)


def _style(one: Happening) -> str:
    match one.what:
        case What.VERDICT:
            return _STYLES.get(str(one.facts.get("level")), "")
        case What.ROLLBACK | What.SWITCH:
            return "bold yellow"
        case What.GUARD:
            return "magenta"
        case _:
            return ""
