"""What polls get of a feed: values, silence, errors, and what they are compared with."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.lab.scripts import (
    ALIVE,
    DEPTH,
    ERRORS,
    deployed,
    feed,
    planned,
    played,
    script,
    standing,
    told,
    vouched,
)
from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.rule import (
    Against,
    Baseline,
    Direction,
    Evidence,
    Holds,
    Match,
    Query,
    Rate,
    Ratio,
    Thresholds,
    Unit,
)
from watchdog.core.traffic import VariantState
from watchdog.core.two_samples import TwoSample
from watchdog.lab.play import play
from watchdog.lab.play_feeds import EVENTS
from watchdog.lab.recording import What
from watchdog.lab.script import Feed, Patched, Sample

MINUTE = timedelta(minutes=1)
RATE = replace(
    DEPTH,
    name="orders",
    form=Rate(of='orders_total{service="$service"}'),
    direction=Direction.BELOW,
    thresholds=Thresholds(),
    baseline=Baseline(against=Against.BEFORE_DEPLOYMENT, margins=Thresholds(warning=0.3, critical=0.5)),
)
SLOW = replace(
    ERRORS,
    name="slow",
    form=Query(query='slow{version="$version"}', events='events{version="$version"}', freshness="now"),
    unit=Unit.SECONDS,
    thresholds=Thresholds(),
    evidence=Evidence(min_events=20, bound=False),
    baseline=Baseline(against=Against.PREVIOUS_VERSION, margins=Thresholds(critical=0.5)),
)
BOTH = {
    "blue": VariantState(weight=90, version="v1", ready=4, total=4),
    "green": VariantState(weight=10, version="v2", ready=4, total=4),
}


def verdicts(recording: object, *fields: str) -> list[tuple[str, ...]]:
    return told(recording, What.VERDICT, *fields)  # type: ignore[arg-type]


def test_a_value_is_seen_as_it_is_written_and_the_same_scrape_counts_once() -> None:
    holding = replace(ERRORS, hold=Holds())
    one = script(feed((0.001, 4), (0.2, 4), (0.001, 4)), rules=(holding,), until="4m30s")
    found = verdicts(played(one), "level", "value", "fresh")

    assert found[:5] == [
        ("0:00", "ok", "0.001", "True"),
        ("0:30", "ok", "0.001", "True"),
        ("1:00", "ok", "0.001", "True"),
        ("1:30", "ok", "0.001", "True"),
        ("2:00", "critical", "0.2", "True"),
    ]
    assert ("2:05", "critical", "0.2", "False") in found
    assert ("2:30", "critical", "0.2", "True") in found


def test_events_are_generous_unless_somebody_says_otherwise() -> None:
    few = replace(feed((0.2, 4)), events=10.0)
    some = Feed(
        service="trips",
        rule="errors",
        samples=(Sample(at=timedelta(), value=0.2, events=5.0), *feed((0.2, 3)).samples[1:]),
    )

    assert {reason for _, reason in verdicts(played(script(few, until="1m")), "reason")} == {"too_few_events"}
    assert verdicts(play(script(some, until="30s")), "reason") == [
        ("0:00", "too_few_events"),
        ("0:30", "beyond"),
    ]
    assert EVENTS >= 1000


@pytest.mark.parametrize(
    ("item", "reason"), [((None, 3), "empty"), (("error", 3), "unreachable"), ((1.5, 3), "out_of_range")]
)
def test_what_is_no_value_is_unknown_and_says_why(item: tuple[float | str | None, int], reason: str) -> None:
    found = verdicts(played(script(feed(item), until="1m")), "level", "reason")

    assert {one[1:] for one in found} == {("unknown", reason)}


def test_samples_that_come_seldom_are_polled_when_they_are_there() -> None:
    off = Feed(
        service="trips",
        rule="errors",
        samples=tuple(Sample(at=timedelta(seconds=12 + 30 * index), value=0.001) for index in range(10)),
    )
    found = verdicts(played(script(off, until="2m")), "reason", "fresh")

    assert found == [
        ("0:00", "empty", "True"),
        ("0:42", "within", "True"),
        ("1:12", "within", "True"),
        ("1:42", "within", "True"),
    ]


def test_a_probe_of_which_nothing_is_said_could_not_be_tried() -> None:
    one = script(feed((1.0, 2), (None, 2), ("error", 2), (1.0, 2), rule=ALIVE), rules=(ALIVE,), until="3m30s")
    found = verdicts(played(one), "level", "reason")

    assert [words for _, *words in found] == [
        *[["ok", "passed"]] * 2,
        *[["unknown", "unable"]] * 4,
        *[["ok", "passed"]] * 2,
    ]


def test_a_rate_is_compared_with_the_half_hour_before_the_deployment() -> None:
    one = script(
        feed((100.0, 81), (60.0, 20), (40.0, 20), rule=RATE),
        rules=(RATE,),
        events=(deployed("40m"),),
        until="60m",
    )
    levels = verdicts(played(one), "level")

    assert ("39:30", "unknown") in levels, "nothing is known of before the first sight"
    assert ("40:30", "warning") in levels
    assert ("55:00", "critical") in levels


def test_too_short_a_history_is_nothing_to_compare_with() -> None:
    one = script(feed((100.0, 60), rule=RATE), rules=(RATE,), events=(deployed("4m"),), until="6m")

    assert {level for at, level, reason in verdicts(played(one), "level", "reason") if at >= "5"} == {
        "unknown"
    }


def test_a_duration_ago_is_the_feed_so_long_ago_even_from_before_the_begin() -> None:
    ago = Baseline(against=Against.EARLIER, ago=timedelta(hours=1), margins=Thresholds(critical=0.5))
    rule = replace(RATE, baseline=ago)
    before = feed((100.0, 240), (30.0, 10), rule=rule)
    moved = replace(
        before, samples=tuple(replace(each, at=each.at - timedelta(hours=2)) for each in before.samples)
    )
    found = verdicts(played(script(moved, rules=(rule,), until="4m")), "level")

    assert ("0:00", "critical") in found


def test_the_previous_version_is_the_reference_while_both_serve() -> None:
    both = script(
        feed((0.1, 120), rule=SLOW, version="v1"),
        feed((0.1, 80), (0.2, 40), rule=SLOW, version="v2"),
        rules=(SLOW,),
        events=(vouched(), planned("15m", Patched(service="trips", variants=BOTH))),
        until="50m",
    )
    found = told(played(both), What.INCIDENT, "state", "level", "version")

    assert found[0] == ("40:30", "opened", "critical", "v2") or found[0] == (
        "40:00",
        "opened",
        "critical",
        "v2",
    )


def test_two_versions_are_told_apart_by_more_than_a_margin() -> None:
    test = TwoSample(samples=10)
    rule = replace(SLOW, baseline=replace(SLOW.baseline, test=test))  # type: ignore[type-var]
    wobble = [(value, 1) for _ in range(30) for value in (0.1, 0.16, 0.12, 0.09)]
    one = script(
        feed(*wobble, rule=rule, version="v1"),
        feed(*wobble[:60], (0.4, 60), rule=rule, version="v2"),
        rules=(rule,),
        events=(vouched(), planned("15m", Patched(service="trips", variants=BOTH))),
        until="50m",
    )
    opened = [
        at for at, state, version in told(played(one), What.INCIDENT, "state", "version") if state == "opened"
    ]

    assert opened
    assert opened[0] > "32"


def test_what_is_usual_is_made_of_the_feed_before() -> None:
    usual = Baseline(against=Against.USUAL, over=timedelta(days=1), margins=Thresholds(critical=3.0))
    rule = replace(DEPTH, form=replace(RATE.form, of="depth"), thresholds=Thresholds(), baseline=usual)
    values = [(100.0 + index % 7, 1) for index in range(400)]
    one = script(
        feed(*values, (400.0, 10), rule=rule, every=timedelta(minutes=5)),
        rules=(replace(rule, interval=timedelta(minutes=5)),),
        until="33h50m",
    )
    found = told(play(one), What.INCIDENT, "state", "level")

    assert found == [("2000:00", "opened", "critical")]


def test_an_objective_is_burnt_over_two_windows() -> None:
    slo = Slo(
        objective=0.99,
        warning=None,
        critical=BurnLimit(factor=6.0, long=timedelta(hours=1), short=timedelta(minutes=5)),
        rollback=None,
    )
    rule = replace(
        ERRORS,
        slo=slo,
        window=timedelta(minutes=5),
        thresholds=Thresholds(critical=6.0),
        evidence=None,
    )
    one = script(feed((0.001, 120), (0.2, 60), (0.0, 60), rule=rule), rules=(rule,), until="120m")
    found = told(play(one), What.INCIDENT, "state", "level")

    assert [words for _, *words in found] == [["opened", "critical"], ["closed", "critical"]]
    ((opened, *_), (closed, *_)) = found
    assert "76" <= opened <= "81"
    assert closed.startswith("9")


def test_a_rule_that_is_asked_for_all_services_at_once_is_played_for_each() -> None:
    rule = replace(
        ERRORS,
        form=Ratio(bad='requests_total{status="500"}', total="requests_total"),
        match=Match(labels={"service": "name"}),
    )
    one = script(
        feed((0.001, 10), (0.2, 30), rule=rule), rules=(rule,), traffic={"trips": standing()}, until="10m"
    )
    found = told(played(one), What.INCIDENT, "state", "level")

    assert found == [("5:00", "opened", "critical"), ("6:30", "worsened", "rollback")]
