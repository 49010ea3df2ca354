"""How deployments become known: announced by a request, or seen because traffic moved (design §7).

Works on a draft; decides only what is a deployment, never whether it is good.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.checks import exists
from watchdog.core.deployment import SOAKING, Deployment, DeploymentEvent, DeploymentState, Origin
from watchdog.core.draft import Draft, identity
from watchdog.core.naming import rename
from watchdog.core.rule import Level
from watchdog.core.traffic import TrafficState

#: An announcement this long after a seen change still names it (design §7).
NAMES_WITHIN = timedelta(minutes=15)
#: An announced deployment to which no traffic came is given up after this long (design §7).
PENDING_FOR = timedelta(hours=1)


def see(draft: Draft, state: TrafficState) -> None:
    """Take in a state just read: adopt at first sight, else compare with the last one and record what arrived.

    Nothing live at all is an outage or the middle of a change: it says nothing about deployments.
    """
    before = draft.service.traffic
    changed = before is None or _what_people_set(before) != _what_people_set(state)
    arrivals = [] if before is None else _arrivals(draft, before, state)
    if changed:
        draft.change_service(traffic=state)
        facts = {"revision": state.revision, "variants": state.variants, "paused": state.paused}
        draft.note("traffic_changed", **facts, before=before)
    else:
        draft.service = replace(draft.service, traffic=state)
    if before is None:
        _first_sight(draft, state)
    else:
        for variant in arrivals:
            _arrive(draft, variant, state, before=before)
    _learn(draft, state)
    if changed and state.live:
        retire(draft, state)
        forget_dead_checks(draft)


def _what_people_set(state: TrafficState) -> tuple[object, ...]:
    return state.revision, _versions(state), state.paused


def see_beside(draft: Draft, before: TrafficState, state: TrafficState, *, but: tuple[str, ...]) -> None:
    """Record what arrived between two states on other variants than these."""
    for variant in _arrivals(draft, before, state):
        if variant not in but:
            _arrive(draft, variant, state, before=before)


def _versions(state: TrafficState) -> dict[str, str | None]:
    return {name: state.told(name) for name in state.live}


def _first_sight(draft: Draft, state: TrafficState) -> None:
    """Adopt what is live. Records of an earlier life that still fit are kept."""
    for variant in state.live:
        serving = draft.service.serving(variant)
        if serving is None or not serving.fits(state.told(variant)):
            _adopt(draft, variant, state)


def _arrivals(draft: Draft, before: TrafficState, state: TrafficState) -> list[str]:
    """Live variants that were not live before, or whose version is not what they carried."""
    return [name for name in state.live if _arrived(draft.service.serving(name), before, state.told(name))]


def _arrived(serving: Deployment | None, before: TrafficState, told: str | None) -> bool:
    """Whether traffic on a live variant is news.

    Not when it was recorded since the last read, nor when it is back after nothing was live.
    """
    if serving is None:
        return True
    if told is not None and serving.reported is not None and told != serving.reported:
        return True
    if serving.variant in before.live:
        return False
    recorded = serving.live_at is not None and serving.live_at > before.read_at
    return not recorded and (bool(before.live) or serving.state not in SOAKING)


def _adopt(draft: Draft, variant: str, state: TrafficState) -> None:
    told = state.told(variant)
    announced = _announced(draft, variant, told)
    if (
        announced is not None
    ):  # it came before our first look: whether it is new cannot be known, so it is not armed
        found = replace(announced, live_at=state.read_at, reported=told)
        draft.set_deployment(found)
        draft.move_deployment(found, DeploymentEvent.FOUND_LIVE, "live at first sight")
        return
    record = replace(
        _record(draft, version=told or variant, variant=variant, origin=Origin.ADOPTED, at=state.read_at),
        state=DeploymentState.ADOPTED,
        named=told is not None,
        reported=told,
    )
    draft.set_deployment(record)
    draft.note("deployment_adopted", deployment=record)


def _arrive(draft: Draft, variant: str, state: TrafficState, *, before: TrafficState) -> None:
    """Traffic came to a variant: an announced deployment, a return to an earlier one, or one nobody announced.

    What was only started again on another variant goes on as what it was: armed as long as it would have been, or not
    at all. A restart makes nothing good or bad, and there is nothing in it to take back.
    """
    told = state.told(variant)
    announced = _announced(draft, variant, told)
    if announced is not None:
        arrive_announced(draft, announced, told, since=before.read_at)
        return
    earlier, again = _earlier(draft, variant, told), _started_again(draft, variant, state, before)
    known = earlier or again
    version = known.version if known is not None else told or variant
    record = replace(
        _record(draft, version=version, variant=variant, origin=Origin.SEEN, at=draft.now),
        state=DeploymentState.WATCHING if known is None else DeploymentState.RETURN,
        started_at=min(before.read_at, draft.now),
        named=told is not None if known is None else known.named,
        armed=known is None,
        reported=told,
    )
    if again is not None:
        record = _goes_on(record, again)
    draft.set_deployment(record)
    draft.note(f"deployment_{record.state}", deployment=record, why=_why(again))
    if record.armed:
        start_over(draft)


def _started_again(
    draft: Draft, variant: str, state: TrafficState, before: TrafficState
) -> Deployment | None:
    """The deployment that took this variant's traffic until now, where the switch tells that the same thing runs."""
    content = state.variants[variant].content
    for name in before.live if content else ():
        if name != variant and name not in state.live and before.variants[name].content == content:
            return draft.service.serving(name)
    return None


def _goes_on(record: Deployment, again: Deployment) -> Deployment:
    """The record of what was only started again: as old as before, and as much in doubt."""
    return replace(
        record,
        state=DeploymentState.WATCHING if again.armed else DeploymentState.RETURN,
        armed=again.armed,
        started_at=again.started_at,
        rollback_allowed=again.rollback_allowed,
        labels=again.labels,
    )


def _why(again: Deployment | None) -> str:
    if again is None:
        return "traffic was seen to move"
    return f"traffic was seen to move: what was on {again.variant} was started again"


def arrive_announced(draft: Draft, announced: Deployment, told: str | None, *, since: datetime) -> None:
    """Traffic came to an announced deployment; `since` is when it can have come at the earliest."""
    served = draft.service.served(announced.variant)
    back = any(one.version == announced.version for one in served)
    arrived = replace(
        announced,
        live_at=draft.now,
        armed=not back,
        started_at=min(max(since, announced.started_at), draft.now),
        reported=told,
    )
    draft.set_deployment(arrived)
    event = DeploymentEvent.TRAFFIC_RETURNED if back else DeploymentEvent.TRAFFIC_ARRIVED
    draft.move_deployment(arrived, event, "traffic arrived")
    if not back:
        start_over(draft)


def _earlier(draft: Draft, variant: str, told: str | None) -> Deployment | None:
    """The deployment that a variant had before and seems to have again; any, when the switch tells no versions."""
    served = [one for one in draft.service.served(variant) if one.fits(told)]
    return served[-1] if served else None


def _announced(draft: Draft, variant: str, told: str | None) -> Deployment | None:
    """The newest announcement that fits what is seen on the variant."""
    fitting = [
        one
        for one in draft.service.deployments.values()
        if one.variant == variant and one.state is DeploymentState.PENDING and told in (None, one.version)
    ]
    return fitting[-1] if fitting else None


def _learn(draft: Draft, state: TrafficState) -> None:
    """The first time that the switch tells a version is no change: it says what is there."""
    for variant in state.live:
        told, serving = state.told(variant), draft.service.serving(variant)
        if told is None or serving is None or serving.reported is not None:
            continue
        draft.set_deployment(replace(serving, reported=told))
        if not serving.named:
            named = rename(draft, draft.service.deployments[serving.id], told)
            draft.note("deployment_named", deployment=named, was=serving.version)


def retire(draft: Draft, state: TrafficState) -> None:
    """Deployments that no longer take traffic, or were overwritten in place, are replaced."""
    for deployment in list(draft.service.deployments.values()):
        if deployment.state not in SOAKING:
            continue
        serving = draft.service.serving(deployment.variant)
        spot = state.variants.get(deployment.variant)
        if spot is None or not spot.live or serving is None or serving.id != deployment.id:
            draft.move_deployment(deployment, DeploymentEvent.REPLACED, "no longer takes traffic")


def leave_behind(draft: Draft, variant: str) -> None:
    """Other servers bear a variant's name now: what took traffic under it never took any there, good or bad."""
    for one in draft.service.served(variant):
        ended = draft.move_deployment(one, DeploymentEvent.REPLACED, f"{variant} names other servers now")
        draft.set_deployment(replace(ended, live_at=None))


def start_over(draft: Draft) -> None:
    """Samples of the whole service from before a deployment say nothing about it: pending holds begin anew."""
    for check, state in list(draft.service.checks.items()):
        if not check.version:
            draft.set_check(
                check,
                replace(state, streaks={}, held=Level.OK, clears=0, excess=(), probe_failures=0),
                store=True,
            )


def forget_dead_checks(draft: Draft) -> None:
    """Checks of versions without traffic, or of rules that are gone, are retired: they judge nothing any more.

    That nothing is live at all is an outage: what was live is still what must be looked at.
    """
    if draft.service.traffic is not None and not draft.service.traffic.live:
        return
    for check in [check for check in draft.service.checks if not exists(draft.service, check)]:
        draft.forget(check)


def _record(draft: Draft, *, version: str, variant: str, origin: Origin, at: datetime) -> Deployment:
    """A record of a version that takes traffic since `at`; the caller says the rest."""
    service = draft.service.name
    return Deployment(
        id=identity("dep", service, version, variant, origin, draft.now.isoformat()),
        service=service,
        version=version,
        variant=variant,
        state=DeploymentState.RETURN,
        origin=origin,
        started_at=at,
        recorded_at=draft.now,
        live_at=at,
    )


def switched(draft: Draft, *, version: str, variant: str, at: datetime) -> Deployment:
    """Record that the watchdog itself moved traffic to a version: a return, never armed."""
    before = draft.service.serving(variant)
    record = _record(draft, version=version, variant=variant, origin=Origin.SWITCHED, at=at)
    if before is not None and before.version == version:
        record = replace(record, named=before.named, reported=before.reported)
    draft.set_deployment(record)
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
            draft.set_deployment(replace(deployment, soaked_for=timedelta(), soaked_at=None))
        return
    if not ok:
        return
    gap = draft.now - deployment.soaked_at if deployment.soaked_at is not None else timedelta()
    counted = gap if timedelta() < gap <= longest_gap else timedelta()
    soaked = replace(deployment, soaked_for=deployment.soaked_for + counted, soaked_at=draft.now)
    draft.set_deployment(soaked, store=False)
    if soaked.soaked_for >= draft.service.service.rollback.soak:
        draft.move_deployment(soaked, DeploymentEvent.SOAKED, "healthy for the whole soak")
