"""The shapes of files with tests of rules: which keys there are, and what each value looks like.

What needs more than one value to judge (names that must exist, series and their units) is judged elsewhere. This module
must never read a file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from watchdog.config.fields import Count, FormatVersion, LabelName, Name, Written
from watchdog.config.serving import RollbackShape
from watchdog.core.service import GitOps, Mode
from watchdog.core.units import parse_duration
from watchdog.settings.model import Duration, PositiveDuration, Settings

#: When a test begins that does not say so: a Monday at noon.
BEGINS = datetime(2026, 3, 2, 12, tzinfo=UTC)
_CLOCK = re.compile(r"(?P<sign>[+-])(?P<by>.*)", re.DOTALL)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f'{value!r} is not a time such as "2026-03-07T03:00:00Z"')


def _clock(value: Any) -> timedelta:
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} does not say how far the clock is set: write for example +1h or -90s")
    by = parse_duration(match["by"])
    return -by if match["sign"] == "-" else by


#: A time of day, in UTC unless it says otherwise.
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
#: `+1h` or `-1h`.
ClockChange = Annotated[
    timedelta,
    BeforeValidator(_clock, json_schema_input_type=Annotated[str, Field(pattern=r"^\s*[+-]")]),
]
#: One line of text for people.
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n\r]+$")]
Version = Annotated[str, Field(min_length=1, max_length=200)]


class RuleTestsShape(Settings):
    """A file with tests of rules."""

    version: FormatVersion = 1
    """1."""
    rules: tuple[str, ...] = ()
    """Rule files to test, relative to this file; patterns are allowed. Either this or `config`."""
    config: str | None = None
    """A configuration file to test instead, with its rules, services, routes, escalations and limits."""
    service: Any = None
    """Of every test that says nothing else: see there."""
    traffic: dict[str, Any] | None = None
    """Of every test that says nothing else: see there."""
    begins: Moment | None = None
    """Of every test that says nothing else: see there."""
    every: PositiveDuration | None = None
    """Of every test that says nothing else: see there."""
    strict: bool = False
    """Of every test that says nothing else: see there."""
    tests: tuple[Any, ...]
    """The tests."""


class RuleTestShape(Settings):
    """One test."""

    name: Line
    """What it shows, in words; unique in the file."""
    service: Any = None
    """The service under test: a name, or a mapping with `name` and what is different for it here. With `rules` it is
    `app` unless named, and uses all of them; with `config` it must be one of the configuration's, and need not be named
    where there is one."""
    traffic: dict[Name, Any] | None = None
    """Its switch at the begin: variants by name. By default `blue`, which serves v1, and `green`, which is idle; with
    `config` the variants that the switch names, the first of which serves v1."""
    stable: bool = True
    """Whether what serves at the begin is known to be good; else it must prove itself first."""
    begins: Moment | None = None
    """Time of day at the begin, for mute windows and ladders; "2026-03-02T12:00:00Z", a Monday, by default."""
    every: PositiveDuration | None = None
    """How far apart samples are; the rule's own interval by default."""
    until: Duration | None = None
    """How long it is played, from the begin. By default until the last sample, event and time of an expectation."""
    strict: bool | None = None
    """Whether an incident, rollback, switch, notification or escalation that nothing expects is a failure."""
    series: dict[str, Any] = Field(default_factory=dict)
    """What is measured, by `RULE`, `RULE@VERSION`, `SERVICE/RULE` or `SERVICE/RULE@VERSION`: samples in the notation
    below, or a mapping."""
    events: tuple[Any, ...] = ()
    """What happens."""
    expect: tuple[Any, ...] = ()
    """What must come of it, and what must not."""


class ServiceUnderTestShape(Settings):
    """`service`: what is different from a service with nothing but a name, or from the configuration's."""

    name: Name | None = None
    """Which service."""
    environment: Name | None = None
    """Where it runs."""
    labels: dict[LabelName, str] | None = None
    """For routes and `$label.NAME`."""
    rules: tuple[str, ...] | None = None
    """Names of the rules that it uses."""
    mode: Mode | None = None
    """What the watchdog may do."""
    gitops: GitOps | None = None
    """What to do about a target that a GitOps controller would revert."""
    rollback: RollbackShape = RollbackShape()
    """Limits of an automatic rollback; what is left out stays as it is."""


class VariantShape(Settings):
    """`traffic.VARIANT`."""

    weight: Count = 0
    """Its share of the traffic; above 0 it is live."""
    version: Version | None = None
    """What runs there, if the switch can tell."""
    ready: Count | None = 1
    """How many of its servers are ready."""
    total: Count | None = 1
    """How many there are."""


class SeriesShape(Settings):
    """`series.RULE`, where it is more than samples."""

    samples: Written
    """The samples, in the notation below."""
    every: PositiveDuration | None = None
    """How far apart they are."""
    starts: Duration = timedelta()
    """When the first one is there."""
    events: Count | None = None
    """How many events are behind every value; 10000 by default."""


class EventShape(Settings):
    """`events`: `at`, and one of the others."""

    at: Duration
    """When, from the begin."""
    service: Name | None = None
    """Whose; the service under test by default."""
    deploy: Any = None
    """A version takes all traffic: `deploy: v2`, or a mapping."""
    patch: dict[Name, Any] | None = None
    """Somebody changes the switch by hand: variants, each with its weight or a mapping as in `traffic`."""
    acknowledge: Any = None
    """Somebody takes the incident: a name, or a mapping."""
    unacknowledge: Any = None
    """Somebody gives it back."""
    approve: Any = None
    """Somebody approves the rollback that waits for it."""
    reject: Any = None
    """Somebody rejects it."""
    close: Any = None
    """Somebody closes the incident."""
    rollback: Any = None
    """Somebody asks for a rollback."""
    pause: Any = None
    """Somebody pauses the service."""
    resume: Any = None
    """Somebody lets it go on."""
    taint: Any = None
    """Somebody marks a version as bad: a mapping with `version`."""
    untaint: Any = None
    """Somebody takes that back."""
    mark_good: Any = None
    """Somebody marks a version as good."""
    silence: Any = None
    """Somebody silences messages: a mapping with `for`."""
    clock: ClockChange | None = None
    """The machine's clock is set, `+1h` or `-1h`."""
    switch_down: PositiveDuration | None = None
    """For so long the switch can be neither read nor written."""
    channel_down: dict[Name, PositiveDuration] | None = None
    """For so long these channels take nothing."""


class DeployShape(Settings):
    """`deploy`, where it is more than a version."""

    version: Version
    """What is deployed."""
    variant: Name | None = None
    """Where; by default the first variant but the one that was live or deployed to last."""
    announced: bool = True
    """Whether `watchdog deploy` told of it; else it is only seen, with the version that the switch shows."""
    rollback: Literal["allowed", "forbidden"] = "allowed"
    """As in `watchdog deploy --rollback`."""


class WishShape(Settings):
    """What a person asks for, where it is more than a name."""

    by: Line = "somebody"
    """Who."""
    reason: Line | None = None
    """Why."""


class AcknowledgeShape(WishShape):
    """`acknowledge`."""

    lasts: PositiveDuration | None = Field(default=None, alias="for")
    """For how long; as long as the escalation policy says by default."""


class RollbackWishShape(WishShape):
    """`rollback` among the events."""

    to: Version | None = None
    """Which version; the last known good one by default."""


class VersionWishShape(WishShape):
    """`taint`, `untaint`, `mark_good`."""

    version: Version
    """Which version."""


class SilenceWishShape(WishShape):
    """`silence`."""

    lasts: PositiveDuration = Field(alias="for")
    """For how long."""
    match: dict[str, str] = Field(default_factory=dict)
    """What it is about beside the service, as in `watchdog silence --match`."""


class ExpectShape(Settings):
    """`expect`: one kind of happening, and when. Without a time, once at least and whenever."""

    verdict: Any = None
    """A check was judged; a word is its `level`."""
    incident: Any = None
    """One was opened, worsened, acknowledged or closed; a word is its `state`."""
    guard: Any = None
    """A guard said no; a word is its name."""
    rollback: Any = None
    """A rollback came into a `state`."""
    switch: Any = None
    """The watchdog moved traffic; a word is the version `to` which."""
    deployment: Any = None
    """A deployment came into a `state`."""
    notification: Any = None
    """A message went to a channel; a word is its `kind`."""
    escalation: Any = None
    """One that went because nobody had acknowledged; a number is its `step`."""
    reply: Any = None
    """A request was answered; a word is the `request`."""
    at: Duration | None = None
    """At that time exactly."""
    within: tuple[Duration, Duration] | None = None
    """`[FROM, TO]`, both included."""
    by: Duration | None = None
    """Then at the latest."""
    after: Duration | None = None
    """Then at the earliest."""
    times: Count | None = None
    """Exactly so many times in that span; 0 is never."""
    never: bool = False
    """`true`: never in that span."""
