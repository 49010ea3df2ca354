"""Burn rates from scraped pages, in virtual time: every window from memory, and no more memory than the longest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.burns import budget_rule
from tests.sources.questions import failed, good, running
from watchdog.aio.fetch import Page
from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.dealing import Dealt
from watchdog.core.observation import FailReason, Value
from watchdog.core.observe import observe
from watchdog.core.rule import Ratio
from watchdog.sources.interface import Question
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

M = timedelta(minutes=1)
SLO = Slo(
    objective=0.999,
    warning=None,
    critical=BurnLimit(factor=6, long=60 * M, short=10 * M),
    rollback=BurnLimit(factor=14.4, long=60 * M, short=5 * M),
)
FORM = Ratio(bad="bad_total", total="all_total")
RULE = replace(budget_rule(SLO), form=FORM)
#: Requests a second, and how many of them fail in the newest seven minutes.
PACE, FAILING = 20.0, 0.2


class App(ScrapeSource):
    """A source whose one page counts; from `failing` on a share of the requests fails."""

    def __init__(self, clock: LoopClock) -> None:
        settings = ScrapeSettings(urls=("http://app/metrics",), interval=timedelta(seconds=5))
        super().__init__(settings, name="app", clock=clock)
        self.clock = clock
        self.began = clock.monotonic()
        self.failing: float | None = None

    async def _read(self, target: Any) -> Page:
        del target
        now = self.clock.monotonic()
        bad = 0.0 if self.failing is None else (now - self.failing) * PACE * FAILING
        return Page(status=200, body=f"all_total {(now - self.began) * PACE}\nbad_total {bad}\n".encode())


def asking(rule_windows: tuple[timedelta, ...] = RULE.windows) -> Question:
    return Question(form=FORM, window=RULE.window, windows=rule_windows)


async def test_every_window_is_counted_from_memory() -> None:
    source = App(LoopClock())
    async with running([source]):
        await source.clock.sleep(1)
        await source.ask(asking(), now=source.clock.now())
        await source.clock.sleep(80 * 60)
        source.failing = source.clock.monotonic()
        await source.clock.sleep(7 * 60)
        now = source.clock.now()
        answer = good(await source.ask(asking(), now=now))
        memory = source._recollection.memory  # noqa: SLF001 - how much it holds is told nowhere else
        longest = max(len(one.times) for name in memory.wanted for one in memory._metrics[name].values())  # noqa: SLF001

    assert sorted(answer.parts) == sorted(
        ["bad", "total", "newest", "samples", "bad_600s", "total_600s", "bad_3600s", "total_3600s"]
    )
    assert "and over 600 s, 3600 s" in answer.asked
    seen = observe(RULE, answer, now=now)
    assert isinstance(seen, Value), seen
    assert seen.burns["rollback"].short == pytest.approx(200, rel=0.01)
    assert seen.burns["critical"].short == pytest.approx(200 * 7 / 10, rel=0.02)
    assert seen.burns["rollback"].long == pytest.approx(200 * 7 / 60, rel=0.02)
    assert seen.burns["critical"].events == pytest.approx(PACE * 3600, rel=0.01)
    assert seen.value == seen.burns["rollback"].long
    assert 720 <= longest <= 770, "an hour of samples each 5 s, and a little"


async def test_a_start_within_the_long_window_counts_what_there_is() -> None:
    source = App(LoopClock())
    async with running([source]):
        await source.ask(asking(), now=source.clock.now())
        source.failing = source.clock.monotonic()
        await source.clock.sleep(6 * 60)
        now = source.clock.now()
        seen = observe(RULE, good(await source.ask(asking(), now=now)), now=now)
    assert isinstance(seen, Value), seen
    assert seen.burns["rollback"].long == pytest.approx(200, rel=0.01)
    assert seen.burns["rollback"].events == pytest.approx(PACE * 6 * 60, rel=0.05)


async def test_windows_beyond_its_memory_are_refused() -> None:
    source = App(LoopClock())
    async with running([source]):
        refused = failed(await source.ask(asking((60 * M, 61 * M)), now=source.clock.now()))
    assert refused.reason is FailReason.QUERY_ERROR
    assert "remembers 60 minutes" in refused.detail


async def test_services_get_their_own_windows_dealt_out() -> None:
    clock = LoopClock()

    class Two(App):
        async def _read(self, target: Any) -> Page:
            del target
            past = self.clock.monotonic() - self.began
            rows = [
                f'all_total{{service="{name}"}} {past * PACE}\nbad_total{{service="{name}"}} {past * share}\n'
                for name, share in (("a", 1.0), ("b", 4.0))
            ]
            return Page(status=200, body="".join(rows).encode())

    source = Two(clock)
    async with running([source]):
        await source.ask(asking(), now=clock.now())
        await clock.sleep(10 * 60)
        dealt = await source.deal(asking(), by=("service",), now=clock.now())
        assert isinstance(dealt, Dealt)
        for name, burn in (("a", 50.0), ("b", 200.0)):
            seen = observe(RULE, dealt.of((name,)), now=clock.now())
            assert isinstance(seen, Value), seen
            assert seen.burns["rollback"].long == pytest.approx(burn, rel=0.01)
