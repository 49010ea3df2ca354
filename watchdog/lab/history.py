"""The history of checks: what their polls would have got over a span of time, asked of the configured Prometheus.

A rule that names the version has one history for each deployment that is known, else one for all versions together;
which, is said in the notes. What cannot be asked over history (probes, other sources) is listed with its reason.
This module must never judge a value, and never let a gap pass for data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from watchdog.config.loaded import Configuration
from watchdog.core.rule import Rule
from watchdog.lab.asked import Asked, NotAskable, asked
from watchdog.lab.cache import Cache
from watchdog.lab.deployments import Deployments
from watchdog.lab.observing import observed
from watchdog.lab.prometheus_range import Expression, PrometheusRange
from watchdog.lab.range_points import FAILED, PARTIAL, Grid, Points, RangeError
from watchdog.lab.track import Floats, Track
from watchdog.sources.prometheus import PrometheusSettings

__all__ = ["Histories", "History", "Progress", "RangeError", "Span", "Unasked", "histories"]

#: Called with the numbers of points that are there and that are wanted.
Progress = Callable[[int, int], None]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time to look at, both ends included; aware UTC.

    `step` is the distance of two polls, whole seconds; the rule's own interval where it is `None`.
    """

    begin: datetime
    end: datetime
    step: timedelta | None = None


class History(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One check's history. `version` is empty unless it was asked of one version alone.

    `track` is what `observe` made of every poll: NaN is no data, `failed` an answer that cannot be true. Its `events`
    are 0 where it is known that nothing happened. `parts` are the numbers of which it is made, by the part's name
    (`watchdog.core.observation.Answer`; a ratio's other windows, `bad_3600s`, too), NaN where there is none.
    `reasons` counts the samples without a value by `NoDataReason` or `FailReason`. `notes` say how it was asked.
    """

    service: str
    rule: Rule
    track: Track
    version: str = ""
    parts: Mapping[str, Floats] = {}
    reasons: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()


class Unasked(msgspec.Struct, frozen=True, kw_only=True):
    """A check without a history, and why."""

    service: str
    rule: str
    reason: str


class Histories(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything that was found, in the order in which it was wanted. `notes` are about the asking as a whole."""

    found: tuple[History, ...]
    unasked: tuple[Unasked, ...] = ()
    notes: tuple[str, ...] = ()


def histories(
    configuration: Configuration,
    checks: Sequence[tuple[str, str]],
    span: Span,
    *,
    deployments: Deployments | None = None,
    cache: Cache | None = None,
    timeout: timedelta | None = None,
    progress: Progress | None = None,
) -> Histories:
    """The histories of `checks`, pairs of a service's and a rule's name, both of the configuration.

    `timeout` bounds one query (default: that of the source, but at least 30 s). Raises `RangeError` when a server
    cannot be asked; what was answered by then is in the cache. Raises `KeyError` for a name that the configuration
    does not have.
    """
    deployments = deployments or Deployments()
    plans: list[Asked] = []
    unasked: list[Unasked] = []
    for service, rule in checks:
        try:
            plans += asked(
                configuration,
                service,
                rule,
                begin=span.begin,
                end=span.end,
                deployments=deployments.of(service),
            )
        except NotAskable as error:
            unasked.append(Unasked(service=service, rule=rule, reason=str(error)))
    grids = [_grid(plan, span) for plan in plans]
    points = _all_points(
        configuration, plans, grids, _Asking(cache=cache, timeout=timeout, progress=progress)
    )
    found = [
        _history(
            plan, grid, {name: points[str(plan.source), one] for name, one in _wanted(plan, grid).items()}
        )
        for plan, grid in zip(plans, grids, strict=True)
        if len(grid)
    ]
    silent = dict.fromkeys((plan.service, plan.rule.name) for plan in plans)
    for service, rule in silent.keys() - {(one.service, one.rule.name) for one in found}:
        unasked.append(Unasked(service=service, rule=rule, reason="no poll lies in this time"))
    notes = (*deployments.notes, *(cache.notes if cache is not None else ()))
    return Histories(found=tuple(found), unasked=tuple(unasked), notes=tuple(dict.fromkeys(notes)))


class _Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask."""

    cache: Cache | None
    timeout: timedelta | None
    progress: Progress | None


def _grid(plan: Asked, span: Span) -> Grid:
    """The moments of a check's polls: multiples of the step, so that any two back-tests ask for the same ones."""
    step = max(1, math.ceil((span.step or plan.rule.interval).total_seconds()))
    first, last = plan.begin.timestamp() / step, plan.end.timestamp() / step
    return Grid(step=step, first=math.ceil(first), last=math.floor(last))


def _wanted(plan: Asked, grid: Grid) -> dict[str, Expression]:
    return {name: Expression(text=text, grid=grid, of=plan.of) for name, text in plan.parts.items()}


def _all_points(
    configuration: Configuration, plans: Sequence[Asked], grids: Sequence[Grid], how: _Asking
) -> dict[tuple[str, Expression], Points]:
    """Every expression, asked once of its source."""
    wanted: dict[str, dict[Expression, None]] = {}
    for plan, grid in zip(plans, grids, strict=True):
        if len(grid):
            wanted.setdefault(plan.source, {}).update(dict.fromkeys(_wanted(plan, grid).values()))
    total = sum(len(one.grid) for expressions in wanted.values() for one in expressions)
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if how.progress is not None:
            how.progress(done, total)

    tell(0)
    found: dict[tuple[str, Expression], Points] = {}
    for source, expressions in wanted.items():
        settings = configuration.sources[source].settings
        if not isinstance(settings, PrometheusSettings):
            raise TypeError(f"source {source!r} has settings of another kind")
        asker = PrometheusRange(settings, name=source, cache=how.cache, timeout=how.timeout)
        answers = asker.ask(list(expressions), progress=tell)
        found |= {(source, one): points for one, points in answers.items()}
    if how.cache is not None:
        how.cache.prune()
    return found


def _history(plan: Asked, grid: Grid, parts: Mapping[str, Points]) -> History:
    times = grid.times
    seen = observed(plan.rule, parts, times)
    nothing = np.isnan(seen.values)
    name = f"{plan.service}/{plan.rule.name}"
    track = Track(
        name=f"{name}@{plan.version}" if plan.version else name,
        times=times,
        values=seen.values,
        step=float(grid.step),
        events=seen.events,
        bad=seen.bad,
        failed=seen.failed if seen.failed.any() else None,
        sampled=seen.sampled,
        more=seen.more if seen.more.any() else None,
    )
    return History(
        service=plan.service,
        rule=plan.rule,
        version=plan.version,
        track=track,
        parts={part: np.where(nothing, np.nan, points.values) for part, points in parts.items()},
        reasons=seen.reasons,
        notes=(*plan.notes, *_remarks(parts.values())),
    )


def _remarks(parts: Iterable[Points]) -> tuple[str, ...]:
    """What the server warned of, and where it failed; each once."""
    notes: list[str] = []
    for points in parts:
        partial, failed = int(np.sum(points.flags == PARTIAL)), int(np.sum(points.flags == FAILED))
        for count, what in ((partial, "are partial, and count as no data"), (failed, "failed")):
            if count:
                told = "; ".join(points.notes)
                notes.append(f"{count} of {len(points.flags)} answers {what}: {told}")
    return tuple(dict.fromkeys(notes))
