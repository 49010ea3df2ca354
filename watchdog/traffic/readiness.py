"""Readiness for switches that cannot tell: a probe of our own asks the addresses of what is not live.

nginx, scripts and HAProxy servers without `check` (or in maintenance) do not know whether a standby answers.
Unknown is a veto, so somebody must ask. This module must never make a "no" or "yes" out of "unknown".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from watchdog.cluster.rights import Entitled, Right
from watchdog.core.errors import SwitchRejected
from watchdog.core.happenings import Happening
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState
from watchdog.traffic.interface import Announces, Suspends, TrafficSwitch, Watched

#: Asks one `host:port`: passed, failed, or could not even try. Never raises for what the outside does.
ReadinessProbe = Callable[[str], Awaitable[bool | None]]

#: How many addresses are asked at the same time.
_AT_ONCE: Final = 16
#: Longest time for all addresses together, the default.
_WITHIN: Final = timedelta(seconds=2)


class WithReadiness:
    """A switch whose reads also say whether variants without traffic would answer.

    Only variants that are not live, whose `ready` is unknown and that have addresses are asked; one address
    without an answer leaves the variant unknown. A read takes up to `within` longer than the switch's own; so
    does the read-back of a change.
    """

    def __init__(self, switch: TrafficSwitch, probe: ReadinessProbe, *, within: timedelta = _WITHIN) -> None:
        self._switch = switch
        self._probe = probe
        self._within = within.total_seconds()

    @property
    def tier(self) -> Tier:
        return self._switch.tier

    @property
    def identity(self) -> str:
        return self._switch.identity

    @property
    def rights(self) -> Sequence[Right]:
        return self._switch.rights if isinstance(self._switch, Entitled) else ()

    async def read(self) -> TrafficState:
        return await self._filled(await self._switch.read())

    async def glance(self) -> TrafficState:
        switch = self._switch
        return await self._filled(await (switch.glance() if isinstance(switch, Watched) else switch.read()))

    async def watch(self, changed: Callable[[], None]) -> None:
        if isinstance(self._switch, Watched):
            await self._switch.watch(changed)

    async def apply(self, change: Change) -> TrafficState:
        return await self._filled(await self._switch.apply(change))

    def expect_to_suspend(self) -> None:
        if isinstance(self._switch, Suspends):
            self._switch.expect_to_suspend()

    async def resume(self, mark: str) -> str:
        if not isinstance(self._switch, Suspends):
            raise SwitchRejected(f"{self.identity} suspends nothing")
        return await self._switch.resume(mark)

    async def announce(self, happening: Happening) -> None:
        if isinstance(self._switch, Announces):
            await self._switch.announce(happening)

    async def inspect(self) -> str | None:
        return await self._switch.inspect()

    async def aclose(self) -> None:
        await self._switch.aclose()

    async def _filled(self, state: TrafficState) -> TrafficState:
        asked = {
            name: variant
            for name, variant in state.variants.items()
            if not variant.live and variant.ready is None and variant.addresses
        }
        if not asked:
            return state
        answers = await self._ask({address for variant in asked.values() for address in variant.addresses})
        filled = {name: _with_answers(variant, answers) for name, variant in asked.items()}
        return msgspec.structs.replace(state, variants={**state.variants, **filled})

    async def _ask(self, addresses: set[str]) -> dict[str, bool | None]:
        """What each address answered; those that took too long are not in it."""
        answers: dict[str, bool | None] = {}
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(address: str) -> None:
            async with turns:
                answers[address] = await self._probe(address)

        try:
            async with asyncio.timeout(self._within), asyncio.TaskGroup() as group:
                for address in sorted(addresses):
                    group.create_task(ask(address), name=f"readiness of {address}")
        except TimeoutError:
            pass  # what was answered until now counts; the rest stays unknown
        return answers


def _with_answers(variant: VariantState, answers: dict[str, bool | None]) -> VariantState:
    silent = [address for address in variant.addresses if answers.get(address) is None]
    if silent:
        note = f"{variant.note}; no answer about {silent[0]}".removeprefix("; ")
        return msgspec.structs.replace(variant, note=note)
    passed = sum(answers[address] is True for address in variant.addresses)
    total = variant.total if variant.total is not None else len(variant.addresses)
    return msgspec.structs.replace(variant, ready=passed, total=total, note="asked by a probe of our own")
