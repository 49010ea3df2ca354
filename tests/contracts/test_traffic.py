"""What `watchdog.traffic.interface` promises, asked of every switch, real and fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.kubernetes_rigs import PARAMS, opened
from tests.contracts.traffic_rigs import NOW, RIGS, SECRET, Rig, Tools
from tests.eventually import Eventually
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, TrafficState


@pytest.fixture(params=[*RIGS, *PARAMS])
async def rig(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    start_haproxy: Callable[..., Any],
    start_nginx: Callable[..., Any],
) -> AsyncIterator[Rig]:
    tools = Tools(
        folder=tmp_path,
        start_haproxy=start_haproxy,
        start_nginx=start_nginx,
        kubernetes=lambda: request.getfixturevalue("kubernetes"),
    )
    name = request.param
    async with RIGS[name].open(tools) if name in RIGS else opened(name, tools) as made:
        yield made
        await made.switch.aclose()


def to_green(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {
        "target": "green",
        "away": ("blue",),
        "expect": state.revision,
        "mark": "rb-1",
        "epoch": 7,
    }
    return Change(**(facts | other))


def weights(state: TrafficState) -> dict[str, bool]:
    return {name: variant.live for name, variant in state.variants.items()}


async def test_a_read_shows_which_variant_is_live(rig: Rig) -> None:
    state = await rig.switch.read()
    assert state.live == ("blue",)
    assert weights(state) == {"blue": True, "green": False}
    assert state.variants["green"].weight == 0
    assert (state.variants["green"].ready, state.variants["green"].total) == (1, 1)
    assert state.read_at == NOW


async def test_reading_changes_nothing(rig: Rig) -> None:
    first = await rig.switch.read()
    second = await rig.switch.read()
    assert second.revision == first.revision
    assert weights(second) == weights(first)
    assert rig.effects() == 0


async def test_a_change_moves_traffic_and_answers_what_it_read_back(rig: Rig) -> None:
    before = await rig.switch.read()
    after = await rig.switch.apply(to_green(before))
    assert weights(after) == {"blue": False, "green": True}
    assert after.revision != before.revision
    seen = await rig.again().read()
    assert seen.revision == after.revision
    assert weights(seen) == weights(after)


async def test_a_change_can_be_changed_back(rig: Rig) -> None:
    there = await rig.switch.apply(to_green(await rig.switch.read()))
    back = await rig.switch.apply(to_green(there, target="blue", away=("green",), mark="rb-2"))
    assert weights(back) == {"blue": True, "green": False}


async def test_a_stale_revision_is_a_conflict_and_changes_nothing(rig: Rig) -> None:
    before = await rig.switch.read()
    with pytest.raises(SwitchConflict):
        await rig.switch.apply(to_green(before, expect="not-" + before.revision))
    after = await rig.switch.read()
    assert after.revision == before.revision
    assert rig.effects() == 0


async def test_what_somebody_else_did_after_the_read_is_not_overwritten(rig: Rig) -> None:
    rig.move("green")
    rig.move("blue")
    before = await rig.switch.read()
    rig.move("green")
    done = rig.effects()
    change = to_green(before, target="blue", away=("green",))
    with pytest.raises(SwitchConflict):
        await rig.switch.apply(change)
    assert (await rig.switch.read()).live == ("green",)
    assert rig.effects() == done


async def test_the_same_change_twice_has_one_effect(rig: Rig) -> None:
    change = to_green(await rig.switch.read())
    first = await rig.switch.apply(change)
    done = rig.effects()
    second = await rig.switch.apply(change)
    assert second.revision == first.revision
    assert weights(second) == {"blue": False, "green": True}
    assert rig.effects() == done == 1


async def test_what_is_there_already_is_not_written_also_when_somebody_else_did_it(rig: Rig) -> None:
    change = to_green(await rig.switch.read())
    rig.move("green")
    done = rig.effects()
    state = await rig.switch.apply(change)
    assert state.live == ("green",)
    assert rig.effects() == done


@pytest.mark.parametrize(
    "wrong",
    [{"target": "geren"}, {"away": ("bleu",)}, {"away": ("blue", "green")}],
    ids=["unknown-target", "unknown-away", "target-is-away"],
)
async def test_a_change_that_makes_no_sense_is_rejected(rig: Rig, wrong: dict[str, Any]) -> None:
    before = await rig.switch.read()
    with pytest.raises(SwitchRejected):
        await rig.switch.apply(to_green(before, **wrong))
    assert (await rig.switch.read()).revision == before.revision
    assert rig.effects() == 0


async def test_a_mark_of_a_person_is_read_with_its_reason_until_it_is_taken_away(rig: Rig) -> None:
    assert (await rig.switch.read()).paused == ""
    assert rig.pause("database migration") is rig.carries_a_pause
    seen = await rig.switch.read()
    assert seen.paused == ("database migration" if rig.carries_a_pause else "")
    assert seen.live == ("blue",)
    rig.pause(None)
    assert (await rig.switch.read()).paused == ""


async def test_a_target_that_is_marked_as_paused_is_never_written(rig: Rig) -> None:
    before = await rig.switch.read()
    rig.pause("database migration")
    marked = await rig.switch.read()
    done = rig.effects()
    if rig.carries_a_pause:
        for expected in (before.revision, marked.revision):
            with pytest.raises(SwitchConflict):
                await rig.switch.apply(to_green(marked, expect=expected))
        assert (await rig.switch.read()).live == ("blue",)
        assert rig.effects() == done
    rig.pause(None)
    after = await rig.switch.apply(to_green(await rig.switch.read()))
    assert (after.live, after.paused) == (("green",), "")


async def test_a_parked_target_becomes_live(rig: Rig) -> None:
    rig.move("green")
    rig.move("blue")
    parked = await rig.switch.read()
    assert weights(parked) == {"blue": True, "green": False}
    after = await rig.switch.apply(to_green(parked))
    assert weights(after) == {"blue": False, "green": True}


async def test_health_and_counters_are_no_part_of_the_revision(rig: Rig, eventually: Eventually) -> None:
    before = await rig.switch.read()
    rig.stir()

    async def stirred() -> bool:
        return (await rig.switch.read()).variants["green"].ready == 0

    await eventually(stirred, what="green is not ready any more")
    assert (await rig.switch.read()).revision == before.revision


async def test_a_target_that_is_gone_cannot_be_read(rig: Rig) -> None:
    change = to_green(await rig.switch.read())
    rig.vanish()
    with pytest.raises(SwitchUnreachable):
        await rig.switch.read()
    with pytest.raises(SwitchUnreachable):
        await rig.switch.apply(change)


async def test_a_target_that_hangs_costs_no_more_than_the_timeout(rig: Rig) -> None:
    change = to_green(await rig.switch.read())
    rig.hang()
    loop = asyncio.get_running_loop()
    bound = rig.timeout.total_seconds()
    start = loop.time()
    with pytest.raises(SwitchUnreachable):
        await rig.switch.read()
    assert loop.time() - start < bound + 0.5
    start = loop.time()
    with pytest.raises((SwitchUnreachable, SwitchUnknown)):
        await rig.switch.apply(change)
    assert loop.time() - start < 2 * bound + 0.5


async def test_a_cancelled_call_ends_at_once_and_spoils_nothing(rig: Rig, eventually: Eventually) -> None:
    before = await rig.switch.read()
    rig.hang()
    call = asyncio.create_task(rig.switch.read(), name="a read")
    await asyncio.wait([call], timeout=0.1)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    rig.recover()

    async def readable() -> bool:
        try:
            return (await rig.switch.read()).revision == before.revision
        except SwitchError:
            return False

    await eventually(readable)
    after = await rig.switch.apply(to_green(before))
    assert after.live == ("green",)


async def test_a_switch_that_could_change_has_nothing_to_tell_and_one_that_is_gone_does_not_raise(
    rig: Rig,
) -> None:
    assert await rig.switch.inspect() is None
    rig.vanish()
    await rig.switch.inspect()


async def test_closing_twice_is_closing_once(rig: Rig) -> None:
    await rig.switch.read()
    await rig.switch.aclose()
    await rig.switch.aclose()


async def test_the_same_settings_have_the_same_identity(rig: Rig) -> None:
    assert rig.switch.identity == rig.again().identity
    assert rig.switch.identity.partition(":")[2]


async def test_a_target_that_can_refuse_a_stale_write_carries_the_mark(rig: Rig) -> None:
    after = await rig.switch.apply(to_green(await rig.switch.read()))
    assert after.mark == ("rb-1" if rig.switch.tier is Tier.A else None)


async def test_no_secret_is_shown(rig: Rig) -> None:
    shown = [repr(rig.switch), str(rig.switch), rig.switch.identity, repr(await rig.switch.read())]
    rig.vanish()
    with pytest.raises(SwitchUnreachable) as caught:
        await rig.switch.read()
    shown.append(str(caught.value))
    assert not [text for text in shown if SECRET in text]
