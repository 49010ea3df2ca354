"""Our own probe speaks for variants whose switch cannot, and only for those."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from watchdog.core.errors import SwitchConflict
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.testing.clock import LoopClock
from watchdog.testing.traffic import FakeSwitch
from watchdog.traffic.readiness import WithReadiness


class Probe:
    """Answers by address; an address without an answer never answers. Remembers who was asked, and how many at once."""

    def __init__(self, answers: dict[str, bool | None], *, takes: float = 0.0) -> None:
        self._answers = answers
        self._takes = takes
        self.asked: list[str] = []
        self.busy = 0
        self.most = 0

    async def __call__(self, address: str) -> bool | None:
        self.asked.append(address)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(self._takes if address in self._answers else 3600)
        finally:
            self.busy -= 1
        return self._answers[address]


def fake(*addresses: str, ready: int | None = None, total: int | None = None, note: str = "") -> FakeSwitch:
    green = VariantState(weight=0, ready=ready, total=total, addresses=addresses, note=note)
    blue = VariantState(weight=100, addresses=("blue:1",))
    return FakeSwitch({"blue": blue, "green": green}, clock=LoopClock().now)


async def green(switch: FakeSwitch, probe: Probe, *, within: float = 2.0) -> VariantState:
    return (await WithReadiness(switch, probe, within=timedelta(seconds=within)).read()).variants["green"]


pytestmark = pytest.mark.virtual_time


async def test_passing_addresses_are_ready() -> None:
    probe = Probe({"a:1": True, "b:1": False, "c:1": True})
    seen = await green(fake("a:1", "b:1", "c:1"), probe)
    assert (seen.ready, seen.total, seen.note) == (2, 3, "asked by a probe of our own")
    assert probe.asked == ["a:1", "b:1", "c:1"]


async def test_what_the_switch_tells_of_itself_is_told() -> None:
    switch = fake("a:1")
    switch.trouble = "level operator"
    assert await WithReadiness(switch, Probe({})).inspect() == "level operator"


async def test_the_switch_keeps_its_total() -> None:
    assert (await green(fake("a:1", total=4), Probe({"a:1": True}))).total == 4


async def test_one_that_could_not_be_asked_leaves_it_unknown() -> None:
    seen = await green(fake("a:1", "b:1", note="in maintenance"), Probe({"a:1": True, "b:1": None}))
    assert (seen.ready, seen.note) == (None, "in maintenance; no answer about b:1")


async def test_one_that_does_not_answer_in_time_leaves_it_unknown() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    seen = await green(fake("a:1", "b:1"), Probe({"a:1": True}), within=3)
    assert (seen.ready, seen.note) == (None, "no answer about b:1")
    assert loop.time() - began == pytest.approx(3)


async def test_what_is_known_live_or_nowhere_is_not_asked() -> None:
    probe = Probe({})
    assert (await green(fake("a:1", ready=0, total=1), probe)).ready == 0
    assert (await green(fake(), probe)).ready is None
    assert probe.asked == []


async def test_addresses_are_asked_together_but_not_all_at_once() -> None:
    addresses = tuple(f"host{number:02}:1" for number in range(40))
    probe = Probe(dict.fromkeys(addresses, True), takes=0.5)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await green(fake(*addresses), probe)).ready == 40
    assert probe.most == 16
    assert loop.time() - began == pytest.approx(1.5)


async def test_an_address_of_two_variants_is_asked_once() -> None:
    switch = fake("a:1")
    switch.put("grey", VariantState(weight=0, addresses=("a:1",)))
    probe = Probe({"a:1": True})
    state = await WithReadiness(switch, probe).read()
    assert (state.variants["green"].ready, state.variants["grey"].ready) == (1, 1)
    assert probe.asked == ["a:1"]


async def test_a_change_goes_through_and_its_read_back_is_filled() -> None:
    switch = fake("a:1")
    probing = WithReadiness(switch, Probe({"a:1": True, "blue:1": True}))
    before = await probing.read()
    after = await probing.apply(change(before))
    assert after.live == ("green",)
    assert after.variants["blue"].ready == 1
    assert after.variants["green"].ready is None  # live now: its traffic speaks for it
    assert switch.writes == 1


async def test_errors_identity_and_closing_are_the_switch_s_own() -> None:
    switch = fake("a:1")
    probing = WithReadiness(switch, Probe({"a:1": True}))
    with pytest.raises(SwitchConflict):
        await probing.apply(change(await probing.read(), expect="r0"))
    assert (probing.identity, probing.tier) == (switch.identity, switch.tier)
    await probing.aclose()
    assert switch.closed


async def test_cancelling_a_read_cancels_the_probes() -> None:
    probe = Probe({})
    call = asyncio.create_task(green(fake("a:1"), probe), name="a read")
    await asyncio.wait([call], timeout=0.5)
    assert probe.busy == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert probe.busy == 0


def change(state: TrafficState, *, expect: str | None = None) -> Change:
    return Change(target="green", away=("blue",), expect=expect or state.revision, mark="rb-1")


class Told(FakeSwitch):
    """A switch that is told of changes."""

    async def watch(self, changed: Callable[[], None]) -> None:
        changed()

    async def glance(self) -> TrafficState:
        return self.state


async def test_what_a_switch_is_told_comes_through() -> None:
    variants = {"blue": VariantState(weight=100), "green": VariantState(weight=0, addresses=("a:1",))}
    switch = WithReadiness(Told(variants, clock=LoopClock().now), Probe({"a:1": True}))
    told: list[int] = []
    await switch.watch(lambda: told.append(1))
    assert told == [1]
    assert (await switch.glance()).variants["green"].ready == 1


async def test_a_switch_that_is_told_nothing_is_read_and_has_nothing_to_watch() -> None:
    switch = WithReadiness(fake("a:1"), Probe({"a:1": True}))
    await switch.watch(lambda: pytest.fail("nothing was told"))
    assert (await switch.glance()).variants["green"].ready == 1
