"""A traffic switch in memory, for tests of whatever uses one: it keeps every promise of the interface.

It refuses stale writes as a real target of tier A does (or, as tier B, compares before it writes), logs every
call, and does wrong on demand. This module must never be used outside tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from watchdog.aio.clock import SystemClock
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState

_ON: Final = 100


class Moment(StrEnum):
    """Where in a call something programmed happens."""

    BEFORE = "before"  #: nothing was read or written yet
    AFTER = "after"  #: the read or write has taken effect, the caller does not know it yet


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log.

    `kind` is `read`, `apply` or `move` (somebody else's change). `before` and `after` are revisions, the same
    when nothing was written. `outcome` is `ok`, `cancelled` or the name of the error. `label` is the test's own.
    """

    kind: str
    before: str
    after: str
    outcome: str
    label: str = ""
    change: Change | None = None


class FakeSwitch:
    """A switch whose target is a dictionary.

    `calls` is the log, `writes` the number of changes that took effect through `apply`, `mark` and `epoch` are
    what the last of them wrote (tier A only). Set `label` to have it written into the log, `trouble` to what `inspect`
    shall tell. The programmed faults
    (`fail_read`, `fail_apply`, `hold_read`, `hold_apply`) count for one call each and queue up. A call that is
    held for longer than `timeout` fails as a real one would: unreachable, or unknown once the change is made.
    """

    def __init__(
        self,
        variants: Mapping[str, VariantState],
        *,
        tier: Tier = Tier.A,
        identity: str = "fake:switch",
        clock: Callable[[], datetime] | None = None,
        managed_by: str | None = None,
        timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        """`variants` is the first state, at revision `r1`; `clock` gives the aware UTC time, default the machine's."""
        self._variants = dict(variants)
        self._tier = tier
        self._identity = identity
        self._clock = clock or SystemClock().now
        self._managed_by = managed_by
        self._timeout = timeout.total_seconds()
        self._number = 1
        self._written = 0
        self._gone = False
        self._faults: dict[str, list[tuple[Moment, SwitchError | asyncio.Event]]] = {"read": [], "apply": []}
        self.mark: str | None = None
        self.paused = ""
        self.epoch = 0
        self.label = ""
        self.trouble: str | None = None
        self.calls: list[Call] = []
        self.closed = False

    # What the interface promises

    @property
    def tier(self) -> Tier:
        return self._tier

    @property
    def identity(self) -> str:
        return self._identity

    async def read(self) -> TrafficState:
        return await self._logged("read", self._read)

    async def apply(self, change: Change) -> TrafficState:
        return await self._logged("apply", lambda: self._apply(change), change)

    async def inspect(self) -> str | None:
        return self.trouble

    async def aclose(self) -> None:
        self.closed = True

    # What a test sees and does

    @property
    def revision(self) -> str:
        """The revision now, without a read in the log."""
        return f"r{self._number}"

    @property
    def state(self) -> TrafficState:
        """The state now, without a read in the log."""
        return TrafficState(
            variants=dict(self._variants),
            revision=self.revision,
            read_at=self._clock(),
            managed_by=self._managed_by,
            mark=self.mark,
            paused=self.paused,
        )

    @property
    def writes(self) -> int:
        """How often `apply` changed something, also when its caller was told otherwise."""
        return self._written

    def move(self, weights: Mapping[str, int]) -> None:
        """Somebody else sets these weights, and that of every variant not named to 0. A new revision."""
        before = self.revision
        self._write({name: weights.get(name, 0) for name in self._variants})
        self.calls.append(
            Call(kind="move", before=before, after=self.revision, outcome="ok", label=self.label)
        )

    def put(self, name: str, variant: VariantState) -> None:
        """Somebody else adds or replaces a variant as a whole. A new revision."""
        before = self.revision
        self._variants[name] = variant
        self._number += 1
        self.calls.append(
            Call(kind="move", before=before, after=self.revision, outcome="ok", label=self.label)
        )

    def pause(self, reason: str = "") -> None:
        """Somebody marks the target with the kill switch, or takes the mark away. A new revision."""
        self.paused = reason
        self._number += 1

    def observe(
        self, name: str, *, ready: int | None = None, total: int | None = None, requests: int | None = None
    ) -> None:
        """Set what moves by itself: readiness and the counter of one variant. The revision stays."""
        self._variants[name] = msgspec.structs.replace(
            self._variants[name], ready=ready, total=total, requests=requests
        )

    def vanish(self) -> None:
        """From now on every call raises `SwitchUnreachable`."""
        self._gone = True

    def fail_read(self, error: SwitchError) -> None:
        """The next read raises `error`."""
        self._faults["read"].append((Moment.BEFORE, error))

    def fail_apply(self, error: SwitchError, *, at: Moment = Moment.BEFORE) -> None:
        """The next apply raises `error`: before anything, or after it has taken effect."""
        self._faults["apply"].append((at, error))

    def hold_read(self, until: asyncio.Event, *, at: Moment = Moment.BEFORE) -> None:
        """The next read waits for `until`."""
        self._faults["read"].append((at, until))

    def hold_apply(self, until: asyncio.Event, *, at: Moment = Moment.BEFORE) -> None:
        """The next apply waits for `until`: before anything, or after it has taken effect."""
        self._faults["apply"].append((at, until))

    async def _read(self) -> TrafficState:
        fault = self._next("read")
        await self._suffer(fault, Moment.BEFORE)
        state = self.state
        await self._suffer(fault, Moment.AFTER)
        return state

    async def _apply(self, change: Change) -> TrafficState:
        fault = self._next("apply")
        await self._suffer(fault, Moment.BEFORE)
        for name in (change.target, *change.away):
            if name not in self._variants:
                raise SwitchRejected(f"{self._identity} has no variant {name!r}; nothing was changed")
        if change.target in change.away:
            raise SwitchRejected(f"{change.target!r} is both target and away; nothing was changed")
        if not self._reached(change):
            if self.revision != change.expect:
                raise SwitchConflict(f"{self._identity} is at revision {self.revision}, not {change.expect}")
            if self.paused:
                raise SwitchConflict(f"{self._identity} is paused ({self.paused}); nothing was changed")
            self._enforce(change)
        await self._suffer(fault, Moment.AFTER, changing=True)
        return self.state

    async def _logged(
        self, kind: str, body: Callable[[], Awaitable[TrafficState]], change: Change | None = None
    ) -> TrafficState:
        before, outcome = self.revision, "cancelled"
        written = self._written
        try:
            if self._gone:
                raise SwitchUnreachable(f"{self._identity} is gone")
            state = await body()
            outcome = "ok"
            return state
        except SwitchError as error:
            outcome = type(error).__name__
            raise
        finally:
            # Others may have moved it meanwhile: only our own write makes a difference in our own line.
            after = self.revision if self._written != written else before
            self.calls.append(
                Call(kind=kind, before=before, after=after, outcome=outcome, label=self.label, change=change)
            )

    def _next(self, kind: str) -> tuple[Moment, SwitchError | asyncio.Event] | None:
        return self._faults[kind].pop(0) if self._faults[kind] else None

    async def _suffer(
        self,
        fault: tuple[Moment, SwitchError | asyncio.Event] | None,
        moment: Moment,
        *,
        changing: bool = False,
    ) -> None:
        if fault is None or fault[0] is not moment:
            return
        what = fault[1]
        if isinstance(what, SwitchError):
            raise what
        try:
            async with asyncio.timeout(self._timeout):
                await what.wait()
        except TimeoutError:
            said = f"{self._identity}: no answer within {self._timeout:g} s"
            raise (SwitchUnknown if changing else SwitchUnreachable)(said) from None

    def _reached(self, change: Change) -> bool:
        gone = all(not self._variants[name].live for name in change.away)
        return gone and self._variants[change.target].live

    def _enforce(self, change: Change) -> None:
        weights = {name: variant.weight for name, variant in self._variants.items()}
        self._write({**weights, **dict.fromkeys(change.away, 0), change.target: _ON})
        self._written += 1
        if self._tier is Tier.A:
            self.mark, self.epoch = change.mark, change.epoch

    def _write(self, weights: Mapping[str, int]) -> None:
        for name, weight in weights.items():
            self._variants[name] = msgspec.structs.replace(self._variants[name], weight=weight)
        self._number += 1
