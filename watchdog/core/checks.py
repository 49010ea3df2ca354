"""Which checks exist for a service now, and what exactly each one asks.

A rule that names `$version` or `$variant` becomes one check per live version; others become one check per service.
This module must never ask anything.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from watchdog.core.check import CheckId
from watchdog.core.evaluate import wants_recheck
from watchdog.core.rollback import VERIFYING
from watchdog.core.rule import ProbeForm, Query, Ratio, Rule
from watchdog.core.variables import fill, fill_all, quote_promql, quote_url
from watchdog.core.world import ServiceWorld


def checks_of(service: ServiceWorld) -> tuple[CheckId, ...]:
    """Every check that should be polled now."""
    found: list[CheckId] = []
    for rule in service.rules.values():
        if not rule.per_version:
            found.append(CheckId(service=service.name, rule=rule.name))
            continue
        for variant in service.traffic.live if service.traffic else ():
            deployment = service.serving(variant)
            version = deployment.version if deployment else variant
            found.append(CheckId(service=service.name, rule=rule.name, version=version, variant=variant))
    return tuple(found)


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


def filled_form(rule: Rule, values: dict[str, str]) -> Ratio | Query | ProbeForm:
    """The rule's form with every variable replaced, quoted for where it goes."""
    match rule.form:
        case Ratio(bad=bad, total=total):
            return Ratio(bad=fill(bad, values, quote_promql), total=fill(total, values, quote_promql))
        case Query() as form:
            return Query(
                query=fill(form.query, values, quote_promql),
                events=None if form.events is None else fill(form.events, values, quote_promql),
                freshness=None if form.freshness is None else fill(form.freshness, values, quote_promql),
            )
        case ProbeForm() as form:
            settings: dict[str, Any] = fill_all(form.settings, values, quote_url)
            return msgspec.structs.replace(form, settings=settings)


def hot_rules(service: ServiceWorld, now_pending: set[str]) -> set[str]:
    """Rules to poll at the recheck interval: pending ones, their confirming rules, those under verification."""
    hot = set(now_pending)
    if any(service.rules[name].can_roll_back for name in now_pending):
        hot |= set(service.service.rollback.confirm)
    for rollback in service.rollbacks.values():
        if rollback.state in VERIFYING:
            hot |= {rule.name for rule in rollback.rules}
    return hot & set(service.rules)


def polls(service: ServiceWorld, *, recheck: timedelta, now: datetime) -> dict[CheckId, timedelta]:
    """Every check to poll now and how often: its rule's interval, or `recheck` while something hangs on it."""
    pending = {check.rule for check, state in service.checks.items() if wants_recheck(state, now)}
    hot = hot_rules(service, pending)
    found: dict[CheckId, timedelta] = {}
    for check in checks_of(service):
        interval = service.rules[check.rule].interval
        found[check] = min(interval, recheck) if check.rule in hot else interval
    return found
