"""One configured provider: its kind looked up, its settings validated by its own class.

This module must never build a provider, and never know one by name. Of files it opens only `ca_file` and `kubeconfig`.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, SecretStr

from watchdog.channels.registry import KINDS as CHANNELS
from watchdog.config.loaded import Provider
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.shape import shape
from watchdog.config.trail import Trail
from watchdog.leader.registry import KINDS as LEADERS
from watchdog.probes.registry import KINDS as PROBES
from watchdog.settings.model import Settings
from watchdog.settings.registry import UnknownKind, nearest
from watchdog.settings.registry import load as load_kind
from watchdog.sources.registry import KINDS as SOURCES
from watchdog.telemetry.redact import register_secret
from watchdog.traffic.registry import KINDS as TRAFFIC

S = TypeVar("S", bound=Settings)

#: What a kind needs that wants something shared: the modules, and the extra that brings them.
_WANTS = {
    "cluster": ("kubernetes_asyncio", "kubernetes"),
    "feeds": ("kubernetes_asyncio", "kubernetes"),
    "postgres": ("asyncpg", "postgres"),
}
#: All that is compared of a file of certificate authorities, in bytes; the system's own has a quarter of it.
_LARGEST_CA = 1024 * 1024
#: All that is read of a kubeconfig, in bytes: one of hundreds of clusters, with their certificates.
_LARGEST_KUBECONFIG = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """The kinds of every family, as `package.module:Class`."""

    sources: Mapping[str, str] = field(default_factory=lambda: SOURCES)
    probes: Mapping[str, str] = field(default_factory=lambda: PROBES)
    traffic: Mapping[str, str] = field(default_factory=lambda: TRAFFIC)
    channels: Mapping[str, str] = field(default_factory=lambda: CHANNELS)
    leaders: Mapping[str, str] = field(default_factory=lambda: LEADERS)

    def of(self, family: str) -> Mapping[str, str]:
        """The kinds of a family: `source`, `probe`, `traffic`, `channel` or `leader`."""
        families = {
            "source": self.sources,
            "probe": self.probes,
            "traffic": self.traffic,
            "channel": self.channels,
            "leader": self.leaders,
        }
        return families[family]


class Providers:
    """Validates providers; `base` is the folder that relative paths in settings start from."""

    def __init__(
        self, registries: Registries, base: Path, problems: Problems, trail: Trail | None = None
    ) -> None:
        self._registries = registries
        self._base = base
        self._problems = problems
        self._trail = Trail() if trail is None else trail

    def read(self, family: str, node: Node, *, beside: tuple[str, ...] = ()) -> Provider | None:
        """The provider in the mapping `node`; keys in `beside` are not the provider's."""
        if node.entries is None:
            if not node.reported:
                self._problems.add(node.at, f"expected a mapping with `kind`, found {node.describe()}")
            return None
        kind = self._kind(family, node)
        found = None if kind is None else self._class(family, node, kind)
        if found is None or kind is None:
            return None
        own = node.without("kind", *beside)
        settings, broken = shape(found.Settings, own, self._problems, also=("kind", *beside))
        if settings is None or broken:
            return None
        # The one place that sees every provider's secrets, those of providers that never register their own too.
        for secret in _secrets(settings):
            register_secret(secret)
        return Provider(kind=kind, settings=self.check_files(node, settings), at=node.at)

    def check_files(self, node: Node | None, settings: S) -> S:
        """Settings with absolute paths; what cannot be used is told at its place in `node`."""
        settings = self._anchored(settings)
        if node is not None:
            self._check_ca_file(node, settings)
            self._check_kubeconfig(node, settings)
        return settings

    def class_of(self, family: str, kind: str) -> Any:
        """The class of a kind that is known to exist."""
        return load_kind(family, self._registries.of(family), kind)

    def _kind(self, family: str, node: Node) -> str | None:
        if not node.has("kind"):
            like = nearest("kind", node.keys())
            if like is not None and len(like) <= len("kind") + 1:
                self._problems.add(node.at_key(like), f"unknown key {quote(like)}; did you mean 'kind'?")
                node.rename(like, "kind")
            else:
                known = ", ".join(sorted(self._registries.of(family)))
                self._problems.add(node.at, f"missing key 'kind' (known kinds of {family}: {known})")
                return None
        kind = node.find(("kind",))
        if kind.text is None and not kind.reported:
            self._problems.add(kind.at, f"expected text, found {kind.describe()}; quote it")
        return None if kind.reported else kind.text

    def _class(self, family: str, node: Node, kind: str) -> Any:
        try:
            found = self.class_of(family, kind)
            extra = _missing_extra(found)
            if extra is None:
                return found
            needs = f"kind {quote(kind)} needs an extra: pip install 'rollback-watchdog[{extra}]'"
            self._problems.add(node.at_value("kind"), needs)
        except UnknownKind as fault:
            self._problems.add(node.at_value("kind"), str(fault))
        except ModuleNotFoundError as fault:
            if fault.name is None or fault.name.split(".")[0] == __name__.split(".", maxsplit=1)[0]:
                raise
            needs = f"kind {quote(kind)} needs the Python package {fault.name!r}, which is not installed"
            self._problems.add(node.at_value("kind"), needs)
        return None

    def _check_ca_file(self, node: Node, settings: Settings) -> None:
        """Authorities that cannot be read would be noticed at the first connection only."""
        path = getattr(settings, "ca_file", None)
        if not isinstance(path, Path):
            return
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self._trail.refused(path, limit=_LARGEST_CA)
                why = "is not a regular file"
            else:
                self._trail.read(path, path.read_bytes()[: _LARGEST_CA + 1], limit=_LARGEST_CA)
                ssl.create_default_context(cafile=path)
                return
        except ssl.SSLError:
            why = "holds no certificates in PEM"
        except OSError as fault:
            self._trail.failed(path, fault, limit=_LARGEST_CA)
            why = f"cannot be read: {fault.strerror or fault}"
        except ValueError as fault:
            why = f"cannot be read: {fault}"
        self._problems.add(node.at_value("ca_file"), f"{path} {why}")

    def _check_kubeconfig(self, node: Node, settings: Settings) -> None:
        """One that is named and not there, or has no such context, would be noticed at the first look only.

        Nothing else of it is judged: it is read when it is used.
        """
        path = getattr(settings, "kubeconfig", None)
        if not isinstance(path, Path):
            return
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self._problems.add(node.at_value("kubeconfig"), f"{path} is not a regular file")
                return
            known = _contexts(path)
        except OSError as fault:
            words = f"{path} cannot be read: {fault.strerror or fault}"
            self._problems.add(node.at_value("kubeconfig"), words)
            return
        context = getattr(settings, "context", None)
        if context is not None and known and context not in known:
            self._problems.add(node.at_value("context"), unknown("context", context, known))

    def _anchored(self, settings: S) -> S:
        """Relative paths start from the configuration's folder, not from wherever the daemon was started."""
        paths = {
            name: self._base / value
            for name in type(settings).model_fields
            if isinstance(value := getattr(settings, name), Path) and not value.is_absolute()
        }
        return settings.model_copy(update=paths) if paths else settings


def extra_for(want: str) -> str | None:
    """The extra that something shared needs (`cluster`, `postgres`) and that is not installed."""
    module, extra = _WANTS[want]
    return extra if find_spec(module) is None else None


def _contexts(path: Path) -> frozenset[str]:
    """The names of a kubeconfig's contexts; none where it is no kubeconfig. Raises `OSError`."""
    with path.open("rb") as file:
        text = file.read(_LARGEST_KUBECONFIG)
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return frozenset()
    listed = found.get("contexts") if isinstance(found, Mapping) else None
    entries = listed if isinstance(listed, list) else []
    names = (entry.get("name") for entry in entries if isinstance(entry, Mapping))
    return frozenset(name for name in names if isinstance(name, str))


def _missing_extra(found: Any) -> str | None:
    """The extra that a provider's class needs and that is not installed."""
    needed = [(name, found.EXTRA) for name in getattr(found, "MODULES", ())]
    needed += [_WANTS[name] for name in getattr(found, "WANTS", ()) if name in _WANTS]
    return next((extra for module, extra in needed if find_spec(module) is None), None)


def _secrets(value: Any) -> Iterator[str]:
    """Every secret anywhere in validated settings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _secrets(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)
