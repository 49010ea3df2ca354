"""Who watches the watchdog, for one term: the auditor, and the sign of life that is withheld for what it finds.

This module must never be in the way of anything: both only look.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import Supervisor
from watchdog.app.parts import Parts
from watchdog.config.loaded import Configuration
from watchdog.core.checks import Poll
from watchdog.core.view import View
from watchdog.engine.auditor import Auditor
from watchdog.engine.heartbeat import Heartbeat
from watchdog.engine.reactor import Reactor
from watchdog.engine.scheduler import Scheduler
from watchdog.leader.interface import Leadership
from watchdog.store.interface import Store
from watchdog.telemetry.metrics import Metrics


class Vigil:
    """Made when there is a reactor. `follow` after every change of the configuration."""

    def __init__(  # noqa: PLR0913 - what it looks at, all of it by name
        self,
        configuration: Configuration,
        *,
        reactor: Reactor,
        checks: Scheduler[Poll],
        parts: Parts,
        store: Store,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._critical = configuration.intervals.critical
        self._auditor = Auditor(
            engine=reactor,
            store=store,
            polled=checks.round,
            critical=lambda: self._critical,
            channels=lambda: parts.channels,
            metrics=metrics,
            clock=clock,
        )
        self._heartbeat = Heartbeat(
            configuration.heartbeat,
            polled=lambda: checks.round(self._critical),
            late=self._auditor.found,
            leads=lambda: leadership.is_leader,
            metrics=metrics,
            clock=clock,
        )

    def start(self, supervisor: Supervisor) -> None:
        """Start looking."""
        supervisor.start("auditor", self._auditor.run, critical=False)
        supervisor.start("heartbeat", self._heartbeat.run, critical=False)

    def follow(self, configuration: Configuration) -> None:
        """The configuration was changed."""
        self._critical = configuration.intervals.critical
        self._heartbeat.follow(configuration.heartbeat)

    def seen(self, view: View) -> View:
        """A view with what was found."""
        return replace(view, late=self._auditor.found(), heartbeat=self._heartbeat.view())
