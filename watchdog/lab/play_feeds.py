"""What the polls of a script get: the newest sample of a feed, answered as a source would answer the rule's question.

The answer goes through `watchdog.core.comparing` and `watchdog.core.observe`, so that what is stale, missing or
impossible ends as it does in the daemon. This module must never look at a later sample than the poll.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from statistics import median

from msgspec.structs import replace

from watchdog.core.baseline import SAMPLED_OVER, Earlier
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

    def current(self, at: timedelta) -> Sample | None:
        """The newest sample at that moment; `None` before the first, and after the feed has ended."""
        index = bisect_right(self.times, at)
        if not index or at - self.times[index - 1] > ENDS_AFTER * self.spacing:
            return None
        return self.samples[index - 1]

    def events(self, sample: Sample) -> float:
        """How many events are behind a sample."""
        return self._events if sample.events is None else sample.events

    def values(self, until: timedelta, over: timedelta, step: timedelta) -> list[float]:
        """The values at moments `step` apart in a stretch of time that ends with `until`."""
        moments = (until - index * step for index in range(int(over / step)))
        found = (self.current(moment) for moment in moments)
        return [one.value for one in found if one is not None and one.value is not None]

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
            if not _always_fresh(rule):
                newest = self._dated(sample.at).timestamp()
                parts["newest"] = (newest,)
                parts["samples"] = (_samples(rule, line.spacing, age=now.timestamp() - newest),)
        needed = comparison(service, check, rule, now=now)
        if needed is not None and needed.asked is not None:
            parts |= self._reference(check, rule, needed.asked, at=at)
        seen = compared(rule, Answer(parts=parts, evaluated_at=now), needed, now=now)
        if isinstance(seen, Value) and sample is not None and sample.value is not None:
            return replace(seen, value=sample.value)  # not what division makes of it
        return seen

    def _reference(self, check: CheckId, rule: Rule, asked: Earlier, *, at: timedelta) -> Parts:
        """The parts of an answer that a value is compared with, made of a feed's own history."""
        line = self.line(check.service, check.rule, asked.version)
        if line is None:
            return {}
        until = at - asked.ago if asked.at is None else self._moment(asked.at)
        if asked.median_over is not None:
            values = line.values(until, asked.median_over, step_of(rule.window))
            found = (median(values),) if values else ()
            return {"reference": found, "reference_points": (float(len(values)),)}
        sample = line.current(until)
        found = () if sample is None or sample.value is None else (sample.value,)
        counted = len(line.values(until, SAMPLED_OVER, _COUNTED_EVERY))
        return {"reference": found, "reference_samples": (float(counted),)}


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
