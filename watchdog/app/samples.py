"""Whether the rules of a service have data now: each one asked once, as the daemon would ask it.

A rule without data can neither page nor roll back, and nobody notices until it is needed. This module must never
judge a value.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from watchdog.aio.clock import Clock
from watchdog.app.finding import Finding, Health
from watchdog.app.selectors import (
    alike,
    has_window,
    never_matched,
    quoted,
    scraped_every,
    selectors_of,
    too_short,
    vanished,
)
from watchdog.config.loaded import Configuration, ServiceEntry
from watchdog.core.checks import checks_of, filled_form, values_for
from watchdog.core.deployment import Deployment
from watchdog.core.draft import Draft
from watchdog.core.observation import Answer, Failed, NoData
from watchdog.core.observe import observe
from watchdog.core.promql import with_matcher, with_selectors
from watchdog.core.rule import Form, ProbeForm, Query, Rule
from watchdog.core.service import Service
from watchdog.core.sightings import see
from watchdog.core.traffic import TrafficState
from watchdog.core.world import ServiceWorld, World
from watchdog.sources.interface import Question, Source

#: By check: its rule and the values of its variables.
Questions = Mapping[str, tuple[Rule, dict[str, str]]]

_MISSPELT = "compare its name and labels with what the service exposes"
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
    """How many rules of the service have data, which do not, and why; then selectors and windows that are in the way.

    `deployments` are those the store knows of the service: where the switch tells no version, they name the live one.
    A rule without data is asked again until `until` (of `clock.monotonic`): a source that collects by itself begins
    with nothing.
    """
    rules = {name: configuration.rules[name] for name in entry.service.rules}
    asked = {name: rule for name, rule in rules.items() if rule.source in sources and not rule.is_probe}
    if not asked:
        return []
    questions = _questions(world_of(entry, asked, state, deployments, clock=clock))
    trouble = await _troubles(questions, entry.service, sources, clock)
    while trouble and clock.monotonic() < until:
        await clock.sleep(_EVERY.total_seconds())
        left = {name: questions[name] for name in trouble}
        trouble = await _troubles(left, entry.service, sources, clock)
    told = await _told_apart(entry, configuration, questions, trouble, sources, clock)
    return [_data(entry.service.name, len(asked), questions, trouble), *told]


def _data(name: str, asked: int, questions: Questions, trouble: Mapping[str, tuple[str, bool]]) -> Finding:
    what = f"data of {name}"
    if not trouble:
        return Finding(what=what, health=Health.OK, detail=f"all {asked} rules that ask a source have data")
    told = "; ".join(f"{check}: {why}" for check, (why, _) in trouble.items())
    return Finding(
        what=what,
        health=Health.BAD if any(broken for _, broken in trouble.values()) else Health.WARN,
        detail=f"{len({questions[check][0].name for check in trouble})} of {asked} rules have none: {told}",
        advice="compare selectors and labels with the source; a service without requests has no ratio",
    )


async def _told_apart(
    entry: ServiceEntry,
    configuration: Configuration,
    questions: Questions,
    trouble: Mapping[str, tuple[str, bool]],
    sources: Mapping[str, Source],
    clock: Clock,
) -> list[Finding]:
    """What about selectors and windows keeps data away, or will: for each check, as the source tells it."""
    found = []
    for check, (rule, values) in questions.items():
        form = _of_service(rule, filled_form(rule, values), entry.service)
        if isinstance(form, ProbeForm) or trouble.get(check, ("", False))[1]:
            continue  # a source that fails says nothing about selectors either, only later
        name = str(rule.source)
        source, every = sources[name], getattr(configuration.sources[name].settings, "interval", None)
        for selector, spared in selectors_of(form):
            if spared or check in trouble:
                told = await _selector(entry, check, selector, source, spared=spared, now=clock.now())
                found += [one for one in told if one not in found]
        if not isinstance(every, timedelta):
            every = await scraped_every(form, source, now=clock.now())
        short = too_short(rule.window, every) if every is not None and has_window(form) else None
        if short is not None:
            found.append(_finding(entry, check, short, "with one scrape lost it has no data"))
    return found


async def _selector(
    entry: ServiceEntry, check: str, selector: str, source: Source, *, spared: bool, now: datetime
) -> list[Finding]:
    """What keeps a selector from matching, if anything: it never did, or does no more."""
    why = await never_matched(selector, source, spared=spared, now=now)
    told = f"{why}, so {selector} never matched" if why is not None else None
    told = told or await vanished(selector, source, spared=spared, now=now)
    if told is None:
        return []
    guess = await alike(selector, source, now=now)
    advice = f"{_MISSPELT}; most like it is {guess}" if guess else _MISSPELT
    return [_finding(entry, check, told, advice)]


def _finding(entry: ServiceEntry, check: str, detail: str, advice: str) -> Finding:
    what = f"rule {check} of {entry.service.name}"
    return Finding(what=what, health=Health.WARN, detail=detail, advice=advice)


def world_of(
    entry: ServiceEntry,
    rules: dict[str, Rule],
    state: TrafficState,
    deployments: Iterable[Deployment],
    *,
    clock: Clock,
) -> ServiceWorld:
    """The service as the daemon would know it after its next look at the switch."""
    known = {one.id: one for one in deployments}
    service = ServiceWorld(service=entry.service, rules=rules, deployments=known)
    draft = Draft(world=World(services={service.name: service}), now=clock.now(), service=service)
    see(draft, state)
    return draft.service


def _questions(service: ServiceWorld) -> Questions:
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


async def _answer(
    question: Question, rule: Rule, service: Service, source: Source, clock: Clock
) -> Answer | Failed:
    """As the daemon asks: once for all, and dealt out, where the rule says whose a series is."""
    if rule.match is None:
        return await source.ask(question, now=clock.now())
    dealt = await source.deal(question, by=tuple(rule.match.labels), now=clock.now())
    if isinstance(dealt, Failed):
        return dealt
    return dealt.of(rule.match.values(service.name, service.labels))


def _of_service(rule: Rule, form: Form, service: Service) -> Form:
    """The form for the series of this service only, where the rule says whose a series is."""
    if rule.match is None or isinstance(form, ProbeForm | Query):
        return form
    values = rule.match.values(service.name, service.labels)
    for label, value in zip(rule.match.labels, values, strict=True):
        form = with_selectors(form, partial(with_matcher, matcher=f"{label}={quoted(value)}"))
    return form


def _never_happens(rule: Rule, answer: Answer | Failed) -> bool:
    """Whether the events behind a query are none because nothing counts them: that looks like a quiet service."""
    counted = isinstance(rule.form, Query) and rule.form.events is not None
    return counted and isinstance(answer, Answer) and not answer.parts.get("events", ())


async def _troubles(
    questions: Questions, service: Service, sources: Mapping[str, Source], clock: Clock
) -> dict[str, tuple[str, bool]]:
    """By check: what keeps its data away, and whether that is an error rather than silence."""
    found: dict[str, tuple[str, bool]] = {}
    for name, (rule, values) in questions.items():
        form = filled_form(rule, values)
        if isinstance(form, ProbeForm):
            continue
        question = Question(form=form, window=rule.window, windows=rule.windows)
        answer = await _answer(question, rule, service, sources[str(rule.source)], clock)
        match observe(rule, answer, now=clock.now()):
            case Failed() as failed:
                found[name] = failed.detail or failed.reason, True
            case NoData() as silent:
                found[name] = silent.detail or silent.reason, False
            case _ if _never_happens(rule, answer):
                found[name] = "its `evidence: events` gives no series, so it never judges", False
            case _:
                pass
    return found
