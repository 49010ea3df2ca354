"""The shapes of everything about telling people: routes, ladders, mute windows, reports, templates, the heartbeat.

Which names exist, and what steps may follow each other, is judged elsewhere. This module must never open a file.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from watchdog.core.ladder import ACKNOWLEDGED_FOR, REMIND_AFTER, REPEAT_AFTER, ReportTime
from watchdog.core.routing import Gather
from watchdog.core.units import parse_duration
from watchdog.settings.model import Duration, PositiveDuration, Settings

#: Weekdays in the order of their numbers, 0 is Monday.
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MINUTES_A_DAY = 24 * 60
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_ADDRESS = re.compile(r"https?://[^\s/]\S*")


def _duration_or(word: str, value: Any) -> timedelta | None:
    if value == word:
        return None
    if isinstance(value, timedelta):
        return value
    try:
        found = parse_duration(str(value)) if isinstance(value, str) else timedelta()
    except ValueError:
        found = timedelta()
    if not found:
        raise ValueError(f"{value!r} is neither a duration such as 4h nor {word!r}")
    return found


def _duration_or_never(value: Any) -> timedelta | None:
    return _duration_or("never", value)


def _duration_or_ever(value: Any) -> timedelta | None:
    return _duration_or("ever", value)


def _clock(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # a default
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a time of the day such as '09:00'")
    return int(match[1]) * 60 + int(match[2])


def _clock_or_midnight(value: Any) -> int:
    return MINUTES_A_DAY if value == "24:00" else _clock(value)


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _secret_address(value: Any) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise ValueError("this is not an address such as https://HOST/PATH")
    return SecretStr(text)


_Clock = Annotated[str, Field(pattern=r"^[0-2][0-9]:[0-5][0-9]$")]
#: A duration above zero, or `never` as `None`.
OrNever = Annotated[timedelta | None, BeforeValidator(_duration_or_never, json_schema_input_type=str)]
#: A duration above zero, or `ever` as `None`.
OrEver = Annotated[timedelta | None, BeforeValidator(_duration_or_ever, json_schema_input_type=str)]
#: `HH:MM` as the minute of the day.
Clock = Annotated[int, BeforeValidator(_clock, json_schema_input_type=_Clock)]
#: The same; `24:00` is the end of the day.
ClockOrMidnight = Annotated[int, BeforeValidator(_clock_or_midnight, json_schema_input_type=_Clock)]
#: An address that must not be shown: who knows it can use it.
SecretAddress = Annotated[SecretStr, BeforeValidator(_secret_address, json_schema_input_type=str)]
#: One text, or a list of texts.
Names = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])]


class HeartbeatSettings(Settings):
    """`heartbeat`: somebody outside who notices when nobody is left here."""

    url: SecretAddress
    """Address to ask, `http://` or `https://`; who knows it can answer for the watchdog, so it is never shown."""
    every: PositiveDuration = timedelta(minutes=1)
    """How often, while everything that must work does."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """Longest time for one call."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""


class StepShape(Settings):
    """One step of a ladder."""

    after: PositiveDuration | None = None
    """How long after the first step, while nobody acknowledges. Every step but the first has it."""
    to: tuple[str, ...] | None = None
    """Names of channels."""
    digest: Literal["weekly"] | None = None
    """Wait for this report; the last step only. Without `to`, it goes where the first step went."""


class AcknowledgedShape(Settings):
    """`acknowledged`: how long somebody's word counts."""

    for_: OrEver = Field(default=ACKNOWLEDGED_FOR, alias="for")
    """A duration, or `ever`. Then the ladder goes on from its beginning."""
    remind: OrNever = REMIND_AFTER
    """How often the one who has it is reminded; a duration, or `never`."""


class PolicyShape(Settings):
    """One escalation policy: a ladder for each severity. One that is left out is the next louder one's."""

    critical: tuple[Any, ...] | None = None
    """Steps for what cannot wait."""
    high: tuple[Any, ...] | None = None
    """Steps for what needs somebody today."""
    medium: tuple[Any, ...] | None = None
    """Steps for what should be looked at."""
    low: tuple[Any, ...] | None = None
    """Steps for what can wait for a report."""
    repeat: OrNever = REPEAT_AFTER
    """How long after the last step it is told again while nobody acknowledges; a duration, or `never`."""
    acknowledged: AcknowledgedShape = AcknowledgedShape()
    """How long an acknowledgement counts."""
    delegate: Names = ()
    """A channel, a kind of channel, or a list of them, that own the ladder behind the first step, as PagerDuty does."""


class MuteShape(Settings):
    """One mute window."""

    zone: str
    """IANA name of the zone whose clocks count, such as `Europe/Berlin`."""
    from_: Clock = Field(default=0, alias="from")
    """When it begins, `HH:MM`."""
    to: ClockOrMidnight = MINUTES_A_DAY
    """When it ends, `HH:MM`, `24:00` allowed; at or before `from`: on the next day."""
    days: tuple[str, ...] = DAYS
    """Days on which it begins, as names or ranges such as `mon-fri` or `fri-mon`."""


class WeeklyShape(Settings):
    """`reports.weekly`: when the weekly report leaves."""

    day: str = DAYS[ReportTime().weekday]
    """Day of the week."""
    at: Clock = ReportTime().minute
    """Time of the day, `HH:MM`."""
    zone: str = ReportTime().zone
    """IANA name of the zone whose clocks count."""


class ReportsShape(Settings):
    """`reports`."""

    weekly: WeeklyShape = WeeklyShape()
    """What was left to the report, and what happened in the week."""


class GatherShape(Settings):
    """`gather` of a route: news that can wait leaves together."""

    by: tuple[str, ...] = ()
    """Labels: one message for each of their values."""
    wait: Duration = Gather().wait
    """How long the first of a group waits for others."""
    interval: Duration = Gather().interval
    """Least time between two messages of one group."""


class RouteShape(Settings):
    """One route."""

    match: dict[str, str] = Field(default_factory=dict)
    """Labels that must be equal; none for the last route."""
    to: tuple[str, ...] | None = None
    """Names of channels; this or `escalation`."""
    escalation: str | None = None
    """Name of an escalation policy; this or `to`."""
    notices: tuple[str, ...] = ()
    """Names of channels for what is only good to know; none that wakes people."""
    mute: tuple[str, ...] = ()
    """Names of mute windows."""
    gather: GatherShape | None = None
    """Tell news that can wait together."""
    repeat: OrNever = REPEAT_AFTER
    """With `to`: how long after it was told it is told again while nobody acknowledges; a duration, or `never`."""


class TemplatesShape(Settings):
    """`templates`: files with own words for messages, in Jinja."""

    headline: Path | None = None
    """One line: the headline everywhere."""
    text: Path | None = None
    """The whole message, plain."""
    html: Path | None = None
    """The whole message as a document, for mails."""
    short: Path | None = None
    """What fits into a text message."""
