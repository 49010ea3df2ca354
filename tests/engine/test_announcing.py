"""What was committed is said once on the service's object, off the hot path; what cannot be said is dropped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.engine.worlds import intent, variants
from tests.eventually import eventually
from watchdog.core.audit import AuditDraft, ChainHead, link
from watchdog.core.errors import SwitchError, SwitchRejected, SwitchUnreachable
from watchdog.core.happenings import Happening
from watchdog.core.turn import Turn
from watchdog.engine.announcing import BACKLOG, TRIES, Announcing
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.traffic import FakeSwitch

pytestmark = pytest.mark.virtual_time


class Speaker(FakeSwitch):
    """Says what it is told; first it raises what stands in `faults`."""

    def __init__(self) -> None:
        super().__init__(variants("blue"), clock=LoopClock().now)
        self.said: list[Happening] = []
        self.tries = 0
        self.faults: list[SwitchError | Exception] = []

    async def announce(self, happening: Happening) -> None:
        self.tries += 1
        if self.faults:
            raise self.faults.pop(0)
        self.said.append(happening)


def turn(kind: str = "rollback_applied", *, why: str = "because") -> Turn:
    rollback = intent()
    body = {"rollback": rollback.id, "why": why}
    draft = AuditDraft(at=BASE, kind=kind, subject=rollback.service, body=body)
    return Turn(audit=(link(ChainHead(), draft),), rollbacks=(rollback,))


@contextlib.asynccontextmanager
async def announcing(*switches: FakeSwitch) -> AsyncIterator[Announcing]:
    made = Announcing(switches=dict(zip(("trips", "hotels"), switches, strict=False)), clock=LoopClock())
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_was_committed_is_said_in_order() -> None:
    speaker = Speaker()
    async with announcing(speaker) as made:
        made.committed(turn())
        made.committed(turn("rollback_failed"))
        assert speaker.said == []  # nobody waits for it
        await eventually(lambda: len(speaker.said) == 2, within=5, every=0.01, what="two happenings")
    assert [one.reason for one in speaker.said] == ["RolledBack", "RollbackFailed"]


async def test_what_passes_is_tried_again_and_not_for_ever() -> None:
    speaker = Speaker()
    speaker.faults = [SwitchUnreachable("away"), TimeoutError()]
    async with announcing(speaker) as made:
        made.committed(turn())
        await eventually(lambda: len(speaker.said) == 1, within=30, every=0.1, what="a happening")
        speaker.faults = [SwitchUnreachable("away")] * TRIES
        made.committed(turn("rollback_failed"))
        made.committed(turn("rollback_partial"))
        await eventually(lambda: len(speaker.said) == 2, within=60, every=0.1, what="the next one")
    assert [one.reason for one in speaker.said] == ["RolledBack", "RollbackPartial"]


@pytest.mark.parametrize("fault", [SwitchRejected("forbidden"), RuntimeError("a fault of the provider")])
async def test_what_is_refused_is_dropped_at_once_and_logged_once(fault: Exception) -> None:
    speaker = Speaker()
    speaker.faults = [fault] * 3
    with structlog.testing.capture_logs() as logged:
        async with announcing(speaker) as made:
            for kind in ("rollback_applied", "rollback_failed", "rollback_partial"):
                made.committed(turn(kind))
            await eventually(lambda: speaker.tries == 3, within=5, every=0.01, what="three tries")
    assert [one["event"] for one in logged] == ["not_announced"]


async def test_a_switch_that_cannot_say_anything_is_not_asked() -> None:
    async with announcing(FakeSwitch(variants("blue"), clock=LoopClock().now)) as made:
        made.committed(turn())
        await asyncio.sleep(1)


async def test_a_target_that_hangs_makes_nobody_hoard_happenings() -> None:
    speaker = Speaker()
    made = Announcing(switches={"trips": speaker}, clock=LoopClock())
    for _ in range(2 * BACKLOG):
        made.committed(turn())
    task = asyncio.create_task(made.run())
    await eventually(lambda: len(speaker.said) == BACKLOG, within=30, every=0.1, what="the newest")
    await asyncio.sleep(1)
    assert len(speaker.said) == BACKLOG
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
