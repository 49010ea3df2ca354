"""The providers of the running configuration, and the host locks of its switches: built, exchanged, closed.

What a changed configuration leaves as it was keeps its connections and its memory. What it changes is built beside,
takes the place of the other in one step, and the other is closed when no call can be under way in it any more. This
module must never close what may be in use, nor let go of a lock whose switch may still be written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Protocol

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.app.build import build_channel, build_probe, build_source, build_switch, probe_kinds
from watchdog.app.shared import Shared
from watchdog.channels.interface import Channel
from watchdog.channels.rendering import Rendering
from watchdog.config.loaded import Configuration, Provider
from watchdog.core.errors import ConfigError, WatchdogError
from watchdog.core.switchplace import SwitchPlace, another_object, exchanged, switch_place
from watchdog.core.traffic import Tier
from watchdog.probes.interface import Probe
from watchdog.settings.model import ProviderSettings
from watchdog.sources.interface import Source
from watchdog.traffic.interface import TrafficSwitch
from watchdog.traffic.lock import HostLock

#: The longest call is a change of a switch: twice its timeout, and what its readiness probes may take.
_BEYOND = timedelta(seconds=5)

Family = Literal["source", "channel", "switch"]
Key = tuple[Family, str]


class NotYet(WatchdogError):
    """The configuration can be taken once a rollback is over."""


class Part(Protocol):
    """What all providers have in common."""

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one provider is built. Equal `mark`s give the same provider; no call in it lasts longer than `longest`."""

    settings: ProviderSettings
    mark: tuple[Any, ...]
    longest: timedelta
    build: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class _Made:
    part: Any
    plan: _Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a configuration needs that is not there, and the locks of it. Nothing of it is in use yet."""

    configuration: Configuration
    made: Mapping[Key, _Made]
    probes: Mapping[str, Probe]
    locks: Mapping[str, HostLock]

    @property
    def empty(self) -> bool:
        """Whether everything is there already."""
        return not self.made

    def names(self, family: Family) -> frozenset[str]:
        """The names of a family's new parts."""
        return frozenset(name for of, name in self.made if of == family)


class Parts:
    """Owns every provider. The four mappings are shared with the engine and change in place."""

    def __init__(self, configuration: Configuration, *, clock: Clock, shared: Shared | None = None) -> None:
        """Builds everything, opens and locks nothing. `shared` is closed with the parts."""
        self._shared = shared or Shared(configuration.kubernetes, clock=clock)
        self.configuration = configuration
        self.sources: dict[str, Source] = {}
        self.channels: dict[str, Channel] = {}
        self.switches: dict[str, TrafficSwitch] = {}
        self.probes: dict[str, Probe] = {}
        self._by_family: dict[Family, dict[str, Any]] = {
            "source": self.sources,
            "channel": self.channels,
            "switch": self.switches,
        }
        self._clock = clock
        self._made: dict[Key, _Made] = {}
        self._locks: dict[str, HostLock] = {}
        self._left: set[Part] = set()
        self._closing = Crew("close")
        self._numbers = itertools.count()
        self.rendering.use(configuration.templates)
        self.admit(self._build(configuration))

    @property
    def cluster_costs(self) -> tuple[int, int] | None:
        """Calls to the Kubernetes API server and bytes received so far; `None` before the first."""
        cluster = self._shared.cluster
        return (cluster.calls, cluster.received) if cluster.calls else None

    @property
    def rendering(self) -> Rendering:
        """The words of all channels; the templates of the configuration in force are in use."""
        return self._shared.rendering

    def lock(self) -> None:
        """Take the host locks. Raises `ConfigError` for two services on one switch, `StoreError` for a lock."""
        self._locks |= self._lock(self.switches)

    def prepare(self, configuration: Configuration, *, busy: frozenset[str] = frozenset()) -> Built:
        """Build and lock what is new or different. Raises `WatchdogError`; then all is as it was.

        `busy` are services whose switch stays until a rollback is over; `NotYet` when another wants the same object.
        To be followed by `admit`, or `discard`.
        """
        built = self._build(configuration)
        made = {name: one.part for (family, name), one in built.made.items() if family == "switch"}
        switches = {name: made.get(name) or self.switches[name] for name in configuration.services}
        try:
            self._wait_for(busy, switches)
            locks = self._lock(switches)
        except BaseException:
            self.discard(built)
            raise
        return Built(configuration=configuration, made=built.made, probes=built.probes, locks=locks)

    def admit(self, built: Built) -> None:
        """Let the engine find what is new by name. What replaces something waits for `exchange`."""
        self.probes.update(built.probes)
        for key, made in built.made.items():
            if key not in self._made:
                self._install(key, made)
        self._locks |= built.locks

    def exchange(self, built: Built, *, held: frozenset[Key]) -> None:
        """Put the new in the place of the old, in one step, but for what is `held` until something has ended."""
        wanted = dict(self._plans(built.configuration, self.probes))
        for key, made in built.made.items():
            if key not in held and self._made.get(key) is not made:
                self._remove(key)
                self._install(key, made)
        for key in [key for key in self._made if key not in wanted and key not in held]:
            self._remove(key)
        self.configuration = built.configuration
        self.rendering.use(built.configuration.templates)
        self.discard(built)

    def discard(self, built: Built) -> None:
        """Close what was built and is not in use; a configuration that was admitted and not taken leaves nothing."""
        wanted = dict(self._plans(self.configuration, self.probes))
        for key, made in built.made.items():
            if self._made.get(key) is not made:
                self._close(key, made.part, timedelta())
            elif key not in wanted:
                self._remove(key)
        used = {switch.identity for switch in self.switches.values()}
        for identity, lock in [*self._locks.items(), *built.locks.items()]:
            if identity not in used:
                self._locks.pop(identity, None)
                lock.release()

    def moved(self, built: Built) -> frozenset[str]:
        """The services whose new switch moves another object than the one before, or calls its variants differently."""
        return frozenset(
            name for name, before, after in self._rebuilt(built) if another_object(before, after)
        )

    def exchanged(self, built: Built) -> dict[str, frozenset[str]]:
        """By service, the variants that keep their name and not one server: what is known of them is of others."""
        found = {name: exchanged(before, after) for name, before, after in self._rebuilt(built)}
        return {name: others for name, others in found.items() if others}

    def switch_places(self, built: Built | None = None) -> dict[str, SwitchPlace]:
        """What the switch of every service is; with `built`, as its configuration has it."""
        names = self.switches if built is None else built.configuration.services
        made = {**self._made, **(built.made if built is not None else {})}
        return {name: _place(made["switch", name]) for name in names}

    def _rebuilt(self, built: Built) -> Iterator[tuple[str, SwitchPlace, SwitchPlace]]:
        """The services whose switch was built anew, with what it was and what it is."""
        for name in built.names("switch") & self.switches.keys():
            yield name, _place(self._made["switch", name]), _place(built.made["switch", name])

    async def aclose(self) -> None:
        """Close everything, and let go of the locks. Idempotent."""
        await self._closing.stop()
        in_use = (self.channels, self.switches, self.probes, self.sources)
        for part in [*self._left, *(part for parts in in_use for part in parts.values())]:
            await part.aclose()
        self._left.clear()
        for lock in self._locks.values():
            lock.release()
        await self._shared.aclose()

    def _build(self, configuration: Configuration) -> Built:
        kinds = probe_kinds(configuration) - self.probes.keys()
        probes = {kind: build_probe(kind, shared=self._shared) for kind in kinds}
        made = {
            key: _Made(plan.build(), plan)
            for key, plan in self._plans(configuration, {**self.probes, **probes})
            if key not in self._made or self._made[key].plan.mark != plan.mark
        }
        return Built(configuration=configuration, made=made, probes=probes, locks={})

    def _plans(
        self, configuration: Configuration, probes: Mapping[str, Probe]
    ) -> Iterator[tuple[Key, _Plan]]:
        """Every provider of a configuration, not built yet."""
        clock, shared = self._clock, self._shared
        for name, one in configuration.sources.items():
            build: Callable[[], Any] = partial(build_source, name, one, shared=shared, clock=clock)
            yield ("source", name), _Plan(one.settings, _mark(configuration, one), _longest(one), build)
        for name, one in configuration.channels.items():
            build = partial(build_channel, name, one, shared=shared, clock=clock)
            yield ("channel", name), _Plan(one.settings, _mark(configuration, one), _longest(one), build)
        for name, entry in configuration.services.items():
            build = partial(build_switch, name, entry, probes, shared=shared, clock=clock)
            mark = _mark(configuration, entry.traffic) + _mark(configuration, entry.ready)
            yield ("switch", name), _Plan(entry.traffic.settings, mark, _longest(entry.traffic), build)

    def _wait_for(self, busy: frozenset[str], switches: Mapping[str, TrafficSwitch]) -> None:
        owners = {self.switches[name].identity: name for name in busy & self.switches.keys()}
        for name, switch in switches.items():
            owner = owners.get(switch.identity, name)
            if owner != name:
                raise NotYet(f"the switch of {name} is that of {owner}, whose rollback is under way")

    def _lock(self, switches: Mapping[str, TrafficSwitch]) -> dict[str, HostLock]:
        """One service a switch; and a target that cannot refuse a stale write has one writer on this host."""
        owners: dict[str, str] = {}
        taken: dict[str, HostLock] = {}
        try:
            for name, switch in switches.items():
                owner = owners.setdefault(switch.identity, name)
                if owner != name:
                    raise ConfigError(
                        f"the services {owner} and {name} have the same traffic switch {switch.identity}: "
                        "each would undo what is done for the other; make them one service, or two targets"
                    )
                if switch.tier is Tier.B and switch.identity not in self._locks:
                    lock = HostLock(switch.identity)
                    lock.acquire()
                    taken[switch.identity] = lock
        except BaseException:
            for lock in taken.values():
                lock.release()
            raise
        return taken

    def _install(self, key: Key, made: _Made) -> None:
        family, name = key
        self._made[key] = made
        self._by_family[family][name] = made.part

    def _remove(self, key: Key) -> None:
        """Out of the engine's sight; closed once the longest call that may be under way has ended."""
        made = self._made.pop(key)
        del self._by_family[key[0]][key[1]]
        self._close(key, made.part, made.plan.longest)

    def _close(self, key: Key, part: Part, after: timedelta) -> None:
        self._left.add(part)
        name = f"{key[0]} {key[1]} #{next(self._numbers)}"
        self._closing.start(name, self._close_after(part, after))

    async def _close_after(self, part: Part, after: timedelta) -> None:
        await self._clock.sleep(after.total_seconds())
        await part.aclose()
        self._left.discard(part)


def _place(made: _Made) -> SwitchPlace:
    return switch_place(made.part.identity, getattr(made.plan.settings, "variants", None))


def _mark(configuration: Configuration, provider: Provider | None) -> tuple[Any, ...]:
    """What a provider is made of: its kind, its settings with their secrets, the authorities it trusts."""
    if provider is None:
        return ()
    trusted = getattr(provider.settings, "ca_file", None)
    return provider.kind, provider.settings, configuration.trail.mark(trusted) if trusted else ""


def _longest(provider: Provider) -> timedelta:
    return 2 * provider.settings.timeout + _BEYOND
