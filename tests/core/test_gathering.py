from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from watchdog.core.gathering import NAMED, can_wait, gather, gathered
from watchdog.core.message import ENDS, NOTICES, Message, MessageKind, Outgoing
from watchdog.core.routing import Gather, Route
from watchdog.core.rule import Severity
from watchdog.core.silence import SILENCED
from watchdog.core.world import Gathered, World

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
BY_TEAM = Gather(by=("team",), wait=30 * SECOND, interval=5 * MINUTE)
OPENED = MessageKind.INCIDENT_OPENED


def world(*routes: Route) -> World:
    return World(services={}, routes=routes or (Route(to=("ops",), gather=BY_TEAM),))


def message(name: str = "trips", **changes: Any) -> Message:
    made = Message(
        key=f"k:{name}",
        kind=OPENED,
        severity=Severity.HIGH,
        headline=f"{name} is critical",
        created_at=T0,
        service=name,
        environment="production",
        labels={"team": "booking"},
        incident=f"inc-{name}",
        next_step=f"look at {name}",
        needs_human=True,
    )
    return replace(made, **changes)


def row(name: str = "trips", channel: str = "ops", **changes: Any) -> Outgoing:
    return Outgoing(key=f"k:{name}@{channel}", channel=channel, message=message(name, **changes), due_at=T0)


def waits(known: World, *rows: Outgoing, at: datetime = T0) -> tuple[list[tuple[str, timedelta]], World]:
    """For each row its group and how long it waits, and the world after it."""
    found, after = gather(rows, known, at)
    return [(one.group, one.due_at - at) for one in found], after


def test_the_first_of_a_group_waits_and_others_join_it() -> None:
    (first,), known = waits(world(), row("trips"))
    (second,), _ = waits(known, row("cart"), at=T0 + 20 * SECOND)

    assert first[1] == 30 * SECOND
    assert second == (first[0], 10 * SECOND)
    assert first[0]


def test_what_comes_after_a_message_waits_for_the_interval() -> None:
    _, known = waits(world(), row("trips"))
    (second,), known = waits(known, row("cart"), at=T0 + MINUTE)
    (third,), _ = waits(known, row("maps"), at=T0 + 2 * MINUTE)

    assert second[1] == 30 * SECOND + 5 * MINUTE - MINUTE
    assert third[1] == second[1] - MINUTE


def test_long_after_a_message_a_group_begins_anew() -> None:
    _, known = waits(world(), row("trips"))
    (later,), after = waits(known, row("cart"), at=T0 + 30 * SECOND + 5 * MINUTE)

    assert later[1] == 30 * SECOND
    assert len(after.gathered) == 1


def test_groups_are_those_of_the_labels_and_of_the_route_on_every_channel_alike() -> None:
    routes = (
        Route(match={"environment": "staging"}, to=("ops",), gather=BY_TEAM),
        Route(to=("ops",), gather=BY_TEAM),
    )
    found, _ = gather(
        (
            row("trips"),
            row("trips", "mail"),
            row("cart", labels={"team": "shop"}),
            row("maps", environment="staging"),
            row("none", labels={}),
        ),
        world(*routes),
        T0,
    )
    groups = [one.group for one in found]

    assert groups[0] == groups[1]
    assert len(set(groups)) == 4


def test_without_labels_everything_of_a_route_is_one_group() -> None:
    found, _ = gather((row("trips"), row("cart", labels={})), world(Route(to=("ops",), gather=Gather())), T0)

    assert found[0].group == found[1].group != ""


@pytest.mark.parametrize("kind", list(MessageKind))
def test_only_what_a_silence_could_hold_back_and_notices_wait(kind: MessageKind) -> None:
    (found,), _ = gather([row(kind=kind)], world(), T0)
    quiet = kind in SILENCED | NOTICES

    assert bool(found.group) is quiet
    assert (found.due_at > T0) is quiet
    assert can_wait(found.message) is quiet


@pytest.mark.parametrize("kind", sorted(SILENCED | NOTICES))
def test_nobody_waits_with_what_is_critical(kind: MessageKind) -> None:
    found, after = gather([row(kind=kind, severity=Severity.CRITICAL)], world(), T0)

    assert found == (row(kind=kind, severity=Severity.CRITICAL),)
    assert after.gathered == {}


def test_a_channel_that_stands_apart_gets_each_by_itself() -> None:
    apart = world(Route(to=("ops", "oncall"), gather=replace(BY_TEAM, apart=("oncall",))))
    found, _ = gather((row("trips"), row("trips", "oncall")), apart, T0)

    assert [bool(one.group) for one in found] == [True, False]
    assert found[1].due_at == T0


def test_a_route_that_gathers_nothing_leaves_all_as_it_is() -> None:
    plain = world(Route(to=("ops",)))
    assert gather([row()], plain, T0) == ((row(),), plain)
    mixed = world(Route(match={"team": "booking"}, to=("ops",)), Route(to=("ops",), gather=BY_TEAM))
    assert gather([row()], mixed, T0) == ((row(),), mixed)
    nowhere = world(Route(match={"team": "shop"}, to=("ops",), gather=BY_TEAM))
    assert gather([row()], nowhere, T0) == ((row(),), nowhere)


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    _, known = waits(world(), row("trips"), at=T0 + timedelta(days=3))
    (found,), _ = waits(known, row("cart"))

    assert found[1] == 30 * SECOND


@given(
    steps=st.lists(st.integers(0, 900), min_size=1, max_size=40),
    wait=st.integers(0, 120),
    interval=st.integers(0, 600),
)
def test_messages_of_a_group_keep_their_distance_and_nobody_waits_too_long(
    steps: list[int], wait: int, interval: int
) -> None:
    how = Gather(wait=wait * SECOND, interval=interval * SECOND)
    known, now, leaves = world(Route(to=("ops",), gather=how)), T0, list[datetime]()
    for step in steps:
        now += step * SECOND
        (found,), known = gather([row()], known, now)
        assert now <= found.due_at <= now + max(how.wait, how.interval)
        leaves.append(found.due_at)
    moments = sorted(set(leaves))
    assert leaves == sorted(leaves)
    assert all(later - earlier >= how.interval for earlier, later in pairwise(moments))
    assert len(known.gathered) <= 1


def test_what_is_known_of_a_group_counts_until_its_interval_is_over() -> None:
    known = Gathered(due_at=T0, interval=MINUTE, longest=MINUTE)

    assert known.counts(T0 - MINUTE)
    assert not known.counts(T0 - MINUTE - SECOND)
    assert known.counts(T0 + MINUTE - SECOND)
    assert not known.counts(T0 + MINUTE)


def test_a_group_of_one_is_that_message_itself() -> None:
    one = message()

    assert gathered([one]) is one
    with pytest.raises(ValueError, match="no messages"):
        gathered([])


def test_several_messages_are_one_with_counts_as_loud_as_the_loudest() -> None:
    several = [
        message("trips", severity=Severity.MEDIUM),
        message("cart", severity=Severity.HIGH, runbook="https://runbooks.example.com/cart"),
        message(
            "trips", kind=MessageKind.INCIDENT_CLOSED, severity=Severity.MEDIUM, needs_human=False, key="k2"
        ),
    ]
    whole = gathered(several)

    assert whole.kind is MessageKind.GROUPED
    assert whole.headline == "3 news together (2 opened, 1 over): trips, cart"
    assert whole.severity is Severity.HIGH
    assert whole.needs_human
    assert whole.next_step == "look at cart"
    assert whole.environment == "production"
    assert whole.labels == {"team": "booking"}
    assert whole.runbook is None
    assert whole.incident is None
    assert whole.facts == (
        ("severities", "1 high, 2 medium"),
        ("services", "trips, cart"),
        ("trips", "trips is critical"),
        ("cart", "cart is critical"),
        ("trips", "trips is critical"),
    )


def test_what_is_not_named_is_counted() -> None:
    whole = gathered([message(f"s{number:02}") for number in range(25)])
    facts = dict(whole.facts)

    assert whole.headline == "25 news together (25 opened): s00, s01, s02 and 22 more"
    assert facts["services"] == f"{', '.join(f's{number:02}' for number in range(NAMED))} and 15 more"
    assert facts["more"] == "and 15 more"
    assert len(whole.facts) == 2 + NAMED + 1


def test_the_next_step_is_that_of_somebody_who_is_needed() -> None:
    loud = message("cart", severity=Severity.HIGH, needs_human=False, next_step="nothing to do")
    quiet = message("trips", severity=Severity.LOW)

    assert gathered([loud, quiet]).next_step == "look at trips"
    assert gathered([quiet, loud]).severity is Severity.HIGH


def test_the_key_is_that_of_its_messages_and_ends_nothing() -> None:
    one, other = message("trips"), message("cart")

    assert gathered([one, other]).key == gathered([one, other]).key
    assert gathered([one, other]).key != gathered([other, one]).key
    assert not gathered([replace(one, kind=kind, key=kind) for kind in sorted(ENDS)]).ends


def test_sources_are_named_where_there_is_no_service() -> None:
    source = message("x", service="", labels={"source": "prometheus"}, environment="")

    assert dict(gathered([source, message("trips")]).facts)["services"] == "prometheus, trips"
