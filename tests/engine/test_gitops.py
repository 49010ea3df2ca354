"""A target that Argo CD heals after five seconds: left alone, contested, or kept from it until a person says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec.structs import replace

from tests.engine.kept import OWNER, KeptSwitch
from tests.engine.loop import Engine
from tests.eventually import eventually
from watchdog.core.errors import StoreError, SwitchUnknown, SwitchUnreachable
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.service import GitOps
from watchdog.core.traffic import Suspension
from watchdog.testing.clock import LoopClock
from watchdog.testing.store import MemoryData

pytestmark = pytest.mark.virtual_time

Make = Callable[..., Awaitable[Engine]]


def kept(engine: Engine) -> KeptSwitch:
    assert isinstance(engine.switch, KeptSwitch)
    return engine.switch


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    engines: list[Engine] = []
    tasks: list[asyncio.Task[None]] = []

    async def make(
        gitops: GitOps, *, switch: KeptSwitch | None = None, data: MemoryData | None = None
    ) -> Engine:
        made = switch or KeptSwitch("blue", clock=LoopClock())
        engine = Engine(switch=made, data=data)
        contest = replace(engine.service.rollback, contest_for=3 * engine.service.rollback.contest_for)
        engine.services["trips"] = replace(engine.service, gitops=gitops, rollback=contest)
        engines.append(engine)
        await engine.start()
        if switch is None:
            tasks.append(asyncio.create_task(made.heal(), name="argocd"))
        return engine

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for engine in engines:
        assert engine.failed() is None
        await engine.crash()


async def a_bad_commit(engine: Engine) -> None:
    """v1 proves itself; then Git says green, which carries v2."""
    await engine.stable()
    kept(engine).source = "green"
    await engine.deploy()


async def until(engine: Engine, state: RollbackState) -> None:
    await eventually(
        lambda: [one.state for one in engine.rollbacks] == [state],
        within=180,
        every=0.05,
        what=f"a rollback that is {state}, not {[one.state for one in engine.rollbacks]}",
    )


def shown(engine: Engine) -> Suspension | None:
    """What status says."""
    traffic = engine.world.services["trips"].traffic
    assert traffic is not None
    return traffic.suspended


def message(engine: Engine, kind: MessageKind) -> Message:
    return next(one.message for one in engine.outbox if one.message.kind is kind)


async def test_by_default_nothing_is_switched_and_the_owner_is_named(start: Make) -> None:
    engine = await start(GitOps.VETO)
    await a_bad_commit(engine)
    await until(engine, RollbackState.BLOCKED)
    told = message(engine, MessageKind.ROLLBACK_BLOCKED)
    assert f"{OWNER} (self-heal) manages the target and would revert it" in told.headline
    assert engine.switch.writes == 0
    assert [one.reason for one in kept(engine).said] == ["IncidentOpened", "RollbackBlocked"]
    assert "guard unmanaged" in kept(engine).said[-1].note


async def test_ignored_it_is_undone_once_and_told_as_contested_by_name(start: Make) -> None:
    engine = await start(GitOps.IGNORE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.CONTESTED)
    assert engine.switch.writes == 1
    assert "argocd-controller undid the switch" in engine.rollbacks[0].history[-1].why
    assert "argocd-controller undid the switch" in message(engine, MessageKind.ROLLBACK_ENDED).headline
    await asyncio.sleep(120)
    assert engine.switch.writes == 1
    assert kept(engine).said[-1].reason == "RollbackContested"


async def test_paused_it_stays_switched_and_the_page_says_how_it_goes_on(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    rollback = engine.rollbacks[0]
    assert engine.switch.state.live == ("blue",)
    assert kept(engine).suspended == rollback.id
    for kind in (MessageKind.ROLLBACK_SWITCHED, MessageKind.ROLLBACK_COMPLETED):
        told = message(engine, kind)
        assert ("suspended", OWNER) in told.facts
        assert told.next_step.endswith("watchdog gitops resume trips --reason TEXT")
    assert shown(engine) == Suspension(owner=OWNER, rollback=rollback.id)
    assert kept(engine).said[-1].reason == "RollbackCompleted"
    await asyncio.sleep(300)
    assert engine.switch.state.live == ("blue",)


async def test_what_cannot_be_suspended_is_not_switched(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    kept(engine).refuses_to_suspend = True
    await a_bad_commit(engine)
    await until(engine, RollbackState.FAILED)
    assert engine.switch.writes == 0
    assert f"cannot suspend {OWNER}" in engine.rollbacks[0].history[-1].why


async def test_a_person_lets_it_go_on_when_the_rollback_is_over(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await eventually(lambda: engine.switch.writes == 1, within=180, every=0.05, what="the switch")
    refused = await engine.ask(RequestKind.GITOPS_RESUME, reason="now")
    assert refused.status == 409
    assert f"rollback {engine.rollbacks[0].id} of trips is under way" in refused.detail
    assert kept(engine).resumes == 0
    await until(engine, RollbackState.COMPLETED)
    kept(engine).source = "blue"
    done = await engine.ask(RequestKind.GITOPS_RESUME, reason="reverted in Git")
    assert done.status == 200
    assert done.body["resumed"] == OWNER
    assert "if that still holds v2, traffic goes there again" in done.body["warning"]
    assert kept(engine).resumes == 1
    await eventually(lambda: shown(engine) is None, within=10, every=0.01, what="that nothing is suspended")
    recorded = {one.kind: one.body for one in engine.audit if one.kind.startswith("gitops")}
    assert list(recorded) == ["gitops_resume_asked", "gitops_resumed"]
    assert recorded["gitops_resumed"] == {"by": "olga", "resumed": OWNER, "reason": "reverted in Git"}
    again = await engine.ask(RequestKind.GITOPS_RESUME)
    assert (again.status, again.detail) == (
        409,
        "nothing is suspended for trips, as far as its switch was seen",
    )


async def test_resumed_while_git_still_holds_the_bad_version_people_hear_of_it(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    assert (await engine.ask(RequestKind.GITOPS_RESUME)).status == 200
    await eventually(
        lambda: any(one.message.kind is MessageKind.SWITCH_UNDONE for one in engine.outbox),
        within=120,
        every=0.5,
        what="news that traffic is back on v2",
    )


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_resume_that_may_pass_is_tried_again(start: Make, failures: int) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    kept(engine).fails_to_resume = [SwitchUnreachable("away"), SwitchUnknown("no answer")][:failures]
    assert (await engine.ask(RequestKind.GITOPS_RESUME)).status == 200
    assert kept(engine).resumes == 1


async def test_a_resume_that_keeps_failing_is_answered_and_recorded(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    kept(engine).fails_to_resume = [SwitchUnreachable("the API server is away")] * 3
    failed = await engine.ask(RequestKind.GITOPS_RESUME, reason="x")
    assert (failed.status, failed.detail) == (409, "the API server is away")
    assert engine.audit[-1].kind == "gitops_resume_failed"


async def test_what_was_suspended_anew_meanwhile_is_not_resumed(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    kept(engine).suspended = "rb-other"  # nobody has looked since
    answer = await engine.ask(RequestKind.GITOPS_RESUME)
    assert answer.status == 409
    assert "was suspended by rb-other meanwhile" in answer.detail
    assert kept(engine).resumes == 0


async def test_a_request_that_a_crash_left_unanswered_is_carried_out_at_the_next_start(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    kept(engine).source = "blue"
    gate = asyncio.Event()

    async def hangs(mark: str) -> str:
        await gate.wait()
        return mark

    switch = kept(engine)
    switch.resume = hangs  # type: ignore[method-assign]  # the process dies in the middle of it
    asked = asyncio.create_task(engine.ask(RequestKind.GITOPS_RESUME, reason="reverted"))
    await eventually(lambda: bool(engine.resuming.crew.names), within=10, every=0.01, what="a resume")
    data = await engine.crash()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    del switch.resume
    again = await start(GitOps.PAUSE, switch=switch, data=data)
    await eventually(lambda: switch.resumes == 1, within=30, every=0.05, what="a resume")
    await eventually(
        lambda: again.audit[-1].kind == "gitops_resumed", within=10, every=0.05, what="its record"
    )
    assert again.chain_holds()


async def test_what_was_resumed_while_the_store_was_away_is_recorded_when_it_is_back(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    switch, resume = kept(engine), kept(engine).resume

    async def and_the_store_fails(mark: str) -> str:
        engine.store.fail_always(StoreError("the disk is full"))
        return await resume(mark)

    switch.resume = and_the_store_fails  # type: ignore[method-assign]  # right then the disk is full
    asked = asyncio.create_task(engine.ask(RequestKind.GITOPS_RESUME))
    await eventually(lambda: switch.resumes == 1, within=30, every=0.05, what="a resume")
    await asyncio.sleep(2)
    assert not asked.done()
    engine.store.heal()
    assert (await asked).status == 200
    assert [one.kind for one in engine.audit if one.kind.startswith("gitops")][-1] == "gitops_resumed"


async def test_a_switch_that_suspends_nothing_says_so(start: Make) -> None:
    engine = await start(GitOps.PAUSE)
    await a_bad_commit(engine)
    await until(engine, RollbackState.COMPLETED)
    engine.switches.pop("trips")
    answer = await engine.ask(RequestKind.GITOPS_RESUME)
    assert (answer.status, answer.detail) == (409, "the traffic switch of trips suspends nothing")
