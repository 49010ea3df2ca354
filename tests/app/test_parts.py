from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.app.conftest import Home
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.app.build import build_switches
from watchdog.app.parts import Key, NotYet, Parts
from watchdog.app.shared import Shared
from watchdog.channels.specimens import specimens
from watchdog.config.loaded import Configuration
from watchdog.core.errors import ConfigError, StoreLocked
from watchdog.core.message import MessageKind
from watchdog.traffic.lock import HostLock

NOTHING: frozenset[Key] = frozenset()


@pytest.fixture
async def parts(home: Home) -> AsyncIterator[Parts]:
    found = Parts(home.load(), clock=SystemClock())
    found.lock()
    yield found
    await found.aclose()


def change(parts: Parts, configuration: Configuration, *, held: frozenset[Key] = NOTHING) -> None:
    built = parts.prepare(configuration)
    parts.admit(built)
    parts.exchange(built, held=held)


def identity(home: Home, name: str) -> str:
    clock = SystemClock()
    return build_switches(home.load(), {}, shared=Shared(clock=clock), clock=clock)[name].identity


def changed(home: Home, **traffic: Any) -> Configuration:
    home.settings["services"][0]["traffic"] |= traffic
    return home.load()


async def test_what_did_not_change_is_not_built_again(home: Home, parts: Parts) -> None:
    before = dict(parts.sources), dict(parts.channels), dict(parts.switches)
    home.path.write_text("\n\n" + home.path.read_text())
    assert parts.prepare(home.load()).empty
    change(parts, home.load())
    assert (parts.sources, parts.channels, parts.switches) == before


async def test_what_replaces_something_is_not_in_use_before_the_exchange(home: Home, parts: Parts) -> None:
    before = parts.switches["trips"]
    built = parts.prepare(changed(home, timeout="7s"))
    parts.admit(built)
    assert parts.switches["trips"] is before
    parts.exchange(built, held=NOTHING)
    assert parts.switches["trips"] is not before


async def test_the_old_one_is_closed_when_no_call_can_be_in_it_any_more(
    home: Home, parts: Parts, eventually: Eventually
) -> None:
    home.settings["channels"]["log"]["timeout"] = "1ms"
    change(parts, home.load())
    home.settings["channels"]["log"]["timeout"] = "2ms"
    begun = asyncio.get_running_loop().time()
    change(parts, home.load())
    assert len(parts._left) == 2  # noqa: SLF001 - what waits to be closed
    await eventually(lambda: len(parts._left) < 2, within=15)  # noqa: SLF001
    assert asyncio.get_running_loop().time() - begun >= timedelta(seconds=5).total_seconds()


async def test_a_lock_goes_with_its_switch(home: Home, parts: Parts) -> None:
    old = identity(home, "trips")
    change(parts, changed(home, **home.switch("elsewhere")))
    with HostLock(old), pytest.raises(StoreLocked):
        HostLock(identity(home, "trips")).acquire()


async def test_a_lock_that_cannot_be_had_leaves_everything_as_it_was(home: Home, parts: Parts) -> None:
    before, old = dict(parts.switches), identity(home, "trips")
    configuration = changed(home, **home.switch("elsewhere"))
    with HostLock(identity(home, "trips")), pytest.raises(StoreLocked):
        parts.prepare(configuration)
    assert parts.switches == before
    with pytest.raises(StoreLocked):
        HostLock(old).acquire()


async def test_two_services_on_one_switch_are_refused(home: Home, parts: Parts) -> None:
    home.settings["services"].append(home.service("hotels", "trips", timeout="7s"))
    with pytest.raises(ConfigError, match="the same traffic switch"):
        parts.prepare(home.load())


async def test_a_switch_that_a_rollback_needs_is_not_given_to_another_service(
    home: Home, parts: Parts
) -> None:
    home.settings["services"][0]["name"] = "journeys"
    with pytest.raises(NotYet, match="the switch of journeys is that of trips"):
        parts.prepare(home.load(), busy=frozenset({"trips"}))
    change(parts, home.load())
    assert list(parts.switches) == ["journeys"]


async def test_what_is_held_stays_until_it_is_not(home: Home, parts: Parts) -> None:
    before, old = parts.switches["trips"], identity(home, "trips")
    configuration = changed(home, **home.switch("elsewhere"))
    held: frozenset[Key] = frozenset({("switch", "trips")})
    change(parts, configuration, held=held)
    assert parts.switches["trips"] is before
    with pytest.raises(StoreLocked):
        HostLock(old).acquire()
    with HostLock(identity(home, "trips")):
        pass
    change(parts, configuration)
    assert parts.switches["trips"] is not before


async def test_a_switch_that_was_kept_is_compared_as_it_is_when_its_service_comes_back(
    home: Home, parts: Parts
) -> None:
    services = home.settings["services"]
    home.settings["services"] = [home.service("hotels", "hotels")]
    change(parts, home.load(), held=frozenset({("switch", "trips")}))
    home.settings["services"] = services
    assert parts.moved(parts.prepare(changed(home, timeout="7s"))) == frozenset()
    assert parts.moved(parts.prepare(changed(home, **home.switch("elsewhere")))) == {"trips"}


async def test_a_variant_is_another_when_not_one_of_its_servers_is_left(home: Home) -> None:
    home.settings["services"][0]["traffic"] = {
        "kind": "haproxy",
        "socket": str(home.folder / "admin.sock"),
        "backend": "trips",
        "variants": {"blue": "one", "green": ["two", "three"], "red": "four"},
    }
    parts = Parts(home.load(), clock=SystemClock())
    parts.lock()
    try:
        more = parts.prepare(
            changed(home, variants={"blue": ["one", "five"], "green": "two", "pink": "four"})
        )
        assert parts.moved(more) == {"trips"}
        assert not parts.exchanged(more), "one that has a server more, or another name, is told by its name"
        swapped = parts.prepare(changed(home, variants={"blue": "two", "green": "one", "red": "four"}))
        assert parts.exchanged(swapped) == {"trips": {"blue", "green"}}
        parts.discard(more)
        parts.discard(swapped)
    finally:
        await parts.aclose()


async def test_what_each_switch_is_can_be_asked_before_it_is_in_use(home: Home, parts: Parts) -> None:
    here = parts.switch_places()
    home.settings["services"].append(home.service("hotels", "hotels"))
    built = parts.prepare(changed(home, **home.switch("elsewhere")))
    there = parts.switch_places(built)
    assert (set(here), set(there)) == ({"trips"}, {"trips", "hotels"})
    assert here["trips"] != there["trips"]
    assert parts.switch_places() == here
    parts.admit(built)
    parts.exchange(built, held=NOTHING)
    assert parts.switch_places() == there


async def test_a_configuration_that_is_not_taken_leaves_nothing(home: Home, parts: Parts) -> None:
    before = dict(parts.sources), dict(parts.channels), dict(parts.switches)
    home.settings["services"].append(home.service("hotels", "hotels"))
    home.settings["sources"]["more"] = {"kind": "scrape", "urls": ["http://127.0.0.1:9/more"]}
    (home.folder / "rules.yaml").write_text(
        (home.folder / "rules.yaml").read_text().replace("unit: ratio", "unit: ratio\n    source: app")
    )
    built = parts.prepare(home.load())
    parts.admit(built)
    assert parts.switches.keys() == {"trips", "hotels"}
    parts.discard(built)
    assert (parts.sources, parts.channels, parts.switches) == before
    with HostLock(identity(home, "hotels")):
        pass


async def test_the_words_of_all_channels_change_in_the_exchange_and_no_channel_is_built_again(
    home: Home, parts: Parts
) -> None:
    message = specimens()[MessageKind.PAUSED]
    ours = parts.rendering.of(message).headline
    template = home.path.with_name("headline.j2")
    template.write_text("{{ service | upper }}!")
    home.settings["templates"] = {"headline": "headline.j2"}
    before = dict(parts.channels)

    built = parts.prepare(home.load())
    parts.admit(built)
    assert parts.rendering.of(message).headline == ours
    parts.exchange(built, held=NOTHING)
    assert parts.rendering.of(message).headline == "TRIPS!"
    assert parts.channels == before

    template.write_text("changed: {{ service }}")
    change(parts, home.load())
    assert parts.rendering.of(message).headline == "changed: trips"
    del home.settings["templates"]
    change(parts, home.load())
    assert parts.rendering.of(message).headline == ours
