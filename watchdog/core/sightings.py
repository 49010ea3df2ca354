"""How deployments become known: announced by a request, or seen because traffic moved (design §7).

Works on a draft; decides only what is a deployment, never whether it is good.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.checks import checks_of
from watchdog.core.deployment import SOAKING, Deployment, DeploymentEvent, DeploymentState, Origin
from watchdog.core.draft import Draft, identity
from watchdog.core.traffic import TrafficState

#: An announcement this long after a seen change still names it (design §7).
NAMES_WITHIN = timedelta(minutes=15)
#: An announced deployment to which no traffic came is given up after this long (design §7).
PENDING_FOR = timedelta(hours=1)


def see(draft: Draft, state: TrafficState) -> None:
    """Take in a state just read: adopt at first sight, else compare with the last one and record what arrived."""
    before = draft.service.traffic
    first = before is None and not any(one.live_at for one in draft.service.deployments.values())
    changed = before is None or before.revision != state.revision or _versions(before) != _versions(state)
    arrivals = [] if before is None else _arrivals(draft, before, state)
    if changed:
        draft.change_service(traffic=state)
        draft.note("traffic_changed", revision=state.revision, variants=state.variants, before=before)
    else:
        draft.service = replace(draft.service, traffic=state)
    if first:
        for variant in state.live:
            _adopt(draft, variant, state)
    for variant in arrivals:
        _arrive(draft, variant, state, since=before.read_at if before else state.read_at)
    if changed:
        _retire(draft, state)
        forget_dead_checks(draft)


def _versions(state: TrafficState) -> dict[str, str | None]:
    return {name: variant.version for name, variant in state.variants.items() if variant.live}


def _arrivals(draft: Draft, before: TrafficState, state: TrafficState) -> list[str]:
    """Live variants that were not live before, or whose version is not what they carried."""
    found: list[str] = []
    for name in state.live:
        old, new = before.variants.get(name), state.variants[name]
        serving = draft.service.serving(name)
        if old is None or not old.live or serving is None:
            found.append(name)
        elif new.version is not None and new.version != (serving.version if serving.named else old.version):
            found.append(name)
    return found


def _adopt(draft: Draft, variant: str, state: TrafficState) -> None:
    version = state.variants[variant].version
    announced = _announced(draft, variant, version)
    if announced is not None:  # it came before our first look: whether it is new cannot be known, so it is not armed
        draft.set_deployment(replace(announced, live_at=state.read_at))
        found = draft.service.deployments[announced.id]
        draft.move_deployment(found, DeploymentEvent.FOUND_LIVE, "live at first sight")
        return
    record = _record(
        draft,
        version=version or variant,
        variant=variant,
        state=DeploymentState.ADOPTED,
        origin=Origin.ADOPTED,
        started_at=state.read_at,
        live_at=state.read_at,
        named=version is not None,
    )
    draft.note("deployment_adopted", deployment=record)


def _arrive(draft: Draft, variant: str, state: TrafficState, *, since: datetime) -> None:
    """Traffic came to a variant: an announced deployment, a return to an earlier one, or one nobody announced."""
    reported = state.variants[variant].version
    announced = _announced(draft, variant, reported)
    earlier = draft.service.serving(variant)
    if announced is not None:
        back = earlier is not None and earlier.version == announced.version
        event = DeploymentEvent.TRAFFIC_RETURNED if back else DeploymentEvent.TRAFFIC_ARRIVED
        started = min(since, draft.now)
        draft.set_deployment(
            replace(
                announced, live_at=draft.now, armed=not back, started_at=max(started, announced.started_at)
            )
        )
        draft.move_deployment(draft.service.deployments[announced.id], event, "traffic arrived")
        return
    back = earlier is not None and reported in (None, earlier.version)
    record = _record(
        draft,
        version=earlier.version if back and earlier else reported or variant,
        variant=variant,
        state=DeploymentState.RETURN if back else DeploymentState.WATCHING,
        origin=Origin.SEEN,
        started_at=since,
        live_at=draft.now,
        named=reported is not None or (back and earlier is not None and earlier.named),
        armed=not back,
    )
    draft.note(f"deployment_{record.state}", deployment=record, why="traffic was seen to move")


def _announced(draft: Draft, variant: str, reported: str | None) -> Deployment | None:
    """The newest announcement that fits what is seen on the variant."""
    fitting = [
        one
        for one in draft.service.deployments.values()
        if one.variant == variant and one.state is DeploymentState.PENDING and reported in (None, one.version)
    ]
    return fitting[-1] if fitting else None


def _retire(draft: Draft, state: TrafficState) -> None:
    """Deployments that no longer take traffic, or were overwritten in place, are replaced."""
    for deployment in list(draft.service.deployments.values()):
        if deployment.state not in SOAKING:
            continue
        serving = draft.service.serving(deployment.variant)
        spot = state.variants.get(deployment.variant)
        if spot is None or not spot.live or serving is None or serving.id != deployment.id:
            draft.move_deployment(deployment, DeploymentEvent.REPLACED, "no longer takes traffic")


def forget_dead_checks(draft: Draft) -> None:
    """Checks of versions without traffic are retired: they judge nothing any more."""
    alive = set(checks_of(draft.service))
    for check in [check for check in draft.service.checks if check not in alive]:
        draft.forget(check)


def _record(
    draft: Draft,
    *,
    version: str,
    variant: str,
    state: DeploymentState,
    origin: Origin,
    started_at: datetime,
    live_at: datetime | None = None,
    named: bool = True,
    armed: bool = False,
) -> Deployment:
    service = draft.service.name
    record = Deployment(
        id=identity("dep", service, version, variant, origin, draft.now.isoformat()),
        service=service,
        version=version,
        variant=variant,
        state=state,
        origin=origin,
        started_at=started_at,
        recorded_at=draft.now,
        live_at=live_at,
        named=named,
        armed=armed,
    )
    draft.set_deployment(record)
    return record


def switched(draft: Draft, *, version: str, variant: str, at: datetime) -> Deployment:
    """Record that the watchdog itself moved traffic to a version: a return, never armed."""
    record = _record(
        draft,
        version=version,
        variant=variant,
        state=DeploymentState.RETURN,
        origin=Origin.SWITCHED,
        started_at=at,
        live_at=at,
    )
    draft.note("deployment_return", deployment=record, why="switched back by the watchdog")
    return record


def expire_announcements(draft: Draft) -> None:
    """Give up announcements to which no traffic came within the hour."""
    for deployment in list(draft.service.deployments.values()):
        waited = draft.now - deployment.recorded_at
        if deployment.state is DeploymentState.PENDING and waited >= PENDING_FOR:
            draft.move_deployment(
                deployment, DeploymentEvent.ANNOUNCEMENT_EXPIRED, "no traffic came within 1h"
            )


def soak(draft: Draft, deployment: Deployment, *, ok: bool, worse: bool, longest_gap: timedelta) -> None:
    """Count known-healthy time. Unknown time neither counts nor resets; anything worse starts over."""
    if deployment.state not in SOAKING:
        return
    if worse:
        if deployment.soaked_for or deployment.soaked_at is not None:
            draft.set_deployment(replace(deployment, soaked_for=timedelta(), soaked_at=None), store=False)
        return
    if not ok:
        return
    gap = draft.now - deployment.soaked_at if deployment.soaked_at is not None else timedelta()
    counted = gap if timedelta() < gap <= longest_gap else timedelta()
    soaked = replace(deployment, soaked_for=deployment.soaked_for + counted, soaked_at=draft.now)
    draft.set_deployment(soaked, store=False)
    if soaked.soaked_for >= draft.service.service.rollback.soak:
        draft.move_deployment(soaked, DeploymentEvent.SOAKED, "healthy for the whole soak")
