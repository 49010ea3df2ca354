"""Answers that come too often, too late, in the wrong order, or of another time: one incident, one switch, or none."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle, islice

import pytest

from tests.core.scenario import OK, ROLLBACK, Scenario, rule
from watchdog.core.check import Reason
from watchdog.core.comparing import compared
from watchdog.core.events import OutcomeKind
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Answer, Value
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Aggregate, Gauge, Level

HOUR = timedelta(hours=1)
#: Just better and just worse than the rollback threshold, which is 30, and better than all of them.
UNDER, OVER = 29.0, 31.0


class Swinging(Scenario):
    def rollback_intended(self) -> bool:
        rollbacks = self.service.rollbacks.values()
        return any(one.state is RollbackState.INTENDED for one in rollbacks)

    @property
    def incidents(self) -> int:
        return self.told.count(MessageKind.INCIDENT_OPENED)

    @property
    def switches(self) -> int:
        return self.told.count(MessageKind.ROLLBACK_SWITCHED)


#: A rule whose samples have a time of their own; a raw query has that of its evaluation.
TIMED = rule(form=Gauge(of='errors{version="$version"}', by=Aggregate.MAX), max_age=timedelta(seconds=30))


def answered(story: Scenario, value: float, *, off: timedelta) -> None:
    """The source answers with a sample that is `off` behind our clock."""
    newest = (story.now - off).timestamp()
    answer = Answer(parts={"value": (value,), "newest": (newest,), "samples": (4.0,)}, evaluated_at=story.now)
    story.sees(story.check(on="green"), compared(TIMED, answer, None, now=story.now))


def swings(story: Swinging, *values: float, on: str, rounds: int = 360) -> None:
    """These values over and over, every 10 s; whatever is decided is carried out at once."""
    story.looks_every = 50
    for value in islice(cycle(values), rounds):
        live = story.service.traffic.live if story.service.traffic else ()
        story.after("10s").observe(value=value if on in (live[0], "both") else OK, on=live[0])
        if story.rollback_intended():
            story.outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
        story.traffic().tick()


@pytest.mark.parametrize(
    ("values", "switches"),
    [((OVER, UNDER), 0), ((UNDER, UNDER, OVER), 0), ((OVER, OVER, UNDER), 1), ((OVER, OVER, OVER, UNDER), 1)],
)
@pytest.mark.parametrize("on", ["green", "both"])
def test_an_hour_of_swinging_around_the_rollback_threshold_is_one_incident_and_at_most_one_switch(
    values: tuple[float, ...], switches: int, on: str
) -> None:
    story = Swinging()
    story.green_deployed()
    swings(story, *values, on=on)
    assert (story.incidents, story.switches) == (1, switches)
    endings = [MessageKind.ROLLBACK_COMPLETED, MessageKind.ROLLBACK_ENDED, MessageKind.ROLLBACK_BLOCKED]
    assert sum(story.told.count(kind) for kind in endings) == switches
    assert len(story.messages) <= 5, story.told


def test_an_answer_that_was_overtaken_by_a_newer_one_counts_for_nothing() -> None:
    story = Scenario().green_deployed()
    check = story.check(on="green")
    first, second, third = (story.now + timedelta(seconds=each) for each in (10, 20, 30))
    story.after("40s")
    for at, value in ((first, ROLLBACK), (third, OK), (second, ROLLBACK)):
        story.sees(check, Value(value=value, at=at))
    assert not story.service.rollbacks
    assert story.remembers(on="green").held is Level.OK


def test_the_same_scrape_however_often_it_is_seen_is_one_sample() -> None:
    story = Scenario().green_deployed().after("10s")
    check, sample = story.check(on="green"), Value(value=ROLLBACK, at=story.now)
    for _ in range(20):
        story.sees(check, sample).after("1s")
    assert not story.service.rollbacks
    story.sees(check, Value(value=ROLLBACK, at=story.now))
    story.rollback_is(RollbackState.INTENDED)


def test_a_late_answer_of_an_earlier_version_is_nobodys() -> None:
    story = Scenario().shows("blue", version="v1").shows("green", version="v2").green_deployed()
    check = story.check(on="green")
    story.after("10s").sees(check, Value(value=ROLLBACK, at=story.now))
    story.shows("green", version="v3").traffic().after("40s").traffic()
    before = story.service
    for _ in range(5):
        story.after("5s").sees(check, Value(value=ROLLBACK, at=story.now))
    assert story.service == before
    assert story.on("green").version == "v3"


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(seconds=40), timedelta(seconds=-6)], ids=str)
@pytest.mark.parametrize("value", [ROLLBACK, OK])
def test_a_source_whose_clock_is_wrong_is_neither_believed_to_be_bad_nor_to_be_well(
    off: timedelta, value: float
) -> None:
    """Behind by more than its samples may be old, or ahead by more than 5 s."""
    story = Scenario(TIMED).green_deployed()
    soaked = story.on("green").soaked_for
    for _ in range(20):
        story.after("30s")
        answered(story, value, off=off)
        story.tick()
    verdict = story.remembers(on="green").verdict
    assert verdict is not None
    assert verdict.level is Level.UNKNOWN
    assert verdict.reason is (Reason.STALE if off > timedelta() else Reason.FUTURE)
    assert not story.service.rollbacks
    assert [one.kind for one in story.service.incidents.values()] == [IncidentKind.BLIND]
    assert story.told.count(MessageKind.INCIDENT_OPENED) == 1
    assert story.on("green").soaked_for == soaked, "unknown time is no health"


def test_a_source_whose_clock_goes_wrong_takes_nothing_away_from_what_it_began() -> None:
    story = Scenario(TIMED).green_deployed().green_is_bad(1)
    for _ in range(2):
        for off in (HOUR, -HOUR):
            story.after("10s")
            answered(story, OK, off=off)
    story.green_is_bad(1)
    story.rollback_is(RollbackState.INTENDED)
