"""Presenters: core values made into the shapes that the API answers.

Written out field by field, so that a new field in the core never becomes public by accident.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from watchdog import __version__
from watchdog.api import shapes
from watchdog.api.burning import present_slo
from watchdog.api.climb import present_climb
from watchdog.api.lateness import present_heartbeat, present_late
from watchdog.api.limits import present_baseline, present_limits
from watchdog.core.audit import AuditRecord
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Breach, Incident
from watchdog.core.rollback import Rollback, Veto
from watchdog.core.rule import (
    BREACH_LEVELS,
    Evidence,
    Form,
    Gauge,
    Hold,
    Lasting,
    ProbeForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Samples,
)
from watchdog.core.service import RollbackPolicy
from watchdog.core.silence import Silence
from watchdog.core.traffic import TrafficState
from watchdog.core.units import parse_duration
from watchdog.core.view import CheckView, ServiceView, View

#: What is shown of a probe's settings. Headers and bodies may carry credentials and are left out.
_SHOWN_SETTINGS = ("url", "host", "port", "method", "expect", "timeout")
#: Durations in a probe's settings; shown as seconds, as everywhere else.
_DURATIONS = ("timeout", "within")


def present_status(view: View) -> shapes.Status:
    """The daemon itself."""
    return shapes.Status(
        at=view.at,
        version=__version__,
        leader=view.leader,
        holder=view.holder,
        paused_by_file=view.paused_by_file,
        breaker=view.breaker,
        cut_off_at=view.cut_off_at,
        store_error=view.store_error,
        config_fault=view.config_fault,
        config_fault_at=view.config_fault_at,
        silences=view.silences,
        audit_head=view.audit_head,
        late=present_late(view),
        heartbeat=present_heartbeat(view),
        sources=tuple(
            shapes.Source(
                name=source.name, up=source.up, error=source.error, failing_since=source.failing_since
            )
            for source in view.sources.values()
        ),
    )


def present_check(view: CheckView) -> shapes.Check:
    """One check of a service."""
    verdict = view.verdict
    return shapes.Check(
        id=str(view.id),
        rule=view.id.rule,
        version=view.id.version,
        variant=view.id.variant,
        level=view.level,
        held=view.held,
        latched=view.latched,
        reason=verdict.reason if verdict else None,
        explanation=verdict.explanation if verdict else "",
        value=verdict.value if verdict else None,
        limit=verdict.limit if verdict else None,
        events=verdict.events if verdict else None,
        judged_at=verdict.at if verdict else None,
        last_data_at=view.last_data_at,
        blind_since=view.blind_since,
    )


def present_traffic(state: TrafficState) -> shapes.Traffic:
    """The state of traffic of one service."""
    variants = {
        name: shapes.Variant(
            weight=variant.weight,
            live=variant.live,
            version=variant.version,
            ready=variant.ready,
            total=variant.total,
            requests=variant.requests,
            note=variant.note,
        )
        for name, variant in state.variants.items()
    }
    return shapes.Traffic(
        variants=variants,
        revision=state.revision,
        read_at=state.read_at,
        managed_by=state.managed_by,
        paused=state.paused,
        suspended=state.suspended.owner if state.suspended else "",
        suspended_for=state.suspended.rollback if state.suspended else "",
        noted=state.noted,
    )


def present_veto(veto: Veto) -> shapes.Veto:
    """A guard's no."""
    return shapes.Veto(guard=veto.guard, reason=veto.reason, detail=veto.detail)


def present_service(view: ServiceView) -> shapes.Service:
    """One service with its checks."""
    paused = view.paused
    return shapes.Service(
        name=view.name,
        environment=view.environment,
        mode=view.mode,
        policy=_policy(view.policy),
        labels=view.labels,
        level=view.level,
        paused=shapes.Pause(by=paused.by, at=paused.at, reason=paused.reason) if paused else None,
        traffic=present_traffic(view.traffic) if view.traffic else None,
        traffic_error=view.traffic_error,
        deployment=present_deployment(view.deployment) if view.deployment else None,
        stable=present_deployment(view.stable) if view.stable else None,
        checks=tuple(present_check(check) for check in view.checks),
        incidents=view.incidents,
        rollback=present_rollback(view.rollback) if view.rollback else None,
        taints=tuple(
            shapes.Taint(version=taint.version, at=taint.at, by=taint.by or "watchdog", reason=taint.reason)
            for taint in view.taints.values()
        ),
        rollback_ready=view.rollback_ready,
        not_ready=tuple(present_veto(veto) for veto in view.not_ready),
    )


def _policy(policy: RollbackPolicy) -> shapes.Policy:
    return shapes.Policy(
        warmup_seconds=policy.warmup.total_seconds(),
        armed_for_seconds=policy.armed_for.total_seconds(),
        soak_seconds=policy.soak.total_seconds(),
        verify_seconds=policy.verify.total_seconds(),
        contest_for_seconds=policy.contest_for.total_seconds(),
        cooldown_seconds=policy.cooldown.total_seconds(),
        max_per_day=policy.max_per_day,
        min_ready=policy.min_ready,
    )


def present_deployment(deployment: Deployment) -> shapes.Deployment:
    """One deployment."""
    return shapes.Deployment(
        id=deployment.id,
        service=deployment.service,
        version=deployment.version,
        variant=deployment.variant,
        state=deployment.state,
        origin=deployment.origin,
        named=deployment.named,
        armed=deployment.armed,
        rollback="allowed" if deployment.rollback_allowed else "forbidden",
        started_at=deployment.started_at,
        recorded_at=deployment.recorded_at,
        live_at=deployment.live_at,
        ended_at=deployment.ended_at,
        soaked_for_seconds=deployment.soaked_for.total_seconds(),
        reason=deployment.reason,
        source=deployment.source,
        url=deployment.url,
        labels=deployment.labels,
    )


def present_incident(incident: Incident) -> shapes.Incident:
    """One incident; `service` is its subject unless it is about a source or many services."""
    service = incident.subject if incident.of_service else None
    return shapes.Incident(
        id=incident.id,
        kind=incident.kind,
        state=incident.state,
        subject=incident.subject,
        service=service,
        environment=incident.environment,
        deployment=incident.deployment,
        version=incident.version,
        level=incident.level,
        severity=incident.severity,
        summary=incident.summary,
        opened_at=incident.opened_at,
        acknowledged_by=incident.acknowledged_by,
        acknowledged_at=incident.acknowledged_at,
        closed_at=incident.closed_at,
        closed_because=incident.closed_because,
        breaches=tuple(_breach(check, breach) for check, breach in incident.breaches.items()),
        services=incident.subjects or (() if service is None else (service,)),
        silenced_by=incident.silenced_by,
        silenced_messages=incident.silenced_messages,
        climb=present_climb(incident),
    )


def present_silence(silence: Silence, *, now: datetime) -> shapes.Silence:
    """One silence; `active` while it holds."""
    return shapes.Silence(
        id=silence.id,
        matchers=silence.matchers,
        reason=silence.reason,
        by=silence.by,
        active=silence.holds(now),
        created_at=silence.created_at,
        ends_at=silence.ends_at,
        ended_at=silence.ended_at,
        ended_by=silence.ended_by,
        held_back=silence.held_back,
    )


def _breach(check: str, breach: Breach) -> shapes.Breach:
    return shapes.Breach(
        check=check,
        rule=breach.rule.name,
        rule_hash=breach.rule.hash,
        level=breach.level,
        value=breach.value,
        since=breach.since,
        reason=breach.reason,
        version=breach.version,
        runbook=breach.rule.runbook,
        cleared_at=breach.cleared_at,
        retired_at=breach.retired_at,
    )


def present_rollback(rollback: Rollback) -> shapes.Rollback:
    """One rollback with its history."""
    return shapes.Rollback(
        id=rollback.id,
        service=rollback.service,
        deployment=rollback.deployment,
        incident=rollback.incident,
        state=rollback.state,
        over=rollback.over,
        switched=rollback.switched,
        automatic=rollback.automatic,
        requested_by=rollback.requested_by,
        reason=rollback.reason,
        from_=shapes.Place(variant=rollback.from_variant, version=rollback.from_version),
        to=shapes.Place(variant=rollback.to_variant, version=rollback.to_version),
        rules=tuple(rule.name for rule in rollback.rules),
        breached_since=rollback.breached_since,
        observed_at=rollback.observed_at,
        decided_at=rollback.decided_at,
        expires_at=rollback.expires_at,
        intended_at=rollback.intended_at,
        applied_at=rollback.applied_at,
        contest_until=rollback.contest_until,
        verify_until=rollback.verify_until,
        recovered_at=rollback.recovered_at,
        ended_at=rollback.ended_at,
        decision_seconds=_between(rollback.observed_at, rollback.applied_at),
        attempts=rollback.attempts,
        vetoes=tuple(present_veto(veto) for veto in rollback.vetoes),
        traffic_proof=rollback.traffic_proof,
        history=tuple(shapes.Passage(state=p.state, at=p.at, why=p.why) for p in rollback.history),
    )


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def present_rule(rule: Rule, services: tuple[str, ...]) -> shapes.Rule:
    """One rule, with the services that use it."""
    return shapes.Rule(
        name=rule.name,
        summary=rule.summary,
        hash=rule.hash,
        form=_form(rule.form),
        source=rule.source,
        unit=rule.unit,
        direction=rule.direction,
        interval_seconds=rule.interval.total_seconds(),
        window_seconds=rule.window.total_seconds(),
        thresholds=present_limits(rule.thresholds),
        baseline=present_baseline(rule.baseline) if rule.baseline else None,
        slo=present_slo(rule.slo) if rule.slo else None,
        hold={} if rule.is_probe else {level.value: _hold(rule.hold.of(level)) for level in BREACH_LEVELS},
        clear_samples=rule.clear,
        evidence=_evidence(rule.evidence) if rule.evidence else None,
        blind_after_seconds=rule.blind_after.total_seconds(),
        max_age_seconds=_seconds(rule.max_age),
        severity={level.value: rule.severity.of(level) for level in BREACH_LEVELS},
        tags=rule.tags,
        runbook=rule.runbook,
        services=services,
    )


def _form(form: Form) -> dict[str, Any]:
    match form:
        case Ratio():
            return {"ratio": {"bad": form.bad, "total": form.total}}
        case Quantile():
            return {"quantile": {"of": form.of, "q": form.q}}
        case Rate():
            return {"rate": form.of}
        case Gauge():
            return {"gauge": {"of": form.of, "by": form.by}}
        case Query():
            return {"query": form.query, "events": form.events, "freshness": form.freshness}
        case ProbeForm():
            shown = _in_seconds({k: v for k, v in form.settings.items() if k in _SHOWN_SETTINGS})
            if "url" in shown:
                shown["url"] = without_credentials(str(shown["url"]))
            return {"probe": {"kind": form.kind, **shown}}


def _in_seconds(settings: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            shown[name] = _in_seconds(value)
        elif name in _DURATIONS and isinstance(value, str | timedelta):
            duration = parse_duration(value) if isinstance(value, str) else value
            shown[f"{name}_seconds"] = duration.total_seconds()
        else:
            shown[name] = value
    return shown


def without_credentials(url: str) -> str:
    """The address without `user:password@`."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _hold(hold: Hold) -> shapes.Hold:
    match hold:
        case Samples():
            return shapes.Hold(samples=hold.count, duration_seconds=None)
        case Lasting():
            return shapes.Hold(samples=None, duration_seconds=hold.duration.total_seconds())


def _evidence(evidence: Evidence) -> shapes.Evidence:
    return shapes.Evidence(
        min_events=evidence.min_events,
        min_bad=evidence.min_bad if evidence.bound else None,
        confidence=evidence.confidence if evidence.bound else None,
        excess=evidence.excess if evidence.bound else None,
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def present_audit(record: AuditRecord) -> shapes.AuditEntry:
    """One audit record, whole: its body is what was hashed, and the engine puts no secret into it."""
    return shapes.AuditEntry(
        seq=record.seq,
        at=record.at,
        kind=record.kind,
        subject=record.subject,
        body=record.body,
        previous=record.previous,
        hash=record.hash,
    )
