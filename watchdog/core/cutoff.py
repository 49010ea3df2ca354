"""What follows when nothing answers: failures that say nothing, one message instead of a thousand.

`watchdog.core.reach` knows whether anything answers; here it is applied to observations, to blindness and to what
people are told. Pure. This module must never touch a failure while others answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core import reach as reaching
from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckState, Reason
from watchdog.core.checks import rule_of
from watchdog.core.cutoff_news import cut_off, reachable_again
from watchdog.core.events import Observed, References
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.reach import NOTHING_ANSWERS, Reach, SourcePlace
from watchdog.core.rule import Level, ProbeForm, Rule
from watchdog.core.silencing import Changed
from watchdog.core.world import World

#: Nothing must have answered for so many recheck intervals before people hear of it: one lost answer is no outage.
TOLD_AFTER = 3
#: While it comes and goes, people hear of it no more often than this.
TELL_EVERY = timedelta(minutes=10)
#: What a question that was asked before something answered again may take to end.
ASKED_WITHIN = timedelta(seconds=10)
#: Targets named in the record.
_RECORDED = 100
#: The name under which the configured references answer.
_REFERENCES = "self_check"
_ABSENT = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.UNABLE})


def heard(world: World, event: Observed, now: datetime) -> tuple[World, Observed]:
    """The world with what an observation says of our own reach, and the observation as it may be judged."""
    service = world.services.get(event.check.service)
    rule = rule_of(service, event.check) if service is not None else None
    if rule is None or not (rule.is_probe or rule.source):
        return world, event
    observation = event.observation
    place = None if rule.is_probe else world.places.get(rule.source or "", SourcePlace())
    here = _is_here(world, rule)
    own = (
        observation.asked or str(event.check) if isinstance(observation, Pulse | Failed) else str(event.check)
    )
    target = own if rule.is_probe else f"source {rule.source}"
    answered = reaching.answered_at(observation, place, now)
    reach = world.reach
    if answered is not None:
        reach = reaching.after_answer(reach, target, answered, here=here)
    elif reaching.is_absent(observation, place):
        name = event.check.service
        reach = reaching.after_absence(reach, target, name, here=here, interval=rule.interval, now=now)
    if reach is not world.reach:
        world = replace(world, reach=reach)
    dead = isinstance(observation, Pulse) and not (observation.passed or observation.answered)
    if not dead or not isinstance(observation, Pulse):
        return world, event
    if not reaching.excused(reach, here=here, interval=rule.interval, now=now):
        return world, event
    said = f"{NOTHING_ANSWERS} ({observation.detail})" if observation.detail else NOTHING_ANSWERS
    failed = Failed(reason=FailReason.UNABLE, detail=said, asked=observation.asked)
    return _unbelieved(world, event, reach, target, here=here, now=now), replace(event, observation=failed)


def _unbelieved(
    world: World, event: Observed, reach: Reach, target: str, *, here: bool, now: datetime
) -> World:
    """The world without the failures before this one that began after the last answer: they say as little."""
    service = world.services[event.check.service]
    state = service.checks.get(event.check)
    circle = reach.of(here=here)
    since = circle.failing.get(target)
    if (
        state is None
        or not state.probe_failures
        or since is None
        or since not in reaching.mass_of(circle, now)
    ):
        return world
    forgotten = replace(state, probe_failures=0, streaks={}, held=Level.OK)
    service = replace(service, checks=service.checks | {event.check: forgotten})
    return replace(world, services={**world.services, service.name: service})


def _is_here(world: World, rule: Rule) -> bool:
    if isinstance(rule.form, ProbeForm):
        return reaching.probes_here(rule.form.settings)
    return world.places.get(rule.source or "", SourcePlace()).here


def referred(world: World, event: References, now: datetime) -> World:
    """The world with what the configured references said."""
    return replace(
        world, reach=reaching.after_references(world.reach, _REFERENCES, answered=event.answered, now=now)
    )


def wants_references(world: World) -> bool:
    """Whether a mass of targets fails, so that the configured references should be asked.

    That they did not answer is no reason to ask on: one that is gone for good would excuse every failure for ever.
    """
    if world.reach.whole.cut_at is not None or world.reach.beyond.cut_at is not None:
        return True
    failing = {one.service for one in world.reach.whole.failing.values() if _fails_now(world, one.service)}
    limits = world.limits
    return len(failing) >= limits.at_least and len(failing) > limits.max_share * len(world.services)


def _fails_now(world: World, name: str) -> bool:
    """Whether any check of a service finds nobody there: what failed once and is asked no more counts no more."""
    service = world.services.get(name)
    return service is not None and any(
        state.probe_failures or (state.verdict is not None and state.verdict.reason in _ABSENT)
        for state in service.checks.values()
    )


def hushes(world: World, rule: Rule, state: CheckState, now: datetime) -> bool:
    """Whether a check's silence is told by the one message that nothing answers.

    For two intervals more, and what a question may take: then it was asked again.
    """
    if state.verdict is None or state.verdict.reason not in _ABSENT:
        return False
    again = 2 * rule.interval + ASKED_WITHIN
    return reaching.excused(world.reach, here=_is_here(world, rule), interval=again, now=now)


def look(world: World, now: datetime) -> Changed:
    """Tell once that nothing answers, and once that something does again."""
    reach = world.reach
    if reach.cut_at is None:
        if reach.told_at is None:
            return Changed(world=world)
        note = AuditDraft(
            at=now, kind="reachable_again", subject="", body={"since": reach.told_at.isoformat()}
        )
        after = replace(world, reach=replace(reach, told_at=None))
        return Changed(world=after, audit=(note,), messages=(reachable_again(reach.told_at, now=now),))
    again = reach.heard_at is not None and timedelta() <= now - reach.heard_at < TELL_EVERY
    if reach.told_at is not None or again or now - reach.cut_at < TOLD_AFTER * world.recheck:
        return Changed(world=world)
    mass = reaching.lost(reach)
    names = tuple(sorted({one.service for one in mass.values()}))
    note = AuditDraft(
        at=now,
        kind="cut_off",
        subject="",
        body={
            "since": reach.cut_at.isoformat(),
            "count": len(mass),
            "targets": sorted(mass)[:_RECORDED],
            "services": list(names),
        },
    )
    after = replace(world, reach=replace(reach, told_at=reach.cut_at, heard_at=now))
    beyond = reach.whole.cut_at is None
    last = (reach.beyond if beyond else reach.whole).answered_at
    message = cut_off(reach.cut_at, names, count=len(mass), beyond=beyond, last=last, now=now)
    return Changed(world=after, audit=(note,), messages=(message,))
