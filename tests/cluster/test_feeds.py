from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.cluster.scripted import Json, ScriptedCluster, page, pod
from watchdog.cluster.differences import Difference
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Unanswered
from watchdog.cluster.feed import (
    BELIEVED_FOR,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PAGE,
    SILENT_FOR,
    WATCH_SECONDS,
    Feed,
)
from watchdog.cluster.feeds import PULSE_EVERY, Feeds
from watchdog.cluster.objects import PODS, SERVICES, Pod
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

GONE = Refused("410: too old resource version", status=410, reason="Expired")


class Rig:
    """A feed of the pods in `prod`, and what it told."""

    def __init__(self, *, seed: int = 1) -> None:
        clock = LoopClock()
        self.cluster = ScriptedCluster(clock)
        self.feeds = Feeds(self.cluster, clock=clock, rng=random.Random(seed))
        self.feed: Feed[Pod] = self.feeds.feed(PODS, "prod")
        self.told: list[tuple[Difference[Pod], ...]] = []

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        async with self.feeds.following(self.feed, changed=self.told.append):
            await asyncio.sleep(0.001)
            yield
        await self.feeds.aclose()

    @property
    def names(self) -> list[str]:
        return sorted(name for _, name in self.feed.objects)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """`resourceVersion`s before and after."""
        return [(_version(one.before), _version(one.after)) for told in self.told for one in told]


def _version(found: Pod | None) -> str:
    return "" if found is None else found.metadata.resource_version


def listing(version: int, *pods: Json) -> Callable[[dict[str, str]], bytes]:
    return lambda _: page(version, *pods)


async def passed() -> None:
    """Whatever is due at once has happened."""
    await asyncio.sleep(0.001)


async def test_what_is_listed_is_told_and_held() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7), pod("b", 9))
    async with rig.followed():
        assert rig.names == ["a", "b"]
        assert rig.feed.current
        assert rig.changes == [("", "7"), ("", "9")]


async def test_a_watch_begins_where_the_list_ended_and_asks_for_bookmarks() -> None:
    rig = Rig()
    async with rig.followed():
        query = rig.cluster.stream.query
    assert query["resourceVersion"] == "10"
    assert query["allowWatchBookmarks"] == "true"
    assert WATCH_SECONDS[0] <= int(query["timeoutSeconds"]) <= WATCH_SECONDS[1]


async def test_no_two_watches_are_asked_to_end_at_the_same_time() -> None:
    rig = Rig()
    async with rig.followed():
        for _ in range(8):
            await asyncio.sleep(60)
            rig.cluster.stream.end()
            await passed()
    assert len({stream.query["timeoutSeconds"] for stream in rig.cluster.streams}) > 4


async def test_events_change_what_is_held_and_say_what_it_was() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7), pod("b", 9))
    async with rig.followed():
        rig.told.clear()
        rig.cluster.stream.send("MODIFIED", pod("a", 11, app="trips"))
        rig.cluster.stream.send("ADDED", pod("c", 12))
        rig.cluster.stream.send("DELETED", pod("b", 13))
        await passed()
        assert rig.names == ["a", "c"]
        assert rig.feed.objects["prod", "a"].metadata.labels == {"app": "trips"}
        assert rig.changes == [("7", "11"), ("", "12"), ("9", "")]


async def test_an_event_that_says_nothing_new_is_not_told() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7))
    async with rig.followed():
        rig.told.clear()
        rig.cluster.stream.send("ADDED", pod("a", 7))
        rig.cluster.stream.send("DELETED", pod("never-seen", 11))
        rig.cluster.stream.bookmark(12)
        await passed()
        assert rig.told == []


async def test_a_list_comes_page_by_page_and_counts_as_a_whole() -> None:
    rig = Rig()
    pages = {
        "": page(10, pod("a", 1), more="x=="),
        "x==": page(10, pod("b", 2), more="y"),
        "y": page(10, pod("c", 3)),
    }
    rig.cluster.lists = lambda query: pages[query.get("continue", "")]
    async with rig.followed():
        assert rig.names == ["a", "b", "c"]
        assert len(rig.told) == 1
    assert {query["limit"] for _, path, query in rig.cluster.asked if "watch" not in path} == {str(PAGE)}


async def test_a_list_that_breaks_in_the_middle_changes_nothing() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 1))
    async with rig.followed():
        pages: dict[str, bytes | ClusterError] = {
            "": page(20, pod("b", 2), more="x"),
            "x": Unanswered("no answer"),
        }
        rig.cluster.lists = lambda query: pages[query.get("continue", "")]
        rig.cluster.stream.end(GONE)
        await asyncio.sleep(2)
        assert rig.names == ["a"]
        assert not rig.told[1:]


async def test_a_watch_that_ends_goes_on_from_where_it_was_without_a_list() -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.stream.send("ADDED", pod("a", 11))
        rig.cluster.stream.bookmark(42)
        await asyncio.sleep(60)
        rig.cluster.stream.end()
        await passed()
        assert rig.cluster.stream.query["resourceVersion"] == "42"
        assert rig.feed.lists == 1
        assert rig.feed.watches == 2
        assert rig.feed.current


@pytest.mark.parametrize("how", ["status", "event", "event without a code"])
async def test_a_place_that_was_forgotten_is_listed_anew_at_once(how: str) -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7), pod("b", 8))
    async with rig.followed():
        rig.told.clear()
        rig.cluster.lists = listing(90, pod("b", 80), pod("c", 81))
        at = asyncio.get_running_loop().time()
        if how == "status":
            rig.cluster.stream.end(GONE)
        else:
            code = {"code": 410} if how == "event" else {}
            rig.cluster.stream.send(
                "ERROR", {"kind": "Status", "reason": "Expired", "message": "too old", **code}
            )
        await passed()
        assert rig.names == ["b", "c"]
        assert rig.cluster.stream.query["resourceVersion"] == "90"
        assert sorted(rig.changes) == [("", "81"), ("7", ""), ("8", "80")]
        assert rig.cluster.at()[-1] - at < 0.01


async def test_one_that_is_always_forgotten_is_not_listed_over_and_over() -> None:
    rig = Rig()
    rig.cluster.refuse = GONE
    async with rig.followed():
        await asyncio.sleep(60)
    assert rig.feed.lists < 12


async def test_a_relist_that_shows_the_same_is_not_told() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7))
    async with rig.followed():
        rig.told.clear()
        rig.cluster.lists = listing(90, pod("a", 7))
        rig.cluster.stream.end(GONE)
        await passed()
        assert rig.feed.lists == 2
        assert rig.told == []


async def test_pauses_after_failures_double_up_to_the_longest() -> None:
    rig = Rig()
    rig.cluster.lists = lambda _: NotSent("refused")
    async with rig.followed():
        await asyncio.sleep(300)
    times = rig.cluster.at()
    pauses = [after - before for before, after in pairwise(times)]
    for number, pause in enumerate(pauses):
        longest = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
        assert longest / 2 <= pause <= longest
    assert max(pauses) > LONGEST_PAUSE / 2


async def test_pauses_are_shortened_at_random_and_the_same_with_the_same_seed() -> None:
    async def times(seed: int) -> list[float]:
        rig = Rig(seed=seed)
        rig.cluster.lists = lambda _: NotSent("refused")
        began = asyncio.get_running_loop().time()
        async with rig.followed():
            await asyncio.sleep(60)
        return [round(at - began, 6) for at in rig.cluster.at()]

    assert await times(1) == await times(1)
    assert await times(1) != await times(2)


async def test_time_that_the_api_server_asked_for_is_given() -> None:
    rig = Rig()
    rig.cluster.lists = lambda _: NotSent("overloaded", retry_after=17.0)
    async with rig.followed():
        await asyncio.sleep(20)
    first, second = rig.cluster.at()
    assert second - first >= 17.0


async def test_after_it_worked_again_pauses_begin_from_the_start() -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.refuse = NotSent("refused")
        rig.cluster.stream.end(Unanswered("cut off"))
        await asyncio.sleep(120)
        rig.cluster.refuse = None
        await asyncio.sleep(LONGEST_PAUSE)
        rig.cluster.stream.bookmark(99)
        await passed()
        assert rig.feed.problem == ""
        failed = asyncio.get_running_loop().time()
        rig.cluster.stream.end(Unanswered("cut off"))
        await asyncio.sleep(1)
        assert rig.cluster.at("watch")[-1] - failed <= FIRST_PAUSE


async def test_after_a_gap_everything_is_listed_before_anything_is_believed() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7))
    async with rig.followed():
        rig.cluster.refuse = NotSent("refused")
        rig.cluster.stream.end(Unanswered("cut off"))
        await asyncio.sleep(60)
        rig.cluster.refuse, rig.cluster.lists = None, listing(20, pod("a", 17))
        await asyncio.sleep(LONGEST_PAUSE)
        assert rig.feed.current
        assert rig.changes[-1] == ("7", "17")
        assert rig.cluster.stream.query["resourceVersion"] == "20"


async def test_a_watch_that_is_cut_off_goes_on_from_its_last_event() -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.stream.send("ADDED", pod("a", 33))
        await passed()
        rig.cluster.stream.end(Unanswered("connection lost"))
        await asyncio.sleep(1)
        assert rig.cluster.stream.query["resourceVersion"] == "33"
        assert rig.feed.lists == 1


@pytest.mark.parametrize(
    "line", [b"<html>proxy</html>\n", b'{"type":"ADDED","obj', b'{"type":"TALE","object":{}}\n']
)
async def test_what_is_no_event_ends_the_watch_and_nothing_is_lost(line: bytes) -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.stream.send("ADDED", pod("a", 33))
        rig.cluster.stream.raw(line)
        await asyncio.sleep(1)
        assert rig.names == ["a"]
        assert len(rig.cluster.streams) == 2
        assert rig.cluster.streams[0].closed
        assert rig.cluster.stream.query["resourceVersion"] == "33"


async def test_a_watch_that_ends_at_once_again_and_again_is_a_failure() -> None:
    rig = Rig()
    async with rig.followed():
        for _ in range(500):
            rig.cluster.stream.end()
            await asyncio.sleep(0.01)
        assert len(rig.cluster.streams) < 10
        assert "ended at once" in rig.feed.problem


async def test_an_api_server_that_knows_the_place_no_more_for_another_reason_is_listed_anew() -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.lists = listing(5, pod("a", 3))  # restored from a backup: everything is older
        error = {"kind": "Status", "code": 504, "reason": "Timeout", "message": "Too large resource version"}
        rig.cluster.stream.send("ERROR", error)
        await asyncio.sleep(1)
        assert rig.names == ["a"]
        assert rig.cluster.stream.query["resourceVersion"] == "5"


async def test_it_is_believed_while_the_watch_is_open_and_a_moment_longer() -> None:
    rig = Rig()
    believed = partial(getattr, rig.feed, "current")
    assert not believed()
    async with rig.followed():
        for _ in range(5):
            await asyncio.sleep(60)
            rig.cluster.stream.bookmark(11)
        assert believed()
        rig.cluster.refuse, rig.cluster.lists = NotSent("refused"), lambda _: NotSent("refused")
        rig.cluster.stream.end(Unanswered("cut off"))
        await asyncio.sleep(BELIEVED_FOR / 2)
        assert believed()
        await asyncio.sleep(BELIEVED_FOR)
        assert not believed()
        rig.cluster.refuse, rig.cluster.lists = None, listing(20)
        await asyncio.sleep(LONGEST_PAUSE)
        assert believed()
    assert not believed()


async def test_a_watch_without_even_a_bookmark_is_opened_anew_and_nothing_is_listed_again() -> None:
    rig = Rig()
    async with rig.followed():
        for number in range(1, 21):
            await asyncio.sleep(SILENT_FOR.total_seconds())
            await passed()
            assert len(rig.cluster.streams) == number + 1
            assert rig.cluster.streams[number - 1].closed
            assert rig.feed.current, "a quiet namespace is no failure"
        assert rig.feed.lists == 1
        assert not rig.feed.problem


async def test_an_api_server_that_falls_silent_is_not_believed_although_the_watch_is_open() -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.pulse = lambda: Unanswered("no answer in time")
        await asyncio.sleep(PULSE_EVERY + 1)
        assert not rig.feed.current
        rig.cluster.stream.bookmark(11)
        await passed()
        assert rig.feed.current


async def test_signs_of_life_are_asked_for_only_while_nothing_else_is_heard() -> None:
    rig = Rig()
    async with rig.followed():
        for _ in range(60):
            await asyncio.sleep(PULSE_EVERY / 2)
            rig.cluster.stream.bookmark(11)
        assert rig.cluster.at("/version") == []
        await asyncio.sleep(60)
        assert 2 <= len(rig.cluster.at("/version")) <= 4


@pytest.mark.parametrize("error", [Refused("403: forbidden", status=403), NotSent("busy", retry_after=1.0)])
async def test_a_no_is_a_sign_of_life(error: ClusterError) -> None:
    rig = Rig()
    async with rig.followed():
        rig.cluster.pulse = lambda: error
        rig.cluster.heard_at = 0.0
        for _ in range(4):
            await asyncio.sleep(PULSE_EVERY)
            assert rig.feed.current


async def test_one_watch_serves_all_who_want_the_same() -> None:
    rig = Rig()
    told: list[Any] = []
    async with rig.followed():
        same = rig.feeds.feed(PODS, "prod")
        assert same is rig.feed
        for _ in range(3):
            async with rig.feeds.following(same, changed=told.append):
                rig.cluster.stream.send("MODIFIED", pod("a", 11 + len(told)))
                await passed()
        assert len(told) == len(rig.told) == 3
        assert len(rig.cluster.streams) == 1
        assert rig.feed.current


async def test_the_last_one_who_leaves_ends_the_watch_and_what_was_held_is_let_go() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7))
    async with rig.followed():
        pass
    assert rig.cluster.stream.closed
    assert rig.names == []
    before = len(rig.cluster.asked)
    await asyncio.sleep(1000)
    assert len(rig.cluster.asked) == before


async def test_who_comes_back_finds_a_new_list() -> None:
    rig = Rig()
    rig.cluster.lists = listing(10, pod("a", 7))
    async with rig.feeds.following(rig.feed):
        await passed()
    rig.cluster.lists = listing(20, pod("b", 17))
    async with rig.feeds.following(rig.feed, changed=rig.told.append):
        await passed()
        assert rig.names == ["b"]
        assert rig.feed.current
        assert len(rig.cluster.streams) == 2
    await rig.feeds.aclose()


async def test_selectors_are_asked_for_by_list_and_watch() -> None:
    rig = Rig()
    labelled = rig.feeds.feed(PODS, "prod", labels={"b": "2", "a": "1"})
    named = rig.feeds.feed(SERVICES, "prod", name="trips")
    async with rig.feeds.following(labelled, named):
        await passed()
    selectors = [
        (query.get("labelSelector"), query.get("fieldSelector")) for _, _, query in rig.cluster.asked
    ]
    assert sorted(selectors, key=str) == sorted(
        [("a=1,b=2", None), (None, "metadata.name=trips")] * 2, key=str
    )
    await rig.feeds.aclose()


async def test_a_listener_that_fails_disturbs_nobody() -> None:
    rig = Rig()

    def fails(_: object) -> None:
        raise RuntimeError("broken")

    async with rig.feeds.following(rig.feed, changed=fails), rig.followed():
        with capture_logs() as logs:
            rig.cluster.stream.send("ADDED", pod("a", 11))
            await passed()
        assert rig.changes[-1] == ("", "11")
        assert rig.feed.current
    assert [one["event"] for one in logs] == ["cluster_listener_failed"]


async def test_a_problem_is_told_once_and_its_end_too() -> None:
    rig = Rig()
    with capture_logs() as logs:
        rig.cluster.lists = lambda _: Refused('GET /pods: 403: cannot list resource "pods"', status=403)
        async with rig.followed():
            await asyncio.sleep(120)
            assert "cannot list" in rig.feed.problem
            rig.cluster.lists = listing(10)
            await asyncio.sleep(LONGEST_PAUSE)
            rig.cluster.stream.bookmark(11)
            await passed()
            assert rig.feed.problem == ""
    events = [one["event"] for one in logs if one["event"].startswith("cluster_feed")]
    assert events == ["cluster_feed_failed", "cluster_feed_works_again"]


async def test_after_the_end_nothing_is_followed_any_more() -> None:
    rig = Rig()
    await rig.feeds.aclose()
    with pytest.raises(NotSent):
        async with rig.feeds.following(rig.feed):
            pass
