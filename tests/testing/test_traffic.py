"""The switch in memory does on demand what real ones do when they must not, and says what was done to it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, VariantState
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.traffic import Call, FakeSwitch, Moment

pytestmark = pytest.mark.virtual_time


def make(**other: Any) -> FakeSwitch:
    variants = {"blue": VariantState(weight=40, version="v2"), "green": VariantState(weight=0, version="v1")}
    return FakeSwitch(variants, clock=LoopClock().now, **other)


def to_green(switch: FakeSwitch, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": switch.revision, "mark": "rb-1"}
    return Change(**(facts | other))


async def test_the_log_says_who_did_what_at_which_revision() -> None:
    switch = make()
    switch.label = "first look"
    await switch.read()
    switch.label = ""
    change = to_green(switch, epoch=3)
    await switch.apply(change)
    await switch.apply(change)
    switch.move({"blue": 10})
    with pytest.raises(SwitchConflict):
        await switch.apply(change)
    assert switch.calls == [
        Call(kind="read", before="r1", after="r1", outcome="ok", label="first look"),
        Call(kind="apply", before="r1", after="r2", outcome="ok", change=change),
        Call(kind="apply", before="r2", after="r2", outcome="ok", change=change),
        Call(kind="move", before="r2", after="r3", outcome="ok"),
        Call(kind="apply", before="r3", after="r3", outcome="SwitchConflict", change=change),
    ]
    assert switch.writes == 1


@pytest.mark.parametrize(("tier", "mark", "epoch"), [(Tier.A, "rb-1", 3), (Tier.B, None, 0)])
async def test_only_tier_a_carries_mark_and_epoch(tier: Tier, mark: str | None, epoch: int) -> None:
    switch = make(tier=tier)
    after = await switch.apply(to_green(switch, epoch=3))
    assert (after.mark, switch.mark, switch.epoch) == (mark, mark, epoch)


async def test_a_programmed_error_counts_once() -> None:
    switch = make()
    switch.fail_read(SwitchUnreachable("gone"))
    with pytest.raises(SwitchUnreachable, match="gone"):
        await switch.read()
    assert (await switch.read()).live == ("blue",)


@pytest.mark.parametrize(
    ("moment", "error", "writes"),
    [(Moment.BEFORE, SwitchRejected("no"), 0), (Moment.AFTER, SwitchUnknown("lost"), 1)],
)
async def test_an_apply_fails_before_or_after_its_effect(
    moment: Moment, error: SwitchError, writes: int
) -> None:
    switch = make()
    switch.fail_apply(error, at=moment)
    with pytest.raises(type(error)):
        await switch.apply(to_green(switch))
    assert switch.writes == writes
    assert switch.state.live == (("green",) if writes else ("blue",))


@pytest.mark.parametrize(
    ("moment", "error", "live"),
    [(Moment.BEFORE, SwitchUnreachable, "blue"), (Moment.AFTER, SwitchUnknown, "green")],
)
async def test_an_apply_that_is_held_too_long_fails_as_a_real_one(
    moment: Moment, error: type[SwitchError], live: str
) -> None:
    switch = make(timeout=timedelta(seconds=3))
    switch.hold_apply(asyncio.Event(), at=moment)
    with pytest.raises(error, match="within 3 s"):
        await switch.apply(to_green(switch))
    assert switch.state.live == (live,)
    assert asyncio.get_running_loop().time() == pytest.approx(3)


async def test_what_happens_while_an_apply_is_held_is_seen_by_it() -> None:
    switch = make()
    go = asyncio.Event()
    switch.hold_apply(go)
    call = asyncio.create_task(switch.apply(to_green(switch)), name="a change")
    await asyncio.sleep(1)
    switch.put("grey", VariantState(weight=5))
    go.set()
    with pytest.raises(SwitchConflict):
        await call
    assert switch.writes == 0


async def test_a_cancelled_apply_is_in_the_log_with_its_effect() -> None:
    switch = make()
    switch.hold_apply(asyncio.Event(), at=Moment.AFTER)
    call = asyncio.create_task(switch.apply(to_green(switch)), name="a change")
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(line.outcome, line.before, line.after) for line in switch.calls] == [("cancelled", "r1", "r2")]


async def test_a_read_may_be_older_than_what_is_there() -> None:
    switch = make()
    go = asyncio.Event()
    switch.hold_read(go, at=Moment.AFTER)
    call = asyncio.create_task(switch.read(), name="a read")
    await asyncio.sleep(1)
    switch.move({"green": 100})
    go.set()
    assert (await call).live == ("blue",)
    assert [(line.kind, line.before, line.after) for line in switch.calls] == [
        ("move", "r1", "r2"),
        ("read", "r1", "r1"),
    ]


async def test_what_moves_by_itself_keeps_the_revision() -> None:
    switch = make(managed_by="Argo CD")
    before = await switch.read()
    switch.observe("green", ready=2, total=3, requests=5)
    after = await switch.read()
    assert after.revision == before.revision
    green = after.variants["green"]
    assert (green.ready, green.total, green.requests, green.version) == (2, 3, 5, "v1")
    assert after.managed_by == "Argo CD"
    assert after.read_at == BASE


async def test_once_gone_it_stays_gone() -> None:
    switch = make()
    switch.vanish()
    for _ in range(2):
        with pytest.raises(SwitchUnreachable, match="is gone"):
            await switch.read()
