"""HAProxy away, frozen, talking nonsense or reloaded in the middle: traffic is moved once, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.eventually import eventually
from tests.faults.fleet import Fleet
from tests.faults.socket_proxy import Deed, enters, leaves
from tests.servers.haproxy import Server

pytestmark = pytest.mark.timeout(90)

Fault = Callable[[Fleet], AbstractContextManager[None]]


@contextmanager
def gone(fleet: Fleet) -> Iterator[None]:
    """No file where the socket was."""
    aside = fleet.proxy.path.with_suffix(".aside")
    fleet.proxy.path.rename(aside)
    yield
    aside.rename(fleet.proxy.path)


@contextmanager
def abandoned(fleet: Fleet) -> Iterator[None]:
    """The file of a socket at which nobody listens: what a crash leaves behind."""
    with gone(fleet):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(fleet.proxy.path))
        yield
        fleet.proxy.path.unlink()


def doing(deed: Deed) -> Fault:
    """Every line comes to this."""

    @contextmanager
    def fault(fleet: Fleet) -> Iterator[None]:
        fleet.proxy.judge = lambda _: deed
        yield
        fleet.proxy.drop()

    return fault


@contextmanager
def frozen(fleet: Fleet) -> Iterator[None]:
    """The process is there, and answers nobody."""
    fleet.haproxy.freeze()
    yield
    fleet.haproxy.thaw()


FAULTS: list[tuple[str, Fault]] = [
    ("there is no such socket", gone),
    ("nobody listens", abandoned),
    ("no complete answer within 1 s", doing(Deed.HOLD)),
    ("not an answer of HAProxy's Runtime API", doing(Deed.BABBLE)),
    ("no complete answer: nothing", doing(Deed.REFUSE)),
    ("no complete answer within 1 s", frozen),
]


async def test_a_socket_that_is_gone_silent_or_senseless_moves_nothing_until_it_is_well(fleet: Fleet) -> None:
    fleet.add("trips")
    fleet.add("orders")
    await fleet.launch(proxied=True)
    for number, (what, fault) in enumerate(FAULTS, start=1):
        await lived_through(fleet, what, fault, number=number)
    for (what, _), headline in zip(FAULTS, told(fleet), strict=True):
        assert what in headline
    await fleet.audit_holds()


async def lived_through(fleet: Fleet, what: str, fault: Fault, *, number: int) -> None:
    """A version turns bad while HAProxy cannot be reached: it is switched away afterwards, once."""
    version = f"v{number + 1}"
    await fleet.watched(version)
    heard = len(told(fleet))
    with fault(fleet):
        fleet.turn_bad(version)
        await fleet.intended()
        await eventually(lambda: len(told(fleet)) > heard, within=10, what=f"people told: {what}")
        if number == 1:  # the other service, on the same HAProxy by another way, is looked after as ever
            await fleet.deploy_bad("v2", service="orders")
            await fleet.rollback("completed", service="orders")
    assert fleet.proxy.writes == [], what
    await fleet.moved_once(version, number=number)
    await eventually(lambda: all_over(fleet), what=f"every incident closed after: {what}")


def told(fleet: Fleet) -> list[str]:
    """What people heard of switches that cannot be read."""
    heard = [message["headline"] for message in fleet.people.heard("incident_opened", service="trips")]
    return [headline for headline in heard if "its traffic switch cannot be read" in headline]


async def all_over(fleet: Fleet) -> bool:
    return not await fleet.daemon.get("incidents?open=true")


async def test_an_answer_that_is_lost_is_read_and_the_change_is_made_once(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch(proxied=True)
    ways = [(deed, half) for deed in (Deed.CUT, Deed.MUTE) for half in (enters, leaves)]
    for number, (deed, half) in enumerate(ways, start=1):
        version = f"v{number + 1}"
        await fleet.watched(version)
        fleet.proxy.judge = once(deed, half)
        fleet.turn_bad(version)
        await fleet.moved_once(version, number=number)
        assert len(fleet.proxy.held) == 1, f"{deed} {half.__name__}: no answer was lost"
    await fleet.audit_holds()


def once(deed: Deed, half: Callable[[str], bool]) -> Callable[[str], Deed]:
    """The first such line comes to this, all others pass."""
    left = [deed]
    return lambda line: left.pop() if left and half(line) else Deed.PASS


async def test_a_haproxy_that_freezes_between_the_two_halves_is_moved_once(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    fleet.proxy.judge = lambda line: Deed.HOLD if leaves(line) else Deed.PASS
    fleet.turn_bad("v2")
    await eventually(lambda: fleet.proxy.held, within=10, what="the second half on its way")
    fleet.haproxy.freeze()
    fleet.proxy.release()
    await eventually(lambda: told(fleet), within=10, what="people told that it cannot be read")
    fleet.haproxy.thaw()
    await fleet.moved_once("v2")


async def test_a_server_that_haproxy_does_not_know_is_told_and_nothing_is_done(fleet: Fleet) -> None:
    trips = fleet.add("trips")
    fleet.add("orders")
    await fleet.launch(stable=False)
    trips["traffic"]["variants"]["green"] = "srv_gren"
    fleet.daemon.stop()
    await fleet.daemon.begin()
    await eventually(lambda: told(fleet), within=10, what="people told")
    assert "has no server 'srv_gren'; did you mean 'srv_green'?" in told(fleet)[0]
    status, problem = await fleet.daemon.post("services/trips/rollback", reason="it looks bad")
    assert status == 409, problem
    assert fleet.live() == {"blue"}
    await fleet.until_stable("blue", service="orders")
    await fleet.looked_at("orders")
    await fleet.deploy_bad("v2", service="orders")
    await fleet.rollback("completed", service="orders")


async def test_a_reload_between_the_two_halves_never_leaves_nobody_in_charge(fleet: Fleet) -> None:
    """A reload brings back what the configuration says: the bad version alone."""
    fleet.add("trips")
    await fleet.launch(proxied=True)
    servers = [
        Server(name="srv_blue", port=fleet.app_port, weight=0),
        Server(name="srv_green", port=fleet.app_port),
    ]
    fleet.haproxy.configure({"trips": servers})
    await fleet.watched("v2")
    fleet.proxy.judge = lambda line: Deed.HOLD if leaves(line) else Deed.PASS
    fleet.turn_bad("v2")
    await eventually(lambda: fleet.proxy.held, within=10, what="the second half on its way")
    fleet.haproxy.reload()
    assert fleet.live() == {"green"}
    fleet.proxy.release()
    done = await fleet.rollback()
    assert set() not in fleet.proxy.moves, f"nobody took traffic: {fleet.proxy.moves}"
    assert fleet.live(), done
    assert done["state"] == "completed"
    assert fleet.live() == {"blue"}
