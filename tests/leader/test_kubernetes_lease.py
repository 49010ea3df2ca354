from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.leader.lease_api import LeaseApi, Leases
from watchdog.cluster.errors import NotSent, Refused
from watchdog.core.errors import ConfigError
from watchdog.leader.kubernetes_lease import LeaseLeadership, LeaseSettings
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

PATH = "/apis/coordination.k8s.io/v1/namespaces/prod/leases/rollback-watchdog"


class Replica:
    """One process: its leadership, its connection, its clock."""

    def __init__(self, leases: Leases, name: str, seed: int) -> None:
        self.api = LeaseApi(leases)
        self.clock = LoopClock()
        self.leadership = LeaseLeadership(
            LeaseSettings(namespace="prod", identity=name),
            cluster=self.api,
            clock=self.clock,
            rng=random.Random(seed),
        )
        self.task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        return self.leadership.is_leader

    @property
    def name(self) -> str:
        return self.leadership.identity

    def begin(self) -> asyncio.Task[None]:
        """Lead whenever it may, as the daemon does."""
        self.task = asyncio.create_task(self._live(), name=self.name)
        return self.task

    async def _live(self) -> None:
        while True:
            await self.leadership.acquire()
            await self.leadership.lost()
            await self.leadership.release()


Make = Callable[[str], Replica]


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def make(leases: Leases) -> AsyncIterator[Make]:
    made: list[Replica] = []

    def build(name: str) -> Replica:
        made.append(Replica(leases, name, len(made)))
        return made[-1]

    yield build
    for one in made:
        if one.task is not None:
            one.task.cancel()
            await asyncio.gather(one.task, return_exceptions=True)
        await one.leadership.aclose()


async def test_the_first_makes_the_lease_and_renews_it(make: Make, leases: Leases) -> None:
    a = make("a")
    assert (a.leads, a.leadership.holder) == (False, "")
    await a.leadership.acquire()
    assert (a.leads, a.leadership.holder) == (True, a.name)
    spec = leases.objects[PATH]["spec"]
    assert spec["holderIdentity"] == a.name
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert spec["acquireTime"] == spec["renewTime"] == "2026-01-01T00:00:00.010000Z"
    await asyncio.sleep(60)
    assert a.leads
    spec = leases.objects[PATH]["spec"]
    assert spec["acquireTime"] == "2026-01-01T00:00:00.010000Z"
    assert spec["renewTime"] > "2026-01-01T00:00:57"
    assert len(leases.writes) == 30


async def test_no_two_lead_and_the_next_leads_once_the_lease_has_lasted(make: Make, leases: Leases) -> None:
    a, b = make("a"), make("b")
    await a.leadership.acquire()
    b.begin()
    await asyncio.sleep(120)
    assert (a.leads, b.leads, b.leadership.holder) == (True, False, a.name)
    a.api.away = True  # as if it were dead, but for what it believes
    since = asyncio.get_running_loop().time()
    while not b.leads:
        assert asyncio.get_running_loop().time() < since + 25
        assert not (a.leads and b.leads)
        await asyncio.sleep(0.05)
    took = asyncio.get_running_loop().time() - since
    assert 13 <= took <= 22, "the lease, less what had passed of it, and one retry"
    assert leases.holder(PATH) == b.name
    assert leases.objects[PATH]["spec"]["leaseTransitions"] == 1


async def test_who_cannot_renew_stops_before_anybody_else_may_begin(make: Make) -> None:
    a = make("a")
    await a.leadership.acquire()
    await asyncio.sleep(5)
    a.api.away = True
    lost = asyncio.create_task(a.leadership.lost())
    await asyncio.sleep(7.9)
    assert (a.leads, lost.done()) == (True, False)
    await asyncio.sleep(2.2)
    assert (a.leads, lost.done()) == (False, True)
    a.api.away = False
    await asyncio.sleep(30)
    assert not a.leads, "lost for good: only `acquire` brings it back"


@pytest.mark.parametrize("how", ["suspend", "stop"])
async def test_who_did_not_run_is_no_leader_at_its_first_look(make: Make, leases: Leases, how: str) -> None:
    a = make("a")
    await a.leadership.acquire()
    await asyncio.sleep(1)
    written = len(leases.writes)
    if how == "suspend":
        a.clock.suspend(timedelta(seconds=10))
    else:  # a stopped process's loop has seen no time pass, its machine has
        a.clock._slept += 10.0  # noqa: SLF001 - the same, without the words
    assert not a.leads
    await a.leadership.lost()
    await asyncio.sleep(10)
    assert len(leases.writes) == written, "it does not renew what it may have lost"


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=400)])
async def test_no_clock_that_is_set_makes_or_ends_a_leader(make: Make, leases: Leases, by: timedelta) -> None:
    a, b = make("a"), make("b")
    await a.leadership.acquire()
    b.begin()
    await asyncio.sleep(10)
    for one in (a, b):
        one.clock.jump(by)
        one.clock.follow(by)
    await asyncio.sleep(60)
    assert (a.leads, b.leads) == (True, False)
    assert leases.objects[PATH]["spec"]["leaseTransitions"] == 0


async def test_a_record_of_long_ago_or_of_tomorrow_counts_from_when_it_was_seen(
    make: Make, leases: Leases
) -> None:
    for at in ("2001-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"):
        spec = {"holderIdentity": "z", "leaseDurationSeconds": 20, "renewTime": at, "acquireTime": at}
        leases.keep(PATH, {"metadata": {"name": "rollback-watchdog"}, "spec": spec})
        a = make("a")
        began = asyncio.get_running_loop().time()
        await a.leadership.acquire()
        assert 20 <= asyncio.get_running_loop().time() - began < 25
        await a.leadership.release()


async def test_a_clean_stop_gives_the_lease_away(make: Make, leases: Leases) -> None:
    a, b = make("a"), make("b")
    await a.leadership.acquire()
    b.begin()
    await asyncio.sleep(10)
    await a.leadership.aclose()
    assert (a.leads, leases.holder(PATH), a.api.closed) == (False, "", True)
    await asyncio.sleep(5)
    assert (b.leads, leases.holder(PATH)) == (True, b.name)
    assert leases.objects[PATH]["spec"]["leaseTransitions"] == 1
    await a.leadership.release()
    assert leases.holder(PATH) == b.name, "what is another's is not given away"


async def test_who_follows_gives_nothing_away(make: Make, leases: Leases) -> None:
    a, b = make("a"), make("b")
    await a.leadership.acquire()
    b.begin()
    await asyncio.sleep(5)
    written = len(leases.writes)
    await b.leadership.release()
    assert leases.holder(PATH) == a.name
    assert len(leases.writes) == written


async def test_two_who_take_it_at_once_are_one_leader(make: Make, leases: Leases) -> None:
    replicas = [make(name) for name in "abcdefgh"]
    for one in replicas:
        one.begin()
    await asyncio.sleep(10)
    assert [one.leads for one in replicas].count(True) == 1
    (leader,) = [one for one in replicas if one.leads]
    assert leases.holder(PATH) == leader.name
    leader.api.away = True
    for _ in range(400):
        await asyncio.sleep(0.1)
        assert [one.leads for one in replicas].count(True) <= 1
    assert [one.leads for one in replicas].count(True) == 1
    assert not leader.leads


async def test_a_renewal_that_is_not_answered_is_none(make: Make, leases: Leases) -> None:
    a = make("a")
    await a.leadership.acquire()
    a.api.mute = True
    await asyncio.sleep(10.1)
    assert leases.holder(PATH) == a.name
    assert leases.writes[-1][0] > 1, "it was written"
    assert not a.leads


async def test_an_answer_that_is_lost_once_does_no_harm(make: Make, leases: Leases) -> None:
    """The next renewal is refused, because the object is another; it is read, and is ours."""
    a = make("a")
    await a.leadership.acquire()
    a.api.mute = True
    await asyncio.sleep(2.5)
    a.api.mute = False
    await asyncio.sleep(60)
    assert a.leads
    assert {holder for _, holder in leases.writes} == {a.name}


async def test_an_acquisition_that_was_not_answered_is_taken_up(make: Make, leases: Leases) -> None:
    a = make("a")
    a.api.mute = True
    a.begin()
    await asyncio.sleep(6)
    assert (leases.holder(PATH), a.leads) == (a.name, False)
    a.api.mute = False
    await asyncio.sleep(20)
    assert a.leads


async def test_an_answer_that_comes_too_late_makes_no_leader(make: Make, leases: Leases) -> None:
    a = make("a")
    a.api.late = 9.0

    async def asleep() -> None:
        await asyncio.sleep(5)
        a.clock.suspend(timedelta(seconds=20))

    sleeping = asyncio.create_task(asleep())
    acquiring = asyncio.create_task(a.leadership.acquire())
    await sleeping
    await asyncio.sleep(4.05)
    assert leases.objects, "it was written"
    assert not acquiring.done()
    assert not a.leads
    a.api.late = 0.0
    await acquiring
    assert a.leads


async def test_somebody_who_takes_it_with_kubectl_has_it(make: Make, leases: Leases) -> None:
    a = make("a")
    await a.leadership.acquire()
    await asyncio.sleep(5)
    taken = leases.objects[PATH] | {"spec": leases.objects[PATH]["spec"] | {"holderIdentity": "kate"}}
    leases.keep(PATH, taken)
    with capture_logs() as logs:
        await a.leadership.lost()
    assert not a.leads
    assert a.leadership.holder == "kate"
    assert [one["by"] for one in logs if one["event"] == "lease_taken"] == ["kate"]
    await a.leadership.release()
    assert leases.holder(PATH) == "kate"


async def test_a_lease_that_is_deleted_ends_the_lead_and_is_made_anew(make: Make, leases: Leases) -> None:
    a = make("a")
    a.begin()
    await asyncio.sleep(5)
    assert a.leads
    del leases.objects[PATH]
    await asyncio.sleep(10)
    assert a.leads
    assert leases.holder(PATH) == a.name


async def test_what_others_have_in_the_object_stays(make: Make, leases: Leases) -> None:
    mine: dict[str, Any] = {
        "metadata": {"name": "rollback-watchdog", "labels": {"team": "x"}},
        "spec": {"holderIdentity": "", "leaseTransitions": 7, "strategy": "OldestEmulationVersion"},
    }
    leases.keep(PATH, mine)
    a = make("a")
    await a.leadership.acquire()
    await asyncio.sleep(10)
    kept = leases.objects[PATH]
    assert kept["metadata"]["labels"] == {"team": "x"}
    assert kept["spec"]["strategy"] == "OldestEmulationVersion"
    assert kept["spec"]["leaseTransitions"] == 8


async def test_both_recover_when_the_api_server_was_away_for_two_leases(make: Make, leases: Leases) -> None:
    a, b = make("a"), make("b")
    a.begin()
    await asyncio.sleep(1)
    b.begin()
    await asyncio.sleep(5)
    a.api.away = b.api.away = True
    await asyncio.sleep(11)
    for _ in range(190):
        assert (a.leads, b.leads) == (False, False), "nobody acts"
        await asyncio.sleep(0.1)
    written = len(leases.writes)
    a.api.away = b.api.away = False
    await asyncio.sleep(25)
    assert [a.leads, b.leads].count(True) == 1
    assert len(leases.writes) > written
    assert a.leadership.holder == b.leadership.holder != ""


async def test_who_leads_is_unknown_once_the_lease_has_lasted(make: Make) -> None:
    a, b = make("a"), make("b")
    await a.leadership.acquire()
    b.begin()
    await asyncio.sleep(5)
    a.api.away = b.api.away = True
    await asyncio.sleep(9)
    assert b.leadership.holder == a.name
    await asyncio.sleep(9)
    assert b.leadership.holder == ""


async def test_trouble_is_said_once_and_names_what_is_missing(make: Make) -> None:
    a = make("a")
    why = 'leases "rollback-watchdog" is forbidden: User "x" cannot get resource "leases"'
    a.api.error = Refused(why, status=403, reason="Forbidden")
    with capture_logs() as logs:
        a.begin()
        await asyncio.sleep(30)
        a.api.error = None
        await asyncio.sleep(10)
    said = [one for one in logs if one["event"].startswith("lease_")]
    assert [one["event"] for one in said] == ["lease_not_reached", "lease_reached_again"]
    assert said[0]["error"] == why
    assert a.leads


async def test_an_api_server_that_asks_for_time_is_left_alone_and_not_led_without(make: Make) -> None:
    a = make("a")
    await a.leadership.acquire()
    a.api.error = NotSent("the API server is overloaded and asked to wait 30 s", retry_after=30.0)
    await asyncio.sleep(10.5)
    assert not a.leads
    assert a.api.asked < 10


async def test_a_cancelled_acquisition_leads_nowhere(make: Make) -> None:
    a, b = make("a"), make("b")
    await b.leadership.acquire()
    acquiring = asyncio.create_task(a.leadership.acquire())
    await asyncio.sleep(1)
    acquiring.cancel()
    await asyncio.gather(acquiring, return_exceptions=True)
    await b.leadership.release()
    await asyncio.sleep(30)
    assert not a.leads


async def test_giving_up_waits_for_nobody(make: Make) -> None:
    a = make("a")
    await a.leadership.acquire()
    a.api.mute = True
    began = asyncio.get_running_loop().time()
    with capture_logs() as logs:
        await a.leadership.release()
    assert asyncio.get_running_loop().time() - began <= 3.1
    assert [one["event"] for one in logs] == ["lease_not_released"]
    assert not a.leads


async def test_outside_of_a_cluster_the_namespace_must_be_named() -> None:
    with pytest.raises(ConfigError, match="name one: `namespace: …`"):
        LeaseLeadership(LeaseSettings(), cluster=LeaseApi(Leases()), clock=LoopClock())


async def test_no_two_processes_have_one_name(make: Make) -> None:
    one, other = make("same"), make("same")
    assert one.name.startswith("same_")
    assert one.name != other.name
