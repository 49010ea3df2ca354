"""What a turn comes to, in the words of `watchdog.lab.recording`. This module must never change or leave out a word."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckId
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Breach, Incident, IncidentState
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.roster import everyone
from watchdog.core.rule import rank
from watchdog.core.step import Stepped
from watchdog.core.world import World
from watchdog.lab.recording import Change, Happening, What

Fact = str | float | bool

#: Records of what guards refused to a person.
_REFUSED_TO_PEOPLE = frozenset({"rollback_request_refused", "approval_vetoed"})
#: What is told because nobody acknowledged.
_ESCALATIONS = frozenset({MessageKind.ESCALATED, MessageKind.INCIDENT_REPEATED})


class Recorder:
    """Collects happenings, in order."""

    def __init__(self) -> None:
        self.happenings: list[Happening] = []

    def add(self, at: timedelta, what: What, **facts: Fact | None) -> None:
        """One more. Facts that are not known are left out; `from_` is `from`, which is no name in Python."""
        said = {name.rstrip("_"): fact for name, fact in facts.items() if fact is not None}
        self.happenings.append(Happening(at=at, what=what, facts=said))

    def took(self, at: timedelta, before: World, stepped: Stepped) -> None:
        """A turn: what became of incidents, deployments and rollbacks, and what guards said."""
        for deployment in stepped.deployments:
            self._deployment(at, before, deployment)
        for incident in stepped.incidents:
            self._incident(at, before, incident)
        for rollback in stepped.rollbacks:
            self._rollback(at, before, rollback)
        for draft in stepped.audit:
            if draft.kind in _REFUSED_TO_PEOPLE:
                self._refused(at, before, draft)

    def judged(self, at: timedelta, world: World, check: CheckId, *, now: datetime) -> None:
        """A poll was taken in: what the check says now, which is what it said before where there was nothing new."""
        service = world.services.get(check.service)
        state = service.checks.get(check) if service is not None else None
        if state is None or state.verdict is None:
            return
        verdict = state.verdict
        self.add(
            at,
            What.VERDICT,
            service=check.service,
            rule=check.rule,
            version=check.version,
            level=str(verdict.level),
            held=str(state.held),
            reason=str(verdict.reason),
            value=verdict.value,
            fresh=verdict.fresh and verdict.at == now,
            because=verdict.explanation,
        )

    def switched(self, at: timedelta, rollback: Rollback) -> None:
        """The watchdog moved traffic."""
        self.add(
            at,
            What.SWITCH,
            service=rollback.service,
            from_=rollback.from_version,
            to=rollback.to_version,
            variant=rollback.to_variant,
        )

    def replied(self, at: timedelta, request: Request, reply: Reply, service: str) -> None:
        """A request was answered."""
        self.add(
            at,
            What.REPLY,
            service=service,
            request=str(request.kind),
            status=float(reply.status),
            because=reply.detail,
        )

    def delivered(self, at: timedelta, channel: str, message: Message) -> None:
        """A channel took a message."""
        rule = message.evidence.check.rule if message.evidence is not None else None
        severity = str(message.severity)
        self.add(
            at,
            What.NOTIFICATION,
            service=message.service,
            kind=str(message.kind),
            severity=severity,
            channel=channel,
            rule=rule,
            headline=message.headline,
        )
        if message.kind in _ESCALATIONS:
            repeat = message.kind is MessageKind.INCIDENT_REPEATED
            step = None if repeat else float(int(message.key.rpartition(":")[2]) + 1)
            self.add(
                at,
                What.ESCALATION,
                service=message.service,
                step=step,
                channel=channel,
                severity=severity,
                repeat=repeat,
            )

    def _deployment(self, at: timedelta, before: World, one: Deployment) -> None:
        service = before.services.get(one.service)
        known = service.deployments.get(one.id) if service is not None else None
        if known is not None and (known.state, known.version) == (one.state, one.version):
            return
        self.add(
            at,
            What.DEPLOYMENT,
            service=one.service,
            version=one.version,
            variant=one.variant,
            state=str(one.state),
            because=one.reason,
        )

    def _incident(self, at: timedelta, before: World, one: Incident) -> None:
        known = next((each for each in everyone(before) if each.id == one.id), None)
        for change in _changes(known, one):
            worst = _worst(known, one)
            closed = change is Change.CLOSED
            self.add(
                at,
                What.INCIDENT,
                service=one.subject,
                kind=str(one.kind),
                state=str(change),
                level=str(one.level),
                severity=str(one.severity),
                rule=worst,
                version=one.version,
                because=one.closed_because if closed else one.summary,
            )

    def _rollback(self, at: timedelta, before: World, one: Rollback) -> None:
        service = before.services.get(one.service)
        known = service.rollbacks.get(one.id) if service is not None else None
        passed = len(known.history) if known is not None else 0
        said = {(veto.guard, veto.reason) for veto in known.vetoes} if known is not None else set()
        intended = known is not None and known.state is RollbackState.INTENDED
        for veto in one.vetoes:
            if (veto.guard, veto.reason) not in said:
                self._guard(at, one.service, veto, one.from_version, when="write" if intended else "decision")
        rule = ", ".join(rule.name for rule in one.rules)
        for passage in one.history[passed:]:
            self.add(
                at,
                What.ROLLBACK,
                service=one.service,
                state=str(passage.state),
                from_=one.from_version,
                to=one.to_version,
                rule=rule,
                automatic=one.automatic,
                because=passage.why,
            )

    def _refused(self, at: timedelta, before: World, draft: AuditDraft) -> None:
        facts = draft.body.get("facts") or {}
        asked = draft.body.get("request") or {}
        by = str(draft.body.get("by") or asked.get("by") or "")
        for veto in draft.body["vetoes"]:
            said = Veto(guard=veto["guard"], reason=veto["reason"], detail=veto["detail"])
            self._guard(at, draft.subject, said, str(facts.get("from_version", "")), when="decision", by=by)

    def _guard(
        self, at: timedelta, service: str, veto: Veto, version: str, *, when: str, by: str = ""
    ) -> None:
        self.add(
            at,
            What.GUARD,
            service=service,
            guard=veto.guard,
            reason=veto.reason,
            version=version,
            when=when,
            by=by,
            because=veto.detail,
        )


def _changes(known: Incident | None, one: Incident) -> Iterator[Change]:
    """What became of an incident, if anything that people could name."""
    if known is None:
        yield Change.OPENED
    elif _worse(known, one):
        yield Change.WORSENED
    was = IncidentState.OPEN if known is None else known.state
    if one.state is not was:
        match one.state:
            case IncidentState.OPEN:
                yield Change.UNACKNOWLEDGED
            case IncidentState.ACKNOWLEDGED:
                yield Change.ACKNOWLEDGED
            case IncidentState.CLOSED:
                yield Change.CLOSED


def _worse(known: Incident, one: Incident) -> bool:
    if rank(one.level) > rank(known.level) or set(one.checks) - set(known.checks):
        return True
    if set(one.subjects) - set(known.subjects):
        return True
    return any(_grew(known, breach) for breach in one.breaches.values() if not breach.over)


def _grew(known: Incident, breach: Breach) -> bool:
    """Whether a rule's part in it is new or worse; the same rule, bound to the target of a rollback, is neither."""
    was = [one.level for one in known.breaches.values() if one.rule.name == breach.rule.name and not one.over]
    return not was or rank(breach.level) > max(map(rank, was))


def _worst(known: Incident | None, one: Incident) -> str | None:
    """The rule that made it what it is now: the one that is new or worse, else the worst; all that are blind."""
    if one.checks:
        return ", ".join(one.checks)
    if not one.breaches:
        return None
    breaches = list(one.breaches.values())
    new = [breach for breach in breaches if known is None or _grew(known, breach)]
    left = new or [breach for breach in breaches if not breach.over] or breaches
    return max(left, key=lambda breach: rank(breach.level)).rule.name
