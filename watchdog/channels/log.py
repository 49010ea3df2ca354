"""Channel `log`: every message is one event in the daemon's own log. The channel that needs nothing outside.

Text in a message comes from outside (labels, version names, answers of sources): this module must never let
it start a line of its own in the log.
"""

from __future__ import annotations

import structlog

from watchdog.aio.clock import Clock
from watchdog.channels.interface import Chart, Delivered, Delivery
from watchdog.channels.rendering import Rendering
from watchdog.core.message import Evidence, Message, Thread
from watchdog.core.rule import Severity
from watchdog.core.wording import number
from watchdog.settings.model import ProviderSettings
from watchdog.telemetry.redact import one_line

_LEVELS = {
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "critical",
}

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LogChannel:
    """One event `notification` a message, at a level that follows its severity."""

    Settings = ProviderSettings
    WANTS = ("rendering",)

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        name: str,
        clock: Clock | None = None,
        rendering: Rendering | None = None,
    ) -> None:
        self._name = name
        self._rendering = rendering

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        """Always `Delivered`: what becomes of the line is the business of whoever collects the log."""
        words = {
            "key": key,
            "kind": message.kind,
            "severity": message.severity,
            "service": message.service,
            "environment": message.environment,
            "version": message.version,
            "incident": message.incident,
            "rollback": message.rollback,
            "about": message.about,
            **_measured(message.evidence),
            "next_step": message.next_step,
            "undo": message.undo,
            "explain": message.explain,
            "runbook": message.runbook,
            "dashboard": message.dashboard,
            "audit_head": message.audit_head,
        }
        getattr(_log, _LEVELS[message.severity])(
            "notification",
            channel=self._name,
            headline=self._rendering.one("headline", message)
            if self._rendering
            else one_line(message.headline),
            facts=[f"{one_line(name)}: {one_line(value)}" for name, value in message.facts],
            needs_human=message.needs_human,
            **{word: one_line(value) for word, value in words.items() if value},
        )
        return Delivered()

    async def inspect(self) -> str | None:
        return None

    async def aclose(self) -> None:
        return None


def _measured(evidence: Evidence | None) -> dict[str, str]:
    """The numbers as people read them; the check by its name as everywhere outside."""
    if evidence is None:
        return {}
    return {
        "check": str(evidence.check),
        "value": number(evidence.value, evidence.unit),
        "limit": number(evidence.limit, evidence.unit) if evidence.limit is not None else "",
        "since": evidence.since.isoformat(),
    }
