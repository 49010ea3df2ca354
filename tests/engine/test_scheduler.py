from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Hashable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from watchdog.core.check import CheckId
from watchdog.engine.rhythm import Beat
from watchdog.engine.scheduler import FIRST_WITHIN, Scheduler
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class Rig:
    """A scheduler and when it polled what. `takes` is how long a poll lasts, `answer` what it says."""

    def __init__(self, seed: int = 1, clock: LoopClock | None = None) -> None:
        self.polls: dict[Hashable, list[float]] = {}
        self.ends: dict[Hashable, list[float]] = {}
        self.takes: Callable[[Hashable], float] = lambda key: 0.0
        self.answer: Callable[[Hashable], Beat | None] = lambda key: None
        self.at_once = 0
        self.scheduler: Scheduler[Hashable] = Scheduler(
            "poll", self._poll, clock=clock or LoopClock(), seed=seed
        )
        self._task: asyncio.Task[None] | None = None

    async def _poll(self, key: Hashable) -> Beat | None:
        self.polls.setdefault(key, []).append(now())
        self.at_once += 1
        try:
            await asyncio.sleep(self.takes(key))
        finally:
            self.at_once -= 1
            self.ends.setdefault(key, []).append(now())
        return self.answer(key)

    def gaps(self, key: Hashable) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.polls[key])]

    def start(self) -> None:
        self._task = asyncio.create_task(self.scheduler.run())

    async def stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


Make = Callable[..., Rig]


@pytest.fixture
async def start() -> AsyncIterator[Make]:
    rigs: list[Rig] = []

    def make(seed: int = 1, clock: LoopClock | None = None) -> Rig:
        rigs.append(Rig(seed, clock))
        rigs[-1].start()
        return rigs[-1]

    yield make
    for rig in rigs:
        await rig.stop()


async def test_every_job_is_polled_within_a_second_of_its_start(start: Make) -> None:
    rig = start()
    await asyncio.sleep(100)
    rig.scheduler.plan("a", {number: seconds(300) for number in range(200)})
    await asyncio.sleep(FIRST_WITHIN)
    assert len(rig.polls) == 200
    moments = [times[0] - 100 for times in rig.polls.values()]
    assert max(moments) - min(moments) > 0.8, "they should not all come at once"


async def test_a_job_with_a_short_interval_does_not_wait_a_second_for_its_first_poll(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {number: seconds(0.1) for number in range(20)})
    await asyncio.sleep(0.1)
    assert len(rig.polls) == 20


async def test_polls_come_at_the_interval_from_the_second_on(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"one": seconds(30), "two": seconds(30)})
    await asyncio.sleep(1000)
    for key in ("one", "two"):
        gaps = rig.gaps(key)
        assert 3 <= gaps[0] <= 30, "the first gap brings the job to its own phase"
        assert all(gap == pytest.approx(30) for gap in gaps[1:])
        assert len(gaps) >= 32


async def test_jobs_of_one_interval_are_spread_over_it(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {number: seconds(60) for number in range(300)})
    await asyncio.sleep(200)
    phases = sorted(times[-1] % 60 for times in rig.polls.values())
    widest = max(after - before for before, after in itertools.pairwise(phases))
    assert phases[-1] - phases[0] > 50
    assert widest < 8


async def test_the_same_seed_gives_the_same_moments_and_another_one_others(start: Make) -> None:
    rigs = [start(7), start(7), start(8)]
    for rig in rigs:
        rig.scheduler.plan("a", {f"job-{number}": seconds(30) for number in range(20)})
    await asyncio.sleep(200)
    first, again, other = (rig.polls for rig in rigs)
    assert first == again
    assert first != other


async def test_a_slow_poll_is_skipped_and_counted_never_doubled(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 25.0
    rig.scheduler.plan("a", {"slow": seconds(10)})
    await asyncio.sleep(3600)
    assert all(begin >= end for end, begin in zip(rig.ends["slow"], rig.polls["slow"][1:], strict=False))
    assert all(gap == pytest.approx(30) for gap in rig.gaps("slow")[1:])
    assert rig.scheduler.overruns == pytest.approx(240, abs=3)


async def test_a_slow_job_delays_no_other(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 1000.0 if key == "slow" else 0.0
    rig.scheduler.plan("a", {"slow": seconds(1), "quick": seconds(1)})
    await asyncio.sleep(100)
    assert len(rig.polls["slow"]) == 1
    assert len(rig.polls["quick"]) >= 99


async def test_a_shorter_interval_counts_at_once(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"job": seconds(300)})
    await asyncio.sleep(10)
    rig.scheduler.plan("a", {"job": seconds(5)})
    await asyncio.sleep(5.001)
    assert 10 < rig.polls["job"][-1] <= 15.001
    await asyncio.sleep(50)
    assert all(gap == pytest.approx(5) for gap in rig.gaps("job")[-9:])


async def test_a_longer_interval_counts_from_the_next_poll(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"job": seconds(5)})
    await asyncio.sleep(20)
    rig.scheduler.plan("a", {"job": seconds(60)})
    before = len(rig.polls["job"])
    await asyncio.sleep(200)
    later = rig.polls["job"][before:]
    assert later[0] <= 25
    assert all(after - early == pytest.approx(60) for early, after in itertools.pairwise(later))


async def test_the_same_plan_again_changes_nothing(start: Make) -> None:
    rig, calm = start(), start()
    for one in (rig, calm):
        one.scheduler.plan("a", {"job": seconds(10)})
    for _ in range(500):
        await asyncio.sleep(0.2)
        rig.scheduler.plan("a", {"job": seconds(10)})
    assert rig.polls == calm.polls


async def test_a_removed_job_is_polled_no_more_and_its_poll_under_way_ends_by_itself(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 3.0
    rig.scheduler.plan("a", {"gone": seconds(10), "kept": seconds(10)})
    await asyncio.sleep(1.1)
    rig.scheduler.plan("a", {"kept": seconds(10)})
    await asyncio.sleep(100)
    assert len(rig.polls["gone"]) == len(rig.ends["gone"]) == 1
    assert len(rig.polls["kept"]) > 9


async def test_one_groups_plan_leaves_the_others_alone(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"of a": seconds(10)})
    rig.scheduler.plan("b", {"of b": seconds(10)})
    rig.scheduler.plan("a", {})
    await asyncio.sleep(35)
    assert "of a" not in rig.polls
    assert len(rig.polls["of b"]) > 3


async def test_a_job_that_comes_back_while_its_old_poll_is_under_way_is_not_doubled(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 4.0
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(1.1)
    rig.scheduler.plan("a", {})
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(2)
    assert rig.at_once == 1


async def test_a_job_can_be_wanted_at_once(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"job": seconds(300)})
    await asyncio.sleep(50)
    rig.scheduler.now("job")
    rig.scheduler.now("unknown")
    await asyncio.sleep(0.001)
    assert rig.polls["job"][-1] == pytest.approx(50)
    assert "unknown" not in rig.polls


async def test_a_poll_wanted_during_a_poll_comes_right_after_it(start: Make) -> None:
    """What the poll under way shows may be from before the moment that somebody is interested in."""
    rig = start()
    rig.takes = lambda key: 2.0
    rig.scheduler.plan("a", {"job": seconds(300)})
    await asyncio.sleep(1.1)
    assert rig.at_once == 1
    rig.scheduler.now("job")
    rig.scheduler.now("job")
    await asyncio.sleep(10)
    assert len(rig.polls["job"]) == 2
    assert rig.polls["job"][1] == pytest.approx(rig.ends["job"][0])
    assert rig.scheduler.overruns == 0


async def test_two_checks_that_read_alike_are_polled_both(start: Make) -> None:
    """The same version on two variants: their keys differ only where their text does not."""
    rig = start()
    rig.takes = lambda key: 0.1
    twins = [CheckId(service="s", rule="r", version="v1", variant=name) for name in ("blue", "green")]
    assert str(twins[0]) == str(twins[1])
    rig.scheduler.plan("a", dict.fromkeys(twins, seconds(10)))
    await asyncio.sleep(100)
    assert [len(rig.polls[twin]) >= 10 for twin in twins] == [True, True]
    assert rig.scheduler.overruns == 0


async def test_halt_starts_nothing_more_and_lets_go_on_what_is_under_way(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 5.0
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(2)
    rig.scheduler.halt()
    rig.scheduler.plan("b", {"late": seconds(1)})
    rig.scheduler.now("job")
    await asyncio.sleep(100)
    assert (len(rig.polls["job"]), len(rig.ends["job"])) == (1, 1)
    assert "late" not in rig.polls


async def test_cancelling_it_cancels_the_polls_under_way(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 1000.0
    rig.scheduler.plan("a", {"one": seconds(10), "two": seconds(10)})
    await asyncio.sleep(2)
    await rig.stop()
    assert rig.at_once == 0


async def test_a_poll_that_raises_is_logged_and_polled_again(start: Make) -> None:
    rig = start()

    def fault(key: Hashable) -> Beat | None:
        raise ValueError("a fault of ours")

    rig.answer = fault
    rig.scheduler.plan("a", {"job": seconds(10)})
    with capture_logs() as logs:
        await asyncio.sleep(100)
    assert len(rig.polls["job"]) >= 10
    assert {log["event"] for log in logs} == {"work_failed"}


async def test_a_loop_that_stood_still_catches_up_with_one_poll_not_with_all(start: Make) -> None:
    clock = Jumping()
    rig = start(clock=clock)
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(2)
    clock.ahead = 3600
    rig.scheduler.now("job")
    await asyncio.sleep(5)
    assert len(rig.polls["job"]) <= 3


class Jumping(LoopClock):
    """Its monotonic time leaps ahead of the loop's, as after a suspension."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_a_beat_moves_polls_to_the_moments_when_samples_come(start: Make) -> None:
    rig = start()
    rig.answer = lambda key: Beat(next_in=(3.2 - now()) % 5, every=5)
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(300)
    later = rig.polls["job"][2:]
    assert all(moment % 5 == pytest.approx(3.2) for moment in later)
    assert all(after - before == pytest.approx(10) for before, after in itertools.pairwise(later))


@pytest.mark.parametrize("every", [0.3, 1.0, 2.3, 3.0, 4.0, 7.0, 9.99, 10.0])
async def test_a_beat_neither_delays_by_more_than_half_a_scrape_nor_polls_much_too_often(
    start: Make, every: float
) -> None:
    rig = start()
    rig.answer = lambda key: Beat(next_in=(0.7 - now()) % every, every=every)
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(600)
    gaps = rig.gaps("job")[1:]
    assert all(10 - every / 2 - 1e-6 <= gap <= 10 + every / 2 + 1e-6 for gap in gaps)


async def test_samples_that_come_more_rarely_than_polls_leave_the_plan_alone(start: Make) -> None:
    rig = start()
    rig.answer = lambda key: Beat(next_in=14.0, every=15.0)
    rig.scheduler.plan("a", {"job": seconds(5)})
    await asyncio.sleep(100)
    assert all(gap == pytest.approx(5) for gap in rig.gaps("job")[1:])


async def test_a_sample_that_was_not_there_yet_is_asked_for_once_more(start: Make) -> None:
    rig = start()
    answers = iter([Beat(next_in=0.05, every=5, again=True), Beat(next_in=5, every=5)])
    rig.answer = lambda key: next(answers, None)
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(9)
    assert rig.gaps("job")[0] == pytest.approx(0.05)
    assert len(rig.polls["job"]) == 2


async def test_a_beat_right_now_is_no_overrun(start: Make) -> None:
    rig = start()
    answers = iter([Beat(next_in=0.0, every=5, again=True)])
    rig.answer = lambda key: next(answers, None)
    rig.scheduler.plan("a", {"job": seconds(10)})
    await asyncio.sleep(5)
    assert len(rig.polls["job"]) == 2
    assert rig.scheduler.overruns == 0


async def test_a_thousand_jobs_cost_little(start: Make) -> None:
    rig = start()
    began = time.process_time()
    rig.scheduler.plan("a", {number: seconds(10) for number in range(1000)})
    await asyncio.sleep(100)
    count = sum(map(len, rig.polls.values()))
    assert count >= 10_000
    assert (time.process_time() - began) / count < 0.0005


APART = seconds(0.2)


async def test_the_first_hint_is_followed_at_once_and_those_after_it_together(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"one": seconds(3600)})
    await asyncio.sleep(10)
    rig.polls.clear()
    began = now()
    for _ in range(50):
        rig.scheduler.soon("one", apart=APART)
        await asyncio.sleep(0.01)
    await asyncio.sleep(10)
    times = [at - began for at in rig.polls["one"]]
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.6])


async def test_a_hint_after_a_while_is_followed_at_once_again(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"one": seconds(3600)})
    await asyncio.sleep(10)
    rig.polls.clear()
    for _ in range(3):
        rig.scheduler.soon("one", apart=APART)
        await asyncio.sleep(1)
    assert rig.gaps("one") == pytest.approx([1, 1])


async def test_a_hint_during_a_poll_is_followed_by_one_more(start: Make) -> None:
    rig = start()
    rig.takes = lambda _: 1.0
    rig.scheduler.plan("a", {"one": seconds(3600)})
    await asyncio.sleep(10)
    rig.polls.clear()
    for _ in range(8):
        rig.scheduler.soon("one", apart=APART)
        await asyncio.sleep(0.1)
    await asyncio.sleep(10)
    assert rig.gaps("one") == pytest.approx([1.0])
    assert rig.scheduler.overruns == 0


async def test_the_planned_poll_comes_an_interval_after_the_one_of_a_hint(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"one": seconds(30)})
    await asyncio.sleep(100)
    rig.polls.clear()
    rig.scheduler.soon("one", apart=APART)
    await asyncio.sleep(31)
    assert rig.gaps("one") == pytest.approx([30])


async def test_a_hint_about_what_is_not_planned_is_nothing(start: Make) -> None:
    rig = start()
    rig.scheduler.soon("one", apart=APART)
    await asyncio.sleep(10)
    assert rig.polls == {}


async def test_a_round_is_as_old_as_the_poll_that_ended_longest_ago(start: Make) -> None:
    rig = start()
    rig.takes = lambda key: 12.0 if key == "slow" else 0.0
    rig.scheduler.plan("a", {"slow": seconds(30), "quick": seconds(5), "rare": seconds(300)})
    known = rig.scheduler.round(seconds(30))
    assert known is not None
    assert (known.whole, known.at) == (False, 0.0)
    await asyncio.sleep(20)
    known = rig.scheduler.round(seconds(30))
    assert known is not None
    assert (known.key, known.whole, known.at) == ("slow", True, rig.ends["slow"][-1])
    assert rig.scheduler.round(seconds(1)) is None


async def test_a_job_that_is_new_or_hangs_holds_its_round_up(start: Make) -> None:
    rig = start()
    rig.scheduler.plan("a", {"one": seconds(5)})
    await asyncio.sleep(20)
    rig.takes = lambda key: 1000.0
    rig.scheduler.plan("a", {"one": seconds(5), "two": seconds(5)})
    await asyncio.sleep(100)
    known = rig.scheduler.round(seconds(5))
    assert known is not None
    assert not known.whole
    assert known.at <= 20
