"""Who acts: the `leader` block, and what several watchdogs need beside it.

This module must never ask a cluster or a database.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.cluster.access import in_a_pod
from watchdog.config.loaded import Leader, ServiceEntry
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.providers import Providers
from watchdog.core.traffic import Tier
from watchdog.core.units import format_duration
from watchdog.leader.registry import ALONE
from watchdog.settings.model import Settings


def leader_of(
    root: Node,
    services: Mapping[str, ServiceEntry],
    providers: Providers,
    problems: Problems,
    *,
    postgres: bool,
    environ: Mapping[str, str],
) -> Leader:
    """Who acts; `postgres`: whether the store is one that several can use. `environ` says whether this is a pod."""
    place = root.get("leader")
    found = None if place is None else providers.read("leader", place)
    if place is None or found is None or found.kind == ALONE:
        if postgres and (place is None or found is not None):
            words = "nothing keeps a second watchdog from this store; for several write `leader: {kind: postgres}`"
            problems.note(root.at_value("store", "url"), words)
        return Leader()
    at = place.at_value("kind")
    if not postgres:
        words = (
            f"{quote(found.kind)} is for several watchdogs, which need a PostgreSQL store (`store: url`); "
            "with a file there is one, `leader: {kind: single}`"
        )
        problems.add(at, words)
    _check_times(place, found.settings, problems)
    _refuse_single_writers(services, providers, problems, kind=found.kind)
    wants = getattr(providers.class_of("leader", found.kind), "WANTS", ())
    if "cluster" in wants and not in_a_pod(environ):
        _tell_outside(root, place, problems)
    return Leader(kind=found.kind, settings=found.settings)


def _check_times(place: Node, settings: Settings, problems: Problems) -> None:
    times = {name: getattr(settings, name) for name in ("lease", "renew", "retry")}
    for shorter, longer in (("renew", "lease"), ("retry", "renew")):
        if times[shorter] >= times[longer]:
            at = place.at_value(shorter) if place.has(shorter) else place.at_value(longer)
            short, long = format_duration(times[shorter]), format_duration(times[longer])
            problems.add(at, f"`{shorter}` ({short}) must be shorter than `{longer}` ({long})")


def _refuse_single_writers(
    services: Mapping[str, ServiceEntry], providers: Providers, problems: Problems, *, kind: str
) -> None:
    """What cannot refuse a stale write would take one from a leader that has just been replaced."""
    for entry in services.values():
        switch = providers.class_of("traffic", entry.traffic.kind)
        if getattr(switch, "TIER", None) is Tier.B:
            words = (
                f"a switch of kind {quote(entry.traffic.kind)} cannot refuse a stale write, so it has a single "
                f"writer only: with `leader: {{kind: {kind}}}` there may be two; write `leader: {{kind: single}}`"
            )
            problems.add(entry.traffic.at, words)


def _tell_outside(root: Node, place: Node, problems: Problems) -> None:
    at = place.at_value("kind")
    if not root.has("kubernetes"):
        words = (
            "outside of a cluster and without `kubernetes:`, the kubeconfig that kubectl would use is taken"
        )
        problems.note(at, words)
    if not place.has("namespace"):
        problems.note(
            at, "outside of a cluster there is no own namespace, and `run` wants one: `namespace: …`"
        )
