"""What every source promises: numbers in, as they came, or a plain statement that there are none.

A source never judges, never raises for what the outside does, and never answers later than its timeout.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec

from watchdog.core.baseline import Earlier
from watchdog.core.dealing import Dealt
from watchdog.core.observation import Answer, Failed
from watchdog.core.rule import MetricForm


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's question with all variables filled in. `window` is the range over which rates are taken.

    `reference` is what the answer is to be compared with, asked at the same evaluation time: the parts `reference`,
    `reference_samples` and, of a median, `reference_points`. `remember` is how far back the same may be asked for
    later; a source that collects by itself keeps that much. A ratio is counted over all of `windows`, too (the parts
    `watchdog.core.promql.over`): burn rates are of several at once.
    """

    form: MetricForm
    window: timedelta
    reference: Earlier | None = None
    remember: timedelta = timedelta()
    windows: tuple[timedelta, ...] = ()


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor` shows of a source."""

    ok: bool
    detail: str
    advice: str = ""


class Source(Protocol):
    """One place where numbers come from."""

    @property
    def concurrency(self) -> int:
        """How many questions it takes at once, at least 1; more than that wait outside, not within its timeout."""
        ...

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        """Ask all parts of one rule at one evaluation time, in one round trip.

        Never raises for an outside fault (refused, reset, timed out, bad status, garbage: `Failed`). Safe to cancel,
        idempotent, done within the source's timeout. Asking a source that collects by itself costs no round trip.
        """
        ...

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        """Ask the same for many services in one round trip, and deal the series out by the labels `by`.

        Each of them gets what `ask` would have answered for it alone. Promises as for `ask`.
        """
        ...

    async def inspect(self) -> SourceReport:
        """Say whether the source can be reached and looks usable. Changes nothing, never raises, within the timeout."""
        ...

    async def run(self) -> None:
        """The source's own work beside the answers, until cancelled: collecting, or looking for a restart.

        Never needed for `ask` to be safe to call. A source without such work returns at once. May raise: it is
        supervised and started again.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...


@runtime_checkable
class Lists(Protocol):
    """A source that can say what metrics it knows; not every one can."""

    async def names(self) -> tuple[str, ...] | None:
        """The names of the metrics that exist now, of many servers not all; `None` when it does not say.

        Never raises for an outside fault, safe to cancel, done within the source's timeout.
        """
        ...
