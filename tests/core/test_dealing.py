from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.test_checks import RECHECK
from tests.engine.worlds import DEPTH, ERRORS, intent, service, traffic, world
from watchdog.core.check import CheckId, CheckState, Streak
from watchdog.core.checks import SharedPoll, plans_as_before, polls
from watchdog.core.dealing import NARROW_UNTIL, Hand, Part, deal, narrowed, rounds, tables, worst_first
from watchdog.core.events import Observed
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.observe import observe
from watchdog.core.rule import (
    Aggregate,
    Direction,
    Gauge,
    Level,
    Match,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Severity,
)
from watchdog.core.selector import parse_selector
from watchdog.core.world import ServiceWorld, World
from watchdog.testing.clock import BASE

SHARED = replace(
    ERRORS,
    form=Ratio(bad='requests_total{status=~"5.."}', total="requests_total"),
    match=Match(labels={"service": "name"}),
)
POLL = SharedPoll(rule="errors")
PRESSING = SharedPoll(rule="errors", pressing=True)
PARTS = ("bad", "total", "newest", "samples")


def whole(**changes: object) -> Answer:
    return replace(Answer(parts=dict.fromkeys(PARTS, ()), evaluated_at=BASE, asked="asked"), **changes)


def series(name: str, bad: float, total: float) -> list[Part]:
    labels = {"service": name, "other": "x"}
    numbers = {"bad": bad, "total": total, "newest": BASE.timestamp(), "samples": 10.0}
    return [Part(part, labels, number) for part, number in numbers.items()]


def of(name: str, rule: Rule = SHARED, **changes: Any) -> ServiceWorld:
    return service(rule, name=name, **changes)


def hands(*names: str) -> tuple[Hand, ...]:
    return tuple(Hand(check=CheckId(service=name, rule="errors"), key=(name,)) for name in names)


def test_each_service_gets_its_own_series_and_what_is_the_same_for_all() -> None:
    warned = whole(warnings=("part of it is missing",), since=BASE)
    dealt = deal([*series("trips", 1, 100), *series("hotels", 50, 100)], warned, ("service",))

    assert dealt.of(("trips",)).parts["bad"] == (1,)
    assert dealt.of(("hotels",)).parts["bad"] == (50,)
    for name in ("trips", "hotels", "nobody"):
        answer = dealt.of((name,))
        assert (answer.warnings, answer.since, answer.asked) == (warned.warnings, BASE, "asked")
        assert set(answer.parts) == set(PARTS)
        assert observe(SHARED, answer, now=BASE) == NoData(
            reason=NoDataReason.PARTIAL,
            detail="part of it is missing",
            asked="asked",
            answered=answer.answered,
        )
    assert "hotels" not in dealt.of(("trips",)).answered


def test_a_service_without_series_has_no_data() -> None:
    seen = observe(SHARED, deal(series("trips", 1, 100), whole(), ("service",)).of(("hotels",)), now=BASE)

    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.EMPTY


def test_several_series_of_one_part_are_several_for_that_service_only() -> None:
    dealt = deal(
        [*series("trips", 1, 100), *series("trips", 2, 50), *series("hotels", 3, 100)], whole(), ("service",)
    )

    twice = observe(SHARED, dealt.of(("trips",)), now=BASE)
    assert isinstance(twice, NoData)
    assert twice.reason is NoDataReason.SEVERAL_SERIES
    assert isinstance(observe(SHARED, dealt.of(("hotels",)), now=BASE), Value)


def test_series_that_belong_to_nobody_are_counted_and_left_alone() -> None:
    dealt = deal(
        [*series("trips", 1, 100), *series("old", 9, 9), Part("bad", {}, 7.0)], whole(), ("service",)
    )

    assert dealt.strangers([("trips",), ("hotels",)]) == 1
    assert dealt.nothing.parts == dict.fromkeys(PARTS, ())


def test_all_labels_must_be_equal() -> None:
    both = Match(labels={"service": "name", "env": "label.env"})
    assert both.values("trips", {"env": "prod"}) == ("trips", "prod")
    assert both.values("trips", {}) == ("trips", "")
    parts = [
        Part("bad", {"service": "trips", "env": "prod"}, 1.0),
        Part("bad", {"service": "trips", "env": "test"}, 2.0),
        Part("bad", {"service": "trips"}, 3.0),
    ]
    dealt = deal(parts, whole(), ("service", "env"))
    assert dealt.of(("trips", "prod")).parts["bad"] == (1.0,)
    assert dealt.of(("trips", "")).parts["bad"] == ()


NAMES = st.sampled_from(["trips", "hotels", "a b", 'quo"te', "x|y", "z.", ""])
NUMBERS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(NAMES, st.sampled_from(PARTS), NUMBERS)))
def test_dealing_loses_nothing_makes_nothing_up_and_mixes_nobody(rows: list[tuple[str, str, float]]) -> None:
    dealt = deal([Part(part, {"service": name}, value) for name, part, value in rows], whole(), ("service",))

    for (name,), answer in dealt.hands.items():
        assert name
        for part in PARTS:
            assert answer.parts[part] == tuple(value for n, p, value in rows if (n, p) == (name, part))
    assert {key for (key,) in dealt.hands} == {name for name, _, _ in rows if name}


def test_one_table_has_every_service_that_uses_the_rule() -> None:
    other = of("other", replace(ERRORS, name="another"))
    (table,) = tables(world(of("trips"), of("hotels"), other), POLL, now=BASE)

    assert [hand.check.service for hand in table.hands] == ["trips", "hotels"]
    assert [hand.key for hand in table.hands] == [("trips",), ("hotels",)]
    (one,) = rounds(world(of("trips"), of("hotels")), table, now=BASE)
    assert (one.hands, one.by, one.asked) == (table.hands, ("service",), None)


def pending(name: str) -> ServiceWorld:
    state = CheckState(streaks={"critical": Streak(count=1, since=BASE, last=BASE)}, breached_at=BASE)
    return of(name, checks={CheckId(service=name, rule="errors"): state})


def test_a_pressing_poll_asks_only_for_those_on_which_something_hangs() -> None:
    known = world(of("trips"), pending("hotels"), of("flights"))
    (table,) = tables(known, PRESSING, now=BASE)
    assert [hand.check.service for hand in table.hands] == ["hotels"]
    assert tables(world(of("trips")), PRESSING, now=BASE) == ()


def test_a_check_is_pressing_exactly_while_it_is_planned_at_the_recheck_interval() -> None:
    recheck = timedelta(seconds=1)
    for one in (of("trips"), pending("trips")):
        planned = polls(one, recheck=recheck, now=BASE)
        assert planned.alone == {}
        asked = bool(tables(world(one), PRESSING, now=BASE))
        wanted: dict[SharedPoll, timedelta] = {POLL: SHARED.interval}
        assert planned.shared == (wanted | {PRESSING: recheck} if asked else wanted)
    assert polls(pending("trips"), recheck=SHARED.interval, now=BASE).shared == {POLL: SHARED.interval}
    assert RECHECK


def test_an_incident_keeps_the_rule_it_was_opened_with_and_is_asked_by_it() -> None:
    old = replace(SHARED, window=timedelta(seconds=99))
    check = CheckId(service="hotels", rule="errors")
    breach = Breach(rule=old, level=Level.CRITICAL, since=BASE)
    incident = Incident(
        id="inc-1",
        kind=IncidentKind.BREACH,
        state=IncidentState.OPEN,
        subject="hotels",
        opened_at=BASE,
        level=Level.CRITICAL,
        severity=Severity.HIGH,
        breaches={str(check): breach},
    )
    found = tables(world(of("trips"), of("hotels", incidents={"inc-1": incident})), POLL, now=BASE)

    assert [(table.rule.window, [hand.check.service for hand in table.hands]) for table in found] == [
        (SHARED.window, ["trips"]),
        (old.window, ["hotels"]),
    ]


@pytest.mark.parametrize(
    ("form", "narrow"),
    [
        (
            Ratio(bad='r{status=~"5.."}', total="r"),
            Ratio(bad='r{status=~"5..",service="trips"}', total='r{service="trips"}'),
        ),
        (Quantile(of="d{}", q=0.9), Quantile(of='d{service="trips"}', q=0.9)),
        (Rate(of='r{a="b",} '), Rate(of='r{a="b",service="trips"}')),
        (Gauge(of="g", by=Aggregate.MAX), Gauge(of='g{service="trips"}', by=Aggregate.MAX)),
        (Query(query="sum by (service) (x)"), Query(query="sum by (service) (x)")),
    ],
)
def test_a_form_is_narrowed_to_one_service_where_it_can_be(form: Ratio, narrow: Ratio) -> None:
    assert narrowed(SHARED, form, hands("trips")) == narrow
    assert narrowed(SHARED, form, ()) == form


def test_a_form_for_more_services_than_fit_is_asked_for_all() -> None:
    many = [f"service-{number}" for number in range(NARROW_UNTIL)]
    assert narrowed(SHARED, Rate(of="r"), hands(*many)) == Rate(of="r")


@given(st.lists(NAMES.filter(bool), min_size=1, unique=True), NAMES)
def test_a_narrowed_selector_accepts_exactly_the_services_it_is_for(names: list[str], other: str) -> None:
    form = narrowed(SHARED, Rate(of="r"), hands(*names))
    assert isinstance(form, Rate)
    selector = parse_selector(form.of)
    assert selector.accepts({"service": other}) is (other in names)


def test_a_probe_cannot_be_asked_for_several_services() -> None:
    with pytest.raises(ValueError, match="not asked for several"):
        narrowed(replace(SHARED, match=None), SHARED.form, ())


def seen(name: str, value: float | None) -> Observed:
    observation = Failed(reason=FailReason.TIMEOUT) if value is None else Value(value=value, at=BASE)
    return Observed(check=CheckId(service=name, rule="errors"), observation=observation, arrived_at=BASE)


@pytest.mark.parametrize(
    ("direction", "order"),
    [(Direction.ABOVE, ["b", "a", "c", "none"]), (Direction.BELOW, ["c", "a", "b", "none"])],
)
def test_what_looks_worst_is_judged_first(direction: Direction, order: list[str]) -> None:
    found = [seen("none", None), seen("a", 2), seen("b", 3), seen("c", -1)]
    ordered = worst_first(replace(DEPTH, direction=direction), found)
    assert [one.check.service for one in ordered] == order


def test_a_world_without_the_rule_has_no_table() -> None:
    assert tables(World(services={}), POLL, now=BASE) == ()


def test_what_is_planned_stays_only_while_nothing_that_it_hangs_on_has_changed() -> None:
    calm, named = of("trips"), service(name="trips")
    heard = replace(calm, checks={CheckId(service="trips", rule="errors"): CheckState(failures=1)})
    assert plans_as_before(calm, heard)
    assert plans_as_before(calm, replace(calm, traffic=traffic("blue")))
    assert not plans_as_before(named, replace(named, traffic=traffic("blue")))
    assert not plans_as_before(calm, pending("trips"))
    assert not plans_as_before(pending("trips"), calm)
    assert not plans_as_before(calm, replace(calm, rollbacks={"rb-1": intent()}))
    assert not plans_as_before(calm, replace(calm, rules={}))
