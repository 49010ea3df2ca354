from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from watchdog.core.check import CheckId, CheckState
from watchdog.core.events import Event, Observed, Ticked
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Pulse, Value
from watchdog.core.reconfigure import Change, Reconfigured
from watchdog.core.service import Limits, Service
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.history import GONE_FOR, KEPT_FOR, MOST, History
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

_CHECK = CheckId(service="trips", rule="errors", version="v1")
_GAP = NoData(reason=NoDataReason.EMPTY)


def world_of(*checks: CheckId, edition: int = 0, editions: dict[str, int] | None = None) -> World:
    services = {
        name: ServiceWorld(
            service=Service(name=name, rules=()),
            rules={},
            checks={check: CheckState() for check in checks if check.service == name},
            editions=editions or {},
        )
        for name in {check.service for check in checks}
    }
    return World(services=services, edition=edition)


_WORLD = world_of(_CHECK)


def seen(what: float | Observation, at: datetime, check: CheckId = _CHECK) -> Observed:
    observation = Value(value=what, at=at) if isinstance(what, float) else what
    return Observed(check=check, observation=observation, arrived_at=at)


async def taken(history: History, *events: Event | Change, world: World = _WORLD) -> None:
    history.took(events, world)
    await history.catch_up()


async def test_what_a_check_showed_is_remembered_in_order_with_its_gaps() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    at = [now + timedelta(seconds=10 * number) for number in range(4)]
    failed = Failed(reason=FailReason.TIMEOUT)
    await taken(history, seen(0.5, at[0]), seen(_GAP, at[1]), seen(failed, at[2]), seen(2.5, at[3]))
    assert history.of(_CHECK) == ((at[0], 0.5), (at[1], None), (at[2], None), (at[3], 2.5))
    assert history.of(CheckId(service="trips", rule="other")) == ()


async def test_a_value_is_dated_by_its_sample_and_the_same_sample_counts_once() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    value = Value(value=1.0, at=now)
    for number in range(3):
        late = now + timedelta(seconds=5 * number)
        await taken(history, Observed(check=_CHECK, observation=value, arrived_at=late))
    assert history.of(_CHECK) == ((now, 1.0),)


async def test_a_probe_is_shown_as_how_often_it_failed_in_a_row() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    for number, passed in enumerate([True, False, False, True, False]):
        at = now + timedelta(seconds=number)
        await taken(history, seen(Pulse(passed=passed, at=at), at))
    assert [value for _, value in history.of(_CHECK)] == [0, 1, 2, 0, 1]


async def test_a_long_gap_costs_no_memory() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    for number in range(500):
        await taken(history, seen(_GAP, now + timedelta(seconds=number)))
    last = now + timedelta(seconds=499)
    assert history.of(_CHECK) == ((now, None), (last, None))


@pytest.mark.parametrize("interval", [0.2, 1.0, 5.0, 10.0, 30.0, 300.0])
async def test_memory_is_bounded_however_often_a_check_is_asked(interval: float) -> None:
    clock = LoopClock()
    history, now, rng = History(clock=clock), clock.now(), random.Random(1)
    newest = now
    most = 0
    for number in range(int(2 * KEPT_FOR.total_seconds() / interval)):
        newest = now + timedelta(seconds=interval * number)
        await taken(history, seen(_GAP if rng.random() < 0.05 else rng.random(), newest))
        most = max(most, history.size)
    assert most <= MOST * 8, "2 KiB a check, so 20 MiB for 1000 services with 10 each"
    points = history.of(_CHECK)
    times = [at for at, _ in points]
    assert times == sorted(set(times))
    assert times[-1] == newest
    if interval >= 5:
        assert newest - times[0] > KEPT_FOR - timedelta(minutes=6), "an hour is shown"
    assert newest - times[0] <= KEPT_FOR
    recent = [at for at in times if newest - at <= timedelta(minutes=9)]
    assert len(recent) >= min(540 / interval, 30) * 0.9


async def test_what_stood_out_is_still_seen_when_it_is_older() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    for number in range(400):
        spike = number == 33
        await taken(history, seen(9.0 if spike else 1.0, now + timedelta(seconds=5 * number)))
    assert max(value or 0 for _, value in history.of(_CHECK)) == 9.0
    assert len(history.of(_CHECK)) < 300


async def test_everything_moves_with_the_clock() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    await taken(history, seen(1.0, now))
    back = timedelta(hours=-1)
    await taken(history, Ticked(stepped=back), seen(2.0, now + back + timedelta(seconds=5)))
    assert history.of(_CHECK) == ((now + back, 1.0), (now + back + timedelta(seconds=5), 2.0))
    far = timedelta(days=-4000)
    await taken(history, Ticked(stepped=far))
    assert history.of(_CHECK)[0] == (now + back + far, 1.0)


async def test_a_check_that_is_gone_is_forgotten_after_a_while() -> None:
    clock = LoopClock()
    history = History(clock=clock)
    other = CheckId(service="trips", rule="errors", version="v2")
    both, one = world_of(_CHECK, other), world_of(other)
    await taken(history, seen(1.0, clock.now()), seen(1.0, clock.now(), other), world=both)
    await asyncio.sleep(120)
    await taken(history, seen(1.0, clock.now(), other), world=one)
    assert history.of(_CHECK), "what was rolled back is shown with the news of that"
    await asyncio.sleep(GONE_FOR.total_seconds())
    await taken(history, seen(1.0, clock.now(), other), world=one)
    assert not history.of(_CHECK)
    assert len(history.of(other)) == 3


async def test_what_a_changed_rule_showed_before_is_another_line() -> None:
    clock = LoopClock()
    history = History(clock=clock)
    latency = CheckId(service="trips", rule="latency")
    gone = CheckId(service="gone", rule="latency")
    now = clock.now()
    await taken(history, seen(1.0, now), seen(1.0, now, latency), seen(1.0, now, gone))
    changed = world_of(_CHECK, latency, edition=3, editions={"errors": 3, "latency": 2})
    change = Reconfigured(
        services={}, rules={}, sources=(), limits=Limits(), routes=(), recheck=timedelta(seconds=5)
    )
    await taken(history, change, world=changed)
    assert not history.of(_CHECK)
    assert not history.of(gone)
    assert history.of(latency)


async def test_it_takes_in_beside_the_loop_and_gives_way() -> None:
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    task = asyncio.create_task(history.run())
    for number in range(1000):
        history.took((seen(float(number), now + timedelta(seconds=number)),), _WORLD)
    assert not history.of(_CHECK), "nothing happens on the way of a decision"
    await asyncio.sleep(1.5)
    assert history.of(_CHECK)[-1][1] == 999.0
    task.cancel()


async def test_a_check_is_found_by_its_name_where_its_variant_is_not_known() -> None:
    """An incident's evidence names the version, not where it is."""
    clock = LoopClock()
    history, now = History(clock=clock), clock.now()
    on = [
        CheckId(service="trips", rule="errors", version="v1", variant=variant)
        for variant in ("blue", "green")
    ]
    world = world_of(*on)
    await taken(history, seen(1.0, now, on[0]), seen(2.0, now + timedelta(seconds=10), on[1]), world=world)
    assert history.of(_CHECK) == ((now + timedelta(seconds=10), 2.0),), "the newer of two"
    assert history.of(on[0]) == ((now, 1.0),)
    assert history.of(CheckId(service="trips", rule="errors", version="v2")) == ()
