"""Views: what API, commands and metrics show of the running daemon. Made by the reactor, read by everybody.

A view is a value, whole and consistent; nobody reaches through it into the engine.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from watchdog.core.check import CheckId, Verdict
from watchdog.core.deployment import Deployment
from watchdog.core.lateness import Late
from watchdog.core.rollback import Rollback, Veto
from watchdog.core.rule import Level
from watchdog.core.service import Mode, RollbackPolicy
from watchdog.core.traffic import TrafficState
from watchdog.core.turn import Pause, Taint


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """One check now. `level` is the newest verdict, `held` what its hold confirms, `latched` what an incident shows."""

    id: CheckId
    level: Level
    held: Level
    latched: Level
    verdict: Verdict | None = None
    last_data_at: datetime | None = None
    blind_since: datetime | None = None


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """One service now. `rollback_ready`: would a rollback work now? `not_ready` are the guards that say no."""

    name: str
    environment: str
    mode: Mode
    policy: RollbackPolicy = RollbackPolicy()
    labels: dict[str, str] = {}
    level: Level = Level.UNKNOWN
    traffic: TrafficState | None = None
    traffic_error: str = ""
    deployment: Deployment | None = None
    stable: Deployment | None = None
    checks: tuple[CheckView, ...] = ()
    incidents: tuple[str, ...] = ()
    rollback: Rollback | None = None
    paused: Pause | None = None
    taints: dict[str, Taint] = {}
    rollback_ready: bool = False
    not_ready: tuple[Veto, ...] = ()


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """One source now. `up` is `None` until it was asked for the first time."""

    name: str
    up: bool | None = None
    error: str = ""
    failing_since: datetime | None = None


class HeartbeatView(msgspec.Struct, frozen=True, kw_only=True):
    """The sign of life for somebody outside: when it was last taken, whether it is withheld, what went wrong last."""

    last_at: datetime | None = None
    withheld: bool = False
    error: str = ""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment. `turn_at` is the reactor's last progress, `silences` how many hold.

    `holder` is who leads, as far as is known; empty when nobody does. `cut_off_at` is since when nothing answers the
    watchdog.

    `late` is what should have happened by now, `heartbeat` the sign of life where one is configured.

    `config_fault` is why the configuration's files, as they are now, cannot be used; the one before is in force.
    """

    at: datetime
    turn_at: datetime
    leader: bool
    holder: str = ""
    epoch: int = 0
    paused_by_file: bool = False
    breaker: str = ""
    cut_off_at: datetime | None = None
    store_error: str = ""
    silences: int = 0
    config_fault: str = ""
    config_fault_at: datetime | None = None
    services: dict[str, ServiceView] = {}
    sources: dict[str, SourceView] = {}
    audit_head: str = ""
    late: tuple[Late, ...] = ()
    heartbeat: HeartbeatView | None = None
