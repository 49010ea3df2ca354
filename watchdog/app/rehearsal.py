"""One real message through a channel, because everything else only says that it might work.

It is marked as a test, needs nobody, and says who asked for it. The daemon and its store have no part in it. This
module must never send to a channel that was not named.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock, SystemClock
from watchdog.app.build import build_channel
from watchdog.app.shared import Shared
from watchdog.channels.interface import Channel, Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.charts.picture import how_to_install, sample
from watchdog.config.loaded import Configuration
from watchdog.core.errors import ConfigError
from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.core.units import format_duration
from watchdog.settings.registry import nearest
from watchdog.telemetry.redact import one_line, redact

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Patience with a channel beyond its own timeouts: a test may take two calls of it.
_GRACE = timedelta(seconds=5)
_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one test. `outcome` is ok, retry, permanent or unknown, as in the metric."""

    channel: str
    kind: str
    outcome: str
    detail: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return self.outcome == "ok"


def trial(channel: str, *, by: str, clock: Clock) -> Message:
    """What is sent. No two are the same message, or one conversation."""
    now = clock.now()
    return Message(
        key=f"{MessageKind.TEST}:{channel}:{now.isoformat()}",
        kind=MessageKind.TEST,
        severity=Severity.LOW,
        headline=f"a test of channel {channel}: whoever reads this is reached",
        created_at=now,
        facts=(("asked by", by),),
    )


async def send_tests(
    configuration: Configuration, names: Sequence[str], *, by: str, clock: Clock | None = None
) -> list[Tried]:
    """Send one through each of these channels, all at once. Raises `ConfigError` for a name that none has."""
    for name in names:
        if name not in configuration.channels:
            raise ConfigError(_unknown(name, configuration))
    clock = clock or SystemClock()
    shared = Shared(configuration.kubernetes, clock=clock)
    shared.rendering.use(configuration.templates)
    channels: dict[str, Channel] = {}
    try:
        for name in names:
            channels[name] = build_channel(name, configuration.channels[name], shared=shared, clock=clock)
        chart = await asyncio.to_thread(_chart) if any(map(_shows_pictures, channels.values())) else None
        return await asyncio.gather(
            *(
                _try(
                    name,
                    channel,
                    trial(name, by=by, clock=clock),
                    kind=configuration.channels[name].kind,
                    chart=chart if _shows_pictures(channel) else None,
                    limit=configuration.channels[name].settings.timeout * 2 + _GRACE,
                )
                for name, channel in channels.items()
            )
        )
    finally:
        for channel in channels.values():
            await channel.aclose()
        await shared.aclose()


def _unknown(name: str, configuration: Configuration) -> str:
    guess = nearest(name, configuration.channels)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return f"there is no channel {name!r}{hint} (known: {', '.join(configuration.channels)})"


def _shows_pictures(channel: Channel) -> bool:
    return bool(getattr(type(channel), "PICTURES", False))


def _chart() -> Chart | None:
    """The sample chart, where what draws is installed."""
    if how_to_install() is not None:
        return None
    try:
        # Late: what draws takes a second to import.
        png: bytes = importlib.import_module("watchdog.charts.draw").draw(sample())
    except (ImportError, OSError, ValueError) as error:
        _log.warning("no_chart", reason=type(error).__name__)
        return None
    return Chart(png=png, alt="a sample chart: error rate, a bad deployment, and the switch back")


async def _try(
    name: str, channel: Channel, message: Message, *, kind: str, chart: Chart | None, limit: timedelta
) -> Tried:
    delivery: Delivery
    try:
        async with asyncio.timeout(limit.total_seconds()):
            delivery = await channel.send(message, key=f"{message.key}@{name}", chart=chart)
    except TimeoutError:
        delivery = Unclear(reason=f"the channel did not answer within {format_duration(limit)}")
    except Exception as error:  # noqa: BLE001 - the plugin border: one broken channel must not hide the others
        _log.exception("test_failed", channel=name)
        delivery = Unclear(reason=f"the channel raised {type(error).__name__}")
    return Tried(
        channel=name,
        kind=kind,
        outcome=str(delivery.__struct_config__.tag),
        detail=one_line(redact(_detail(delivery)), limit=_SHOWN),
        advice=_advice(delivery),
    )


def _detail(delivery: Delivery) -> str:
    match delivery:
        case Delivered(reference=""):
            return "taken"
        case Delivered(reference=reference):
            return f"taken: {reference}"
        case Later(reason=reason, after=after) if after is not None:
            return f"{reason} (asks to be left alone for {format_duration(after)})"
        case _:
            return delivery.reason


def _advice(delivery: Delivery) -> str:
    match delivery:
        case Delivered():
            return "see that it has arrived"
        case Later():
            return "nothing was sent; try again, and see address and network if it stays so"
        case Refused():
            return "this will never work: see its settings and secrets, and what the provider has set up"
        case Unclear():
            return "it may have been sent: see whether it has arrived before trying again"
