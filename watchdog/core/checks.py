"""Which checks exist for a service now, by which rule each one runs, and what exactly it asks.

A rule that names `$version` or `$variant` becomes one check per live version; others become one check per service.
What an open incident or a rollback under verification waits for exists as long as they do, whatever became of the
configuration. This module must never ask anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from watchdog.core.check import CheckId
from watchdog.core.evaluate import wants_recheck
from watchdog.core.promql import with_selectors
from watchdog.core.rollback import VERIFYING, Rollback
from watchdog.core.rule import MetricForm, ProbeForm, Rule
from watchdog.core.variables import fill, fill_settings, quote_promql
from watchdog.core.world import ServiceWorld


def checks_of(service: ServiceWorld) -> tuple[CheckId, ...]:
    """Every check that should be polled now."""
    found = dict.fromkeys(check for rule in service.rules.values() for check in _of_rule(service, rule))
    for key, rule in _held_open(service):
        found |= dict.fromkeys(check for check in _of_rule(service, rule) if str(check) == key)
    return tuple(found)


def _of_rule(service: ServiceWorld, rule: Rule) -> Iterator[CheckId]:
    """The checks that a rule becomes with what is live now."""
    if not rule.per_version:
        yield CheckId(service=service.name, rule=rule.name)
        return
    for variant in service.traffic.live if service.traffic else ():
        deployment = service.serving(variant)
        version = deployment.version if deployment else variant
        yield CheckId(service=service.name, rule=rule.name, version=version, variant=variant)


def _held_open(service: ServiceWorld) -> Iterator[tuple[str, Rule]]:
    """The checks that something waits for, each with the rule it was decided by: incidents first."""
    for incident in service.incidents.values():
        for key, breach in incident.breaches.items():
            if not breach.over:
                yield key, breach.rule
    for rollback in service.rollbacks.values():
        if rollback.state in VERIFYING:
            for rule in rollback.rules:
                yield str(bound(rule, rollback)), rule


def bound(rule: Rule, rollback: Rollback) -> CheckId:
    """The check that proves one breached rule's recovery: the same rule on the target version."""
    if not rule.per_version:
        return CheckId(service=rollback.service, rule=rule.name)
    return CheckId(
        service=rollback.service, rule=rule.name, version=rollback.to_version, variant=rollback.to_variant
    )


def away(rule: Rule, rollback: Rollback) -> CheckId:
    """The check of the same rule on the version that was taken away."""
    return CheckId(
        service=rollback.service, rule=rule.name, version=rollback.from_version, variant=rollback.from_variant
    )


def rule_of(service: ServiceWorld, check: CheckId) -> Rule | None:
    """The rule a check runs by: the one it is waited for with, else the configured one, else none any more."""
    held = (rule for key, rule in _held_open(service) if key == str(check))
    return next(held, service.rules.get(check.rule))


def values_for(service: ServiceWorld, check: CheckId) -> dict[str, str]:
    """The values of the variables for one check. A live version, never a pending one."""
    deployment = service.deployment_of(check)
    values = {
        "service": service.name,
        "environment": service.service.environment,
        "version": check.version or (deployment.version if deployment else ""),
        "variant": check.variant or (deployment.variant if deployment else ""),
        "deployment": deployment.id if deployment else "",
    }
    return values | {f"label.{name}": value for name, value in service.service.labels.items()}


def filled_form(rule: Rule, values: dict[str, str]) -> MetricForm | ProbeForm:
    """The rule's form with every variable replaced, quoted for where it goes."""
    form = rule.form
    if isinstance(form, ProbeForm):
        settings: dict[str, Any] = fill_settings(form.settings, values, form.quoting)
        return msgspec.structs.replace(form, settings=settings)
    return with_selectors(form, lambda text: fill(text, values, quote_promql))


def polls(service: ServiceWorld, *, recheck: timedelta, now: datetime) -> dict[CheckId, timedelta]:
    """Every check to poll now and how often: its rule's interval, or `recheck` while something hangs on it."""
    rules = {check: rule for check in checks_of(service) if (rule := rule_of(service, check)) is not None}
    hot = _hot(service, rules, now)
    return {
        check: min(rule.interval, recheck) if check.rule in hot else rule.interval
        for check, rule in rules.items()
    }


def _hot(service: ServiceWorld, rules: dict[CheckId, Rule], now: datetime) -> set[str]:
    """Rules to poll at the recheck interval: pending ones, their confirming rules, those under verification."""
    pending = {
        check: rules[check]
        for check, state in service.checks.items()
        if check in rules and wants_recheck(state, now)
    }
    hot = {check.rule for check in pending}
    if any(rule.can_roll_back for rule in pending.values()):
        hot |= set(service.service.rollback.confirm)
    for rollback in service.rollbacks.values():
        if rollback.state in VERIFYING:
            hot |= {rule.name for rule in rollback.rules}
    return hot
