"""Loading: one configuration file and its rule files in, one `Configuration` or every mistake out.

Each file is read once. This module must never build a provider or touch the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from watchdog.cluster.pod import own_pod
from watchdog.cluster.wanted import Defaults
from watchdog.config.arming import gaps, silent, tell
from watchdog.config.backtest_file import backtests_of
from watchdog.config.backtests import BackTests
from watchdog.config.discovered import Discovered
from watchdog.config.document import read
from watchdog.config.fields import NAME
from watchdog.config.forms import Forms
from watchdog.config.leader import leader_of
from watchdog.config.loaded import Configuration, Discovery, Provider
from watchdog.config.nodes import Node
from watchdog.config.ourselves import Ourselves, refuse_ourselves
from watchdog.config.people import Telling
from watchdog.config.policy import REMEMBERED, Profile
from watchdog.config.problems import InvalidConfiguration, Problems, in_order, meant, quote, unknown
from watchdog.config.providers import Providers, Registries, extra_for
from watchdog.config.rule_files import RuleBook, named, want_version
from watchdog.config.rules import Known, Surroundings
from watchdog.config.schema import PAUSE_FILE, MainShape
from watchdog.config.secrets import Secrets
from watchdog.config.server import server_of
from watchdog.config.services import Services
from watchdog.config.serving import ProfileShape
from watchdog.config.shape import shape
from watchdog.config.store import StorePlace, store_of
from watchdog.config.telling import HeartbeatSettings
from watchdog.config.templates import templates_of
from watchdog.config.trail import Trail
from watchdog.config.variables import ADDRESS
from watchdog.core.reach import is_here
from watchdog.core.service import Intervals, Limits
from watchdog.core.units import format_duration
from watchdog.core.variables import names_in
from watchdog.telemetry.redact import register_secret

__all__ = ["InvalidConfiguration", "Registries", "load"]


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    registries: Registries | None = None,
    trail: Trail | None = None,
) -> Configuration:
    """The configuration in the file at `path`. Raises `InvalidConfiguration` with all mistakes at once.

    `environ` is what `!env` reads. `registries` are the known kinds of providers, by default all there are. `trail`
    learns what was read, also when there are mistakes.
    """
    trail, found = Trail() if trail is None else trail, Discovered()
    while True:
        try:
            configuration = _pass(path, environ, registries or Registries(), trail, found)
        except InvalidConfiguration as error:
            if not found.blame(error.problems):
                raise
        else:
            return replace(configuration, notes=in_order([*configuration.notes, *found.notes]))


def _pass(
    path: Path, environ: Mapping[str, str], registries: Registries, trail: Trail, found: Discovered
) -> Configuration:
    problems = Problems()
    base = path.parent
    root = read(path, problems, secrets=Secrets(environ, base, trail), trail=trail)
    written, broken = (None, frozenset[str]()) if root is None else shape(MainShape, root, problems)
    if root is None or written is None:
        problems.raise_if_any()
        raise AssertionError("a file without mistakes has a shape")
    want_version(root, problems)
    providers = Providers(registries, base, problems, trail)
    loader = _Loader(path, root, written, broken, providers, problems, trail)
    configuration = loader.configuration(environ, found)
    problems.raise_if_any()
    return configuration


class _Loader:
    """The main file, section by section; each section goes on where another has mistakes."""

    def __init__(
        self,
        path: Path,
        root: Node,
        written: MainShape,
        broken: frozenset[str],
        providers: Providers,
        problems: Problems,
        trail: Trail,
    ) -> None:
        self._path = path
        self._base = path.parent
        self._root = root
        self._written = written
        self._broken = broken
        self._problems = problems
        self._providers = providers
        self._trail = trail
        #: Whether every rule could be read; else nobody knows which names are unknown.
        self._rules_whole = True

    def configuration(self, environ: Mapping[str, str], found: Discovered) -> Configuration:
        """Everything; to be used only when no mistake was found."""
        written, root, problems = self._written, self._root, self._problems
        named = written.intervals
        intervals = Intervals(
            critical=named.critical, normal=named.normal, extended=named.extended, recheck=named.recheck
        )
        server = server_of(root, written.server, problems)
        kept = self._providers.check_files(root.get("store"), written.store)
        whole = "store" not in self._broken
        store = store_of(root, kept, self._base, problems) if whole else StorePlace(kept.url)
        sources = self._family("source", "sources")
        around = Surroundings.of(intervals, sources, self._providers, known="sources" not in self._broken)
        rules = self._rules(around)
        tests = backtests_of(root, written.backtest, self._base, problems, self._trail)
        services = self._services(rules, found, tests)
        told = Telling(root, written, self._broken, self._providers, problems).read(
            self._family("channel", "channels"), services
        )
        ours = Ourselves(server, _found(sources), told.channels, own_pod(environ))
        refuse_ourselves(services.entries.values(), ours, self._providers, problems)
        return Configuration(
            path=self._path,
            store_url=store.url,
            leader=leader_of(
                root,
                services.entries,
                self._providers,
                problems,
                postgres=store.postgres is not None,
                environ=environ,
            ),
            postgres=store.postgres,
            pause_file=self._pause_file(),
            server=server,
            intervals=intervals,
            limits=self._limits(),
            rules={known.name: known.rule for known in rules.values() if known.rule is not None},
            services=services.entries,
            sources=_found(sources),
            channels=told.channels,
            routes=told.routes,
            route_places=told.places,
            escalations=told.policies,
            templates=templates_of(
                root.get("templates"), written.templates, self._base, problems, self._trail
            ),
            heartbeat=self._heartbeat(),
            backtest=tests,
            self_check=self._self_check(),
            discovery=self._discovery(),
            kubernetes=self._providers.check_files(self._root.get("kubernetes"), written.kubernetes),
            notes=problems.notes,
            trail=self._trail,
        )

    def _heartbeat(self) -> HeartbeatSettings | None:
        written = self._written.heartbeat
        if written is None:
            return None
        register_secret(written.url.get_secret_value())
        return self._providers.check_files(self._root.get("heartbeat"), written)

    def _pause_file(self) -> Path:
        """Whatever is there means paused, so a folder would mean it for ever."""
        place, file = self._root.get("pause_file"), self._base / self._written.pause_file
        if place is not None and place.text == "":
            self._problems.add(place.at, f"the path is empty; leave `pause_file` out for {PAUSE_FILE}")
        elif place is not None and "pause_file" not in self._broken and _is_folder(file):
            words = f"{quote(str(file))} is a folder, which would mean paused for ever; name a file in it"
            self._problems.add(place.at, words)
        return file

    def _self_check(self) -> tuple[Provider, ...]:
        """Targets beyond the services'. Their settings take no variables: they are nobody's."""
        place = self._root.get("self_check")
        found = []
        for node in (place.items or ()) if place is not None else ():
            for leaf in node.leaves():
                for word in names_in(leaf.text or ""):
                    self._problems.add(leaf.at, f"${word} is not known here: it is asked for no service")
                if ADDRESS in (leaf.text or ""):
                    self._problems.add(leaf.at, f"{ADDRESS} is not known here: it is asked for no variant")
            probe = self._providers.read("probe", node)
            if any(is_here(getattr(probe and probe.settings, key, None)) for key in ("url", "address")):
                words = "it is on this machine: that it answers says nothing of the network"
                self._problems.note(node.at, words)
            found.append(probe)
        if place is not None and not place.items and "self_check" not in self._broken:
            self._problems.add(place.at, "an empty list checks nothing; leave `self_check` out")
        return tuple(one for one in found if one is not None)

    def _limits(self) -> Limits:
        written = self._written.limits
        count, per = written.max_rollbacks
        breaker = written.max_breaching
        if per > REMEMBERED:
            words = f"longer than {format_duration(REMEMBERED)} cannot be kept: so long rollbacks are counted"
            self._problems.add(self._root.at_value("limits", "max_rollbacks"), words)
        return Limits(max_rollbacks=count, per=per, max_share=breaker.share, at_least=breaker.at_least)

    def _family(self, family: str, section: str) -> dict[str, Provider | None]:
        """The providers of one section; `None` for those with mistakes."""
        place = self._root.get(section)
        if place is None or place.entries is None:
            return {}
        for name, entry in place.entries.items():
            if not _is_name(name):
                words = f"{quote(name)} is not a name: letters, digits, '_', '-' and '.', none of '-.' first"
                self._problems.add(entry.at, words)
        return {name: self._providers.read(family, entry.node) for name, entry in place.entries.items()}

    def _rules(self, around: Surroundings) -> dict[str, Known]:
        book = RuleBook(around, Forms(self._providers, self._problems), self._problems, self._trail)
        book.read(self._rule_files())
        self._rules_whole = self._rules_whole and book.whole
        return book.rules

    def _rule_files(self) -> Iterable[Path]:
        place = self._root.get("rules")
        if place is None or not place.items:
            if "rules" not in self._broken:
                at = self._root.at if place is None else place.at
                self._problems.add(at, "`rules` must name at least one rule file, for example [rules/*.yaml]")
            return ()
        files, whole = named(self._base, place, self._problems, self._trail)
        self._rules_whole = self._rules_whole and whole
        return files

    def _services(self, rules: dict[str, Known], found: Discovered, tests: BackTests) -> Services:
        services = Services(
            rules,
            self._profiles(),
            self._providers,
            self._problems,
            rules_whole=self._rules_whole,
            backtests=tests,
            require_backtest=self._written.require_backtest,
        )
        before = len(self._problems)
        place = self._root.get("services")
        items = None if place is None else place.items
        discovery = self._discovery()
        if not items and discovery is None and not {"services", "discover"} & self._broken:
            at = self._root.at if place is None else place.at
            self._problems.add(at, "`services` must name at least one service")
        if discovery is not None:
            self._check_rules(rules)
            items = [*(items or ()), *found.services(discovery.file, self._trail, self._problems)]
        for node in items or ():
            services.add(node)
        whole = len(self._problems) == before and bool(items) and self._rules_whole
        if whole and not any(rules[name].armed for name in services.used):
            words = "no rule is armed: no service uses a rule with a `rollback` threshold"
            self._problems.add(self._root.at_key("services"), words)
        if whole:
            self._tell_unused_rules([known for name, known in rules.items() if name not in services.used])
        self._tell_unused_profiles(services)
        self._tell_gaps(services, rules, tests)
        return services

    def _tell_gaps(self, services: Services, rules: dict[str, Known], tests: BackTests) -> None:
        compiled = {name: known.rule for name, known in rules.items() if known.rule is not None}
        found = gaps(services.entries, compiled, tests, now=None)
        if not silent(found, tests):
            tell(found, {name: known.at for name, known in rules.items()}, self._problems)

    def _discovery(self) -> Discovery | None:
        written = self._written.discover
        if written is None:
            return None
        extra = extra_for("feeds")
        if extra is not None:
            words = f"'discover' needs an extra: pip install 'rollback-watchdog[{extra}]'"
            self._problems.add(self._root.at_key("discover"), words)
        place = self._root.get("discover", "rules")
        return Discovery(
            namespaces=written.namespaces,
            kinds=written.kinds,
            file=self._base / written.file,
            defaults=Defaults(
                rules=tuple(place.data()) if place is not None and place.items else (),
                mode=written.mode.value,
                environment=written.environment,
            ),
        )

    def _check_rules(self, rules: Mapping[str, Known]) -> None:
        """The names in `discover`, told where they stand and not once for every service that is found."""
        place = self._root.get("discover", "rules")
        for item in (place.items or ()) if place is not None else ():
            if item.text is not None and item.text not in rules and self._rules_whole:
                self._problems.add(item.at, unknown("rule", item.text, rules))

    def _tell_unused_rules(self, unused: list[Known]) -> None:
        """One note, however many: whole packs are named of which a few rules are used."""
        if len(unused) == 1:
            self._problems.note(unused[0].at, f"rule {unused[0].name!r} is used by no service")
        elif unused:
            names = ", ".join(sorted(known.name for known in unused))
            words = f"{len(unused)} rules are used by no service: {names}"
            self._problems.note(self._root.at_key("rules"), words)

    def _profiles(self) -> dict[str, Profile]:
        place = self._root.get("environments")
        profiles: dict[str, Profile] = {}
        for name, entry in (place.entries or {}).items() if place is not None else ():
            written, _ = shape(ProfileShape, entry.node, self._problems)
            if written is not None:
                profiles[name] = Profile(shape=written, node=entry.node)
        return profiles

    def _tell_unused_profiles(self, services: Services) -> None:
        place = self._root.get("environments")
        for name in place.keys() if place is not None else ():
            if name not in services.environments:
                at, words = (
                    self._root.at_key("environments", name),
                    f"no service is in environment {quote(name)}",
                )
                guess = meant(name, services.environments)
                if guess:
                    self._problems.add(at, f"{words}; did you mean {guess!r}?")
                else:
                    self._problems.note(at, words)


def _found(providers: dict[str, Provider | None]) -> dict[str, Provider]:
    return {name: provider for name, provider in providers.items() if provider is not None}


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_name(name: str) -> bool:
    return bool(NAME.fullmatch(name))
