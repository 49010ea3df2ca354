"""Looking at what feeds told: free, and never older than what was read past them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.cluster.scripted import Json, ScriptedCluster, page, pod
from watchdog.cluster.errors import NotSent, Refused, Unanswered
from watchdog.cluster.feed import Feed
from watchdog.cluster.feeds import Feeds, older
from watchdog.cluster.look import Fresh
from watchdog.cluster.objects import PODS, SERVICES, Kind, Pod
from watchdog.cluster.told import Stale, Told
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time


class Rig:
    def __init__(self) -> None:
        clock = LoopClock()
        self.cluster = ScriptedCluster(clock)
        self.feeds = Feeds(self.cluster, clock=clock, rng=random.Random(1))
        self.told = Told(self.feeds)
        self.fresh = Fresh(self.cluster, timeout=timedelta(seconds=5), feeds=self.feeds)
        a, b = pod("a", 7, app="trips", tier="web"), pod("b", 9, app="hotels")
        self.cluster.lists = lambda _: page(10, a, b)

    @asynccontextmanager
    async def following(self, *feeds: Feed[Pod]) -> AsyncIterator[None]:
        async with self.feeds.following(*(feeds or (self.feeds.feed(PODS, "prod"),))):
            await asyncio.sleep(0.001)
            yield
        await self.feeds.aclose()

    def answer(self, found: Json) -> None:
        """What the API server has, whatever the watch told."""
        self.cluster.lists = lambda _: json.dumps(found).encode()


async def test_objects_come_from_memory() -> None:
    rig = Rig()
    async with rig.following():
        asked = len(rig.cluster.asked)
        assert (await rig.told.one(PODS, "prod", "a")).metadata.resource_version == "7"
        assert [one.name for one in await rig.told.all(PODS, "prod")] == ["a", "b"]
        assert [one.name for one in await rig.told.all(PODS, "prod", labels={"app": "trips"})] == ["a"]
        assert await rig.told.all(PODS, "prod", labels={"app": "trips", "tier": "db"}) == []
        assert len(rig.cluster.asked) == asked


async def test_what_is_not_there_is_missing() -> None:
    rig = Rig()
    async with rig.following():
        with pytest.raises(Refused) as refused:
            await rig.told.one(PODS, "prod", "gone")
    assert refused.value.missing


async def test_what_nobody_follows_cannot_be_told() -> None:
    rig = Rig()
    others: list[tuple[Kind[Any], str]] = [(SERVICES, "prod"), (PODS, "other")]
    for kind, namespace in others:
        async with Rig().following():
            with pytest.raises(Stale):
                await rig.told.one(kind, namespace, "a")
            with pytest.raises(Stale):
                await rig.told.all(kind, namespace)


async def test_a_feed_that_is_not_current_tells_nothing() -> None:
    rig = Rig()
    async with rig.following():
        rig.cluster.refuse = NotSent("refused")
        rig.cluster.lists = lambda _: NotSent("refused")
        rig.cluster.stream.end(Unanswered("cut off"))
        await asyncio.sleep(60)
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "a")
        with pytest.raises(Stale):
            await rig.told.all(PODS, "prod")


async def test_some_of_all_say_nothing_of_the_others() -> None:
    rig = Rig()
    labelled = rig.feeds.feed(PODS, "prod", labels={"app": "trips"})
    async with rig.following(labelled):
        assert (await rig.told.one(PODS, "prod", "a")).name == "a"
        assert await rig.told.all(PODS, "prod", labels={"app": "trips", "tier": "web"})
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "c")
        with pytest.raises(Stale):
            await rig.told.all(PODS, "prod", labels={"tier": "web"})


async def test_the_feed_of_one_name_tells_of_that_one_alone() -> None:
    rig = Rig()
    rig.cluster.lists = lambda _: page(10, pod("a", 7))
    async with rig.following(rig.feeds.feed(PODS, "prod", name="a")):
        assert (await rig.told.one(PODS, "prod", "a")).name == "a"
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "b")
        with pytest.raises(Stale):
            await rig.told.all(PODS, "prod")


async def test_the_feed_of_all_namespaces_tells_of_each() -> None:
    rig = Rig()
    rig.cluster.lists = lambda _: page(10, pod("a", 7), pod("a", 8, namespace="test"))
    async with rig.following(rig.feeds.feed(PODS, "")):
        assert (await rig.told.one(PODS, "test", "a")).metadata.resource_version == "8"
        assert [one.metadata.namespace for one in await rig.told.all(PODS, "prod")] == ["prod"]
        assert len(await rig.told.all(PODS, "")) == 2


async def test_nothing_older_than_what_was_read_is_told() -> None:
    rig = Rig()
    async with rig.following():
        rig.answer(pod("a", 12))
        await rig.fresh.one(PODS, "prod", "a")
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "a")
        assert (await rig.told.one(PODS, "prod", "b")).name == "b"
        rig.cluster.stream.send("MODIFIED", pod("a", 11))
        await asyncio.sleep(0.001)
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "a")
        rig.cluster.stream.send("MODIFIED", pod("a", 12))
        await asyncio.sleep(0.001)
        assert (await rig.told.one(PODS, "prod", "a")).metadata.resource_version == "12"


async def test_two_reads_that_cross_leave_the_newer_one() -> None:
    rig = Rig()
    async with rig.following():
        for version in (12, 11):
            rig.answer(pod("a", version))
            await rig.fresh.one(PODS, "prod", "a")
        rig.cluster.stream.send("MODIFIED", pod("a", 11))
        await asyncio.sleep(0.001)
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "a")


async def test_one_that_was_read_and_is_not_told_of_yet_is_not_missing() -> None:
    rig = Rig()
    async with rig.following():
        rig.answer(pod("new", 12))
        await rig.fresh.one(PODS, "prod", "new")
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "new")
        rig.cluster.lists = lambda _: Refused("not found", status=404)
        with pytest.raises(Refused):
            await rig.fresh.one(PODS, "prod", "new")
        with pytest.raises(Refused) as refused:
            await rig.told.one(PODS, "prod", "new")
        assert refused.value.missing


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [("9", "10", True), ("10", "9", False), ("10", "10", False), ("a", "b", False), ("", "1", False)],
)
def test_versions_are_compared_as_numbers(one: str, other: str, answer: bool) -> None:
    assert older(one, other) is answer


async def test_versions_that_are_no_numbers_must_be_equal() -> None:
    rig = Rig()
    async with rig.following():
        thing = pod("a", 1)
        thing["metadata"]["resourceVersion"] = "abc"
        rig.answer(thing)
        await rig.fresh.one(PODS, "prod", "a")
        with pytest.raises(Stale):
            await rig.told.one(PODS, "prod", "a")
        rig.cluster.stream.send("MODIFIED", thing)
        await asyncio.sleep(0.001)
        assert (await rig.told.one(PODS, "prod", "a")).metadata.resource_version == "abc"
