"""A loaded configuration: everything validated and compiled, nothing built yet.

`watchdog.app` builds the parts from it. This module must never open a file or a connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from watchdog.cluster.settings import ClusterSettings
from watchdog.cluster.wanted import Defaults
from watchdog.config.backtests import BackTests
from watchdog.config.telling import HeartbeatSettings
from watchdog.config.trail import Trail
from watchdog.core.ladder import Policy
from watchdog.core.routing import Route
from watchdog.core.rule import Rule
from watchdog.core.service import Intervals, Limits, Service
from watchdog.leader.registry import ALONE
from watchdog.postgres.address import PostgresAddress
from watchdog.settings.model import ProviderSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a file; `line` and `column` count from 1."""

    file: Path
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake (or, in `Configuration.notes`, one warning) at its place. `str()` is `FILE:LINE:COL: message`."""

    at: Position
    message: str

    def __str__(self) -> str:
        return f"{self.at.file}:{self.at.line}:{self.at.column}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One configured provider: its kind, its validated settings, where it was written."""

    kind: str
    settings: ProviderSettings
    at: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One service with its switch; `ready` is the readiness probe's kind and settings, with `{address}` unresolved."""

    service: Service
    traffic: Provider
    ready: Provider | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token and what it may do."""

    name: str
    role: Literal["viewer", "operator"]
    token: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the API listens (`host`, `port`; port 0 takes a free one), and at which `url` people reach it."""

    host: str = "127.0.0.1"
    port: int = 9911
    metrics: Literal["open", "token"] = "open"
    tokens: tuple[Token, ...] = ()
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """How it is decided who acts: the kind, and its settings where it has any."""

    kind: str = ALONE
    settings: Settings | None = None

    @property
    def alone(self) -> bool:
        """Whether there is one process, which always leads."""
        return self.kind == ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Where services are looked for: objects of `kinds` in `namespaces`. `file` is where they are written."""

    namespaces: tuple[str, ...]
    kinds: tuple[str, ...]
    file: Path
    defaults: Defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything a configuration file and its rule files say. `notes` are warnings that do not keep it from loading.

    `store_url` names the store and holds no password; `postgres` is how it is reached when it is no file. `templates`
    are the texts of the user's templates by their name, `route_places` say where each route stands.

    `trail` is what it was read from; two configurations that say the same are equal wherever they stand.
    """

    path: Path
    store_url: str
    pause_file: Path | None
    server: Server
    intervals: Intervals
    limits: Limits
    rules: dict[str, Rule]
    services: dict[str, ServiceEntry]
    sources: dict[str, Provider]
    channels: dict[str, Provider]
    routes: tuple[Route, ...]
    self_check: tuple[Provider, ...] = ()
    postgres: PostgresAddress | None = None
    leader: Leader = Leader()
    kubernetes: ClusterSettings = field(default_factory=ClusterSettings)
    discovery: Discovery | None = None
    escalations: dict[str, Policy] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    heartbeat: HeartbeatSettings | None = None
    backtest: BackTests = field(default_factory=BackTests)
    route_places: tuple[Position, ...] = field(default=(), compare=False, repr=False)
    notes: tuple[Problem, ...] = field(default=(), compare=False)
    trail: Trail = field(default_factory=Trail, compare=False, repr=False)

    @property
    def store(self) -> str | PostgresAddress:
        """The store's address, with all that is needed to reach it."""
        return self.postgres or self.store_url
