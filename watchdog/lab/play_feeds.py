"""What the polls of a script get: the newest sample of a feed, answered as a source would answer the rule's question.

The answer goes through `watchdog.core.comparing` and `watchdog.core.observe`, so that what is stale, missing or
impossible ends as it does in the daemon. This module must never look at a later sample than the poll.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from statistics import median

from msgspec.structs import replace

from watchdog.core import promql
from watchdog.core.baseline import LEAST_SAMPLES, SAMPLED_OVER, Earlier
from watchdog.core.check import CheckId
from watchdog.core.comparing import compared, comparison
from watchdog.core.observation import Answer, Failed, FailReason, Observation, Pulse, Value
from watchdog.core.referring import step_of
from watchdog.core.rule import Quantile, Query, Ratio, Rule
from watchdog.core.world import ServiceWorld
from watchdog.lab.script import Feed, Sample

#: Events behind a value where a test says nothing: enough for any evidence.
EVENTS = 10_000.0
#: A sample counts for so many distances of two samples; then the feed has ended.
ENDS_AFTER = 2
#: The values of a reference that is no median are counted this far apart.
_COUNTED_EVERY = timedelta(minutes=1)

Parts = dict[str, tuple[float, ...]]


class Line:
    """The samples of one feed, oldest first, and how far apart they are: `spacing` where there is only one."""

    def __init__(self, feed: Feed, spacing: timedelta) -> None:
        self.samples = tuple(sorted(feed.samples, key=lambda one: one.at))
        self.times = [one.at for one in self.samples]
        steps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        self.spacing = min((step for step in steps if step), default=spacing)
        self._events = EVENTS if feed.events is None else feed.events
        happened = [
            (0.0, 0.0) if one.value is None else (self.events(one), self.events(one) * one.value)
            for one in self.samples
        ]
        self._total = [0.0, *itertools.accumulate(events for events, _ in happened)]
        self._bad = [0.0, *itertools.accumulate(bad for _, bad in happened)]

    def current(self, at: timedelta) -> Sample | None:
        """The newest sample at that moment; `None` before the first, and after the feed has ended."""
        index = bisect_right(self.times, at)
        if not index or at - self.times[index - 1] > ENDS_AFTER * self.spacing:
            return None
        return self.samples[index - 1]

    def events(self, sample: Sample) -> float:
        """How many events are behind a sample."""
        return self._events if sample.events is None else sample.events

    def counts(self, at: timedelta, over: timedelta, window: timedelta) -> tuple[float, float]:
        """Events, and bad ones, in a stretch of time: a sample tells those of a window, and stands for a spacing."""
        first, end = bisect_right(self.times, at - over), bisect_right(self.times, at)
        share = self.spacing / window
        return (self._total[end] - self._total[first]) * share, (self._bad[end] - self._bad[first]) * share

    def nearest(self, due: timedelta, *, after: timedelta) -> timedelta:
        """When to ask instead: when the sample nearest to that moment is there, if one is near."""
        index = bisect_right(self.times, due)
        near = [one for one in self.times[max(index - 1, 0) : index + 1] if one > after]
        found = min(near, key=lambda one: abs(one - due), default=due)
        return found if abs(found - due) <= self.spacing / 2 else due


class Feeds:
    """All feeds of a script. `dated` gives the time of day of a moment of the script, `moment` the reverse."""

    def __init__(
        self,
        feeds: Iterable[Feed],
        rules: Mapping[str, Rule],
        *,
        dated: Callable[[timedelta], datetime],
        moment: Callable[[datetime], timedelta],
    ) -> None:
        self._dated = dated
        self._moment = moment
        self._lines = {
            (feed.service, feed.rule, feed.version): Line(
                feed, rules[feed.rule].interval if feed.rule in rules else _COUNTED_EVERY
            )
            for feed in feeds
        }

    def line(self, service: str, rule: str, version: str) -> Line | None:
        """The feed of that version, else the one that is of no version in particular."""
        return self._lines.get((service, rule, version)) or self._lines.get((service, rule, ""))

    def due(self, check: CheckId, rule: Rule, due: timedelta, *, after: timedelta) -> timedelta:
        """When to poll instead of at `due`: when a fresh sample is there, as the daemon learns to do."""
        line = self.line(check.service, check.rule, check.version)
        if line is None or line.spacing > rule.interval or _always_fresh(rule):
            return due
        return line.nearest(due, after=after)

    def observation(
        self, service: ServiceWorld, check: CheckId, rule: Rule, *, at: timedelta, now: datetime
    ) -> Observation:
        """What a poll of a check gets at a moment (`at` of the script, `now` by the daemon's clock)."""
        line = self.line(check.service, check.rule, check.version)
        sample = line.current(at) if line is not None else None
        if rule.is_probe:
            return _pulse(sample, now)
        if sample is not None and sample.failed:
            return Failed(reason=FailReason.UNREACHABLE, detail="the source did not answer")
        parts: Parts = {}
        if line is not None and sample is not None and sample.value is not None:
            parts = _parts(rule, sample.value, line.events(sample))
            if rule.slo is not None:
                parts |= _burned(rule, line, at)
            if not _always_fresh(rule):
                newest = self._dated(sample.at).timestamp()
                parts["newest"] = (newest,)
                parts["samples"] = (_samples(rule, line.spacing, age=now.timestamp() - newest),)
                rule = _patient(rule, line.spacing)
        needed = comparison(service, check, rule, now=now)
        if needed is not None and needed.asked is not None:
            parts |= self._reference(check, rule, needed.asked, at=at)
        seen = compared(rule, Answer(parts=parts, evaluated_at=now), needed, now=now)
        if isinstance(seen, Value) and rule.slo is None and sample is not None and sample.value is not None:
            return replace(seen, value=sample.value)  # not what division makes of it
        return seen

    def _reference(self, check: CheckId, rule: Rule, asked: Earlier, *, at: timedelta) -> Parts:
        """The parts of an answer that a value is compared with, made of the feeds' own history."""
        lines = self._lines_of(check, asked)
        until = at - asked.ago if asked.at is None else self._moment(asked.at)
        if asked.median_over is None:
            now = _values(lines, until, timedelta(seconds=1), timedelta(seconds=1))
            counted = len(_values(lines, until, SAMPLED_OVER, _COUNTED_EVERY))
            return {"reference": tuple(now), "reference_samples": (float(counted),)}
        values = _values(lines, until, asked.median_over, asked.step or step_of(rule.window))
        parts: Parts = {"reference_points": (float(len(values)),)} if values else {}
        if asked.outer is None:
            return parts | ({"reference": (median(values),)} if values else {})
        busy = [value for value in values if value]
        if len(busy) < LEAST_SAMPLES:
            return parts
        return parts | {"reference": (median(busy),), "reference_outer": (_quantile(busy, asked.outer),)}

    def _lines_of(self, check: CheckId, asked: Earlier) -> list[Line]:
        """The feed of the version that is asked for; of no version in particular, all of them."""
        line = self.line(check.service, check.rule, asked.version)
        if line is not None or asked.version:
            return [line] if line is not None else []
        return [one for key, one in self._lines.items() if key[:2] == (check.service, check.rule)]


def _values(lines: list[Line], until: timedelta, over: timedelta, step: timedelta) -> list[float]:
    """The values at moments `step` apart in a stretch of time that ends with `until`, of whichever has one then."""
    moments = (until - index * step for index in range(int(over / step)))
    found = ((line.current(moment) for line in lines) for moment in moments)
    values = (
        next((one.value for one in some if one is not None and one.value is not None), None) for some in found
    )
    return [value for value in values if value is not None]


def _quantile(values: list[float], share: float) -> float:
    """As Prometheus counts it: between the two nearest values, in proportion."""
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _always_fresh(rule: Rule) -> bool:
    """Whether every answer counts as a new sample: nobody asks how old it is."""
    return rule.is_probe or (isinstance(rule.form, Query) and rule.form.freshness is None)


def _parts(rule: Rule, value: float, events: float) -> Parts:
    match rule.form:
        case Ratio():
            return {"bad": (value * events,), "total": (events,)}
        case Quantile():
            return {"value": (value,), "events": (events,)}
        case Query(events=asked) if asked is not None:
            return {"value": (value,), "events": (events,)}
        case _:
            return {"value": (value,)}


def _burned(rule: Rule, line: Line, at: timedelta) -> Parts:
    """The counts of every window of an objective."""
    parts: Parts = {}
    for window in (rule.window, *rule.windows):
        total, bad = line.counts(at, window, rule.window)
        names = (
            ("total", "bad")
            if window == rule.window
            else (promql.over("total", window), promql.over("bad", window))
        )
        parts |= {names[0]: (total,), names[1]: (bad,)}
    return parts


def _patient(rule: Rule, spacing: timedelta) -> Rule:
    """The rule as it would be where a window holds no two samples: how far they are apart cannot be learnt then."""
    if rule.max_age is not None or spacing <= rule.window:
        return rule
    return replace(rule, max_age=ENDS_AFTER * spacing)


def _samples(rule: Rule, spacing: timedelta, *, age: float) -> float:
    """As many raw samples in the window as tell a source how far apart they are (`watchdog.core.observe`)."""
    window = rule.window.total_seconds()
    span = window - age if 0 <= age < window else window
    return span / spacing.total_seconds()


def _pulse(sample: Sample | None, now: datetime) -> Pulse | Failed:
    """A probe's answer. Where a test says nothing, nobody could try."""
    if sample is None or sample.failed or sample.value is None:
        return Failed(reason=FailReason.UNABLE, detail="the probe could not be tried")
    alive = sample.value > 0
    return Pulse(passed=alive, at=now, detail="" if alive else "no answer")
