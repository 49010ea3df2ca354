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
from watchdog.core.rollback import VERIFYING, Rollback, RollbackState
from watchdog.core.rule import MetricForm, ProbeForm, Rule
from watchdog.core.variables import fill, fill_settings, quote_promql
from watchdog.core.world import ServiceWorld

#: A switch that was just written is read this often until the rollback has ended, at most.
WATCH_CLOSELY = timedelta(seconds=1)


def checks_of(service: ServiceWorld) -> tuple[CheckId, ...]:
    """Every check that should be polled now."""
    found = dict.fromkeys(check for rule in service.rules.values() for check in _of_rule(service, rule))
    for key, rule in _held_open(service):
        found |= dict.fromkeys(check for check in _of_rule(service, rule) if str(check) == key)
    return tuple(found)


def exists(service: ServiceWorld, check: CheckId) -> bool:
    """Whether `checks_of` has this check, without listing all of them."""
    rule = service.rules.get(check.rule)
    if rule is not None and not rule.per_version and not check.version and not check.variant:
        return True
    if rule is not None and check in _of_rule(service, rule):
        return True
    return any(key == str(check) and check in _of_rule(service, held) for key, held in _held_open(service))


def _of_rule(service: ServiceWorld, rule: Rule) -> Iterator[CheckId]:
    """The checks that a rule becomes with what is live now."""
    if not rule.per_version:
        yield CheckId(service=service.name, rule=rule.name)
        return
    for variant in service.traffic.live if service.traffic else ():
        deployment = service.serving(variant)
        version = deployment.version if deployment else variant
        yield check_on(rule, service.name, version=version, variant=variant)


def check_on(rule: Rule, service: str, *, version: str, variant: str) -> CheckId:
    """The check of a rule that names the version, on one of them."""
    by_variant = rule.per_variant
    return CheckId(service=service, rule=rule.name, version=version, variant=variant, by_variant=by_variant)


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
    return check_on(rule, rollback.service, version=rollback.to_version, variant=rollback.to_variant)


def away(rule: Rule, rollback: Rollback) -> CheckId:
    """The check of the same rule on the version that was taken away."""
    return check_on(rule, rollback.service, version=rollback.from_version, variant=rollback.from_variant)


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


class SharedPoll(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A poll of a rule with `match`, asked once for all services.

    `pressing`: only for those on which something hangs now.
    """

    rule: str
    pressing: bool = False

    def __str__(self) -> str:
        """For names of tasks."""
        return f"*/{self.rule}" + ("!" if self.pressing else "")


#: What a scheduler polls: one check alone, or a rule for all its services.
Poll = CheckId | SharedPoll


class Polls(msgspec.Struct, frozen=True, kw_only=True):
    """What to poll for one service now and how often."""

    alone: dict[CheckId, timedelta]
    shared: dict[SharedPoll, timedelta]


def polls(service: ServiceWorld, *, recheck: timedelta, now: datetime) -> Polls:
    """Every check to poll now and how often: its rule's interval, or `recheck` while something hangs on it."""
    rules = {check: rule for check in checks_of(service) if (rule := rule_of(service, check)) is not None}
    hot = _hot(service, rules, now)
    alone: dict[CheckId, timedelta] = {}
    shared: dict[SharedPoll, timedelta] = {}
    for check, rule in rules.items():
        often = min(rule.interval, recheck)
        if rule.match is None:
            alone[check] = often if check.rule in hot else rule.interval
            continue
        shared[SharedPoll(rule=rule.name)] = rule.interval
        if check.rule in hot and often < rule.interval:
            shared[SharedPoll(rule=rule.name, pressing=True)] = often
    return Polls(alone=alone, shared=shared)


def looks_every(service: ServiceWorld, usual: timedelta) -> timedelta:
    """How often to read a service's switch: closely while it is being switched, or that is being proved."""
    busy = any(
        one.state in VERIFYING or one.state is RollbackState.INTENDED for one in service.rollbacks.values()
    )
    return min(usual, WATCH_CLOSELY) if busy else usual


def plans_as_before(before: ServiceWorld, after: ServiceWorld) -> bool:
    """Whether `polls` surely answers the same for a service after an event as before it: mostly it does."""
    same = (
        before.rules is after.rules
        and before.service is after.service
        and before.incidents is after.incidents
        and before.rollbacks is after.rollbacks
    )
    if not same or any(state.breached_at for one in (before, after) for state in one.checks.values()):
        return False
    moved = before.traffic is not after.traffic or before.deployments is not after.deployments
    return not moved or not any(rule.per_version for rule in after.rules.values())


def sharing(service: ServiceWorld, poll: SharedPoll, *, now: datetime) -> tuple[CheckId, Rule] | None:
    """The check of one service that a shared poll asks for, by the rule it runs by; `None` when it asks for none."""
    check = CheckId(service=service.name, rule=poll.rule)
    rule = rule_of(service, check)
    if rule is None or rule.match is None or not exists(service, check):
        return None
    if poll.pressing and not _presses(service, check, now):
        return None
    return check, rule


def _presses(service: ServiceWorld, check: CheckId, now: datetime) -> bool:
    """Whether something hangs on this check now: `_hot` for one rule, quick where there is nothing."""
    state = service.checks.get(check)
    if state is not None and wants_recheck(state, now):
        return True
    confirms = check.rule in service.service.rollback.confirm
    if not confirms and not any(one.state in VERIFYING for one in service.rollbacks.values()):
        return False
    rules = {one: rule for one in checks_of(service) if (rule := rule_of(service, one)) is not None}
    return check.rule in _hot(service, rules, now)


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
