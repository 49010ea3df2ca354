"""Builds providers from a loaded configuration. The only place that turns settings into parts.

This module must never open a connection; parts do that when they are first used.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.aio.clock import Clock, SteadyClock
from watchdog.app.shared import Shared
from watchdog.channels.interface import Channel
from watchdog.channels.registry import KINDS as CHANNELS
from watchdog.cluster.client import Cluster
from watchdog.config.loaded import Configuration, Provider, ServiceEntry
from watchdog.core.observation import Pulse
from watchdog.core.reach import SourcePlace, place_of
from watchdog.core.rule import ProbeForm
from watchdog.core.service import GitOps
from watchdog.engine.references import Reference
from watchdog.leader.interface import Leadership
from watchdog.leader.registry import KINDS as LEADERS
from watchdog.probes.interface import Probe
from watchdog.probes.registry import KINDS as PROBES
from watchdog.settings.registry import load
from watchdog.sources.interface import Source
from watchdog.sources.registry import KINDS as SOURCES
from watchdog.traffic.interface import Suspends, TrafficSwitch
from watchdog.traffic.readiness import WithReadiness
from watchdog.traffic.registry import KINDS as SWITCHES


def build_sources(configuration: Configuration, *, shared: Shared, clock: Clock) -> dict[str, Source]:
    """Every configured source by name."""
    return {
        name: build_source(name, one, shared=shared, clock=clock)
        for name, one in configuration.sources.items()
    }


def build_source(name: str, source: Provider, *, shared: Shared, clock: Clock) -> Source:
    """One source."""
    found = load("source", SOURCES, source.kind)
    built: Source = found(source.settings, name=name, clock=clock, **shared.wanted(found))
    return built


def build_channels(configuration: Configuration, *, shared: Shared, clock: Clock) -> dict[str, Channel]:
    """Every configured channel by name."""
    return {
        name: build_channel(name, one, shared=shared, clock=clock)
        for name, one in configuration.channels.items()
    }


def build_channel(name: str, channel: Provider, *, shared: Shared, clock: Clock) -> Channel:
    """One channel."""
    found = load("channel", CHANNELS, channel.kind)
    built: Channel = found(channel.settings, name=name, clock=clock, **shared.wanted(found))
    return built


def build_probes(configuration: Configuration, *, shared: Shared) -> dict[str, Probe]:
    """One probe for each kind that a rule or a readiness check names."""
    return {kind: build_probe(kind, shared=shared) for kind in probe_kinds(configuration)}


def probe_kinds(configuration: Configuration) -> frozenset[str]:
    """The kinds of probes that a rule, a readiness check or `self_check` names."""
    rules = {rule.form.kind for rule in configuration.rules.values() if isinstance(rule.form, ProbeForm)}
    ready = {entry.ready.kind for entry in configuration.services.values() if entry.ready}
    return frozenset(rules | ready | {one.kind for one in configuration.self_check})


def references(configuration: Configuration) -> tuple[Reference, ...]:
    """What `self_check` asks."""
    return tuple(
        Reference(kind=one.kind, settings=one.settings.model_dump()) for one in configuration.self_check
    )


def places(configuration: Configuration) -> dict[str, SourcePlace]:
    """Where each source is asked: what answers on this machine says nothing of the network."""
    return {
        name: place_of(one.kind, one.settings.model_dump()) for name, one in configuration.sources.items()
    }


def build_probe(kind: str, *, shared: Shared) -> Probe:
    """The one probe of a kind."""
    found = load("probe", PROBES, kind)
    built: Probe = found(**shared.wanted(found))
    return built


def build_switches(
    configuration: Configuration, probes: Mapping[str, Probe], *, shared: Shared, clock: Clock
) -> dict[str, TrafficSwitch]:
    """Every service's switch, with a readiness probe where one is configured."""
    return {
        name: build_switch(name, entry, probes, shared=shared, clock=clock)
        for name, entry in configuration.services.items()
    }


def build_switch(
    name: str, entry: ServiceEntry, probes: Mapping[str, Probe], *, shared: Shared, clock: Clock
) -> TrafficSwitch:
    """One service's switch."""
    found = load("traffic", SWITCHES, entry.traffic.kind)
    switch: TrafficSwitch = found(entry.traffic.settings, name=name, clock=clock, **shared.wanted(found))
    if entry.service.gitops is GitOps.PAUSE and isinstance(switch, Suspends):
        switch.expect_to_suspend()
    if entry.ready is None:
        return switch
    return WithReadiness(switch, _Readiness(entry.ready, probes[entry.ready.kind], clock))


def build_leadership(configuration: Configuration, *, clock: SteadyClock) -> Leadership:
    """Who says whether this process may act; with a connection of its own, that nothing else keeps busy."""
    chosen = configuration.leader
    found = load("leader", LEADERS, chosen.kind)
    wants = getattr(found, "WANTS", ())
    given: dict[str, object] = {}
    if "cluster" in wants:
        given["cluster"] = Cluster(configuration.kubernetes, clock=clock)
    if "postgres" in wants:
        given["postgres"] = configuration.postgres
    built: Leadership = found(chosen.settings, clock=clock, **given)
    return built


class _Readiness:
    """Asks a probe whether one address is ready."""

    def __init__(self, ready: Provider, probe: Probe, clock: Clock) -> None:
        self._settings = ready.settings.model_dump()
        self._probe = probe
        self._clock = clock

    async def __call__(self, address: str) -> bool | None:
        """Ready, not ready, or `None` when it cannot be tried."""
        settings = _with_address(self._settings, address)
        answer = await self._probe.check(settings, now=self._clock.now())
        return answer.passed if isinstance(answer, Pulse) else None


def _with_address(tree: object, address: str) -> dict[str, object]:
    def put(value: object) -> object:
        if isinstance(value, str):
            return value.replace("{address}", address)
        if isinstance(value, dict):
            return {key: put(one) for key, one in value.items()}
        return [put(one) for one in value] if isinstance(value, list | tuple) else value

    filled = put(tree)
    if not isinstance(filled, dict):
        raise TypeError("settings are a mapping")
    return filled
