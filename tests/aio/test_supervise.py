from __future__ import annotations

import ast
import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.eventually import Eventually
from watchdog.aio.supervise import Supervisor, TaskEnded, Work, asked_to_end, finish, run_all

pytestmark = pytest.mark.virtual_time

SOON = timedelta(seconds=1)


async def forever() -> None:
    await asyncio.Event().wait()


class Flaky:
    """Raises the first `times` times it is run, each time at once, and then runs until cancelled."""

    def __init__(self, times: int, text: str = "no luck") -> None:
        self.began: list[float] = []
        self.times = times
        self.text = text

    async def __call__(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        if len(self.began) <= self.times:
            raise ConnectionError(self.text)
        await forever()

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.began, self.began[1:], strict=False)]


async def test_a_task_carries_its_name() -> None:
    supervisor = Supervisor()
    supervisor.start("poller", forever, critical=False)
    assert supervisor.running == ("poller",)
    assert "poller" in {task.get_name() for task in asyncio.all_tasks()}
    assert await supervisor.stop(SOON) == ()
    assert not supervisor.running


async def test_a_critical_task_that_raises_stops_everything_and_wait_says_which() -> None:
    supervisor = Supervisor()
    stopped: list[str] = []

    async def other() -> None:
        try:
            await forever()
        finally:
            stopped.append("other")

    async def reactor() -> None:
        await asyncio.sleep(3)
        raise ValueError("broken")

    supervisor.start("other", other, critical=False)
    supervisor.start("reactor", reactor, critical=True)
    with pytest.raises(TaskEnded, match="'reactor'") as caught:
        await supervisor.wait()
    assert caught.value.name == "reactor"
    assert isinstance(caught.value.__cause__, ValueError)
    assert stopped == ["other"]
    assert supervisor.running == ()


async def test_a_critical_task_that_just_ends_is_as_bad_as_one_that_raises() -> None:
    supervisor = Supervisor()

    async def quits() -> None:
        return None

    supervisor.start("reactor", quits, critical=True)
    with pytest.raises(TaskEnded) as caught:
        await supervisor.wait()
    assert caught.value.name == "reactor"
    assert caught.value.__cause__ is None


async def test_a_critical_task_that_cancels_itself_is_noticed() -> None:
    supervisor = Supervisor()

    async def confused() -> None:
        raise asyncio.CancelledError

    supervisor.start("reactor", confused, critical=True)
    with pytest.raises(TaskEnded):
        await supervisor.wait()


async def test_the_first_critical_task_that_ends_is_the_one_named() -> None:
    supervisor = Supervisor()

    async def ends(after: float) -> None:
        await asyncio.sleep(after)
        raise RuntimeError(str(after))

    supervisor.start("second", lambda: ends(2), critical=True)
    supervisor.start("first", lambda: ends(1), critical=True)
    with pytest.raises(TaskEnded) as caught:
        await supervisor.wait()
    assert caught.value.name == "first"


async def test_another_task_is_started_again_with_growing_pauses_up_to_thirty_seconds() -> None:
    flaky = Flaky(times=9)
    supervisor = Supervisor(rng=random.Random(1))
    supervisor.start("source", flaky, critical=False)
    await asyncio.sleep(300)
    wanted = [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert len(flaky.pauses) == len(wanted)
    for pause, most in zip(flaky.pauses, wanted, strict=True):
        assert 0.8 * most <= pause <= most
    await supervisor.stop(SOON)


async def test_running_for_long_makes_the_next_pause_short_again() -> None:
    began: list[float] = []

    async def works_for_a_minute() -> None:
        began.append(asyncio.get_running_loop().time())
        if len(began) > 4:
            await asyncio.sleep(60)
        raise ConnectionError("again")

    supervisor = Supervisor(rng=random.Random(1))
    supervisor.start("source", works_for_a_minute, critical=False)
    await asyncio.sleep(400)
    await supervisor.stop(SOON)
    assert began[4] - began[3] > 6
    assert 60 < began[6] - began[5] <= 61
    assert 60 < began[7] - began[6] <= 61


async def test_failures_are_told_on_change_only_and_so_is_the_recovery() -> None:
    flaky = Flaky(times=5)
    supervisor = Supervisor()
    with capture_logs() as told:
        supervisor.start("source", flaky, critical=False)
        await asyncio.sleep(200)
        await supervisor.stop(SOON)
    assert [entry["event"] for entry in told] == ["task_failed", "task_recovered"]
    assert told[0]["task"] == "source"
    assert "no luck" in told[0]["error"]


async def test_another_fault_is_told_again() -> None:
    flaky = Flaky(times=6)
    supervisor = Supervisor()
    with capture_logs() as told:
        supervisor.start("source", flaky, critical=False)
        await asyncio.sleep(2)
        flaky.text = "something else"
        await asyncio.sleep(20)
        await supervisor.stop(SOON)
    assert [entry["error"] for entry in told] == [
        "ConnectionError: no luck",
        "ConnectionError: something else",
    ]


async def test_a_task_that_is_not_critical_may_end() -> None:
    supervisor = Supervisor()
    runs: list[int] = []

    async def once() -> None:
        runs.append(1)

    supervisor.start("source", once, critical=False)
    await asyncio.sleep(100)
    assert runs == [1]
    assert supervisor.running == ()
    supervisor.start("source", once, critical=False)
    await asyncio.sleep(1)
    assert runs == [1, 1]


async def test_a_task_that_is_not_critical_and_cancels_itself_is_started_again() -> None:
    supervisor = Supervisor()
    runs: list[int] = []

    async def confused() -> None:
        runs.append(1)
        raise asyncio.CancelledError

    supervisor.start("source", confused, critical=False)
    await asyncio.sleep(10)
    assert len(runs) > 2
    assert await supervisor.stop(SOON) == ()


async def test_stopping_goes_backwards_and_waits_for_each() -> None:
    supervisor = Supervisor()
    order: list[str] = []

    def slow(name: str) -> Work:
        async def run() -> None:
            try:
                await forever()
            finally:
                order.append(f"{name} asked")
                await asyncio.sleep(0.1)
                order.append(f"{name} ended")

        return run

    for name in ("store", "reactor", "api"):
        supervisor.start(name, slow(name), critical=True)
    await asyncio.sleep(0)
    assert await supervisor.stop(SOON) == ()
    assert order == [f"{name} {what}" for name in ("api", "reactor", "store") for what in ("asked", "ended")]


async def test_wait_returns_after_a_wanted_stop() -> None:
    supervisor = Supervisor()
    supervisor.start("reactor", forever, critical=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.wait())
        await asyncio.sleep(1)
        await supervisor.stop(SOON)


async def test_a_stuck_task_is_named_and_leaves_time_for_the_others() -> None:
    supervisor = Supervisor()
    release = asyncio.Event()
    ended: list[str] = []

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def slow() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(2)
            ended.append("slow")

    supervisor.start("slow", slow, critical=False)
    supervisor.start("stubborn", stubborn, critical=False)
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    with capture_logs() as told:
        assert await supervisor.stop(timedelta(seconds=6)) == ("stubborn",)
    assert asyncio.get_running_loop().time() - began <= 6
    assert ended == ["slow"]
    [entry] = [entry for entry in told if entry["event"] == "task_stuck"]
    assert entry["task"] == "stubborn"
    assert "test_supervise.py" in entry["at"]
    release.set()
    await asyncio.sleep(0.1)


async def test_a_task_that_breaks_while_it_is_stopped_ends_and_is_told() -> None:
    supervisor = Supervisor()

    async def breaks() -> None:
        try:
            await forever()
        finally:
            raise OSError("cannot close")

    supervisor.start("source", breaks, critical=False)
    supervisor.start("switch", breaks, critical=True)
    await asyncio.sleep(0)
    with capture_logs() as told:
        assert await supervisor.stop(SOON) == ()
    assert [(entry["event"], entry["task"]) for entry in told] == [
        ("task_failed_at_stop", "switch"),
        ("task_failed_at_stop", "source"),
    ]
    assert supervisor.running == ()


async def test_a_stop_that_is_cancelled_still_asks_everybody_to_end(eventually: Eventually) -> None:
    supervisor = Supervisor()
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervisor.start("other", forever, critical=False)
    supervisor.start("stubborn", stubborn, critical=False)
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await supervisor.stop(timedelta(hours=1))
    await eventually(lambda: supervisor.running == ("stubborn",))
    release.set()
    await eventually(lambda: supervisor.running == ())


async def test_a_name_runs_once_and_nothing_starts_after_the_stop() -> None:
    supervisor = Supervisor()
    supervisor.start("source", forever, critical=False)
    with pytest.raises(ValueError, match="running already"):
        supervisor.start("source", forever, critical=False)
    await supervisor.stop(SOON)
    with pytest.raises(ValueError, match="too late"):
        supervisor.start("other", forever, critical=False)
    assert await supervisor.stop(SOON) == ()


async def test_finish_completes_the_work_of_a_caller_that_is_cancelled() -> None:
    done: list[str] = []

    async def record() -> None:
        await asyncio.sleep(1)
        done.append("recorded")

    async def caller() -> None:
        await finish(record())
        done.append("not reached")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["recorded"]


async def test_finish_passes_results_and_errors_on() -> None:
    async def gives() -> int:
        return 7

    async def breaks() -> int:
        raise ValueError("no")

    assert await finish(gives()) == 7
    with pytest.raises(ValueError, match="no"):
        await finish(breaks())


async def test_finish_prefers_the_cancellation_to_an_error() -> None:
    async def breaks_late() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    task = asyncio.create_task(finish(breaks_late()))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, ValueError) or caught.value.__cause__ is None


async def test_run_all_runs_side_by_side_and_one_failure_ends_the_others() -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await forever()
        finally:
            ended.append("other")

    async def breaks() -> None:
        await asyncio.sleep(1)
        raise ValueError("no")

    await run_all({"a": asyncio.sleep(5), "b": asyncio.sleep(5)})
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    with pytest.raises(ExceptionGroup):
        await run_all({"other": other(), "breaks": breaks()})
    assert ended == ["other"]


async def test_asked_to_end_tells_a_wish_from_an_accident() -> None:
    seen: list[bool] = []

    async def watches() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append(asked_to_end())
            raise

    task = asyncio.create_task(watches())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    try:
        raise asyncio.CancelledError
    except asyncio.CancelledError:
        seen.append(asked_to_end())
    assert seen == [True, False]


def test_no_part_of_the_daemon_makes_tasks_of_its_own() -> None:
    package = Path(__file__).parents[2] / "watchdog"
    makers = {"create_task", "ensure_future"}
    whole_programs = {"aio", "app", "cli", "demo"}  # they own their loop, not a share of it
    # What goes on although its caller was cancelled, and is waited for: a transaction, the start of a process.
    to_the_end = {"store/remote.py", "charts/artist.py"}
    guilty = [
        f"{file.relative_to(package)}:{node.lineno}"
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).parts[0] not in whole_programs
        and file.relative_to(package).as_posix() not in to_the_end
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in makers and "group" not in ast.unparse(node.value)
    ]
    assert guilty == []
