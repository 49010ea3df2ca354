"""Every Kubernetes switch when the API server or somebody else is at his worst: it tells the truth, and writes once.

All on the API in memory; `tests/faults/test_kubernetes.py` plays the same on a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fake_api import Asked, FakeApi, Fault
from tests.cluster.worlds import FakeWorld
from tests.contracts.kubernetes_rigs import SWITCHES, ObjectRig, opened
from tests.contracts.test_traffic import to_green
from tests.contracts.traffic_rigs import NOW, Tools
from tests.eventually import Eventually
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.marks import EPOCH, ROLLBACK, SWITCHED_AT
from watchdog.cluster.rights import Entitled
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Tier
from watchdog.traffic.interface import Watched

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=list(SWITCHES))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectRig]:
    async with opened(request.param, tools(tmp_path)) as made:
        yield made


def tools(folder: Path) -> Tools:
    def none(*_: Any) -> Any:
        raise LookupError("nothing of it is needed")

    return Tools(folder=folder, start_haproxy=none, start_nginx=none)


def api_of(rig: ObjectRig) -> FakeApi:
    assert isinstance(rig.world, FakeWorld)
    return rig.world.api


def is_write(rig: ObjectRig, asked: Asked) -> bool:
    """Whether it would change the switched object."""
    return asked.write and asked.plural == rig.kind.plural and asked.name == rig.name


def at_the_write(rig: ObjectRig, deed: Callable[[], object]) -> None:
    """Somebody does this between our read and our write, once."""
    done: list[bool] = []

    def before(asked: Asked) -> None:
        if is_write(rig, asked) and not done:
            done.append(True)
            deed()

    api_of(rig).before = before


def strike_writes(rig: ObjectRig, fault: Fault) -> None:
    """This becomes of every write of the object."""
    api_of(rig).fault = lambda asked: fault if is_write(rig, asked) else None


def touch(rig: ObjectRig) -> None:
    """What says nothing of traffic changes, as a status or a label does."""
    rig.world.patch(rig.kind, rig.name, {"metadata": {"labels": {"touched": "yes"}}})


def attempts(rig: ObjectRig) -> int:
    return sum(is_write(rig, asked) for asked in api_of(rig).asked)


def notes(rig: ObjectRig) -> dict[str, str]:
    found: dict[str, str] = rig.world.get(rig.kind, rig.name)["metadata"].get("annotations", {})
    return found


async def test_what_says_nothing_of_traffic_does_not_keep_us_from_it(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    at_the_write(rig, lambda: touch(rig))
    after = await rig.switch.apply(change)
    assert after.live == ("green",)
    assert attempts(rig) == 2, "refused once, read again, written once"
    assert rig.world.get(rig.kind, rig.name)["metadata"]["labels"]["touched"] == "yes"


async def test_an_object_that_never_stands_still_is_given_up_without_a_change(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    numbers = iter(range(100))

    def before(asked: Asked) -> None:
        if is_write(rig, asked):
            body = {"metadata": {"labels": {"touched": str(next(numbers))}}}
            rig.world.patch(rig.kind, rig.name, body)

    api_of(rig).before = before
    with pytest.raises(SwitchConflict):
        await rig.switch.apply(change)
    assert attempts(rig) <= 5
    assert (await rig.switch.read()).live == ("blue",)


async def test_a_person_who_moves_traffic_between_our_read_and_our_write_wins(rig: ObjectRig) -> None:
    rig.move("green")
    change = to_green(await rig.switch.read(), target="blue", away=("green",))
    rig.move("blue")
    rig.move("green")
    before = await rig.switch.read()
    assert before.revision == change.expect
    at_the_write(rig, lambda: rig.move("blue"))
    done = rig.effects()
    state = await rig.switch.apply(change)
    assert state.live == ("blue",)
    assert rig.effects() == done + 1, "his, and none of ours"
    assert ROLLBACK not in notes(rig)


async def test_a_pause_between_our_read_and_our_write_wins(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    at_the_write(rig, lambda: rig.pause("hands off"))
    with pytest.raises(SwitchConflict, match="hands off"):
        await rig.switch.apply(change)
    assert (await rig.switch.read()).live == ("blue",)
    assert ROLLBACK not in notes(rig)


async def test_only_the_word_false_is_no_pause(rig: ObjectRig) -> None:
    rig.pause("false")
    assert (await rig.switch.read()).paused == ""
    rig.pause("")
    assert (await rig.switch.read()).paused == "no reason given"


async def test_a_newer_watchdog_on_the_object_ends_our_time(rig: ObjectRig) -> None:
    body = {"metadata": {"annotations": {EPOCH: "8"}}}
    rig.world.patch(rig.kind, rig.name, body)
    change = to_green(await rig.switch.read(), epoch=7)
    with pytest.raises(SwitchRejected, match="newer watchdog"):
        await rig.switch.apply(change)
    assert attempts(rig) == 0
    assert (await rig.switch.apply(to_green(await rig.switch.read(), epoch=8))).live == ("green",)


async def test_a_newer_watchdog_that_comes_between_our_read_and_our_write_ends_our_time(
    rig: ObjectRig,
) -> None:
    change = to_green(await rig.switch.read(), epoch=7)
    body = {"metadata": {"annotations": {EPOCH: "8"}}}
    at_the_write(rig, lambda: rig.world.patch(rig.kind, rig.name, body))
    with pytest.raises(SwitchRejected, match="newer watchdog"):
        await rig.switch.apply(change)
    assert (await rig.switch.read()).live == ("blue",)


async def test_the_change_and_its_marks_are_one_write_that_leaves_other_marks_alone(rig: ObjectRig) -> None:
    rig.world.patch(rig.kind, rig.name, {"metadata": {"annotations": {"team.example.com/owner": "booking"}}})
    after = await rig.switch.apply(to_green(await rig.switch.read(), mark="rb-9", epoch=3))
    assert (after.live, after.mark) == (("green",), "rb-9")
    assert attempts(rig) == 1
    told = notes(rig)
    assert (told[ROLLBACK], told[EPOCH]) == ("rb-9", "3")
    assert told[SWITCHED_AT] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert told["team.example.com/owner"] == "booking"
    assert rig.switch.tier is Tier.A


@pytest.mark.parametrize("fault", [Fault.LOSE, Fault.LIE])
async def test_a_lost_answer_is_unknown_and_the_next_read_tells(rig: ObjectRig, fault: Fault) -> None:
    change = to_green(await rig.switch.read())
    done = rig.effects()
    strike_writes(rig, fault)
    with pytest.raises(SwitchUnknown):
        await rig.switch.apply(change)
    state = await rig.switch.read()
    assert (state.live, state.mark) == (("green",), "rb-1")
    assert (await rig.switch.apply(change)).live == ("green",)
    assert attempts(rig) == 1
    assert rig.effects() == done + 1


@pytest.mark.parametrize("fault", [Fault.BREAK, Fault.CUT, Fault.HANG])
async def test_a_write_that_nobody_answered_is_unknown_and_the_next_try_ends_well(
    rig: ObjectRig, fault: Fault
) -> None:
    change = to_green(await rig.switch.read())
    strike_writes(rig, fault)
    with pytest.raises(SwitchUnknown):
        await rig.switch.apply(change)
    api_of(rig).fault = lambda _: None
    state = await rig.switch.read()
    assert state.live == ("blue",)
    assert (await rig.switch.apply(to_green(state))).live == ("green",)


async def test_a_write_that_was_done_and_cannot_be_read_back_is_unknown(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    api = api_of(rig)
    written: list[bool] = []

    def fault(asked: Asked) -> Fault | None:
        if is_write(rig, asked):
            written.append(True)
            return None
        return Fault.BREAK if written else None

    api.fault = fault
    with pytest.raises(SwitchUnknown, match="written"):
        await rig.switch.apply(change)
    api.fault = lambda _: None
    assert (await rig.switch.read()).live == ("green",)


async def test_an_object_that_is_gone_right_after_the_write_is_unknown(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    written: list[bool] = []

    def before(asked: Asked) -> None:
        if is_write(rig, asked):
            written.append(True)
        elif written:
            written.clear()
            rig.vanish()

    api_of(rig).before = before
    with pytest.raises(SwitchUnknown, match="written"):
        await rig.switch.apply(change)


async def test_an_object_that_goes_between_our_read_and_our_write_is_told(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    at_the_write(rig, rig.vanish)
    with pytest.raises(SwitchUnreachable, match="nothing was changed"):
        await rig.switch.apply(change)


async def test_an_api_server_that_asks_for_time_gets_it_and_then_the_write(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    api = api_of(rig)
    busy = [Fault.BUSY]
    api.fault = lambda asked: busy.pop() if busy and is_write(rig, asked) else None
    assert (await rig.switch.apply(change)).live == ("green",)
    assert attempts(rig) == 2


async def test_an_api_server_that_asks_for_more_time_than_there_is_was_not_written(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    api_of(rig).retry_after = 30
    strike_writes(rig, Fault.BUSY)
    with pytest.raises(SwitchUnreachable, match="overloaded"):
        await rig.switch.apply(change)
    assert attempts(rig) == 1


async def test_a_missing_right_to_write_is_named(rig: ObjectRig) -> None:
    change = to_green(await rig.switch.read())
    strike_writes(rig, Fault.DENY)
    with pytest.raises(SwitchRejected) as refused:
        await rig.switch.apply(change)
    told = str(refused.value)
    assert f'resource "{rig.kind.plural}"' in told, told
    assert "cannot patch" in told or "cannot update" in told, told
    assert f'in the namespace "{rig.world.namespace}"' in told, told


async def test_a_missing_right_to_read_is_named(rig: ObjectRig) -> None:
    api_of(rig).fault = lambda _: Fault.DENY
    with pytest.raises(SwitchUnreachable, match="cannot get resource"):
        await rig.switch.read()


async def test_without_the_right_to_see_what_is_behind_nothing_counts_as_ready(rig: ObjectRig) -> None:
    api_of(rig).fault = lambda asked: None if asked.name else Fault.DENY
    told = ""
    try:
        green = (await rig.switch.read()).variants["green"]
    except SwitchUnreachable as error:
        told = str(error)
    else:
        assert green.ready is None
        told = green.note
    assert "cannot list resource" in told


async def test_a_missing_right_to_write_is_told_in_daylight(rig: ObjectRig) -> None:
    for verb in ("patch", "update"):
        api_of(rig).forbidden.add((verb, rig.kind.plural))
    told = await rig.switch.inspect()
    assert told is not None
    assert rig.kind.plural in told
    assert rig.name in told


async def test_the_rights_are_to_look_and_to_change_one_object(rig: ObjectRig) -> None:
    switch = rig.switch
    assert isinstance(switch, Entitled)
    for right in switch.rights:
        assert right.verb in {"get", "list", "watch", "patch", "update", "create"}, right
        if right.resource == rig.kind.plural and right.verb in {"patch", "update"}:
            assert right.name == rig.name
        elif right.verb not in {"get", "list", "watch"}:
            assert right.resource == "events", right
    assert ("patch" in {right.verb for right in switch.rights}) or (
        "update" in {right.verb for right in switch.rights}
    )


async def test_a_namespace_that_is_not_there_is_told(rig: ObjectRig) -> None:
    rig.world.namespace = "nowhere"
    with pytest.raises(SwitchUnreachable, match="not found"):
        await rig.again().read()


async def test_an_api_server_that_was_restarted_is_used_again(rig: ObjectRig, eventually: Eventually) -> None:
    change = to_green(await rig.switch.read())
    api = api_of(rig)
    await api.stop()
    with pytest.raises(SwitchUnreachable):
        await rig.switch.read()
    with pytest.raises(SwitchUnreachable):
        await rig.switch.apply(change)
    await api.start()

    async def written() -> bool:
        try:
            return (await rig.switch.apply(change)).live == ("green",)
        except SwitchUnreachable:
            return False

    await eventually(written)


async def test_a_watched_switch_is_woken_and_can_tell_without_asking(
    rig: ObjectRig, eventually: Eventually
) -> None:
    feeds = Feeds(rig.world.cluster)
    switch = watched_by(rig, feeds)
    woken: list[int] = []
    watch = asyncio.create_task(switch.watch(lambda: woken.append(1)), name="a watch")
    try:
        before = await eventually(lambda: told_for_nothing(rig, switch), what="a glance that asks nothing")
        assert before.live == ("blue",)
        woken.clear()
        rig.move("green")
        await eventually(lambda: woken, what="a word of the move")

        async def seen() -> bool:
            return bool((await switch.glance()).live == ("green",))

        await eventually(seen)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await feeds.aclose()


async def test_a_glance_is_never_older_than_our_own_write(rig: ObjectRig, eventually: Eventually) -> None:
    feeds = Feeds(rig.world.cluster)
    switch = watched_by(rig, feeds)
    watch = asyncio.create_task(switch.watch(lambda: None), name="a watch")
    try:
        await eventually(lambda: told_for_nothing(rig, switch), what="a glance that asks nothing")
        change = to_green(await switch.read())
        api_of(rig).withheld = True
        after = await switch.apply(change)
        told = await switch.glance()
        assert (told.live, told.revision, told.mark) == (("green",), after.revision, "rb-1")
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await feeds.aclose()


async def test_without_a_watch_a_glance_is_a_read(rig: ObjectRig) -> None:
    switch = rig.switch
    assert isinstance(switch, Watched)
    await switch.watch(lambda: None)
    assert await switch.glance() == await switch.read()


async def told_for_nothing(rig: ObjectRig, switch: Any) -> Any:
    """What a glance shows, once it costs no question."""
    before = len(api_of(rig).asked)
    state = await switch.glance()
    return state if len(api_of(rig).asked) == before else None


def watched_by(rig: ObjectRig, feeds: Feeds) -> Any:
    """The rig's switch with feeds."""
    return rig.again(feeds=feeds)
