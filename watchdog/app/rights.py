"""What the parts of a configuration may and may not do in their cluster, as the doctor tells it.

This module must never change a right, nor need one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import yaml
from pydantic import ValidationError

from watchdog.app.finding import Finding, Health
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError
from watchdog.cluster.rights import Entitled, Right, excess, granted, reading, roles
from watchdog.cluster.wanted import ASKING
from watchdog.config.loaded import Configuration
from watchdog.core.rule import ProbeForm
from watchdog.core.service import Service
from watchdog.core.variables import NAMES, fill_settings
from watchdog.leader.registry import KINDS as LEADERS
from watchdog.probes.registry import KINDS as PROBES
from watchdog.settings.registry import load

#: The longest an answer may take.
_TIMEOUT: Final = timedelta(seconds=5)
#: Questions asked at the same time.
_AT_ONCE: Final = 20
_GRANT: Final = "watchdog doctor -c FILE --role | kubectl apply -f -"


def needed(configuration: Configuration, parts: Iterable[object]) -> tuple[Right, ...]:
    """Everything that a configuration needs, each right once: of its `parts`, its probes, its leader, its discovery."""
    found = [right for part in parts if isinstance(part, Entitled) for right in part.rights]
    for entry in configuration.services.values():
        for name in entry.service.rules:
            form = configuration.rules[name].form
            if isinstance(form, ProbeForm):
                found += _of_probe(form, entry.service)
    leader = configuration.leader
    if leader.settings is not None:
        found += _of_class(load("leader", LEADERS, leader.kind), leader.settings)
    if configuration.discovery is not None:
        kinds = [ASKING[plural] for plural in configuration.discovery.kinds]
        for namespace in configuration.discovery.namespaces:
            found += [right for kind in kinds for right in reading(kind, namespace)]
    return tuple(dict.fromkeys(found))


def _of_probe(form: ProbeForm, service: Service) -> Sequence[Right]:
    """What a probe needs for one service, as far as that can be said before anything was deployed."""
    kind = load("probe", PROBES, form.kind)
    values = {"service": service.name, "environment": service.environment}
    values |= {f"label.{name}": text for name, text in service.labels.items()}
    later = {name: f"${name}" for name in NAMES if name not in values}
    try:
        settings = kind.Settings.model_validate(
            fill_settings(form.settings, {**values, **later}, form.quoting)
        )
    except ValidationError:
        return ()  # what a label makes unusable, the probe itself says
    return _of_class(kind, settings)


def _of_class(kind: Any, settings: Any) -> Sequence[Right]:
    """What a provider needs that is not built for that alone: by its settings."""
    of: Callable[[Any], Sequence[Right]] | None = getattr(kind, "rights_for", None)
    return () if of is None else of(settings)


def manifest(wanted: Sequence[Right], *, account: str, home: str) -> str:
    """The Role and RoleBinding of every namespace, as YAML for `kubectl apply -f -`."""
    made = roles(wanted, name=account, account=account, home=home)
    return yaml.safe_dump_all(made, sort_keys=False, width=120)


async def rights(cluster: Cluster, wanted: Sequence[Right]) -> list[Finding]:
    """Whether we have what we need, and nothing that we never need. Nothing to say where nothing is needed."""
    if not wanted:
        return []
    spaces = sorted({right.namespace for right in wanted})
    surplus = [right for space in spaces for right in excess(space, wanted)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(right: Right) -> bool:
        async with gate:
            return await granted(cluster, right, timeout=_TIMEOUT)

    try:
        answers = await asyncio.gather(*map(ask, [*wanted, *surplus]))
    except ClusterError as error:
        return [
            Finding(
                what="rights in the cluster",
                health=Health.BAD,
                detail=f"not to be had: {error}",
                advice="see `kubernetes:` in the configuration",
            )
        ]
    having = dict(zip([*wanted, *surplus], answers, strict=True))
    found = [*_missing(right for right in wanted if not having[right])]
    found += _needless(right for right in surplus if having[right])
    if not found:
        detail = f"all {len(wanted)} that are needed, and none of {len(surplus)} that would be dangerous"
        found = [Finding(what="rights in the cluster", health=Health.OK, detail=detail)]
    return found


def _missing(lacking: Iterable[Right]) -> Iterable[Finding]:
    for right in lacking:
        yield Finding(
            what="rights in the cluster", health=Health.BAD, detail=f"may not {right}", advice=_GRANT
        )


def _needless(surplus: Iterable[Right]) -> list[Finding]:
    listed = [str(right) for right in surplus]
    if not listed:
        return []
    advice = "give the service account only the Role that `watchdog doctor -c FILE --role` prints"
    detail = f"may do what it never needs: {', '.join(listed)}"
    return [Finding(what="rights in the cluster", health=Health.WARN, detail=detail, advice=advice)]
