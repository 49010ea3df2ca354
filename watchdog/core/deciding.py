"""The decision to roll back: from a held rollback verdict to an intent or a list of vetoes.

Works on a draft. Nothing is written outside here; an intent only says what the executor may do.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from watchdog.core import rollback_news
from watchdog.core.comparing import references_of
from watchdog.core.deployment import Deployment
from watchdog.core.draft import Draft, identity
from watchdog.core.facts import gather
from watchdog.core.guards import GuardFacts, ask
from watchdog.core.incident import Incident
from watchdog.core.judged import Judged
from watchdog.core.rollback import Passage, Rollback, RollbackEvent, RollbackState, Veto
from watchdog.core.rule import Rule
from watchdog.core.service import GitOps
from watchdog.core.suspension import with_suspension
from watchdog.core.traffic import Change, Suspension
from watchdog.core.world import ServiceWorld

#: An intent that could not be carried out for so long is given up: the world has moved on.
INTENT_FOR = timedelta(minutes=5)
RETRIED = (RollbackState.DECIDED, RollbackState.BLOCKED)


def consider(draft: Draft, judged: Judged, incident: Incident | None) -> None:
    """A rollback verdict has held: decide, unless this deployment was decided on before or something is under way."""
    bad, rule = judged.deployment, judged.rule
    if bad is None:
        return
    rollback = _known(draft, bad)
    if rollback is None and _told_already(draft, bad, incident):
        return
    if rollback is not None and rollback.state not in RETRIED:
        _also_breached(draft, rollback, rule)
        return
    active = draft.service.active_rollback()
    if active is not None and (rollback is None or active.id != rollback.id) and active.state not in RETRIED:
        return
    facts = gather(
        draft.world,
        draft.service,
        now=draft.now,
        automatic=True,
        bad=bad,
        rule=rule,
        own=rollback,
    )
    started = rollback or begin(draft, bad, facts, incident, judged.verdict.explanation)
    started = replace(
        started,
        rules=_with_rule(started.rules, rule),
        incident=incident.id if incident else started.incident,
        to_variant=facts.target_variant,
        to_version=facts.target_version,
        observed_at=judged.event.arrived_at,
        breached_since=judged.result.state.breached_at,
        reason=judged.verdict.explanation or f"{rule.name} is beyond its rollback threshold",
    )
    _decide(draft, started, facts, judged.inputs, new=rollback is None)


def _known(draft: Draft, bad: Deployment) -> Rollback | None:
    key = f"auto:{draft.service.name}:{bad.id}"
    return next((one for one in draft.service.rollbacks.values() if one.key == key), None)


def _told_already(draft: Draft, bad: Deployment, incident: Incident | None) -> bool:
    """Whether people heard in this very incident that a switch was undone, or did not help, and this is what is live.

    Nobody deployed it: it came back from where it was taken, or traffic was moved back to it.
    """
    return not bad.armed and any(
        (bad.variant, bad.version)
        == {
            RollbackState.CONTESTED: (one.from_variant, one.from_version),
            RollbackState.INEFFECTIVE: (one.to_variant, one.to_version),
        }.get(one.state)
        and incident is not None
        and one.incident == incident.id
        for one in draft.service.rollbacks.values()
    )


def _with_rule(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    return rules if any(one.name == rule.name for one in rules) else (*rules, rule)


def _also_breached(draft: Draft, rollback: Rollback, rule: Rule) -> None:
    """Another rule says the same before the switch: its recovery will be part of the proof."""
    before_switch = rollback.state in (RollbackState.AWAITING_APPROVAL, RollbackState.INTENDED)
    if before_switch and all(one.name != rule.name for one in rollback.rules):
        also = replace(rollback, rules=_with_rule(rollback.rules, rule))
        draft.set_rollback(replace(also, references=references_of(draft.service, also)))


def begin(
    draft: Draft, bad: Deployment, facts: GuardFacts, incident: Incident | None, reason: str
) -> Rollback:
    """A decision just made, of which nothing is on disk yet."""
    key = f"auto:{draft.service.name}:{bad.id}"
    return Rollback(
        id=identity("rb", key),
        key=key,
        service=draft.service.name,
        deployment=bad.id,
        incident=incident.id if incident else None,
        state=RollbackState.DECIDED,
        automatic=True,
        requested_by="watchdog",
        reason=reason,
        from_variant=bad.variant,
        from_version=bad.version,
        to_variant=facts.target_variant,
        to_version=facts.target_version,
        decided_at=draft.now,
        history=(Passage(state=RollbackState.DECIDED, at=draft.now, why=reason),),
    )


def _decide(
    draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object], *, new: bool
) -> None:
    vetoes = ask(facts)
    only_approval = len(vetoes) == 1 and vetoes[0].reason == "not_approved"
    if only_approval:
        _ask_approval(draft, rollback, facts, replay)
    elif vetoes:
        _block(draft, rollback, facts, vetoes, replay, new=new)
    else:
        intend(draft, rollback, facts, replay)


def _block(
    draft: Draft,
    rollback: Rollback,
    facts: GuardFacts,
    vetoes: tuple[Veto, ...],
    replay: dict[str, object],
    *,
    new: bool,
) -> None:
    """A guard said no. Recorded when it is new, or when other guards or for other reasons than before say no."""
    known = {(veto.guard, veto.reason) for veto in rollback.vetoes}
    if new or known != {(veto.guard, veto.reason) for veto in vetoes}:
        rollback = draft.move_rollback(
            rollback,
            RollbackEvent.VETOED,
            vetoes[0].detail,
            vetoes=vetoes,
            record={"vetoes": vetoes, "facts": facts, **replay},
        )
    elif _grown(rollback, draft.service.rollbacks[rollback.id]):
        draft.set_rollback(rollback)
    tell_blocked(draft, rollback)


def _grown(rollback: Rollback, before: Rollback) -> bool:
    """Whether what must be kept of a blocked rollback changed; what only was measured anew need not be stored."""
    return (rollback.rules, rollback.incident) != (before.rules, before.incident)


def tell_blocked(draft: Draft, rollback: Rollback, *, suspended: Suspension | None = None) -> None:
    """Tell that guards stop a rollback: once for each set of guards in an incident, and with what is `suspended`."""
    if any(veto.guard == "breaker" for veto in rollback.vetoes):
        return  # one aggregated message for all services; see watchdog.core.step
    guards = rollback_news.stopped_by(rollback)
    told = guards if suspended is None else f"{guards}:suspended"
    if told in rollback.told:
        return
    draft.set_rollback(replace(rollback, told=tuple(dict.fromkeys((*rollback.told, guards, told)))))
    incident = draft.service.incidents.get(rollback.incident or "")
    message = rollback_news.rollback_blocked(
        draft.service.service, rollback, now=draft.now, incident=incident
    )
    if suspended is not None:
        message = replace(message, key=f"{message.key}:suspended")
    draft.tell(with_suspension(message, draft.service, suspended))


def _ask_approval(draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object]) -> None:
    expires = draft.now + draft.service.service.rollback.approve_within
    moved = draft.move_rollback(
        rollback,
        RollbackEvent.APPROVAL_ASKED,
        "waits for approval",
        expires_at=expires,
        vetoes=(),
        record={"facts": facts, **replay},
    )
    incident = draft.service.incidents.get(moved.incident or "")
    draft.tell(rollback_news.approval_wanted(draft.service.service, moved, now=draft.now, incident=incident))


def intend(draft: Draft, rollback: Rollback, facts: GuardFacts, replay: dict[str, object]) -> Rollback:
    """Write the intent: from here on the executor may switch."""
    state = draft.service.traffic
    change = Change(
        target=rollback.to_variant,
        away=(rollback.from_variant,),
        expect=state.revision if state else "",
        mark=rollback.id,
        epoch=draft.world.epoch,
        beside=state is not None and rollback.to_variant in state.live,
        suspend=facts.gitops is GitOps.PAUSE,
    )
    return draft.move_rollback(
        rollback,
        RollbackEvent.INTENDED,
        f"all guards allow it; {rollback.from_variant} → {rollback.to_variant}",
        change=change,
        vetoes=(),
        references=references_of(draft.service, rollback),
        intended_at=draft.now,
        expires_at=draft.now + INTENT_FOR,
        requests_at_switch={},
        record={"change": change, "facts": facts, **replay},
    )


def unbreached(draft: Draft) -> None:
    """Decisions that wait end when traffic was moved, nobody approved in time, or nothing asks for them any more.

    A request for approval whose incident closes first goes back: when it is bad again, people are asked again.
    """
    for rollback in list(draft.service.rollbacks.values()):
        if rollback.state not in (RollbackState.BLOCKED, RollbackState.AWAITING_APPROVAL):
            continue
        awaiting = rollback.state is RollbackState.AWAITING_APPROVAL
        if _moved_away(draft.service, rollback):
            end(
                draft, rollback, RollbackEvent.OVERTAKEN, f"{rollback.from_version} takes no traffic any more"
            )
        elif awaiting and unanswered(draft, rollback):
            end(draft, rollback, RollbackEvent.LAPSED, "nobody approved in time")
        elif rollback.incident in draft.service.incidents:
            continue
        elif _too_late(draft, rollback):  # people heard that the incident is over: nothing is left to tell
            draft.move_rollback(rollback, RollbackEvent.LAPSED, "its incident is closed")
        elif awaiting:
            _ask_no_more(draft, rollback)


def _ask_no_more(draft: Draft, rollback: Rollback) -> None:
    """Nothing was written and nothing is wrong now: the one rollback of the deployment is not used up."""
    why = "its incident is closed; approval is asked for again when it is bad again"
    veto = Veto(guard="mode", reason="not_approved", detail="nobody approved before its incident was closed")
    draft.move_rollback(
        rollback,
        RollbackEvent.VETOED,
        why,
        vetoes=(veto,),
        expires_at=None,
        record={"vetoes": (veto,), "when": "its incident was closed"},
    )


def unanswered(draft: Draft, rollback: Rollback) -> bool:
    """Whether the time to approve it is over."""
    return rollback.expires_at is not None and draft.now >= rollback.expires_at


def _moved_away(service: ServiceWorld, rollback: Rollback) -> bool:
    """Whether the bad version lost its traffic to another; nothing live at all is an outage."""
    if service.traffic is None or not service.traffic.live:
        return False
    serving = service.serving(rollback.from_variant)
    live = rollback.from_variant in service.traffic.live
    return not live or serving is None or serving.id != rollback.deployment


def _too_late(draft: Draft, rollback: Rollback) -> bool:
    """Whether this deployment can never again be rolled back automatically: then nothing waits for the guards."""
    bad = draft.service.deployments.get(rollback.deployment)
    armed_for = draft.service.service.rollback.armed_for
    return bad is None or not bad.armed or draft.now > bad.started_at + armed_for


def end(
    draft: Draft,
    rollback: Rollback,
    event: RollbackEvent,
    why: str,
    record: dict[str, object] | None = None,
    *,
    by_person: bool = False,
    suspended: Suspension | None = None,
) -> Rollback:
    """End a rollback that does not go on, and say so: a half switch always to somebody who must act.

    So does what a person asked for and did not get; nobody is needed where a person ended it (`by_person`). What is
    `suspended` for it stays so, which is said, too.
    """
    moved = draft.move_rollback(rollback, event, why, record=record)
    incident = draft.service.incidents.get(moved.incident or "")
    wanted = incident is not None or not moved.automatic or moved.state is RollbackState.PARTIAL
    told = rollback_news.rollback_ended(
        draft.service.service,
        moved,
        now=draft.now,
        wanted=wanted and not by_person,
        incident=incident,
    )
    draft.tell(with_suspension(told, draft.service, suspended))
    return moved
