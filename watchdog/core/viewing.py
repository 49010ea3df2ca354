"""Makes the views of the world that everybody else looks at. Pure."""

from __future__ import annotations

from datetime import datetime

from watchdog.core.blindness import UNREADABLE_AFTER
from watchdog.core.census import Census, census_of
from watchdog.core.check import CheckId, CheckState
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.facts import gather
from watchdog.core.guards import READINESS, ask
from watchdog.core.rollback import Veto
from watchdog.core.rule import Level
from watchdog.core.view import CheckView, ServiceView, SourceView, View
from watchdog.core.world import ServiceWorld, World


def view_of(
    world: World, *, now: datetime, turn_at: datetime, store_error: str = "", audit_head: str = ""
) -> View:
    """Everything at this moment."""
    census = census_of(world, now=now)
    return View(
        at=now,
        turn_at=turn_at,
        leader=world.leader,
        epoch=world.epoch,
        paused_by_file=bool(world.paused_by_file),
        breaker=world.breaker,
        cut_off_at=world.reach.cut_at,
        store_error=store_error,
        silences=sum(silence.holds(now) for silence in world.silences.values()),
        config_fault=world.config_fault,
        config_fault_at=world.config_fault_at,
        services={
            name: service_view(world, service, now=now, census=census)
            for name, service in world.services.items()
        },
        sources={
            name: SourceView(name=name, up=source.up, error=source.error, failing_since=source.failing_since)
            for name, source in world.sources.items()
        },
        audit_head=audit_head,
    )


def service_view(
    world: World, service: ServiceWorld, *, now: datetime, census: Census | None = None
) -> ServiceView:
    """One service now, with the answer to "would a rollback work?". `census`: what was counted of this world."""
    current = service.current()
    facts = gather(world, service, now=now, automatic=True, bad=current, census=census)
    vetoes = (*ask(facts, READINESS), *_unreadable(service))
    return ServiceView(
        name=service.name,
        environment=service.service.environment,
        mode=service.service.mode,
        policy=service.service.rollback,
        labels=service.service.labels,
        level=service.level,
        traffic=service.traffic,
        traffic_error=service.traffic_error,
        deployment=current,
        stable=_newest_stable(service),
        checks=tuple(_check_view(check, state) for check, state in sorted(service.checks.items())),
        incidents=tuple(service.incidents),
        rollback=service.active_rollback(),
        paused=service.paused,
        taints=service.taints,
        rollback_ready=not vetoes and current is not None,
        not_ready=vetoes,
    )


def _unreadable(service: ServiceWorld) -> tuple[Veto, ...]:
    """While the switch cannot be read nothing is written, whatever it showed before."""
    if service.traffic_failures < UNREADABLE_AFTER:
        return ()
    why = f"the traffic switch cannot be read: {service.traffic_error}"
    return (Veto(guard="target_ready", reason="unknown", detail=why),)


def _newest_stable(service: ServiceWorld) -> Deployment | None:
    stable = [one for one in service.deployments.values() if one.state is DeploymentState.STABLE]
    return max(stable, key=lambda one: one.started_at, default=None)


def _check_view(check: CheckId, state: CheckState) -> CheckView:
    return CheckView(
        id=check,
        level=state.verdict.level if state.verdict else Level.UNKNOWN,
        held=state.held,
        latched=state.latched,
        verdict=state.verdict,
        last_data_at=state.sampled_at or (state.known.at if state.known else None),
        blind_since=state.blind_since,
    )
