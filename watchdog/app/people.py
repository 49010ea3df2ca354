"""What tells people and hears them, for one term: the dispatcher, and what stands beside it.

Everything here may fail or hang without a switch waiting for it. This module must never decide who is told what.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Protocol

from watchdog.aio.clock import SteadyClock
from watchdog.aio.supervise import Supervisor
from watchdog.app.parts import Parts
from watchdog.app.vigil import Vigil
from watchdog.channels.interface import Channel
from watchdog.charts.artist import Artist
from watchdog.config.loaded import Configuration
from watchdog.core.checks import Poll
from watchdog.core.errors import StoreError
from watchdog.core.events import ChannelDead, ChannelLate, Event
from watchdog.core.incident import IncidentState
from watchdog.core.message import MessageKind, Outgoing
from watchdog.core.telling import store_failed
from watchdog.core.view import View
from watchdog.core.wording import linked
from watchdog.engine.charting import Charting
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.history import History
from watchdog.engine.listening import Ears
from watchdog.engine.reactor import Reactor
from watchdog.engine.retention import Retention
from watchdog.engine.scheduler import Scheduler
from watchdog.leader.interface import Leadership
from watchdog.store.interface import Store
from watchdog.telemetry.metrics import Metrics

#: A clean stop waits so long for messages that are due.
FLUSH_WITHIN = timedelta(seconds=5)


class Surroundings(Protocol):
    """What a term gives to those who tell people."""

    parts: Parts

    def deliver(self, event: Event) -> None:
        """Into the reactor's inbox."""
        ...


class People:
    """Built with a term, started once its reactor is there. `follow` after every change of the configuration."""

    def __init__(
        self,
        configuration: Configuration,
        term: Surroundings,
        *,
        store: Store,
        leadership: Leadership,
        metrics: Metrics,
        clock: SteadyClock,
        seed: int,
    ) -> None:
        self._configuration = configuration
        self._term = term
        self._clock = clock
        self._store, self._leadership, self._metrics = store, leadership, metrics
        self._vigil: Vigil | None = None
        self._supervisor: Supervisor | None = None
        self._reactor: Reactor | None = None
        self._draws = False
        self._artist = Artist(clock=clock)
        self._history = History(clock=clock)
        self.charting = Charting(
            self._artist,
            history=self._history,
            world=lambda: self._reactor.world if self._reactor is not None else None,
            shows=lambda name: _shows_pictures(term.parts.channels.get(name)),
            clock=clock,
        )
        self._ears = Ears(store, outstanding=self._outstanding, clock=clock)
        self.dispatcher = Dispatcher(
            store,
            term.parts.channels,
            clock=clock,
            rng=random.Random(seed),
            on_dead=self._channel_dead,
            on_late=self._channel_late,
            on_outcome=metrics.count_notification,
            may_send=lambda: leadership.is_leader,
            charts=self.charting.chart,
            prepare=lambda message: linked(message, self._configuration.server.url),
        )
        term.parts.rendering.on_failure = metrics.count_template_failure

    def start(self, supervisor: Supervisor, reactor: Reactor, checks: Scheduler[Poll]) -> None:
        """Start the tasks. The dispatcher is the one without which there is no daemon."""
        supervisor.start("dispatcher", self.dispatcher.run, critical=True)
        supervisor.start("retention", Retention(self._store, clock=self._clock).run, critical=False)
        self._supervisor, self._reactor = supervisor, reactor
        self._draw_for(*self._term.parts.channels.values())
        self._ears.start(supervisor, self._term.parts.channels)
        self._vigil = Vigil(
            self._configuration,
            reactor=reactor,
            checks=checks,
            parts=self._term.parts,
            store=self._store,
            leadership=self._leadership,
            metrics=self._metrics,
            clock=self._clock,
        )
        self._vigil.start(supervisor)

    def use(self, name: str, channel: Channel) -> None:
        """A channel is new, or another than before."""
        self.dispatcher.use(name, channel)
        self._draw_for(channel)
        self._ears.use(name, channel)

    def dismiss(self, name: str) -> None:
        """A channel is gone."""
        self.dispatcher.dismiss(name)
        self._ears.dismiss(name)

    def follow(self, configuration: Configuration) -> None:
        """The configuration was changed, its channels are in use already."""
        self._configuration = configuration
        if self._vigil is not None:
            self._vigil.follow(configuration)

    def seen(self, view: View) -> View:
        """A view of the engine with what stands beside it."""
        return self._vigil.seen(view) if self._vigil is not None else view

    async def tell_store_failed(self, error: StoreError) -> None:
        """Tell people past the store that it cannot be used."""
        await self.dispatcher.emergency(store_failed(str(error), error.advice, now=self._clock.now()))

    def _draw_for(self, *channels: Channel) -> None:
        """Charts from the first channel on that shows them: drawing takes a process and its memory."""
        if self._supervisor is None or self._draws or not any(map(_shows_pictures, channels)):
            return
        self._draws, self.charting.on = True, self._artist.possible
        self._supervisor.start("charts", self._artist.run, critical=False)
        if self.charting.on:
            self._supervisor.start("history", self._history.run, critical=False)

    async def flush(self) -> None:
        """Send what is due, for a clean stop, after the tasks have ended."""
        await self.dispatcher.flush(FLUSH_WITHIN)

    def _outstanding(self) -> frozenset[str]:
        """The incidents that nobody has acknowledged yet."""
        if self._reactor is None:
            return frozenset()
        world = self._reactor.world
        everywhere = [one for service in world.services.values() for one in service.incidents.values()]
        everywhere += [one.incident for one in world.sources.values() if one.incident is not None]
        everywhere += [world.storm.incident] if world.storm.incident is not None else []
        return frozenset(one.id for one in everywhere if one.state is IncidentState.OPEN)

    def _channel_dead(self, row: Outgoing, reason: str) -> None:
        """A message was given up: tell the other channels, but never about such news itself."""
        if row.message.kind is not MessageKind.CHANNEL_FAILED:
            self._term.deliver(
                ChannelDead(channel=row.channel, key=row.key, message=row.message, reason=reason)
            )

    def _channel_late(self, row: Outgoing, reason: str, since: datetime) -> None:
        """A channel takes nothing while something urgent waits there: the others are told, and it is tried on."""
        if row.message.kind is not MessageKind.CHANNEL_LATE:
            self._term.deliver(
                ChannelLate(channel=row.channel, key=row.key, message=row.message, reason=reason, since=since)
            )


def _shows_pictures(channel: Channel | None) -> bool:
    return bool(getattr(type(channel), "PICTURES", False))
