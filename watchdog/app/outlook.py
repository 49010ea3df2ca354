"""Would a rollback work now? The switch as it is, what the store knows of versions, and who else is at the switch.

The same choice of a target as the daemon's. This module must never ask a switch or the store itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from watchdog.app.finding import Finding, Health
from watchdog.cluster.pod import own_pod
from watchdog.config.loaded import Configuration
from watchdog.config.ourselves import Ourselves
from watchdog.core.facts import capacity
from watchdog.core.guards import needed
from watchdog.core.service import Mode, Service
from watchdog.core.targets import choose
from watchdog.core.traffic import Tier, TrafficState
from watchdog.core.world import ServiceWorld
from watchdog.traffic.interface import TrafficSwitch


def readiness(service: Service, state: TrafficState) -> Finding:
    """Whether there is a variant that a rollback could move traffic to now, as far as the switch says."""
    what = f"rollback of {service.name}"
    dangerous = Health.WARN if service.mode is Mode.OBSERVE else Health.BAD
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
    troubles = [trouble for name in standby if (trouble := _not_ready(service, state, name))]
    if len(troubles) < len(standby):
        able = next(name for name in standby if not _not_ready(service, state, name))
        variant = state.variants[able]
        detail = f"{able} could take over: {variant.ready} of {variant.total} ready"
        return Finding(what=what, health=Health.OK, detail=detail)
    unknown = any(state.variants[name].ready is None for name in standby)
    advice = "give the switch a `ready` probe" if unknown else "start the standby, or see why it is not ready"
    return Finding(
        what=what, health=dangerous, detail=f"no rollback now: {'; '.join(troubles)}", advice=advice
    )


def target(world: ServiceWorld, state: TrafficState) -> Finding:
    """Where a rollback of what is live would go: to a version that proved itself, and that is ready now.

    When nothing is ready, `readiness` says so.
    """
    what = f"rollback of {world.service.name}"
    chosen = choose(world, world.current())
    found = chosen.deployment
    if found is None or state.variants[found.variant].live:
        why = f": {chosen.detail}" if chosen.detail else ""
        return Finding(
            what=what,
            health=Health.WARN,
            detail=f"no version on a variant without traffic is known good yet{why}",
            advice="a version becomes one after its `soak` in traffic; until then bad deployments page",
        )
    trouble = _not_ready(world.service, state, found.variant)
    others = [name for name, variant in state.variants.items() if not variant.live and name != found.variant]
    if trouble and any(not _not_ready(world.service, state, name) for name in others):
        return Finding(
            what=what,
            health=Health.WARN if world.service.mode is Mode.OBSERVE else Health.BAD,
            detail=f"{found.version} is known good, but not ready: {trouble}",
            advice="start it; a rollback goes to no other version",
        )
    return Finding(what=what, health=Health.OK, detail=f"{found.version} on {found.variant} is known good")


def ourselves(service: Service, state: TrafficState, configuration: Configuration) -> list[Finding]:
    """Servers of a variant that are this watchdog, or what it sees or speaks with."""
    ours = Ourselves(configuration.server, configuration.sources, configuration.channels, own_pod(os.environ))
    return [
        Finding(
            what=f"switch of {service.name}",
            health=Health.BAD,
            detail=f"{address} of {name} is {what}: a rollback would end in the dark",
            advice="no service can be what it is watched with: take it out of the configuration",
        )
        for name, variant in state.variants.items()
        for address in variant.addresses
        if (what := ours.at(address))
    ]


def shared(switches: Mapping[str, TrafficSwitch]) -> list[Finding]:
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


def _not_ready(service: Service, state: TrafficState, name: str) -> str:
    """Why a variant could not take over now; empty when it could. As the guard `target_ready` counts."""
    variant = state.variants[name]
    if variant.ready is None:
        return f"{name}: readiness unknown" + (f" ({variant.note})" if variant.note else "")
    wanted = needed(service.rollback, capacity(state, name))
    if variant.ready < wanted:
        return f"{name}: {variant.ready} of {variant.total} ready, {wanted} needed"
    return ""
