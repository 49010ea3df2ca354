"""The reactor's step: one event and the world give the next world and everything that must be written. Pure.

The daemon, rule tests and back-tests all drive this function; there is no second implementation.
This module must never do anything but put the pieces in order.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from watchdog.core import (
    asking,
    blindness,
    breaker,
    cutoff,
    deciding,
    escalation,
    judging,
    notices,
    outages,
    readiness,
    resuming,
    rollback_news,
    sightings,
    silencing,
    storming,
    verifying,
)
from watchdog.core.audit import AuditDraft
from watchdog.core.census import follow
from watchdog.core.check import CheckId
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.draft import Draft
from watchdog.core.edition import outdated, renewed
from watchdog.core.events import (
    Asked,
    ChannelDead,
    ChannelLate,
    Event,
    Observed,
    Outcome,
    References,
    Resumed,
    Stood,
    Ticked,
    TrafficSeen,
    TrafficUnseen,
)
from watchdog.core.incident import Incident
from watchdog.core.message import Message
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.resending import resend
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.shifting import clock_set, stood_still
from watchdog.core.silence import Silence
from watchdog.core.traffic import TrafficState, read_before
from watchdog.core.turn import CheckRecord, Resend, ServiceRecord
from watchdog.core.world import ServiceWorld, World

R = TypeVar("R", Incident, Silence, Rollback)
OfService = Observed | TrafficSeen | TrafficUnseen | Outcome | Resumed

#: Rollbacks are remembered this long for the limits per day.
REMEMBERED = timedelta(hours=24)


class Stepped(msgspec.Struct, frozen=True, kw_only=True):
    """What one event came to. `looks` are services whose traffic should be read at once."""

    world: World
    services: tuple[ServiceRecord, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    incidents: tuple[Incident, ...] = ()
    silences: tuple[Silence, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    forgotten: tuple[CheckId, ...] = ()
    audit: tuple[AuditDraft, ...] = ()
    messages: tuple[Message, ...] = ()
    replies: tuple[Reply, ...] = ()
    resent: tuple[Resend, ...] = ()
    looks: tuple[str, ...] = ()


def step(world: World, event: Event, now: datetime) -> Stepped:
    """Take one event in. Raises `TransitionError` only for a fault of ours."""
    if outdated(world, event):
        return Stepped(world=world)
    world = renewed(world, event)
    if not isinstance(event, Ticked):
        return _heard(world, _folded(world, _quiet(world, _taken(world, event, now), now), now), now)
    if event.stepped:
        return Stepped(**clock_set(world, event, now))  # time brings the rest in a tick
    stepped = _heard(world, _ticked(world, event, now), now)
    return _after(stepped, escalation.look(stepped.world, now))


def _ticked(world: World, event: Ticked, now: datetime) -> Stepped:
    """What time brings, with everything that people hear of it."""
    over = _after(Stepped(world=world), silencing.end_over(world, now))
    ticked = _on_tick(over.world, event, now)
    stepped = _quiet(over.world, _together(ticked.world, [over, ticked]), now)
    stepped = _folded(world, _after(stepped, silencing.speak_up(stepped.world, now)), now)
    return _after(replace(stepped, messages=()), storming.tell(stepped.world, stepped.messages, now))


def _quiet(before: World, stepped: Stepped, now: datetime) -> Stepped:
    """The step without the messages that silences hold back."""
    if not stepped.messages:
        return stepped
    changed = silencing.hold_back(before, stepped.world, stepped.messages, stepped.incidents, now)
    return _after(replace(stepped, messages=()), changed)


def _folded(before: World, stepped: Stepped, now: datetime) -> Stepped:
    """The step without the messages that are told with a storm."""
    if not stepped.messages:
        return stepped
    changed = storming.fold(before, stepped.world, stepped.messages, now)
    return _after(replace(stepped, messages=()), changed)


def _heard(before: World, stepped: Stepped, now: datetime) -> Stepped:
    """The step, and what comes of it that people hear of it: the ladders that begin or end."""
    if not stepped.messages and not stepped.incidents:
        return stepped
    return _after(stepped, escalation.heard(before, stepped.world, stepped.messages, stepped.incidents, now))


def _after(stepped: Stepped, changed: silencing.Changed) -> Stepped:
    """A step, and then what came of silences, limits or a storm."""
    return replace(
        stepped,
        world=changed.world,
        silences=_newest(*stepped.silences, *changed.silences),
        incidents=_newest(*stepped.incidents, *changed.incidents),
        rollbacks=_newest(*stepped.rollbacks, *changed.rollbacks),
        audit=(*stepped.audit, *changed.audit),
        messages=(*stepped.messages, *changed.messages),
        replies=(*stepped.replies, *changed.replies),
    )


def _newest(*records: R) -> tuple[R, ...]:
    return tuple({one.id: one for one in records}.values())


def _taken(world: World, event: Event, now: datetime) -> Stepped:
    match event:
        case Observed():
            world, event = cutoff.heard(blindness.heard(world, event, now), event, now)
            return _on_service(world, event.check.service, event, now)
        case References():
            return Stepped(world=cutoff.referred(world, event, now))
        case TrafficSeen() | TrafficUnseen() | Outcome() | Resumed():
            return _on_service(world, event.service, event, now)
        case Asked(request=request):
            return _on_request(world, request, now)
        case ChannelDead() | ChannelLate():
            return _after(Stepped(world=world), escalation.lost(world, event, now))
        case Stood(since=since):
            return Stepped(world=stood_still(world, since))
        case Ticked():  # taken by `step`, which has more to do then
            return _on_tick(world, event, now)


def _on_service(world: World, name: str, event: OfService, now: datetime) -> Stepped:
    service = world.services.get(name)
    if service is None:
        return Stepped(world=world)
    draft = Draft(world=world, now=now, service=service)
    match event:
        case Observed():
            judging.observed(draft, event)
        case TrafficSeen():
            if draft.service.traffic_failures:
                draft.service = replace(draft.service, traffic_failures=0, traffic_error="")
            _traffic_seen(draft, event)
            blindness.switch_usable(draft)
        case TrafficUnseen(error=error):
            failures = draft.service.traffic_failures + 1
            draft.service = replace(draft.service, traffic_failures=failures, traffic_error=error)
            blindness.switch_usable(draft)
        case Outcome():
            verifying.outcome(draft, event)
        case Resumed():
            resuming.resumed(draft, event)
    _follow_up(draft)
    return _finish(draft)


def _traffic_seen(draft: Draft, event: TrafficSeen) -> None:
    """Take in a read, unless an intent is being carried out: then the executor's own reads count."""
    if any(one.state is RollbackState.INTENDED for one in draft.service.rollbacks.values()):
        return
    known = draft.service.traffic
    if known is not None and read_before(event.state, known.read_at):
        return
    if verifying.verifying(draft.service) is not None:
        verifying.traffic_seen(draft, event.state)
    else:
        _notice_undone(draft, event.state)
    sightings.see(draft, event.state)


def _notice_undone(draft: Draft, state: TrafficState) -> None:
    """Long after a rollback, traffic is back on a version that was taken away: nobody may miss that."""
    before = draft.service.traffic
    if before is None:
        return
    for version in sorted(_carried(draft.service, state) - _carried(draft.service, before)):
        taint = draft.service.taints.get(version)
        if taint is None:
            continue
        ours = [
            one.id for one in draft.service.rollbacks.values() if one.switched and one.from_version == version
        ]
        draft.note("switch_undone", rollback=ours[-1] if ours else None, taint=taint, state=state)
        rollback = ours[-1] if ours else None
        draft.tell(
            rollback_news.switch_undone(draft.service.service, taint, rollback=rollback, now=draft.now)
        )


def _carried(service: ServiceWorld, state: TrafficState) -> set[str]:
    """The versions that take traffic in a state, as far as anybody can tell: an announced one is what arrives."""
    versions: set[str] = set()
    for variant in state.live:
        serving, newest = service.serving(variant), service.on_variant(variant)
        arrives = newest is not None and newest.state is DeploymentState.PENDING
        known = newest if arrives else serving
        versions |= {state.told(variant) or (known.version if known is not None else variant)}
    return versions


def _follow_up(draft: Draft) -> None:
    """What any change on a service may entail, in this order: proofs close incidents, and those end decisions."""
    judging.retire_breaches(draft)
    verifying.progress(draft)
    judging.close_cleared(draft)
    deciding.unbreached(draft)
    notices.look(draft)


def _on_request(world: World, request: Request, now: datetime) -> Stepped:
    if request.kind is RequestKind.RESEND:
        again, note, answer = resend(request, now)
        return Stepped(world=world, resent=(again,), audit=(note,), replies=(answer,))
    if asking.about_silence(request):
        return _after(Stepped(world=world), silencing.answer(world, request, now))
    if not asking.about_incident(request):
        service = world.services.get(request.target)
    else:
        service = next((one for one in world.services.values() if request.target in one.incidents), None)
        if service is None:
            stormy = storming.answer(world, request, now)
            if stormy is not None:
                return _after(Stepped(world=world), stormy)
            return _after(Stepped(world=world), outages.answer(world, request, now))
    if service is None:
        known = ", ".join(sorted(world.services)) or "none"
        detail = f"there is no service {request.target!r}; known: {known}"
        return Stepped(world=world, replies=(Reply(request=request.id, status=404, detail=detail),))
    draft = Draft(world=world, now=now, service=service)
    reply = asking.answer(draft, request)
    if reply is not None:
        draft.replies.append(reply)
    _follow_up(draft)
    return _finish(draft)


def _on_tick(world: World, event: Ticked, now: datetime) -> Stepped:
    """Time passed: deadlines, expiries, blindness, for every service; then what concerns all of them."""
    world = replace(world, paused_by_file=event.paused_by_file, leader=event.leader, epoch=event.epoch)
    steps, services = list[Stepped](), dict[str, ServiceWorld]()
    for name, service in world.services.items():
        draft = Draft(world=world, now=now, service=service)
        sightings.expire_announcements(draft)
        blindness.look(draft)
        readiness.look(draft)
        _forget_old(draft)
        sightings.forget_dead_checks(draft)
        _follow_up(draft)
        if draft.service is not service:
            services[name] = draft.service
        if draft.changed:
            steps.append(_stepped(world, draft))
    if services:
        world = replace(world, services={**world.services, **services})
    total = _together(world, steps)
    total = _after(total, outages.look(total.world, now))
    total = _after(total, breaker.look(total.world, now))
    return _after(total, cutoff.look(total.world, now))


def _forget_old(draft: Draft) -> None:
    """Drop rollbacks of more than a day ago; the store keeps them."""
    kept = {
        key: one
        for key, one in draft.service.rollbacks.items()
        if not one.over
        or draft.now - (one.ended_at or one.decided_at) < REMEMBERED
        or _guards_deployment(draft, one)
    }
    if len(kept) != len(draft.service.rollbacks):
        draft.service = replace(draft.service, rollbacks=kept)


def _guards_deployment(draft: Draft, rollback: Rollback) -> bool:
    """Its key still keeps a live deployment from being rolled back twice."""
    deployment = draft.service.deployments.get(rollback.deployment)
    return deployment is not None and deployment.state in (DeploymentState.WATCHING, DeploymentState.STABLE)


def _finish(draft: Draft) -> Stepped:
    world = draft.world
    if world.services.get(draft.service.name) is not draft.service:
        world = follow(world, draft.service)
    return _stepped(world, draft)


def _stepped(world: World, draft: Draft) -> Stepped:
    return Stepped(
        world=world,
        services=(draft.service.record(),) if draft.service_changed else (),
        deployments=tuple(draft.deployments.values()),
        incidents=tuple(draft.incidents.values()),
        rollbacks=tuple(draft.rollbacks.values()),
        checks=tuple(CheckRecord(id=check, state=state) for check, state in draft.checks.items()),
        forgotten=tuple(sorted(draft.forgotten)),
        audit=tuple(draft.audit),
        messages=tuple(draft.messages),
        replies=tuple(draft.replies),
        looks=tuple(sorted(draft.looks)),
    )


def _together(world: World, steps: list[Stepped]) -> Stepped:
    """Steps of different services as one that leads to `world`."""
    joined = {
        field: tuple(chain.from_iterable(getattr(one, field) for one in steps))
        for field in Stepped.__struct_fields__
        if field != "world"
    }
    return Stepped(world=world, **joined)


def memory(service: ServiceWorld) -> tuple[CheckRecord, ...]:
    """Every check's memory of a service, for the store."""
    return tuple(CheckRecord(id=check, state=state) for check, state in service.checks.items())
