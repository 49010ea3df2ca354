"""Charts of played tests: thresholds, samples and events where they belong, in any width."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from watchdog.core.request import RequestKind
from watchdog.core.rule import Aggregate, Direction, Gauge, ProbeForm, Rule, Thresholds, Unit
from watchdog.core.service import Service
from watchdog.core.traffic import VariantState
from watchdog.lab.recording import Happening, Recording, What
from watchdog.lab.script import (
    ClockSet,
    Deployed,
    Down,
    Feed,
    Occurrence,
    Patched,
    Planned,
    Sample,
    Script,
    Wanted,
)
from watchdog.lab.timeline_picture import PLAIN, picture, plain

MINUTE = timedelta(minutes=1)
SLOW = Rule(
    name="slow",
    form=Gauge(of="slow", by=Aggregate.MAX),
    unit=Unit.SECONDS,
    thresholds=Thresholds(warning=1.0, critical=2.0, rollback=3.0),
)
FREE = Rule(
    name="free",
    form=Gauge(of="free", by=Aggregate.MIN),
    unit=Unit.RATIO,
    direction=Direction.BELOW,
    thresholds=Thresholds(critical=0.1),
)
ALIVE = Rule(name="alive", form=ProbeForm(kind="http", settings={}), thresholds=Thresholds(critical=3))
QUIET = Recording(script="x", happenings=())


def feed(rule: Rule, *values: float | str | None, version: str = "") -> Feed:
    samples = (
        Sample(at=index * MINUTE, failed=True)
        if value == "error"
        else Sample(at=index * MINUTE, value=None if value is None else float(value))
        for index, value in enumerate(values)
    )
    return Feed(service="app", rule=rule.name, version=version, samples=tuple(samples))


def script(*feeds: Feed, events: tuple[Occurrence, ...] = (), until: timedelta = 10 * MINUTE) -> Script:
    return Script(
        name="x",
        begins=datetime(2026, 3, 2, tzinfo=UTC),
        until=until,
        services=(Service(name="app"),),
        rules={rule.name: rule for rule in (SLOW, FREE, ALIVE)},
        traffic={},
        feeds=feeds,
        events=tuple(Planned(at=(index + 1) * MINUTE, what=what) for index, what in enumerate(events)),
    )


def drawn(one: Script, recording: Recording = QUIET, *, width: int = 94) -> list[str]:
    """60 columns at the default width: six a minute of ten minutes."""
    return plain(picture(one, recording, width=width)).splitlines()


def test_thresholds_stand_at_their_height_with_their_names() -> None:
    lines = drawn(script(feed(SLOW, 0.1, 0.1)))
    assert lines[0] == "slow"
    assert [line.rpartition("╌ ")[2] for line in lines[1:7] if "╌" in line] == [
        "rollback 3s",
        "critical 2s",
        "warning 1s",
    ]
    assert lines[1].startswith("      3s │")
    assert lines[6].startswith("      0s │▂▂▂▂▂▂▂▂▂▂▂▂")


def test_a_column_is_as_high_as_its_value_and_stands_at_its_time() -> None:
    lines = drawn(script(feed(SLOW, 0, 3, 0, 1.5)))
    full = [line[10:70] for line in lines[1:7]]
    assert all(line[6:12] == "██████" for line in full)
    assert full[0][18:24] == "╌╌╌╌╌╌"
    assert full[3][18:24] == full[4][18:24] == "██████"
    assert full[5][:6] == "▁▁▁▁▁▁", "a value that is there is seen, however small"


def test_no_data_and_errors_are_told_from_zero_and_from_nothing() -> None:
    last = drawn(script(feed(SLOW, 0, None, "error", 0)))[6]
    assert last[10:34] == "▁▁▁▁▁▁······!!!!!!▁▁▁▁▁▁"
    assert last[34:] == ""


def test_many_samples_in_one_column_show_the_worst() -> None:
    lines = drawn(script(feed(SLOW, *([0.1] * 300), 9, *([0.1] * 299)), until=600 * MINUTE))
    assert lines[1].count("█") == 1
    lines = drawn(script(feed(FREE, *([0.9] * 300), 0.0, *([0.9] * 299)), until=600 * MINUTE))
    assert lines[3].count(" ", 10) == 1


def test_a_probe_is_one_line_of_answers() -> None:
    lines = drawn(script(feed(ALIVE, 1, 0, None, "error")))
    assert lines[:2] == ["alive", "         │██████xxxxxx······!!!!!!"]


def test_versions_are_told_apart_and_the_rule_that_failed_comes_first() -> None:
    one = script(feed(SLOW, 1), feed(FREE, 0.5, version="v1"))
    assert plain(picture(one, QUIET, width=80, first=["free"])).startswith("free@v1\n")


def test_more_series_than_can_be_drawn_are_counted() -> None:
    lines = drawn(script(*(feed(SLOW, 1, version=f"v{n}") for n in range(7))))
    assert sum(line.startswith("slow@") for line in lines) == 4
    assert "… and 3 more series" in lines


def test_events_are_marked_and_told_with_everything_that_happened() -> None:
    events = (
        Deployed(service="app", version="v2", variant="green", announced=False),
        Patched(service="app", variants={"blue": VariantState(weight=3)}),
        Wanted(kind=RequestKind.ACKNOWLEDGE, service="app", arguments={"for_seconds": "60"}, by="anna"),
        ClockSet(by=-MINUTE),
        Down(lasts=MINUTE, service="app"),
        Down(lasts=MINUTE, channel="ops"),
    )
    facts: dict[What, dict[str, str | float | bool]] = {
        What.VERDICT: {"rule": "slow", "level": "rollback", "held": "critical", "because": "too slow"},
        What.INCIDENT: {"kind": "breach", "state": "opened", "level": "critical", "because": "it is"},
        What.GUARD: {"guard": "armed", "reason": "too_late", "because": "hours ago"},
        What.ROLLBACK: {"from": "v2", "to": "v1", "state": "decided"},
        What.SWITCH: {"from": "v2", "to": "v1", "variant": "blue"},
        What.DEPLOYMENT: {"version": "v2", "variant": "green", "state": "watching"},
        What.NOTIFICATION: {"channel": "ops", "kind": "incident_opened", "severity": "high"},
        What.ESCALATION: {"channel": "ops", "step": 2.0},
        What.REPLY: {"request": "approve", "status": 409.0, "because": "nothing waits"},
    }
    happenings = tuple(Happening(at=8 * MINUTE, what=what, facts=said) for what, said in facts.items())
    lines = drawn(script(feed(SLOW, 1), events=events), Recording(script="x", happenings=happenings))
    assert lines[7] == "         │      ▲     ▲     ▲     ▲     ▲     ▲"
    assert lines[8].split() == ["0s", "2m", "4m", "6m", "8m", "10m"]
    assert [line.strip() for line in lines[9:]] == [
        "1m  > v2 is deployed, announced by nobody on green",
        "2m  > somebody sets the switch: blue 3",
        "3m  > anna asks: acknowledge (for_seconds 60)",
        "4m  > the clock is set by -1m",
        "5m  > the switch of app is down for 1m",
        "6m  > channel ops is down for 1m",
        "8m  slow is rollback, held critical: too slow",
        "8m  incident (breach) opened, critical: it is",
        "8m  guard armed says no (too_late): hours ago",
        "8m  rollback v2 → v1 decided",
        "8m  traffic moved v2 → v1 (blue)",
        "8m  deployment v2 on green: watching",
        "8m  ops hears incident_opened (high)",
        "8m  approve answered 409: nothing waits",
    ]


def test_a_verdict_that_stays_is_told_once_and_what_is_too_much_is_counted() -> None:
    same = tuple(
        Happening(at=n * MINUTE, what=What.VERDICT, facts={"rule": "slow", "level": "ok"}) for n in range(50)
    )
    assert len(drawn(script(), Recording(script="x", happenings=same))) == 1
    other = tuple(Happening(at=n * MINUTE, what=What.SWITCH, facts={"to": f"v{n}"}) for n in range(50))
    lines = drawn(script(), Recording(script="x", happenings=other))
    assert len(lines) == 41
    assert lines[-1] == "  … and 10 more lines; --json has everything"


@pytest.mark.parametrize("width", [0, 60, 61, 80, 500])
@pytest.mark.parametrize("until", [timedelta(), timedelta(seconds=1), timedelta(days=400)])
def test_no_width_and_no_length_breaks_a_chart(width: int, until: timedelta) -> None:
    events = (Deployed(service="app", version="v" * 90, variant="green"),)
    lines = drawn(script(feed(SLOW, 1, -5, 1e9), feed(FREE), events=events, until=until), width=width)
    assert max(map(len, lines)) <= max(width, 60)


def test_plain_letters_do_for_terminals_without_others() -> None:
    text = plain(picture(script(feed(SLOW, 1, None, "error", 3)), QUIET, width=80, strokes=PLAIN))
    assert text.isascii()
    assert "#" in text
    assert "- rollback 3s" in text
