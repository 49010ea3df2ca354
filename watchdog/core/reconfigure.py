"""A changed configuration, taken in between two turns: the world as it goes on under the new one. Pure.

Where a question stayed what it was, nothing is forgotten; where it became another, its memory begins anew. A rollback
under way is never cut off: its service stays, and so does its switch, until it is over; then the same configuration is
offered again and takes what is left. This module must never drop what an open incident or a running rollback needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from watchdog.core import config_news
from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckId, KnownLog
from watchdog.core.checks import checks_of, rule_of
from watchdog.core.draft import Draft, plain
from watchdog.core.edition import SWITCH
from watchdog.core.incident import Incident
from watchdog.core.message import Message
from watchdog.core.orphans import orphans
from watchdog.core.reach import SourcePlace
from watchdog.core.relocating import relocate, resume
from watchdog.core.rollback import VERIFYING, RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Rule
from watchdog.core.same import same_judgement, same_question
from watchdog.core.service import Limits, Service
from watchdog.core.step import Stepped
from watchdog.core.switchplace import SwitchPlace
from watchdog.core.world import ServiceWorld, SourceWorld, World


class Reconfigured(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that was loaded, validated and built beside the running one.

    `before` and `after` are hashes of the files. `restored` are the services that are new here, as the store knows
    them. `new_sources` and `new_switches` are those that were built anew; `moved` the services whose switch is another
    object now, `exchanged` their variants that are none of the servers they were; `switches` say what each switch is.
    `parts` names what else changed, by section; `restart` are keys whose change needs a restart.
    """

    services: dict[str, Service]
    rules: dict[str, Rule]
    sources: tuple[str, ...]
    limits: Limits
    routes: tuple[Route, ...]
    recheck: timedelta
    places: dict[str, SourcePlace] = {}
    before: str = ""
    after: str = ""
    restored: dict[str, ServiceWorld] = {}
    new_sources: frozenset[str] = frozenset()
    new_switches: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    exchanged: Mapping[str, frozenset[str]] = {}
    switches: Mapping[str, SwitchPlace] = {}
    parts: dict[str, tuple[str, ...]] = {}
    restart: tuple[str, ...] = ()


class ConfigBroken(msgspec.Struct, frozen=True, kw_only=True):
    """The files were changed and cannot be used: `problems` say why, each with its place. `file` is the main one."""

    problems: tuple[str, ...]
    file: str


Change = Reconfigured | ConfigBroken


def reconfigure(world: World, change: Change, now: datetime) -> Stepped:
    """Take a change of the configuration in, or that it cannot be taken."""
    match change:
        case Reconfigured():
            return _taken(world, change, now)
        case ConfigBroken():
            return _refused(world, change, now)
        case _:
            assert_never(change)


def busy(service: ServiceWorld) -> bool:
    """Whether a rollback is being carried out or proved: nothing may be taken away from under it."""
    return any(
        one.state is RollbackState.INTENDED or one.state in VERIFYING for one in service.rollbacks.values()
    )


def sources_of(world: World) -> frozenset[str]:
    """Every source that a rule asks now, those that only an open incident or a running rollback keeps, too."""
    rules = (rule for service in world.services.values() for rule in _in_use(service))
    return frozenset(rule.source for rule in rules if rule.source is not None)


def _in_use(service: ServiceWorld) -> list[Rule]:
    """The configured rules, and those that something holds its checks to."""
    if not service.incidents and not service.rollbacks:
        return list(service.rules.values())
    held = (rule_of(service, check) for check in checks_of(service))
    return [*service.rules.values(), *(rule for rule in held if rule is not None)]


class _Compared:
    """Which rules are the same. A thousand services share a few rules: each two are compared once."""

    def __init__(self) -> None:
        self._equal: dict[tuple[int, int], bool] = {}
        self._same: dict[tuple[int, int], bool] = {}

    def kept(self, before: Rule | None, after: Rule) -> Rule:
        """The object that was there before when it is equal, else the new one."""
        if before is None or before is after:
            return after
        key = id(before), id(after)
        if key not in self._equal:
            self._equal[key] = before == after
        return before if self._equal[key] else after

    def same(self, before: Rule | None, after: Rule) -> bool:
        """Whether there was a rule that made the same of the same answers."""
        if before is None or before is after:
            return before is not None
        key = id(before), id(after)
        if key not in self._same:
            self._same[key] = same_judgement(before, after)
        return self._same[key]


def _refused(world: World, change: ConfigBroken, now: datetime) -> Stepped:
    since = world.config_fault_at or now
    fault = change.problems[0] if change.problems else "it cannot be used"
    body = {"problems": list(change.problems[: config_news.SHOWN]), "count": len(change.problems)}
    return Stepped(
        world=replace(world, config_fault=fault, config_fault_at=since),
        audit=(AuditDraft(at=now, kind="config_refused", subject="", body=body),),
        messages=(config_news.broken(change.problems, file=change.file, since=since, now=now),),
    )


def _taken(world: World, change: Reconfigured, now: datetime) -> Stepped:
    edition = world.edition + 1
    world = replace(world, edition=edition)
    compared = _Compared()
    drafts = {
        name: _goes_on(Draft(world=world, now=now, service=known), change, compared)
        for name, known in world.services.items()
        if name in change.services or busy(known)
    }
    drafts |= {
        name: resume(Draft(world=world, now=now, service=known), change.switches.get(name))
        for name, known in change.restored.items()
        if name in change.services and name not in world.services
    }
    services = {name: drafts[name].service for name in change.services if name in drafts}
    services |= {name: _new(name, change) for name in change.services if name not in drafts}
    services |= {name: draft.service for name, draft in drafts.items()}
    after = replace(
        world,
        services=services,
        limits=change.limits,
        routes=change.routes,
        recheck=change.recheck,
        places=change.places,
        config_fault="",
        config_fault_at=None,
    )
    after = replace(after, sources=_sources(after, change))
    gone = [service for name, service in world.services.items() if name not in services]
    ended = orphans(
        after,
        _open_incidents(gone, world),
        (rollback for service in gone for rollback in service.rollbacks.values()),
        now=now,
    )
    return replace(
        ended,
        services=tuple(draft.service.record() for draft in drafts.values() if draft.service_changed),
        deployments=(
            *(one for draft in drafts.values() for one in draft.deployments.values()),
            *(one for service in gone for one in service.deployments.values() if one.soaked_at is not None),
        ),
        forgotten=(
            *(check for draft in drafts.values() for check in sorted(draft.forgotten)),
            *(check for service in gone for check in sorted(service.checks)),
        ),
        audit=(
            AuditDraft(at=now, kind="config_reloaded", subject="", body=_record(world, after, change)),
            *(note for draft in drafts.values() for note in draft.audit),
            *(_note(now, "service_added", name) for name in services if name not in world.services),
            *(_note(now, "service_retired", service.name) for service in gone),
            *ended.audit,
        ),
        rollbacks=(
            *(one for draft in drafts.values() for one in draft.rollbacks.values()),
            *ended.rollbacks,
        ),
        messages=(
            *(message for draft in drafts.values() for message in draft.messages),
            *ended.messages,
            *_news(world, change, now),
        ),
        looks=tuple(name for draft in drafts.values() for name in sorted(draft.looks)),
    )


def _note(now: datetime, kind: str, subject: str) -> AuditDraft:
    return AuditDraft(at=now, kind=kind, subject=subject, body={"why": "the configuration was changed"})


def _new(name: str, change: Reconfigured) -> ServiceWorld:
    service = change.services[name]
    rules = {rule: change.rules[rule] for rule in service.rules}
    return ServiceWorld(service=service, rules=rules, place=change.switches.get(name))


def _goes_on(draft: Draft, change: Reconfigured, compared: _Compared) -> Draft:
    """A service under the new configuration; one that is gone from it keeps what it has while it is busy."""
    known = draft.service
    service = change.services.get(known.name, known.service)
    offered = change.rules if known.name in change.services else known.rules
    rules = {name: compared.kept(known.rules.get(name), offered[name]) for name in service.rules}
    draft.service = replace(known, service=service, rules=rules)
    anew = {name for name, rule in rules.items() if not compared.same(known.rules.get(name), rule)}
    stale: set[CheckId] = set()
    for check in list(known.checks):
        rule = rule_of(draft.service, check)
        if (
            rule is None
            or rule.source in change.new_sources
            or not compared.same(rule_of(known, check), rule)
        ):
            draft.forget(check)
            anew.add(check.rule)
        elif check.rule in rules and not compared.same(rule, rules[check.rule]):
            stale.add(check)
    used = _in_use(draft.service)
    in_use = {rule.name for rule in used}
    anew |= {rule.name for rule in used if rule.source in change.new_sources}
    editions = {name: at for name, at in known.editions.items() if name in in_use or name == SWITCH}
    editions |= dict.fromkeys(sorted(anew & in_use), draft.world.edition)
    draft.service = replace(draft.service, editions=editions, stale=frozenset(stale))
    _keep_logs(draft, known, in_use)
    _change_switch(draft, change)
    return draft


def _keep_logs(draft: Draft, known: ServiceWorld, in_use: set[str]) -> None:
    """What was known before a deployment goes on to count where the same is asked, whatever is critical now."""
    service = draft.service
    logs: dict[str, KnownLog] = {}
    for name, log in known.known.items():
        before, after = known.rules.get(name), service.rules.get(name)
        if after is before or after is None or name in {check.rule for check in service.stale}:
            kept = name in in_use
        else:
            kept = before is not None and same_question(before, after)
        if kept:
            logs[name] = log
    if logs != known.known:
        draft.change_service(known=logs)


def _change_switch(draft: Draft, change: Reconfigured) -> None:
    """Another switch is looked at anew; what was read of another object says nothing. Not while a rollback needs it."""
    name = draft.service.name
    if name not in change.new_switches or busy(draft.service):
        return
    editions = {**draft.service.editions, SWITCH: draft.world.edition}
    draft.service = replace(draft.service, editions=editions, traffic_failures=0, traffic_error="")
    if name in change.moved:
        relocate(draft, change.switches.get(name), change.exchanged.get(name, frozenset()))
    draft.note("switch_changed", another_object=name in change.moved)
    draft.looks.add(name)


def _sources(world: World, change: Reconfigured) -> dict[str, SourceWorld]:
    """The configured sources, and those that are still asked by something that must end first."""
    left = sorted((sources_of(world) & world.sources.keys()) - set(change.sources))
    found: dict[str, SourceWorld] = {}
    for name in (*change.sources, *left):
        known = world.sources.get(name, SourceWorld(name=name))
        new = name in change.new_sources
        found[name] = SourceWorld(name=name, incident=known.incident) if new else known
    return found


def _open_incidents(gone: list[ServiceWorld], world: World) -> list[Incident]:
    of_services = [incident for service in gone for incident in service.incidents.values()]
    of_sources = [source.incident for source in world.sources.values() if source.incident is not None]
    return [*of_services, *of_sources]


def _news(world: World, change: Reconfigured, now: datetime) -> tuple[Message, ...]:
    told: list[Message] = []
    if world.config_fault_at is not None:
        told.append(config_news.repaired(since=world.config_fault_at, now=now))
    if change.restart:
        told.append(config_news.needs_restart(change.restart, now=now))
    return tuple(told)


def _record(world: World, after: World, change: Reconfigured) -> dict[str, Any]:
    """What the record says: the files' hashes, and the names of everything that changed."""
    before = world.services
    waiting = {name for name in after.services if name not in change.services}
    changed = [
        name
        for name, one in after.services.items()
        if name in before and one.service != before[name].service and name not in waiting
    ]
    switches = [name for name, one in after.services.items() if one.editions.get(SWITCH, 0) == after.edition]
    sections: dict[str, Any] = {
        "services_added": [name for name in after.services if name not in before],
        "services_changed": changed,
        "services_removed": [name for name in before if name not in after.services],
        "services_waiting": sorted(waiting),
        "rules": _changed_rules(world, after),
        "sources_added": [name for name in after.sources if name not in world.sources],
        "sources_changed": sorted(change.new_sources & world.sources.keys()),
        "sources_removed": [name for name in world.sources if name not in after.sources],
        "switches_changed": switches,
        "switches_waiting": sorted((change.new_switches & before.keys()) - set(switches)),
        "limits": [] if world.limits == after.limits else [plain(after.limits)],
        "routes": [] if world.routes == after.routes else [plain(after.routes)],
        **change.parts,
        "needs_restart": list(change.restart),
    }
    said = {name: plain(value) for name, value in sections.items() if value}
    return {"before": change.before, "after": change.after, **said}


def _changed_rules(before: World, after: World) -> dict[str, Mapping[str, str]]:
    """Hashes before and after of every rule that services use and that is not what it was."""
    old, new = _rules(before), _rules(after)
    found: dict[str, Mapping[str, str]] = {}
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was is now or was == now:
            continue
        found[name] = {"before": was.hash if was else "", "after": now.hash if now else ""}
    return found


def _rules(world: World) -> dict[str, Rule]:
    return {name: rule for service in world.services.values() for name, rule in service.rules.items()}
