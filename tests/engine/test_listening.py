from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from watchdog.aio.supervise import Supervisor
from watchdog.channels.interface import Answer, Hear, Heard
from watchdog.core.errors import StoreError
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.engine.listening import Ears
from watchdog.testing.channels import FakeChannel
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time


class Desk:
    """Keeps what it is asked, and answers as a test says."""

    def __init__(self) -> None:
        self.asked: dict[str, Request] = {}
        self.status = 200
        self.detail = ""
        self.fault: StoreError | None = None
        self.stuck = False
        self.silent = False

    async def submit(self, request: Request) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        self.asked.setdefault(request.id, request)

    async def reply(self, request: str) -> Reply:
        if self.silent:
            await asyncio.Event().wait()
        return Reply(request=request, status=self.status, detail=self.detail)


class Talkative(FakeChannel):
    """A channel through which people speak."""

    def __init__(self, *, listens: bool = True) -> None:
        super().__init__()
        self.listens = listens
        self.hear: Hear | None = None
        self.outstanding: Callable[[], frozenset[str]] | None = None
        self.began = 0
        self.ended = 0
        self.fault: Any = None

    async def listen(self, hear: Hear, *, outstanding: Callable[[], frozenset[str]]) -> None:
        self.hear, self.outstanding = hear, outstanding
        self.began += 1
        try:
            if self.fault is not None:
                fault, self.fault = self.fault, None
                raise fault
            await asyncio.Event().wait()
        finally:
            self.ended += 1

    async def said(self, heard: Heard) -> Answer:
        assert self.hear is not None
        return await self.hear(heard)


PRESS = Heard(id="p1", kind=RequestKind.ACKNOWLEDGE, target="i-1", by="slack:U1 (ana)")


@asynccontextmanager
async def ears(desk: Desk, **channels: Any) -> AsyncIterator[Ears]:
    made = Ears(desk, outstanding=lambda: frozenset({"i-1"}), clock=LoopClock())
    supervisor = Supervisor()
    made.start(supervisor, channels)
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        await supervisor.stop(timedelta(seconds=5))


async def test_what_a_person_says_is_stored_and_answered() -> None:
    desk, ops = Desk(), Talkative()
    async with ears(desk, ops=ops):
        answer = await ops.said(PRESS)
        assert ops.outstanding is not None
        assert ops.outstanding() == {"i-1"}
    assert answer.done
    (asked,) = desk.asked.values()
    assert (asked.kind, asked.target, asked.by) == (RequestKind.ACKNOWLEDGE, "i-1", "slack:U1 (ana)")
    assert ops.ended == 1, "it listens no longer than the term"


async def test_the_same_delivery_is_asked_once() -> None:
    desk, ops = Desk(), Talkative()
    async with ears(desk, ops=ops):
        answers = await asyncio.gather(*(ops.said(PRESS) for _ in range(5)))
    assert len(desk.asked) == 1
    assert {answer.done for answer in answers} == {True}


async def test_one_who_may_not_is_logged_and_answered_and_never_asks() -> None:
    desk, ops = Desk(), Talkative()
    stranger = Heard(id="p1", kind=RequestKind.ROLLBACK, target="trips", by="slack:U9 (eve)", allowed=False)
    with capture_logs() as told:
        async with ears(desk, ops=ops):
            answer = await ops.said(stranger)
    assert not answer.done
    assert "You may not" in answer.text
    assert desk.asked == {}
    (line,) = told
    assert (line["event"], line["by"], line["target"]) == ("wish_not_allowed", "slack:U9 (eve)", "trips")


async def test_a_refusal_is_told_in_words() -> None:
    desk, ops = Desk(), Talkative()
    desk.status, desk.detail = 409, "target_ready: blue has 0 ready, 1 needed"
    async with ears(desk, ops=ops):
        answer = await ops.said(PRESS)
    assert (answer.done, answer.text) == (False, "Not done: target_ready: blue has 0 ready, 1 needed")


async def test_what_could_not_be_stored_is_told_as_not_done() -> None:
    desk, ops = Desk(), Talkative()
    async with ears(desk, ops=ops):
        desk.fault = StoreError("the disk is full", advice="free some")
        failed = await ops.said(PRESS)
        desk.stuck = True
        hung = await ops.said(PRESS)
    for answer in (failed, hung):
        assert (answer.done, "nothing is done" in answer.text) == (False, True)


async def test_an_answer_that_takes_too_long_is_told_as_stored() -> None:
    desk, ops = Desk(), Talkative()
    desk.silent = True
    async with ears(desk, ops=ops):
        began = asyncio.get_running_loop().time()
        answer = await ops.said(PRESS)
        assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
    assert (answer.done, "stored, but not answered" in answer.text) == (False, True)


async def test_only_channels_that_can_and_want_to_are_listened_to() -> None:
    mute, quiet, ops = FakeChannel(), Talkative(listens=False), Talkative()
    async with ears(Desk(), mute=mute, quiet=quiet, ops=ops):
        assert (quiet.began, ops.began) == (0, 1)


async def test_a_channel_that_is_exchanged_is_listened_to_in_the_place_of_the_other() -> None:
    desk, before, after = Desk(), Talkative(), Talkative()
    async with ears(desk, ops=before) as made:
        made.use("ops", after)
        await asyncio.sleep(0.1)
        assert (before.ended, after.began, after.ended) == (1, 1, 0)
        made.use("ops", Talkative(listens=False))
        await asyncio.sleep(0.1)
        assert after.ended == 1
        new = Talkative()
        made.use("new", new)
        await asyncio.sleep(0.1)
        made.dismiss("new")
        made.dismiss("new")
        made.dismiss("never there")
        await asyncio.sleep(0.1)
        assert (new.began, new.ended) == (1, 1)


async def test_one_that_breaks_its_promise_is_started_again_and_disturbs_nobody() -> None:
    broken, ops = Talkative(), Talkative()
    broken.fault = RuntimeError("a bug")
    with capture_logs():
        async with ears(Desk(), broken=broken, ops=ops):
            await asyncio.sleep(5)
            assert (broken.began, ops.began, ops.ended) == (2, 1, 0)


async def test_before_the_start_nothing_is_listened_to() -> None:
    ops = Talkative()
    made = Ears(Desk(), outstanding=frozenset, clock=LoopClock())
    made.use("ops", ops)
    made.dismiss("ops")
    await asyncio.sleep(0)
    assert ops.began == 0
