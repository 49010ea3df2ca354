"""Scripts: one rule test as values, everything resolved: what is there, what happens when, and until when it is played.

Made of a test file by `watchdog.lab.testfile`, played by `watchdog.lab.play`. All moments are offsets from the begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Rule
from watchdog.core.service import Limits, Service
from watchdog.core.traffic import VariantState


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one poll gets: a number (of `events` events, where the rule asks for any), no data, or an error.

    For a probe 1 is alive and 0 is dead. `events` are those of this one sample; `None` for the feed's.
    """

    at: timedelta
    value: float | None = None
    failed: bool = False
    events: float | None = None


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """The series of one rule on one service; on one version where `version` is not empty. `samples` oldest first.

    `events` is how many events are behind every value, unless the test says otherwise.
    """

    service: str
    rule: str
    version: str = ""
    samples: tuple[Sample, ...] = ()
    events: float | None = None


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A version takes all traffic on a variant; `announced` by a request first, else seen."""

    service: str
    version: str
    variant: str
    announced: bool = True
    rollback_allowed: bool = True


class Patched(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody changed the switch by hand: these variants are as said from now on."""

    service: str
    variants: Mapping[str, VariantState]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A person asks for something: acknowledge, pause, resume, approve, rollback and so on.

    `arguments` are those of the request's body by their names, such as `reason`, `to`, `version` and `for_seconds` (a
    number in digits). Of a silence, every other one is a matcher.
    """

    kind: RequestKind
    service: str
    arguments: Mapping[str, str] = {}
    by: str = "somebody"


class ClockSet(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's clock is set by so much, forward or (negative) back."""

    by: timedelta


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """The switch cannot be read or written for so long (`service`), or a channel takes nothing (`channel`)."""

    lasts: timedelta
    service: str = ""
    channel: str = ""


Occurrence = Deployed | Patched | Wanted | ClockSet | Down


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens at a moment of the script."""

    at: timedelta
    what: Occurrence


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One test to play. `traffic` is every service's switch at the begin, `recheck` the interval of that name."""

    name: str
    begins: datetime
    until: timedelta
    services: tuple[Service, ...]
    rules: Mapping[str, Rule]
    traffic: Mapping[str, Mapping[str, VariantState]]
    routes: tuple[Route, ...] = ()
    limits: Limits = Limits()
    recheck: timedelta = timedelta(seconds=5)
    feeds: tuple[Feed, ...] = ()
    events: tuple[Planned, ...] = ()
    seed: int = 0
