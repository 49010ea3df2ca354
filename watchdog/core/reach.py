"""Whether anything answers at all: when nothing does, the watchdog suspects itself before it calls many targets dead.

A probe that fails says either that its target is dead or that this machine is cut off, and the rest of the world tells
which: as long as anything beyond this machine answers, a dead target is a dead target. When at least three targets of
two services began to fail after the last answer of anybody, nobody can tell, and failures count as "unable" until
something answers again, and for one interval more. Two circles are kept apart: what answers on this machine says
nothing of the network, so it speaks for targets on this machine only.

Pure. This module must never excuse a failure while others answer, and never open, close or move anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from watchdog.core.clockstep import ahead
from watchdog.core.observation import Failed, FailReason, Observation, Pulse, Value

#: A mass: so many targets of so many services that began to fail after the last answer.
TARGETS, SERVICES = 3, 2
#: What an excused failure says; what the probe said stands behind it.
NOTHING_ANSWERS = "nothing answers: probably the watchdog's own network"
#: Failures of a source that say that nobody was there.
_ABSENT = frozenset({FailReason.UNREACHABLE, FailReason.TIMEOUT})
#: Answers are remembered to this precision while nothing fails.
_OFTEN = timedelta(seconds=1)
#: Kinds of sources that answer from what they collected by themselves.
_RECALLING = frozenset({"kubernetes", "scrape"})
_HOST = re.compile(r"^(?:[a-z][a-z0-9+.-]*://)?(?:[^/@]*@)?(\[[^\]]*\]|[^:/?#]*)", re.IGNORECASE)
_HERE = re.compile(r"localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\]|::1", re.IGNORECASE)


class Failing(msgspec.Struct, frozen=True):
    """A target that fails: for which service it is asked, since when."""

    service: str
    since: datetime


class Circle(msgspec.Struct, frozen=True, kw_only=True):
    """What answers and what fails. `cut_at` is since when nothing answers, `back_at` when that was last over."""

    answered_at: datetime | None = None
    failing: dict[str, Failing] = {}
    cut_at: datetime | None = None
    back_at: datetime | None = None


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What this process reaches: `beyond` this machine, and at all (`whole`).

    `denied_since` is since when none of the configured references answered, while a mass of targets fails. `told_at`
    is the beginning of what people were told of and have not been told is over; `heard_at` when they last heard of it.
    """

    beyond: Circle = Circle()
    whole: Circle = Circle()
    denied_since: datetime | None = None
    told_at: datetime | None = None
    heard_at: datetime | None = None

    @property
    def cut_at(self) -> datetime | None:
        """Since when nothing answers, or nothing beyond this machine; `None` while something does."""
        return self.whole.cut_at or self.beyond.cut_at or self.denied_since

    def of(self, *, here: bool) -> Circle:
        """The circle that speaks for a target: on this machine, or beyond it."""
        return self.whole if here else self.beyond


class SourcePlace(msgspec.Struct, frozen=True, kw_only=True):
    """`here`: the source is asked on this machine. `recalls`: it answers from memory, as old as its samples."""

    here: bool = False
    recalls: bool = False


def is_here(address: object) -> bool:
    """Whether an address (`HOST:PORT` or a URL, perhaps with variables in it) is this machine's own."""
    return isinstance(address, str) and _here(address)


@lru_cache(maxsize=10_000)
def _here(address: str) -> bool:
    found = _HOST.match(address)
    return found is not None and _HERE.fullmatch(found[1]) is not None


def probes_here(settings: Mapping[str, Any]) -> bool:
    """Whether a probe's target is on this machine; a program that is run is, whatever it asks."""
    addresses = [settings[key] for key in ("url", "address") if settings.get(key)]
    return all(is_here(one) for one in addresses)


def place_of(kind: str, settings: Mapping[str, Any]) -> SourcePlace:
    """Where a source of a kind with these settings is asked."""
    addresses = settings.get("urls") or [settings.get("url")]
    return SourcePlace(here=all(is_here(one) for one in addresses), recalls=kind in _RECALLING)


def answered_at(observation: Observation, place: SourcePlace | None, now: datetime) -> datetime | None:
    """When something answered, if this observation says so; `place` is its source's, `None` for a probe."""
    match observation:
        case Pulse():
            return now if observation.passed or observation.answered else None
        case Value(at=at) if place is not None and place.recalls:
            return min(at, now)
        case Failed(reason=reason):
            told = reason in (FailReason.QUERY_ERROR, FailReason.OUT_OF_RANGE)
            return now if place is not None and told and not place.recalls else None
        case _:
            return None if place is not None and place.recalls else now


def is_absent(observation: Observation, place: SourcePlace | None) -> bool:
    """Whether an observation says that nobody was there, or that we could not even try."""
    match observation:
        case Pulse():
            return not (observation.passed or observation.answered)
        case Failed(reason=reason):
            return reason in _ABSENT or (place is None and reason is FailReason.UNABLE)
        case _:
            return False


def after_answer(reach: Reach, target: str, at: datetime, *, here: bool) -> Reach:
    """What is known once something answered."""
    whole = _answered(reach.whole, target, at)
    beyond = reach.beyond if here else _answered(reach.beyond, target, at)
    same = whole is reach.whole and beyond is reach.beyond
    return reach if same else replace(reach, whole=whole, beyond=beyond)


def _answered(circle: Circle, target: str, at: datetime) -> Circle:
    last = circle.answered_at
    if not circle.failing and last is not None and timedelta() <= at - last < _OFTEN:
        return circle
    if circle.cut_at is not None:
        if at <= circle.cut_at:
            return circle  # remembered from before
        return Circle(answered_at=at, back_at=at)
    failing = circle.failing
    if target in failing:
        failing = {name: one for name, one in failing.items() if name != target}
    newer = last is None or at > last or ahead(last, at)
    return replace(circle, answered_at=at if newer else last, failing=failing)


def after_absence(
    reach: Reach, target: str, service: str, *, here: bool, interval: timedelta, now: datetime
) -> Reach:
    """What is known once nobody was there. `interval` is how long failures are excused after the last cut."""
    whole = _absent(reach.whole, target, service, interval, now)
    beyond = reach.beyond if here else _absent(reach.beyond, target, service, interval, now)
    return replace(reach, whole=whole, beyond=beyond)


def _absent(circle: Circle, target: str, service: str, interval: timedelta, now: datetime) -> Circle:
    failing = circle.failing
    if target not in failing or ahead(failing[target].since, now):
        failing = {**failing, target: Failing(service, now)}
    circle = replace(circle, failing=failing)
    if circle.cut_at is None and not settling(circle, interval, now) and len(failing) >= TARGETS:
        mass = mass_of(circle, now)
        if len(mass) >= TARGETS and len({one.service for one in mass}) >= SERVICES:
            return replace(circle, cut_at=min(one.since for one in mass))
    return circle


def mass_of(circle: Circle, now: datetime) -> list[Failing]:
    """The targets that began to fail after the last answer of anybody."""
    last = None if ahead(circle.answered_at, now) else circle.answered_at
    return [one for one in circle.failing.values() if last is None or one.since > last]


def settling(circle: Circle, interval: timedelta, now: datetime) -> bool:
    """Whether something answers again since less than an interval: not everything was asked again yet."""
    return circle.back_at is not None and timedelta() <= now - circle.back_at < interval


def excused(reach: Reach, *, here: bool, interval: timedelta, now: datetime) -> bool:
    """Whether a failure says nothing of its target now."""
    circle = reach.of(here=here)
    denied = reach.denied_since is not None and not here
    return denied or circle.cut_at is not None or settling(circle, interval, now)


def after_references(reach: Reach, name: str, *, answered: bool | None, now: datetime) -> Reach:
    """What is known once the configured references were asked; `None`: there was no reason to ask them any more.

    One answer is an answer from beyond. None at all outweighs whatever else answers: that may be near.
    """
    if answered is not None and not answered:
        return replace(reach, denied_since=reach.denied_since or now)
    over = reach.denied_since is not None
    beyond = replace(reach.beyond, back_at=now, failing={}) if over else reach.beyond
    reach = replace(reach, beyond=beyond, denied_since=None)
    return after_answer(reach, name, now, here=False) if answered else reach


def lost(reach: Reach) -> dict[str, Failing]:
    """The targets that nobody can judge now."""
    return {**reach.beyond.failing, **(reach.whole.failing if reach.whole.cut_at is not None else {})}
