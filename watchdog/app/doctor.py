"""The doctor: reaches everything a configuration names and says what would not work, before it is needed.

It acts on nothing: no switch is written, no message sent, no store migrated or locked. It may run beside the daemon.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog

from watchdog.aio.clock import Clock, SystemClock
from watchdog.app.build import build_channels, build_probes, build_sources, build_switches
from watchdog.app.environment import conflicting_distribution
from watchdog.app.finding import Finding, Health, worst
from watchdog.app.samples import collecting, data_of
from watchdog.channels.interface import Channel
from watchdog.config.loaded import Configuration, ServiceEntry
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.errors import StoreError, SwitchError
from watchdog.core.service import Mode
from watchdog.core.traffic import Tier, TrafficState
from watchdog.engine.pause import PauseFile
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
#: Less free space than this is worth a warning (bytes): the store grows by some kilobytes a decision.
_LITTLE_SPACE = 200 * 2**20
#: Deployments of a service that are looked through for the live and for a known good one.
_LOOK_BACK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is examined, built and closed by somebody else."""

    sources: Mapping[str, Source]
    channels: Mapping[str, Channel]
    switches: Mapping[str, TrafficSwitch]
    reader: Reader


class _Closes(Protocol):
    async def aclose(self) -> None: ...


async def examine(configuration: Configuration, *, clock: Clock | None = None) -> list[Finding]:
    """Everything that was found, in the order of the configuration. Never raises for what the outside does."""
    clock = clock or SystemClock()
    probes: Mapping[str, Probe] = build_probes(configuration)
    parts = Parts(
        sources=build_sources(configuration, clock=clock),
        channels=build_channels(configuration, clock=clock),
        switches=build_switches(configuration, dict(probes), clock=clock),
        reader=make_reader(configuration.store_url),
    )
    try:
        return await examine_parts(configuration, parts, clock=clock)
    finally:
        everything: list[_Closes] = [
            *parts.switches.values(),
            *parts.sources.values(),
            *parts.channels.values(),
        ]
        for part in (*everything, *probes.values(), parts.reader):
            await part.aclose()


async def examine_parts(
    configuration: Configuration, parts: Parts, *, clock: Clock, patience: timedelta = PATIENCE
) -> list[Finding]:
    """The same with parts that were built already. `patience` is how long a rule may stay without data."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def within(what: str, timeout: timedelta, looking: Awaitable[list[Finding]]) -> list[Finding]:
        async with gate:
            return await _bounded(what, timeout + _GRACE, looking)

    store = await within("store", timedelta(seconds=10), _store(configuration, parts.reader))
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
    answering = {
        name: source
        for (name, source), findings in zip(parts.sources.items(), sources, strict=True)
        if worst(findings) is not Health.BAD
    }
    surgery = _Surgery(
        configuration=configuration,
        reader=parts.reader,
        store=_file_of(configuration.store_url),
        known=worst(store) is not Health.BAD,
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
        *_environment(),
        *_configuration(configuration),
        *store,
        *await _pause(configuration),
        *(finding for findings in (*sources, *channels, *services) for finding in findings),
        *_shared(parts.switches),
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


def _environment() -> list[Finding]:
    conflict = conflicting_distribution()
    if conflict is None:
        return [
            Finding(what="environment", health=Health.OK, detail="nothing else installs a package 'watchdog'")
        ]
    return [
        Finding(
            what="environment", health=Health.BAD, detail=conflict, advice="use an environment of its own"
        )
    ]


def _configuration(configuration: Configuration) -> list[Finding]:
    whole = Finding(
        what="configuration",
        health=Health.OK,
        detail=f"services: {len(configuration.services)}, rules: {len(configuration.rules)}",
    )
    return [whole] + [
        Finding(what="configuration", health=Health.WARN, detail=str(note)) for note in configuration.notes
    ]


async def _store(configuration: Configuration, reader: Reader) -> list[Finding]:
    path = _file_of(configuration.store_url)
    if path is not None and not path.exists():
        return [_store_to_be(path)]
    try:
        page = await reader.audit(limit=1)
    except StoreError as error:
        return [Finding(what="store", health=Health.BAD, detail=str(error), advice=error.advice)]
    count = page.items[0].seq if page.items else 0
    found = [Finding(what="store", health=Health.OK, detail=f"readable, {count} audit records")]
    if path is not None:
        found += _room(path)
    return found


def _file_of(url: str) -> Path | None:
    scheme, _, rest = url.partition(":///")
    return Path(rest) if scheme == "sqlite" else None


def _store_to_be(path: Path) -> Finding:
    folder = path.parent
    if not folder.is_dir():
        advice = f"make it, owned by the watchdog's user: install -d {folder}"
        return Finding(
            what="store", health=Health.BAD, detail=f"the folder {folder} does not exist", advice=advice
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "give the folder to the watchdog's user, or run the doctor as that user"
        return Finding(
            what="store", health=Health.BAD, detail=f"this user may not write to {folder}", advice=advice
        )
    detail = f"{path} does not exist yet; the daemon makes it at its first start"
    return Finding(what="store", health=Health.OK, detail=detail)


def _room(path: Path) -> list[Finding]:
    found = []
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        advice = "give file and folder to the watchdog's user, or run the doctor as that user"
        found.append(
            Finding(what="store", health=Health.WARN, detail=f"this user may not write {path}", advice=advice)
        )
    free = shutil.disk_usage(path.parent).free
    if free < _LITTLE_SPACE:
        detail = f"only {free // 2**20} MiB are free in {path.parent}"
        found.append(
            Finding(
                what="store",
                health=Health.WARN,
                detail=detail,
                advice="free some space: without it no switch",
            )
        )
    return found


async def _pause(configuration: Configuration) -> list[Finding]:
    why = await PauseFile(configuration.pause_file).look()
    if not why:
        return [Finding(what="pause file", health=Health.OK, detail="not there: the watchdog may act")]
    health = Health.WARN if why.endswith("exists") else Health.BAD
    advice = "nothing will be switched; remove it when that is not wanted"
    return [Finding(what="pause file", health=health, detail=why, advice=advice)]


async def _source(name: str, source: Source) -> list[Finding]:
    what = f"source {name}"
    report = await source.inspect()
    health = Health.OK if report.ok else Health.BAD
    return [Finding(what=what, health=health, detail=report.detail, advice=report.advice)]


async def _channel(name: str, channel: Channel) -> list[Finding]:
    what = f"channel {name}"
    trouble = await channel.inspect()
    if trouble is None:
        return [Finding(what=what, health=Health.OK, detail="usable as far as can be seen without sending")]
    return [Finding(what=what, health=Health.BAD, detail=trouble, advice="messages to it would be lost")]


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
        """A read, a readiness probe and a look at its rights of as long again, and each rule asked once."""
        asked = [self.configuration.rules[name].source for name in entry.service.rules]
        questions = [
            self.configuration.sources[name].settings.timeout
            for name in asked
            if name in self.sources and name
        ]
        return entry.traffic.settings.timeout * 3 + sum(questions, timedelta())

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
        if state.managed_by:
            detail = f"managed by {state.managed_by}, which may revert a switch"
            found.append(
                Finding(what=what, health=Health.WARN, detail=detail, advice="set gitops for the service")
            )
        if trouble := await switch.inspect():
            advice = "it can be looked at, but nothing can be rolled back"
            found.append(Finding(what=what, health=Health.BAD, detail=trouble, advice=advice))
        found.append(_readiness(entry, state))
        deployments: tuple[Deployment, ...] = ()
        if self.known:
            try:
                deployments = await self._deployments(name)
            except StoreError as error:
                why = f"known versions: {error}"
                found.append(Finding(what=what, health=Health.WARN, detail=why, advice=error.advice))
            else:
                if entry.service.mode is not Mode.OBSERVE:
                    found.append(_known_good(name, state, deployments))
        return found + await data_of(
            entry, state, deployments, self.configuration, self.sources, clock=self.clock, until=self.until
        )

    async def _deployments(self, name: str) -> tuple[Deployment, ...]:
        """The service's newest deployments. A store that is not there yet knows none."""
        if self.store is not None and not self.store.exists():
            return ()
        return (await self.reader.deployments(service=name, limit=_LOOK_BACK)).items


def _known_good(name: str, state: TrafficState, deployments: Iterable[Deployment]) -> Finding:
    """Whether the store knows a version, on a variant without traffic, that was healthy for a whole soak."""
    what = f"rollback of {name}"
    for one in deployments:
        if _is_target(one, state):
            detail = f"{one.version} on {one.variant} is known good"
            return Finding(what=what, health=Health.OK, detail=detail)
    return Finding(
        what=what,
        health=Health.WARN,
        detail="no version on a variant without traffic is known good yet",
        advice="a version becomes one after its `soak` in traffic; until then bad deployments page",
    )


def _readiness(entry: ServiceEntry, state: TrafficState) -> Finding:
    """Whether there is a variant that a rollback could move traffic to now, as far as the switch says."""
    what = f"rollback of {entry.service.name}"
    dangerous = Health.WARN if entry.service.mode is Mode.OBSERVE else Health.BAD
    if not state.live:
        return Finding(
            what=what, health=dangerous, detail="no variant takes traffic", advice="see the switch"
        )
    standby = [name for name, variant in state.variants.items() if not variant.live]
    if not standby:
        return Finding(
            what=what,
            health=dangerous,
            detail="every variant takes traffic: there is none to go back to",
            advice="keep the version before on a variant without traffic",
        )
    serving = sum(state.variants[name].ready or 0 for name in state.live)
    needed = max(1.0, entry.service.rollback.min_ready * serving)
    troubles = []
    for name in standby:
        variant = state.variants[name]
        if variant.ready is None:
            troubles.append(f"{name}: readiness unknown" + (f" ({variant.note})" if variant.note else ""))
        elif variant.ready < needed:
            troubles.append(f"{name}: {variant.ready} of {variant.total} ready, {needed:g} needed")
        else:
            detail = f"{name} could take over: {variant.ready} of {variant.total} ready"
            return Finding(what=what, health=Health.OK, detail=detail)
    unknown = any(state.variants[name].ready is None for name in standby)
    advice = "give the switch a `ready` probe" if unknown else "start the standby, or see why it is not ready"
    return Finding(
        what=what, health=dangerous, detail=f"no rollback now: {'; '.join(troubles)}", advice=advice
    )


def _is_target(deployment: Deployment, state: TrafficState) -> bool:
    variant = state.variants.get(deployment.variant)
    standby = variant is not None and not variant.live
    return deployment.state is DeploymentState.STABLE and deployment.rollback_allowed and standby


def _shared(switches: Mapping[str, TrafficSwitch]) -> list[Finding]:
    """Services whose switches are one and the same object: they would undo each other's changes."""
    owners: dict[str, list[str]] = {}
    for name, switch in switches.items():
        if switch.tier is Tier.B:
            owners.setdefault(switch.identity, []).append(name)
    return [
        Finding(
            what="switches",
            health=Health.BAD,
            detail=f"{' and '.join(names)} move traffic of the same object: {identity}",
            advice="one service for each switched object",
        )
        for identity, names in owners.items()
        if len(names) > 1
    ]
