"""Two replicas on one PostgreSQL: one acts, and whoever dies, stands still or reaches nobody, traffic is moved once.

The judge is the switch's own log. The switch is of tier A: it refuses a stale write, as objects of Kubernetes do.
"""

from __future__ import annotations

import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.eventually import eventually
from tests.faults.crash_lives import order
from tests.faults.replica_stage import PATIENCE, TWO_LEASES, ReplicaStage
from tests.servers.postgres import Postgres
from watchdog.aio.faultpoint import Point

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stage(tmp_path: Path, stack: AsyncExitStack, postgres_url: str) -> ReplicaStage:
    """Nothing runs yet."""
    return ReplicaStage(tmp_path, stack, postgres_url)


async def test_one_of_two_acts_and_either_can_be_asked(stage: ReplicaStage) -> None:
    await stage.open()
    a, b = stage.a, stage.b
    leader, follower = await a.status(), await b.status()
    assert (leader["leader"], follower["leader"]) == (True, False)
    assert leader["holder"] == follower["holder"]
    assert leader["holder"].startswith("a_")

    said = await b.daemon.says("status")
    assert said.code == 0, said
    assert f"this watchdog follows; {leader['holder']} acts" in said.out
    assert "trips" in said.out
    status, page = await b.daemon.page("/metrics")
    assert status == 200
    assert "watchdog_is_leader 0.0" in page
    assert "watchdog_rollback_ready{" not in page, "a follower has measured nothing"
    _, page = await a.daemon.page("/metrics")
    assert "watchdog_is_leader 1.0" in page

    status, body = await b.daemon.post("services/trips/pause", reason="by way of the follower")
    assert status == 200, body
    (service,) = await a.daemon.get("services")
    assert service["paused"]["reason"] == "by way of the follower"
    status, body = await b.daemon.post("services/trips/resume", reason="again")
    assert status == 200, body

    await stage.deploy_bad()
    await stage.rolled_back(a)
    assert stage.movers() == [a.lives.pid]
    assert {one.who for one in stage.recorded.log} == {0, a.lives.pid}, "the follower does not even look"
    await stage.rolled_back(b)

    # A clean stop: the other one goes on at once, and knows everything.
    assert await a.lives.end(signal.SIGTERM, within=PATIENCE) == 0
    await eventually(b.leads, within=PATIENCE, every=0.1, what="the other one to lead")
    await stage.deploy_bad(seen_by=b)
    await stage.rolled_back(b)
    assert stage.movers() == [b.lives.pid]
    kinds = [one["kind"] for one in await b.daemon.get("audit?limit=200")]
    assert kinds.count("leader_changed") == 2
    assert stage.told("rollback_switched") == 2


@pytest.mark.parametrize("point", [Point.BEFORE_WRITE, Point.AFTER_WRITE])
async def test_killed_in_the_middle_of_a_switch_the_other_one_finishes_it(
    stage: ReplicaStage, point: Point
) -> None:
    await stage.open([order(point, "kill")])
    await stage.deploy_bad()
    await eventually(lambda: stage.a.lives.over, within=PATIENCE, what="a death")
    assert stage.a.lives.deeds == [f"kill at {point.value}"]
    await stage.rolled_back(stage.b)
    dead, alive = stage.a.lives.pid, stage.b.lives.pid
    assert stage.movers() == [alive if point is Point.BEFORE_WRITE else dead]
    await eventually(lambda: stage.told("rollback_switched"), within=PATIENCE, what="people who are told")
    assert stage.told("rollback_switched") == 1


@pytest.mark.parametrize(
    "point",
    [
        Point.BEFORE_SEND,
        pytest.param(Point.AFTER_SEND, marks=pytest.mark.soak),
        pytest.param(Point.BEFORE_SETTLE, marks=pytest.mark.soak),
    ],
)
async def test_killed_with_a_message_in_hand_the_other_one_sends_it_when_the_lease_has_ended(
    stage: ReplicaStage, point: Point
) -> None:
    await stage.open([order(point, "kill")])
    await stage.deploy_bad()
    await eventually(lambda: stage.a.lives.over, within=PATIENCE, what="a death")
    assert stage.a.lives.deeds == [f"kill at {point.value}"]
    await stage.rolled_back(stage.b)

    async def nothing_waits() -> bool:
        return await stage.b.listed_messages("pending") == []

    await eventually(nothing_waits, within=2 * PATIENCE, every=0.5, what="the end of the lease")
    messages = await stage.b.listed_messages("sent")
    by_hook = {one["id"] for one in messages or () if one["channel"] == "hook"}
    assert stage.heard().keys() == by_hook, "everything was heard, under the keys it is stored with"
    if point is Point.BEFORE_SEND:
        assert set(stage.heard().values()) == {1}, "what nobody had sent is sent once"


@pytest.mark.parametrize("point", [Point.BEFORE_GUARDS, Point.BEFORE_WRITE])
async def test_a_leader_that_stood_still_between_decision_and_write_wakes_up_and_writes_nothing(
    stage: ReplicaStage, point: Point
) -> None:
    await stage.open([order(point, "stop")])
    await stage.deploy_bad()
    await stage.stands_still(stage.a)
    await eventually(stage.b.leads, within=PATIENCE, every=0.1, what="the other one to lead")
    await stage.rolled_back(stage.b)
    before = stage.heard()

    stage.thaw(stage.a)
    await eventually(stage.a.follows, within=PATIENCE, every=0.1, what="the old leader to follow")
    await stage.rolled_back(stage.a)
    old, new = stage.a.lives.pid, stage.b.lives.pid
    assert stage.movers() == [new]
    tried = [one for one in stage.recorded.writes("trips") if one.who == old]
    if point is Point.BEFORE_GUARDS:
        assert tried == [], "the guard `leader` is asked again"
    else:
        assert [one.verdict for one in tried] in (["in place"], ["stale"]), "refused by the object itself"
        assert not any(one.moved for one in tried)

    async def knows() -> bool:
        status = await stage.b.status()
        return bool(status["leader"]) and (await stage.a.status())["holder"] == status["holder"]

    await eventually(knows, within=PATIENCE, every=0.1, what="the old leader to know who leads")
    again = {key: count - before[key] for key, count in stage.heard().items() if key in before}
    assert max(again.values()) <= 1, "but for one that was on its way when it was stopped, under its key"
    assert stage.told("rollback_switched") == 1
    # What it knew is gone with its lead: it can lead again, from what is stored.
    await stage.b.lives.end()
    await eventually(stage.a.leads, within=PATIENCE, every=0.1, what="the old leader to lead again")
    await stage.deploy_bad(seen_by=stage.a)
    await stage.rolled_back(stage.a)
    assert stage.movers() == [old]


async def test_nobody_acts_while_nobody_reaches_the_database_and_both_recover(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    postgres = stack.enter_context(Postgres())
    stage = ReplicaStage(tmp_path, stack, postgres.url(postgres.database()))
    await stage.open()
    postgres.freeze()
    stack.callback(postgres.thaw)

    async def nobody() -> bool:
        return not await stage.a.leads() and not await stage.b.leads()

    await eventually(nobody, within=PATIENCE, every=0.1, what="nobody to lead")
    since = len(stage.recorded.log)
    until, led = time.monotonic() + TWO_LEASES, list[bool]()

    async def long_enough() -> bool:
        led.append(not await nobody())
        return time.monotonic() > until

    await eventually(long_enough, within=PATIENCE, every=0.2, what="two leases to pass")
    assert not any(led), "nobody leads"
    assert [one for one in stage.recorded.log[since:] if one.who] == [], "nobody looks, and nobody writes"
    with pytest.raises((aiohttp.ClientError, AssertionError, TimeoutError)):
        await stage.a.daemon.get("deployments")
    postgres.thaw()

    async def one_leads() -> bool:
        return [await stage.a.leads(), await stage.b.leads()].count(True) == 1

    await eventually(one_leads, within=PATIENCE, every=0.1, what="one of them to lead")
    leader = stage.a if await stage.a.leads() else stage.b
    other = stage.b if leader is stage.a else stage.a
    await eventually(other.follows, within=PATIENCE, every=0.1, what="the other one to follow")
    await stage.deploy_bad(seen_by=leader)
    await stage.rolled_back(leader)
    assert not stage.a.lives.over
    assert not stage.b.lives.over
