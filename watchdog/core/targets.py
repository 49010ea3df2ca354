"""Which version a rollback would go to, and why not another. Never "the previous one": the newest proven one.

This module must never decide whether to go there; the guards do.
"""

from __future__ import annotations

import msgspec

from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.traffic import TrafficState
from watchdog.core.world import ServiceWorld


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate, or the reason (fixed word and sentence) why there is none."""

    deployment: Deployment | None = None
    problem: str = ""
    detail: str = ""


def choose(service: ServiceWorld, bad: Deployment | None, *, wanted: str | None = None) -> Target:
    """The newest stable, untainted version on another variant; `wanted` names a version a person asked for.

    A variant that carries a later deployment is no target for its earlier version.
    """
    problems: list[tuple[str, str]] = []
    good: list[Deployment] = []
    for variant in service.traffic.variants if service.traffic else ():
        if bad is not None and variant == bad.variant:
            continue
        candidate, problem = _candidate(service, variant, bad)
        if wanted is not None and (candidate is None or candidate.version != wanted):
            continue
        if candidate is None:
            problems.append(problem)
        elif candidate.version in service.taints:
            why = service.taints[candidate.version].reason
            problems.append(("tainted", f"version {candidate.version} on {variant} is tainted: {why}"))
        else:
            good.append(candidate)
    if good:
        return Target(deployment=max(good, key=lambda one: (one.started_at, one.recorded_at)))
    if wanted is not None and not problems:
        return Target(problem="unknown_version", detail=f"no variant is known to carry a stable {wanted}")
    if not problems:
        return Target(problem="no_variant", detail="there is no other variant")
    return Target(problem=problems[0][0], detail="; ".join(detail for _, detail in problems))


def _candidate(
    service: ServiceWorld, variant: str, bad: Deployment | None
) -> tuple[Deployment | None, tuple[str, str]]:
    """The stable deployment that a variant still carries, or why it carries none."""
    occupant = service.on_variant(variant)
    if occupant is None:
        return None, ("never_seen", f"nothing is known of what {variant} carries")
    told = service.traffic.told(variant) if service.traffic else None
    if not occupant.fits(told):
        return None, ("replaced", f"{variant} now carries {told}, not {occupant.version}")
    if (
        bad is not None
        and occupant.version == bad.version
        and not differ(service.traffic, variant, bad.variant)
    ):
        return None, ("same_version", f"{variant} carries the same version {bad.version}")
    stable = _stable(service, occupant)
    if stable is None:
        state = occupant.state
        return None, ("not_stable", f"version {occupant.version} on {variant} was never stable ({state})")
    if not stable.rollback_allowed:
        return None, (
            "target_forbidden",
            f"{occupant.version} on {variant} was recorded with rollback: forbidden",
        )
    return stable, ("", "")


def differ(state: TrafficState | None, one: str, other: str) -> bool:
    """Whether the switch tells that two variants run different things, whatever their versions are called."""
    spots = [state.variants.get(name) for name in (one, other)] if state is not None else []
    contents = {spot.content for spot in spots if spot is not None and spot.content}
    return len(contents) == 2


def _stable(service: ServiceWorld, occupant: Deployment) -> Deployment | None:
    """The record in which the version that a variant carries proved itself, since it came there last."""
    stable: Deployment | None = None
    for one in service.served(occupant.variant):
        if one.version != occupant.version:
            stable = None
        elif one.state is DeploymentState.STABLE:
            stable = one
    return stable
