"""Burn rates: what is counted, which levels are reached, on what evidence, in which words."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.burns import SLO, STEP, T0, Counter, budget_rule
from watchdog.core.burning import Burn, BurnLimit, Counted, Slo, at_rest, burns_of, worst_of
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.evaluate import Evaluated, evaluate
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Observation, Value
from watchdog.core.observe import observe
from watchdog.core.promql import over, parts_of
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Evidence, Level, Ratio, Rule, Unit

H, M, D = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
RULE = budget_rule()
BARE = budget_rule(evidence=None)


def burning(*, events: float = 10_000_000.0, **levels: tuple[float, float]) -> Value:
    """A sample with these burn rates, (long, short) by level; those left out burn nothing."""
    burns = {
        level: Burn(
            long=levels.get(level, (0.0, 0.0))[0],
            short=levels.get(level, (0.0, 0.0))[1],
            events=events,
            bad=levels.get(level, (0.0, 0.0))[0] * events * SLO.budget,
        )
        for level in SLO.limits
    }
    worst = worst_of(SLO, burns)
    assert worst is not None
    return Value(value=worst.burn.rate, at=T0, events=worst.burn.events, bad=worst.burn.bad, burns=burns)


def judged(value: Observation, rule: Rule = RULE) -> Verdict:
    return evaluate(rule, CheckState(), value, now=T0).verdict


# -- what is asked and counted


def test_every_window_is_asked_once_and_all_in_one_question() -> None:
    form = Ratio(bad="errors", total="requests")
    parts = parts_of(form, RULE.window, windows=RULE.windows)
    assert parts["bad"] == "sum(increase(errors[300s]))"
    assert parts["total"] == "sum(increase(requests[300s]))"
    assert {name: text for name, text in parts.items() if "_" in name} == {
        f"{part}_{seconds}s": f"sum(increase({selector}[{seconds}s]))"
        for seconds in (1800, 3600, 21600, 259200)
        for part, selector in (("bad", "errors"), ("total", "requests"))
    }
    assert set(parts) - {name for name in parts if "_" in name} == {"bad", "total", "newest", "samples"}


def test_windows_keep_the_labels_that_series_are_dealt_by() -> None:
    parts = parts_of(Ratio(bad="errors", total="requests"), 5 * M, by=("job",), windows=(H,))
    assert parts[over("bad", H)] == "sum by (job) (increase(errors[3600s]))"


def test_an_answer_gives_the_burn_rates_of_every_level() -> None:
    counter = Counter()
    for minutes in range(3 * 24 * 60):
        bad = 20.0 if minutes < 10 else 0.0  # the newest ten minutes
        counter.add(T0 - minutes * M, events=1000, bad=bad)
    value = counter.value(RULE, T0)
    assert set(value.burns) == {"warning", "critical", "rollback"}
    assert value.burns["rollback"].long == pytest.approx(20 * 10 / 60)
    assert value.burns["rollback"].short == pytest.approx(20)
    assert value.burns["rollback"].events == 60_000
    assert value.burns["rollback"].bad == 200
    assert value.burns["critical"].short == pytest.approx(20 / 3)
    assert value.burns["warning"].events == 3 * 24 * 60_000
    # None is reached: the value is the mildest one's.
    assert value.value == value.burns["warning"].rate
    assert (value.events, value.bad) == (3 * 24 * 60_000, 200)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 1000), st.floats(0, 1)), min_size=1, max_size=30)
)
def test_burn_rates_are_shares_of_every_window_over_the_budget(
    happened: list[tuple[int, int, float]],
) -> None:
    counter = Counter()
    counter.add(T0, events=1, bad=0)  # else the shortest window may be empty
    for minutes, events, share in happened:
        counter.add(T0 - minutes * M, events=events, bad=int(events * share))
    value = counter.value(BARE, T0)
    for level, limit in SLO.limits.items():
        for window, rate in (
            (limit.long, value.burns[level].long),
            (limit.short, value.burns[level].short),
        ):
            inside = [one for one in counter.happened if T0 - window < one[0] <= T0]
            share = sum(one[2] for one in inside) / sum(one[1] for one in inside)
            assert rate == pytest.approx(share / 0.001)


def answer(**parts: float | None) -> Answer:
    whole: dict[str, float | None] = {"newest": T0.timestamp(), "samples": 10.0, **parts}
    return Answer(
        parts={part: () if number is None else (number,) for part, number in whole.items()},
        evaluated_at=T0,
    )


def everywhere(**counts: float | None) -> dict[str, float | None]:
    """The same counts in every window."""
    return {over(part, window): count for window in RULE.windows for part, count in counts.items()} | counts


def test_no_events_in_the_shortest_window_are_no_data_as_with_every_ratio() -> None:
    for total in (None, 0.0):
        parts = everywhere(bad=None, total=1000.0) | {"total": total}
        seen = observe(RULE, answer(**parts), now=T0)
        assert isinstance(seen, NoData)
        assert seen.reason is NoDataReason.EMPTY


def test_a_window_without_an_answer_leaves_its_levels_out() -> None:
    parts = everywhere(bad=500.0, total=1000.0) | {over("total", H): None, over("bad", H): None}
    seen = observe(RULE, answer(**parts), now=T0)
    assert isinstance(seen, Value)
    assert sorted(seen.burns) == ["critical", "warning"]
    assert judged(seen).level is Level.CRITICAL


def test_windows_all_without_an_answer_but_the_shortest_are_no_data() -> None:
    parts = everywhere(bad=None, total=None) | {"total": 10.0}
    seen = observe(RULE, answer(**parts), now=T0)
    assert isinstance(seen, NoData)
    assert "long windows" in seen.detail


@pytest.mark.parametrize(("bad", "total"), [(11.0, 10.0), (-1.0, 10.0), (0.0, -5.0)])
def test_counts_that_cannot_be_true_are_an_error_in_any_window(bad: float, total: float) -> None:
    for window in RULE.windows:
        parts = everywhere(bad=0.0, total=10.0) | {over("bad", window): bad, over("total", window): total}
        seen = observe(RULE, answer(**parts), now=T0)
        assert isinstance(seen, Failed)
        assert seen.reason is FailReason.OUT_OF_RANGE


def test_bad_events_that_no_series_counts_yet_are_none() -> None:
    seen = observe(RULE, answer(**everywhere(bad=None, total=1000.0)), now=T0)
    assert isinstance(seen, Value)
    assert {burn.long for burn in seen.burns.values()} == {0.0}


def test_a_level_that_an_objective_does_not_have_is_not_counted() -> None:
    slo = Slo(objective=0.99, warning=None, critical=None)
    assert slo.windows == (5 * M, H)
    counts = {5 * M: Counted(events=100, bad=1), H: Counted(events=1000, bad=20)}
    assert burns_of(slo, counts) == {
        "rollback": Burn(
            long=2.0, short=1.0, events=1000, bad=20, recent=counts[slo.limits["rollback"].short].events
        )
    }


# -- which level is reached


@pytest.mark.parametrize(
    ("value", "level", "told"),
    [
        (burning(), Level.OK, 0.0),
        (burning(rollback=(14.4, 20)), Level.OK, 0.0),
        (burning(rollback=(20, 14.4)), Level.OK, 0.0),
        (burning(rollback=(14.5, 20)), Level.ROLLBACK, 14.5),
        (burning(rollback=(20, 14.5)), Level.ROLLBACK, 14.5),
        (burning(critical=(7, 6.5), rollback=(900, 3)), Level.CRITICAL, 6.5),
        (burning(warning=(2, 3), critical=(5, 900)), Level.WARNING, 2.0),
        (burning(warning=(2, 3), critical=(7, 8), rollback=(15, 16)), Level.ROLLBACK, 15.0),
        (burning(warning=(1, 3)), Level.OK, 1.0),
    ],
)
def test_a_level_is_reached_when_both_windows_are_strictly_beyond(
    value: Value, level: Level, told: float
) -> None:
    for rule in (RULE, BARE):
        verdict = judged(value, rule)
        assert verdict.level is level
        assert verdict.reason is (Reason.WITHIN if level is Level.OK else Reason.BEYOND)
        assert verdict.value == told
        limit = SLO.limits.get(level.value, SLO.warning)
        assert limit is not None
        assert verdict.limit == limit.factor


def test_too_few_events_keep_only_their_own_level_from_being_reached() -> None:
    value = burning(warning=(3, 3), rollback=(900, 900))
    few = replace(value.burns["rollback"], events=19.0, bad=17.0)
    verdict = judged(replace(value, burns=value.burns | {"rollback": few}))
    assert verdict.level is Level.WARNING
    assert verdict.explanation.endswith(
        "above 1x; above 14.4x too, but there are 19 events of the 20 it takes"
    )


def test_too_few_events_in_every_window_are_no_verdict() -> None:
    verdict = judged(burning(rollback=(900, 900), events=19.0))
    assert (verdict.level, verdict.reason, verdict.events) == (Level.UNKNOWN, Reason.TOO_FEW_EVENTS, 19.0)
    assert verdict.explanation == "19 events in 3d, a verdict needs 20"
    assert judged(burning(rollback=(900, 900), events=19.0), BARE).level is Level.ROLLBACK


def test_the_long_window_must_show_by_itself_that_it_burns_that_fast() -> None:
    # 10 of 400 are 25 times 0.1 %; with 99 % confidence it may be 12.2 times.
    verdict = judged(burning(rollback=(25, 900), events=400.0))
    assert (verdict.level, verdict.reason) == (Level.OK, Reason.NOT_SIGNIFICANT)
    assert verdict.limit == 14.4
    assert verdict.explanation.endswith(
        "above 14.4x, which is not significant: with 99% confidence it is only known to be beyond 12.2x"
    )
    assert judged(burning(rollback=(25, 900), events=4000.0)).level is Level.ROLLBACK
    assert judged(burning(critical=(25, 900), events=400.0)).level is Level.CRITICAL


def test_a_rollback_takes_bad_events_enough() -> None:
    nine = burning(rollback=(300, 900), events=30.0)
    assert nine.burns["rollback"].bad == 9
    verdict = judged(nine)
    assert (verdict.level, verdict.reason) == (Level.OK, Reason.NOT_SIGNIFICANT)
    assert "there are 9 bad events of the 10 it takes" in verdict.explanation
    assert judged(burning(critical=(300, 900), events=30.0)).level is Level.CRITICAL


def test_no_excess_is_kept() -> None:
    evaluated = evaluate(RULE, CheckState(), burning(rollback=(900, 900)), now=T0)
    assert evaluated.state.excess == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"burns": {}}, Reason.EMPTY),
        ({"burns": {"other": Burn(long=1, short=1, events=10, bad=1)}}, Reason.EMPTY),
        ({"value": float("nan")}, Reason.NOT_A_NUMBER),
        ({"burns": {"rollback": Burn(long=float("inf"), short=1, events=10, bad=1)}}, Reason.NOT_A_NUMBER),
        ({"burns": {"rollback": Burn(long=1001, short=1, events=10, bad=1)}}, Reason.OUT_OF_RANGE),
        ({"burns": {"rollback": Burn(long=1, short=-1, events=10, bad=1)}}, Reason.OUT_OF_RANGE),
        ({"burns": {"rollback": Burn(long=1, short=1, events=10, bad=11)}}, Reason.OUT_OF_RANGE),
        ({"burns": {"rollback": Burn(long=1, short=1, events=10, bad=-1)}}, Reason.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_judged_is_unknown(changed: dict[str, object], reason: Reason) -> None:
    value = burning(rollback=(20, 20))
    broken = replace(value, **changed)
    verdict = judged(broken)
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, reason)


# -- in which words


def test_a_verdict_says_counts_both_burn_rates_their_windows_and_the_limit() -> None:
    verdict = judged(burning(rollback=(16.4, 18.2), events=25_000.0))
    assert verdict.explanation == (
        "410 of 25000 events were bad in 1h: 16.4x what 99.9% allows, and 18.2x over 5m, above 14.4x"
    )
    assert judged(burning(warning=(0.25, 0.5))).explanation == (
        "2500 of 10000000 events were bad in 3d: 0.25x what 99.9% allows, and 0.5x over 6h, within 1x"
    )


def test_numbers_of_times_are_short() -> None:
    shown = [
        format_quantity(number, Unit.TIMES) for number in (0.0, 0.0123, 1.0, 14.4, 166.667, 1000.0, -2.5)
    ]
    assert shown == ["0x", "0.0123x", "1x", "14.4x", "167x", "1000x", "-2.5x"]


# -- over time


def lived_through(rule: Rule, shares: list[float], *, events: float = 1000.0) -> list[Evaluated]:
    """A check polled every 30 s, with that share of its events bad in each."""
    counter, state, found = Counter(), CheckState(), []
    for index, share in enumerate(shares):
        now = T0 + index * STEP
        counter.add(now, events=events, bad=share * events)
        one = evaluate(rule, state, counter.value(rule, now), now=now)
        state = one.state
        found.append(one)
    return found


def test_a_total_outage_is_a_rollback_at_the_second_sample_beyond_52_seconds() -> None:
    lived = lived_through(RULE, [0.0] * 120 + [1.0] * 4)
    assert [one.verdict.level for one in lived[119:124]] == [
        Level.OK,
        Level.CRITICAL,  # 30 s: 8.3 times, also over 6h, of which there is one
        Level.ROLLBACK,  # 60 s: 16.7 times
        Level.ROLLBACK,
        Level.ROLLBACK,
    ]
    assert [one.state.held for one in lived[120:123]] == [Level.OK, Level.CRITICAL, Level.ROLLBACK]


def test_a_check_is_clear_by_its_shortest_window_and_ok_when_every_window_has_forgotten() -> None:
    short = Slo(
        objective=0.99,
        warning=BurnLimit(factor=1, long=2 * H, short=30 * M),
        critical=None,
        rollback=BurnLimit(factor=10, long=10 * M, short=2 * M),
    )
    rule = budget_rule(short)
    lived = lived_through(rule, [0.0] * 20 + [1.0] * 10 + [0.0] * 80)
    states = [one.state for one in lived]
    levels = [one.verdict.level for one in lived]
    assert max(index for index, level in enumerate(levels) if level is Level.ROLLBACK) < 35
    clean = next(index for index, state in enumerate(states) if index > 30 and state.clears == 3)
    assert clean == 29 + 4 + 2, "two minutes after the last bad event nothing of it is in the shortest window"
    # The incident is as bad as what is still reached, and over when nothing is.
    assert states[clean - 1].latched is Level.ROLLBACK
    assert {state.latched for state in states[clean:89]} == {Level.WARNING}
    assert states[89].latched is Level.OK
    assert levels[89] is Level.OK


def test_a_burn_that_goes_on_slowly_is_not_clear_although_no_level_is_reached() -> None:
    assert at_rest(SLO, burning(rollback=(0.5, 1.0)).burns)
    assert not at_rest(SLO, burning(rollback=(0.5, 1.1)).burns)
    assert not at_rest(SLO, {}), "not measured is not at rest"


def test_a_silence_neither_clears_nor_confirms() -> None:
    state = lived_through(RULE, [0.0] * 120 + [1.0] * 4)[-1].state
    after = evaluate(RULE, state, NoData(reason=NoDataReason.EMPTY), now=T0 + 124 * STEP).state
    assert (after.held, after.latched, after.clears) == (Level.ROLLBACK, Level.ROLLBACK, 0)


# -- records


def test_a_verdict_follows_from_its_record_alone() -> None:
    for value in (burning(), burning(rollback=(20, 30)), burning(warning=(3, 3), events=19.0)):
        written = msgspec.json.encode({"rule": RULE, "observation": value})
        read = msgspec.json.decode(written)
        rule = msgspec.convert(read["rule"], Rule)
        again = msgspec.convert(read["observation"], Observation)
        assert isinstance(again, Value)
        assert judged(again, rule) == judged(value)
        assert rule.hash == RULE.hash


def test_a_rule_without_an_objective_keeps_the_hash_it_had() -> None:
    plain = replace(RULE, slo=None)
    assert "slo" in plain.plain
    old = {name: value for name, value in plain.plain.items() if name != "slo"}
    assert msgspec.convert(old, Rule).hash == plain.hash
    assert plain.hash != RULE.hash


def test_an_old_value_without_burn_rates_is_read_as_one() -> None:
    written = msgspec.to_builtins(burning())
    del written["burns"]
    assert msgspec.convert(written, Observation) == replace(burning(), burns={})


def test_evidence_can_ask_for_less_confidence() -> None:
    lenient = replace(RULE, evidence=Evidence(confidence=0.6, excess=0.0))
    assert judged(burning(rollback=(25, 900), events=400.0), lenient).level is Level.ROLLBACK


def test_a_window_that_counted_nothing_leaves_its_levels_out() -> None:
    parts = everywhere(bad=0.0, total=10.0) | {over("total", 6 * H): 0.0}
    seen = observe(RULE, answer(**parts), now=T0)
    assert isinstance(seen, Value)
    assert sorted(seen.burns) == ["rollback"]


def test_a_sample_within_every_limit_is_not_clear_while_the_shortest_window_burns() -> None:
    state = CheckState()
    for index in range(4):
        value = replace(burning(rollback=(2.0, 5.0)), at=T0 + index * STEP)
        evaluated = evaluate(RULE, state, value, now=value.at)
        state = evaluated.state
        assert evaluated.verdict.reason is Reason.WITHIN
    assert state.clears == 0
    value = replace(burning(rollback=(2.0, 1.0)), at=T0 + 4 * STEP)
    assert evaluate(RULE, state, value, now=value.at).state.clears == 1
