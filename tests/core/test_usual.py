"""Rules that compare with what is usual: what is asked and how often, what is told, what proves a rollback."""

from __future__ import annotations

from datetime import timedelta
from statistics import NormalDist
from typing import Any

import pytest

from tests.core.history import History, Measured
from tests.core.scenario import MINUTE, T0, of_service, rule, service, world_of
from watchdog.core.baseline import USUAL_FLOOR, USUAL_QUANTILE, Earlier
from watchdog.core.check import CheckState, Reason
from watchdog.core.checks import SharedPoll
from watchdog.core.comparing import compared, comparison
from watchdog.core.dealing import rounds, tables
from watchdog.core.evaluate import evaluate
from watchdog.core.events import OutcomeKind
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Answer, Value
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Gauge,
    Level,
    Match,
    Ratio,
    Rule,
    Severity,
    Thresholds,
    Unit,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
#: One deviation of `DEPTHS` is 100: its median is 0, and so is its floor.
DEVIATION = 100.0
DEPTHS = (0.0, DEVIATION * NormalDist().inv_cdf(USUAL_QUANTILE), 336.0)


def usual(name: str = "depth", *, over: timedelta = 14 * DAY, **changes: Any) -> Rule:
    """`depth`: 4 deviations more than usual are a warning, 5 critical, 7.5 too much."""
    settings: dict[str, Any] = {
        "form": Gauge(of='depth{service="$service",version="$version"}', by=Aggregate.MAX),
        "thresholds": Thresholds(),
        "baseline": Baseline(
            against=Against.USUAL, over=over, margins=Thresholds(warning=4.0, critical=5.0, rollback=7.5)
        ),
    }
    return rule(name, **(settings | changes))


def stable_blue(
    asked: Rule | None = None,
    *,
    known: tuple[float, float, float] | None = DEPTHS,
    measured: Measured | None = None,
) -> History:
    """Blue was adopted and lives for a while; green stands by."""
    story = History(asked or usual(), measured=measured or (lambda version, at: 10.0))
    story.usual = known
    story.traffic(blue=1, green=0)
    story.live_for("11m")
    return story


def test_what_is_usual_is_asked_of_any_version_with_a_median_and_a_quantile_and_without_the_value_itself() -> (
    None
):
    story = stable_blue()

    assert story.asked[0] == Earlier(
        form=Gauge(of='depth{service="trips",version=~".+"}', by=Aggregate.MAX),
        ago=story.rules[0].window,
        median_over=14 * DAY,
        step=HOUR,
        outer=USUAL_QUANTILE,
    )


@pytest.mark.parametrize(
    ("over", "window", "step"),
    [
        (HOUR, timedelta(minutes=1), timedelta(minutes=1)),
        (14 * DAY, timedelta(hours=2), timedelta(hours=2)),
        (28 * DAY, timedelta(minutes=1), 2 * HOUR),
    ],
)
def test_its_values_lie_no_closer_than_their_windows(
    over: timedelta, window: timedelta, step: timedelta
) -> None:
    story = stable_blue(usual(over=over, window=window))
    assert (story.asked[0].step, story.asked[0].ago) == (step, window)


def test_where_less_is_worse_the_quantile_is_a_lower_one() -> None:
    story = stable_blue(usual(direction=Direction.BELOW))
    assert story.asked[0].outer == pytest.approx(1 - USUAL_QUANTILE)


def test_it_is_asked_once_and_again_only_when_one_of_its_values_is_new() -> None:
    story = stable_blue()
    assert len(story.asked) == 1
    story.live_for("45m", every="5m")
    story.live_for("1h30m", every="5m")
    assert 2 <= len(story.asked) - 1 <= 3


def test_a_restart_does_not_ask_again() -> None:
    story = stable_blue().restart().live_for("2m")
    assert len(story.asked) == 1


def test_services_do_not_all_ask_at_the_same_moment() -> None:
    def renewed(name: str) -> int:
        """After how many minutes it is asked again."""
        story = stable_blue(usual(name))
        for minutes in range(1, 90):
            needed = comparison(
                story.service, story.check(on="blue"), story.rules[0], now=story.now + minutes * MINUTE
            )
            assert needed is not None
            if needed.asked is not None:
                return minutes
        raise AssertionError("it is never asked again")

    moments = {renewed(f"depth-{number}") for number in range(6)}
    assert len(moments) > 2
    assert 30 <= min(moments) <= max(moments) <= 60


def test_a_clock_that_was_set_back_asks_again() -> None:
    story = stable_blue()
    story.now -= 2 * HOUR
    needed = comparison(story.service, story.check(), story.rules[0], now=story.now)
    assert needed is not None
    assert needed.asked is not None


def test_a_question_that_is_too_dear_blinds_nobody_who_knows_what_was_usual() -> None:
    story = stable_blue()
    story.live_for("1h", every="5m")
    story.failing = True
    story.after("30s").poll()
    story.failing = False
    asked = len(story.asked)
    story.now += 3 * HOUR

    assert story.poll().level is Level.OK
    assert len(story.asked) == asked
    assert story.after("30s").poll().level is Level.OK
    assert len(story.asked) == asked + 1


def test_a_question_that_is_too_dear_is_not_taken_for_a_source_that_does_not_answer() -> None:
    story = stable_blue(known=None)
    story.failing = True
    story.after("30s").poll()
    story.failing, story.usual = False, DEPTHS
    asked = len(story.asked)
    verdict = story.after("30s").poll()

    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert "the last question did not succeed" in verdict.explanation
    assert len(story.asked) == asked
    assert story.after("30s").poll().level is Level.OK
    assert len(story.asked) == asked + 1


def test_far_off_what_is_usual_is_a_breach_and_the_sentence_says_how_far() -> None:
    depth = 10.0
    story = stable_blue(measured=lambda version, at: depth)
    verdict = story.poll()
    assert (
        verdict.explanation
        == "10 is 0.1 deviations of 100 above 0, the usual value (the median of 14d), within 400"
    )
    depth = 510.0
    verdict = story.after("30s").poll()
    assert (verdict.level, verdict.limit) == (Level.CRITICAL, 500.0)
    assert verdict.explanation == (
        "510 is 5.1 deviations of 100 above 0, the usual value (the median of 14d), beyond the limit of 500"
    )
    depth = -100.0
    assert "-100 is 1 deviation of 100 below 0" in story.after("30s").poll().explanation
    depth = 0.0
    assert story.after("30s").poll().explanation.startswith("0 is 0, the usual value")


def test_a_bad_version_is_rolled_back_and_its_successor_is_held_against_the_same_usual() -> None:
    def depth(version: str, _: Any) -> float:
        return 900.0 if version == "green" else 10.0

    story = stable_blue(measured=depth)
    story.deployed()
    for _ in range(2):
        story.after("10s").poll(on="green")
    story.rollback_is(RollbackState.INTENDED)
    story.usual = (880.0, 880.0, 336.0)  # it was so bad for so long that it is what is usual now
    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    story.after("2s").traffic().after("5s")
    asked = len(story.asked)
    for _ in range(3):
        assert "above 0, the usual value" in story.after("5s").poll(on="blue").explanation
    assert len(story.asked) == asked
    story.after("1m").traffic().tick()
    story.rollback_is(RollbackState.COMPLETED)


def test_a_number_that_never_moves_from_0_is_not_judged_and_people_are_told_soon_but_quietly() -> None:
    story = stable_blue(known=(0.0, 0.0, 336.0))
    verdict = story.remembers(on="blue").verdict
    assert verdict is not None
    assert verdict.reason is Reason.NO_REFERENCE
    assert verdict.explanation == (
        "there is nothing to compare it with: the usual value (the median of 14d) is 0 and hardly ever worse, "
        "so that nothing says how much worse would be much"
    )
    assert len(story.asked) == 1  # it is not asked at every poll
    (incident,) = story.service.incidents.values()
    assert (incident.kind, incident.severity) == (IncidentKind.BLIND, Severity.LOW)


def test_a_number_that_is_always_0_has_no_median_and_is_remembered_as_one_without_a_scale() -> None:
    story = stable_blue()
    needed = comparison(story.service, story.check(), story.rules[0], now=story.now + DAY)
    answer = Answer(
        parts={"value": (0.0,), "reference": (), "reference_outer": (), "reference_points": (336.0,)},
        evaluated_at=story.now,
    )
    found = compared(story.rules[0], answer, needed, now=story.now)
    assert isinstance(found, Value)
    assert found.reference is not None
    assert (found.reference.value, found.reference.spread) == (0.0, None)
    assert evaluate(story.rules[0], CheckState(), found, now=story.now).state.reference == found.reference


@pytest.mark.parametrize("known", [None, (10.0, 20.0, 83.0)])
def test_a_service_that_is_too_young_has_its_time_before_people_are_told(
    known: tuple[float, float, float] | None,
) -> None:
    story = stable_blue(known=known)
    story.live_for("3h", every="5m")
    verdict = story.poll(on="blue")
    assert verdict.reason is Reason.NO_REFERENCE
    assert "values of the 84 it takes" in verdict.explanation
    assert MessageKind.INCIDENT_OPENED not in story.told
    assert not story.service.incidents
    story.live_for("84h", every="6h")
    story.live_for("10m")
    assert {one.kind for one in story.service.incidents.values()} == {IncidentKind.BLIND}


def test_a_deviation_is_at_least_a_share_of_what_is_usual() -> None:
    story = stable_blue(known=(1000.0, 1000.0, 336.0), measured=lambda version, at: 1000.0)
    reference = story.remembers(on="blue").reference
    assert reference is not None
    assert reference.spread == USUAL_FLOOR * 1000.0


def test_a_share_of_what_went_well_deviates_by_what_went_wrong() -> None:
    asked = usual(
        unit=Unit.RATIO,
        direction=Direction.BELOW,
        form=Ratio(bad='ok{version="$version"}', total='all{version="$version"}'),
    )
    answer = Answer(
        parts={
            "bad": (990.0,),
            "total": (1000.0,),
            "reference": (0.99,),
            "reference_outer": (0.99,),
            "reference_points": (336.0,),
        },
        evaluated_at=stable_blue().now,
    )
    story = stable_blue(asked)
    needed = comparison(story.service, story.check(on="blue"), asked, now=story.now + DAY)
    found = compared(asked, answer, needed, now=answer.evaluated_at)
    assert isinstance(found, Value), found
    assert found.reference is not None
    assert found.reference.spread == pytest.approx(USUAL_FLOOR * 0.01)


def test_a_limit_that_no_share_can_pass_is_said_to_be_one() -> None:
    asked = usual(unit=Unit.RATIO)
    story = stable_blue(asked, known=(0.3, 0.6, 336.0), measured=lambda version, at: 0.9)
    assert story.poll(on="blue").explanation.endswith("%, beyond which no share can be")


def test_what_is_usual_is_no_proof_that_it_was_not_as_bad_right_before_a_deployment() -> None:
    load = of_service("load", thresholds=Thresholds(rollback=10_000.0))
    story = History(usual(), load, measured=lambda version, at: {"": 10.0, "green": 900.0}.get(version))
    story.usual = DEPTHS
    story.traffic(blue=1, green=0)
    story.live_for("31m")
    story.deployed()
    for _ in range(2):
        story.after("10s").poll("depth", on="green")
    assert ("not_already_bad", "no_baseline") in story.vetoes
    story.rollback_is(RollbackState.BLOCKED)


def test_services_that_are_asked_for_together_learn_what_is_usual_together() -> None:
    rule = usual(form=Gauge(of="depth", by=Aggregate.MAX), match=Match(labels={"service": "name"}))
    poll = SharedPoll(rule="depth")
    world = world_of(*((service(name, (rule,)), (rule,)) for name in ("trips", "cars")))
    (table,) = tables(world, poll, now=T0)
    (one,) = rounds(world, table, now=T0)
    assert len(one.hands) == 2
    assert one.asked is not None
    assert (one.asked.outer, one.asked.version) == (USUAL_QUANTILE, "")
