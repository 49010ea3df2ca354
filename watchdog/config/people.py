"""Everything about telling people, section by section: channels, policies, mute windows, reports, routes.

This module must never send anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from watchdog.config.escalations import Channels, Policies
from watchdog.config.fields import NAME
from watchdog.config.loaded import Position, Provider
from watchdog.config.mutes import report_of, window_of
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.providers import Providers
from watchdog.config.routes import Routes, fallback
from watchdog.config.schema import MainShape
from watchdog.config.services import Services
from watchdog.core.ladder import Policy
from watchdog.core.mute import MuteWindow
from watchdog.core.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Who is told. `policies` are all that were written, by name; `places` are where the routes stand."""

    channels: dict[str, Provider]
    routes: tuple[Route, ...] = ()
    places: tuple[Position, ...] = ()
    policies: dict[str, Policy] = field(default_factory=dict)


class Telling:
    """Reads the sections; each goes on where another has mistakes."""

    def __init__(
        self,
        root: Node,
        written: MainShape,
        broken: frozenset[str],
        providers: Providers,
        problems: Problems,
    ) -> None:
        """`broken` are the keys of the file that had a mistake."""
        self._root = root
        self._written = written
        self._broken = broken
        self._providers = providers
        self._problems = problems

    def read(self, channels: dict[str, Provider | None], services: Services) -> Told:
        """Who is told; `channels` that have mistakes are `None`."""
        found = {name: one for name, one in channels.items() if one is not None}
        known = Channels(channels, self._providers, self._problems)
        policies, mutes = self._policies(known), self._mutes()
        compiled = {name: policy for name, policy in policies.items() if policy is not None}
        place = self._root.get("routes")
        if not self._root.has("channels") and place is None and not {"channels", "routes"} & self._broken:
            self._tell_unused("escalations", policies, set(), "no route names policy {}")
            self._tell_unused("mute_windows", mutes, set(), "no route names mute window {}")
            alone, routes = fallback(self._root, self._providers, self._problems)
            return Told(channels=alone, routes=routes, places=(self._root.at,), policies=compiled)
        items = None if place is None else place.items
        if not items:
            self._tell_nobody(place, channels)
            return Told(channels=found, policies=compiled)
        compiler = Routes(known, services, self._problems, policies=policies, mutes=mutes)
        for index, node in enumerate(items):
            compiler.add(node, last=index == len(items) - 1)
        self._tell_unused("channels", channels, compiler.used, "no route goes to channel {}")
        self._tell_unused("escalations", policies, compiler.used_policies, "no route names policy {}")
        self._tell_unused("mute_windows", mutes, compiler.used_mutes, "no route names mute window {}")
        return Told(
            channels=found,
            routes=tuple(compiler.routes),
            places=tuple(compiler.places),
            policies=compiled,
        )

    def _tell_nobody(self, place: Node | None, channels: dict[str, Provider | None]) -> None:
        if "routes" not in self._broken:
            to = next(iter(channels), "CHANNEL")
            words = f"nobody would be told: write `routes: [{{to: [{to}]}}]`"
            at = self._root.at_key("channels") if place is None else place.at
            self._problems.add(at, words)

    def _tell_unused(self, section: str, names: object, used: set[str], words: str) -> None:
        for name in names if isinstance(names, dict) else ():
            if name not in used:
                self._problems.note(self._root.at_key(section, name), words.format(repr(name)))

    def _policies(self, channels: Channels) -> dict[str, Policy | None]:
        """The policies by name; `None` for those of which nothing could be read."""
        weekly = report_of(self._root.get("reports", "weekly"), self._written.reports.weekly, self._problems)
        compiler = Policies(channels, weekly, self._problems)
        names = self._named("escalations")
        for name, node in names.items():
            compiler.add(name, node)
        return {name: compiler.policies.get(name) for name in names}

    def _mutes(self) -> dict[str, MuteWindow | None]:
        names = self._named("mute_windows")
        return {name: window_of(name, node, self._problems) for name, node in names.items()}

    def _named(self, section: str) -> dict[str, Node]:
        """The entries of a section, by name."""
        place = self._root.get(section)
        entries = (place.entries or {}) if place is not None else {}
        for name, entry in entries.items():
            if not NAME.fullmatch(name):
                words = f"{quote(name)} is not a name: letters, digits, '_', '-' and '.', none of '-.' first"
                self._problems.add(entry.at, words)
        return {name: entry.node for name, entry in entries.items()}
