"""The doctor: reaches everything a configuration names and says what would not work, before it is needed.

It acts on nothing: no switch is written, no message sent, no store migrated or locked. It may run beside the daemon.
A message is sent only by `watchdog.app.rehearsal`, which is asked for by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog

from watchdog.aio.clock import Clock, SystemClock
from watchdog.app import holdings, machine, outlook
from watchdog.app.build import build_channels, build_probes, build_sources, build_switches
from watchdog.app.deadman import heartbeat
from watchdog.app.finding import Finding, Health, worst
from watchdog.app.keepers import keepers
from watchdog.app.proving import backtests
from watchdog.app.rights import manifest, needed, rights
from watchdog.app.samples import collecting, data_of, world_of
from watchdog.app.shared import Shared
from watchdog.channels.interface import Channel
from watchdog.charts.picture import how_to_install
from watchdog.config.loaded import Configuration, Provider, ServiceEntry
from watchdog.core.deployment import Deployment
from watchdog.core.errors import ConfigError, StoreError, SwitchError
from watchdog.core.incident import IncidentKind
from watchdog.core.observation import Pulse
from watchdog.core.service import Mode
from watchdog.probes.interface import Probe
from watchdog.sources.interface import Source
from watchdog.store.interface import Reader
from watchdog.store.registry import make_reader
from watchdog.traffic.interface import TrafficSwitch

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Patience with a provider beyond its own timeout, for one that breaks its promise.
_GRACE = timedelta(seconds=5)
#: How long a rule may stay without data: two scrapes of a source that collects by itself every five seconds.
PATIENCE = timedelta(seconds=7)
#: Parts examined at the same time.
_AT_ONCE = 20
#: Questions a rule, at most, that may each take a source's whole timeout: for its data, then about its selectors.
_QUESTIONS = 6
#: Deployments of a service that are looked through for the live and for a known good one.
_LOOK_BACK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is examined, built and closed by somebody else."""

    sources: Mapping[str, Source]
    channels: Mapping[str, Channel]
    switches: Mapping[str, TrafficSwitch]
    reader: Reader
    probes: Mapping[str, Probe] = field(default_factory=dict)


class _Closes(Protocol):
    async def aclose(self) -> None: ...


async def examine(configuration: Configuration, *, clock: Clock | None = None) -> list[Finding]:
    """Everything that was found, in the order of the configuration. Never raises for what the outside does."""
    clock = clock or SystemClock()
    async with _built(configuration, clock) as (parts, shared):
        found = await examine_parts(configuration, parts, clock=clock)
        return [*found, *await rights(shared.cluster, needed(configuration, _entitled(parts)))]


async def role(configuration: Configuration, *, account: str, home: str) -> str:
    """The Role for a configuration and its binding to a service account, as YAML. Reaches nothing.

    Raises `ConfigError` for a configuration that needs nothing in a cluster.
    """
    async with _built(configuration, SystemClock()) as (parts, _):
        wanted = needed(configuration, _entitled(parts))
    if not wanted:
        raise ConfigError("nothing in this configuration needs a right in a Kubernetes cluster")
    return manifest(wanted, account=account, home=home)


def _entitled(parts: Parts) -> list[object]:
    return [*parts.switches.values(), *parts.sources.values(), *parts.channels.values()]


@asynccontextmanager
async def _built(configuration: Configuration, clock: Clock) -> AsyncIterator[tuple[Parts, Shared]]:
    shared = Shared(configuration.kubernetes, clock=clock)
    probes: Mapping[str, Probe] = build_probes(configuration, shared=shared)
    parts = Parts(
        sources=build_sources(configuration, shared=shared, clock=clock),
        channels=build_channels(configuration, shared=shared, clock=clock),
        switches=build_switches(configuration, dict(probes), shared=shared, clock=clock),
        reader=make_reader(configuration.store),
        probes=probes,
    )
    try:
        yield parts, shared
    finally:
        everything: list[_Closes] = [
            *parts.switches.values(),
            *parts.sources.values(),
            *parts.channels.values(),
        ]
        for part in (*everything, *probes.values(), parts.reader, shared):
            await part.aclose()


async def examine_parts(
    configuration: Configuration,
    parts: Parts,
    *,
    clock: Clock,
    patience: timedelta = PATIENCE,
    kernel: Callable[[], int | None] = machine.kernel_status,
) -> list[Finding]:
    """The same with parts that were built already. `patience` is how long a rule may stay without data.

    `kernel` gives the status of the machine's clock.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def within(what: str, timeout: timedelta, looking: Awaitable[list[Finding]]) -> list[Finding]:
        async with gate:
            return await _bounded(what, timeout + _GRACE, looking)

    store = await within("store", timedelta(seconds=10), holdings.store(configuration, parts.reader))
    sources = await asyncio.gather(
        *(
            within(f"source {name}", configuration.sources[name].settings.timeout, _source(name, source))
            for name, source in parts.sources.items()
        )
    )
    channels = await asyncio.gather(
        *(
            within(f"channel {name}", configuration.channels[name].settings.timeout, _channel(name, channel))
            for name, channel in parts.channels.items()
        )
    )
    outside = await within("heartbeat", timedelta(seconds=30), heartbeat(configuration))
    references = await asyncio.gather(
        *(
            within("self_check", one.settings.timeout, _reference(one, parts.probes[one.kind], clock))
            for one in configuration.self_check
        )
    )
    answering = {
        name: source
        for (name, source), findings in zip(parts.sources.items(), sources, strict=True)
        if worst(findings) is not Health.BAD
    }
    surgery = _Surgery(
        configuration=configuration,
        reader=parts.reader,
        store=holdings.file_of(configuration.store_url),
        known=holdings.is_known(store),
        sources=answering,
        clock=clock,
        until=clock.monotonic() + patience.total_seconds(),
    )
    async with collecting(answering.values()):
        services = await asyncio.gather(
            *(
                within(
                    f"switch of {name}",
                    surgery.limit(configuration.services[name]) + patience,
                    surgery.service(configuration.services[name], switch),
                )
                for name, switch in parts.switches.items()
            )
        )
    return [
        machine.environment(),
        machine.clock(kernel),
        *_configuration(configuration),
        *backtests(configuration, clock.now()),
        *holdings.rights(configuration, configuration.trail.secrets()),
        *store,
        *await holdings.pause(configuration),
        *(finding for findings in (*sources, *channels, outside, *references) for finding in findings),
        *(finding for findings in services for finding in findings),
        *outlook.shared(parts.switches),
        *holdings.locks(parts.switches.values()),
    ]


async def _bounded(what: str, limit: timedelta, looking: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await looking
    except TimeoutError:
        detail = f"no answer within {limit.total_seconds():.0f} s"
        return [Finding(what=what, health=Health.BAD, detail=detail, advice="see whether it hangs")]
    except Exception as error:  # noqa: BLE001 - the plugin border: one broken provider must not hide the others
        _log.exception("examination_failed", what=what)
        return [Finding(what=what, health=Health.BAD, detail=f"{type(error).__name__} while looking at it")]


def _configuration(configuration: Configuration) -> list[Finding]:
    whole = Finding(
        what="configuration",
        health=Health.OK,
        detail=f"services: {len(configuration.services)}, rules: {len(configuration.rules)}",
    )
    return [whole] + [
        Finding(what="configuration", health=Health.WARN, detail=str(note)) for note in configuration.notes
    ]


async def _source(name: str, source: Source) -> list[Finding]:
    what = f"source {name}"
    report = await source.inspect()
    health = Health.OK if report.ok else Health.BAD
    return [Finding(what=what, health=health, detail=report.detail, advice=report.advice)]


async def _channel(name: str, channel: Channel) -> list[Finding]:
    what = f"channel {name}"
    trouble = await channel.inspect()
    if trouble is None:
        detail = f"usable as far as can be seen without sending; --send-test {name} proves it"
        return [Finding(what=what, health=Health.OK, detail=detail), *_charts(what, channel)]
    return [Finding(what=what, health=Health.BAD, detail=trouble, advice="messages to it would be lost")]


def _charts(what: str, channel: Channel) -> list[Finding]:
    """Whether messages of a channel that shows pictures will have any."""
    advice = how_to_install() if getattr(type(channel), "PICTURES", False) else None
    if advice is None:
        return []
    detail = "its messages go without charts: what draws them is not installed"
    return [Finding(what=what, health=Health.WARN, detail=detail, advice=advice)]


async def _reference(written: Provider, probe: Probe, clock: Clock) -> list[Finding]:
    """Whether a target of `self_check` answers now; one that never does would let every outage look like a cut."""
    pulse = await probe.check(written.settings.model_dump(), now=clock.now())
    answers = isinstance(pulse, Pulse) and (pulse.passed or pulse.answered)
    what = f"self_check {pulse.asked or written.kind}"
    if answers:
        return [Finding(what=what, health=Health.OK, detail=pulse.detail)]
    advice = "it must answer while all is well: without any that does, no dead target of many is called dead"
    return [Finding(what=what, health=Health.WARN, detail=pulse.detail, advice=advice)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surgery:
    """Where services are examined. The store is not `known` when it could not be read, which was said already."""

    configuration: Configuration
    reader: Reader
    store: Path | None
    known: bool
    sources: Mapping[str, Source]
    clock: Clock
    until: float

    def limit(self, entry: ServiceEntry) -> timedelta:
        """A read, a readiness probe and a look at its rights of as long again, and each rule asked some questions."""
        asked = [self.configuration.rules[name].source for name in entry.service.rules]
        questions = [
            self.configuration.sources[name].settings.timeout
            for name in asked
            if name in self.sources and name
        ]
        return entry.traffic.settings.timeout * 3 + sum(questions, timedelta()) * _QUESTIONS

    async def service(self, entry: ServiceEntry, switch: TrafficSwitch) -> list[Finding]:
        """Its switch, whether a rollback would work now, whether its rules have data."""
        name = entry.service.name
        what = f"switch of {name}"
        try:
            state = await switch.read()
        except SwitchError as error:
            advice = "without it nothing can be rolled back; see address, rights and names"
            return [Finding(what=what, health=Health.BAD, detail=str(error), advice=advice)]
        live = ", ".join(state.live) or "nothing"
        known = ", ".join(sorted(state.variants))
        found = [Finding(what=what, health=Health.OK, detail=f"readable; live: {live}; variants: {known}")]
        found += keepers(entry.service, state)
        found += outlook.ourselves(entry.service, state, self.configuration)
        if state.paused:
            detail = f"paused by a mark on the target: {state.paused}"
            found.append(
                Finding(
                    what=what,
                    health=Health.WARN,
                    detail=detail,
                    advice="nothing is switched until it is gone",
                )
            )
        if trouble := await switch.inspect():
            advice = "it can be looked at, but nothing can be rolled back"
            found.append(Finding(what=what, health=Health.BAD, detail=trouble, advice=advice))
        found.append(outlook.readiness(entry.service, state))
        deployments: tuple[Deployment, ...] = ()
        if self.known:
            try:
                deployments = await self._deployments(name)
            except StoreError as error:
                why = f"known versions: {error}"
                found.append(Finding(what=what, health=Health.WARN, detail=why, advice=error.advice))
            else:
                if entry.service.mode is not Mode.OBSERVE:
                    world = world_of(entry, {}, state, deployments, clock=self.clock)
                    found.append(outlook.target(world, state))
        found += await data_of(
            entry, state, deployments, self.configuration, self.sources, clock=self.clock, until=self.until
        )
        return found + await self._blindness(name)

    async def _blindness(self, name: str) -> list[Finding]:
        """What the daemon told of checks without data, and since when."""
        if not self.known or (self.store is not None and not self.store.exists()):
            return []
        try:
            incidents = (await self.reader.incidents(service=name, open_only=True, limit=_LOOK_BACK)).items
        except StoreError:
            return []  # that it cannot be read was said of the known versions
        return [
            Finding(
                what=f"data of {name}",
                health=Health.WARN,
                detail=f"not being watched, told {one.opened_at:%Y-%m-%d %H:%M UTC}: {one.summary}",
                advice=f"watchdog incidents show {one.id}",
            )
            for one in incidents
            if one.kind is IncidentKind.BLIND
        ]

    async def _deployments(self, name: str) -> tuple[Deployment, ...]:
        """The service's newest deployments. A store that is not there yet knows none."""
        if self.store is not None and not self.store.exists():
            return ()
        return (await self.reader.deployments(service=name, limit=_LOOK_BACK)).items
