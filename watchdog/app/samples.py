"""Whether the rules of a service have data now: each one asked once, as the daemon would ask it.

A rule without data can neither page nor roll back, and nobody notices until it is needed. This module must never
judge a value.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from watchdog.aio.clock import Clock
from watchdog.app.finding import Finding, Health
from watchdog.config.loaded import Configuration, ServiceEntry
from watchdog.core.checks import checks_of, filled_form, values_for
from watchdog.core.deployment import Deployment
from watchdog.core.draft import Draft
from watchdog.core.observation import Failed, NoData
from watchdog.core.observe import observe
from watchdog.core.rule import ProbeForm, Rule
from watchdog.core.sightings import see
from watchdog.core.traffic import TrafficState
from watchdog.core.world import ServiceWorld, World
from watchdog.sources.interface import Question, Source

#: Between two questions to a source that has no data yet.
_EVERY = timedelta(milliseconds=500)


@asynccontextmanager
async def collecting(sources: Iterable[Source]) -> AsyncIterator[None]:
    """Let sources that collect by themselves do so meanwhile."""
    tasks = [asyncio.ensure_future(source.run()) for source in sources]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def data_of(
    entry: ServiceEntry,
    state: TrafficState,
    deployments: Iterable[Deployment],
    configuration: Configuration,
    sources: Mapping[str, Source],
    *,
    clock: Clock,
    until: float,
) -> list[Finding]:
    """One finding: how many rules of the service have data, and which do not, and why.

    `deployments` are those the store knows of the service: where the switch tells no version, they name the live one.
    A rule without data is asked again until `until` (of `clock.monotonic`): a source that collects by itself begins
    with nothing.
    """
    rules = {name: configuration.rules[name] for name in entry.service.rules}
    asked = {name: rule for name, rule in rules.items() if rule.source in sources and not rule.is_probe}
    if not asked:
        return []
    questions = _questions(_world(entry, asked, state, deployments, clock))
    trouble = await _troubles(questions, sources, clock)
    while trouble and clock.monotonic() < until:
        await clock.sleep(_EVERY.total_seconds())
        left = {name: questions[name] for name in trouble}
        trouble = await _troubles(left, sources, clock)
    what = f"data of {entry.service.name}"
    if not trouble:
        return [
            Finding(what=what, health=Health.OK, detail=f"all {len(asked)} rules that ask a source have data")
        ]
    told = "; ".join(f"{name}: {why}" for name, (why, _) in trouble.items())
    return [
        Finding(
            what=what,
            health=Health.BAD if any(broken for _, broken in trouble.values()) else Health.WARN,
            detail=f"{len({questions[name][0].name for name in trouble})} of {len(asked)} rules have none: {told}",
            advice="compare selectors and labels with the source; a service without requests has no ratio",
        )
    ]


def _world(
    entry: ServiceEntry,
    rules: dict[str, Rule],
    state: TrafficState,
    deployments: Iterable[Deployment],
    clock: Clock,
) -> ServiceWorld:
    """The service as the daemon would know it after its next look at the switch."""
    known = {one.id: one for one in deployments}
    service = ServiceWorld(service=entry.service, rules=rules, deployments=known)
    draft = Draft(world=World(services={service.name: service}), now=clock.now(), service=service)
    see(draft, state)
    return draft.service


def _questions(service: ServiceWorld) -> dict[str, tuple[Rule, dict[str, str]]]:
    """Every check by the name to tell it by, with its rule and the values of its variables."""
    checks = checks_of(service)
    often = Counter(check.rule for check in checks)
    return {
        f"{check.rule}@{check.version}" if often[check.rule] > 1 else check.rule: (
            service.rules[check.rule],
            values_for(service, check),
        )
        for check in checks
    }


async def _troubles(
    questions: Mapping[str, tuple[Rule, dict[str, str]]], sources: Mapping[str, Source], clock: Clock
) -> dict[str, tuple[str, bool]]:
    """By check: what keeps its data away, and whether that is an error rather than silence."""
    found: dict[str, tuple[str, bool]] = {}
    for name, (rule, values) in questions.items():
        form = filled_form(rule, values)
        if isinstance(form, ProbeForm):
            continue
        question = Question(form=form, window=rule.window)
        answer = await sources[str(rule.source)].ask(question, now=clock.now())
        match observe(rule, answer, now=clock.now()):
            case Failed() as failed:
                found[name] = failed.detail or failed.reason, True
            case NoData() as silent:
                found[name] = silent.detail or silent.reason, False
            case _:
                pass
    return found
