"""Whether the rules of a service have data now: each one asked once, as the daemon would ask it.

A rule without data can neither page nor roll back, and nobody notices until it is needed. This module must never
judge a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from watchdog.aio.clock import Clock
from watchdog.app.finding import Finding, Health
from watchdog.config.loaded import Configuration, ServiceEntry
from watchdog.core.checks import filled_form
from watchdog.core.observation import Failed, NoData
from watchdog.core.observe import observe
from watchdog.core.rule import ProbeForm, Rule
from watchdog.core.traffic import TrafficState
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
    configuration: Configuration,
    sources: Mapping[str, Source],
    *,
    clock: Clock,
    until: float,
) -> list[Finding]:
    """One finding: how many rules of the service have data, and which do not, and why.

    A rule without data is asked again until `until` (of `clock.monotonic`): a source that collects by itself begins
    with nothing.
    """
    rules = [configuration.rules[name] for name in entry.service.rules]
    asked = [rule for rule in rules if rule.source in sources and not rule.is_probe]
    if not asked:
        return []
    values = _values(entry, state)
    trouble = await _troubles(asked, values, sources, clock)
    while trouble and clock.monotonic() < until:
        await clock.sleep(_EVERY.total_seconds())
        trouble = await _troubles([rule for rule in asked if rule.name in trouble], values, sources, clock)
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
            detail=f"{len(trouble)} of {len(asked)} rules have none: {told}",
            advice="compare selectors and labels with the source; a service without requests has no ratio",
        )
    ]


async def _troubles(
    rules: list[Rule], values: dict[str, str], sources: Mapping[str, Source], clock: Clock
) -> dict[str, tuple[str, bool]]:
    """By rule: what keeps its data away, and whether that is an error rather than silence."""
    found: dict[str, tuple[str, bool]] = {}
    for rule in rules:
        form = filled_form(rule, values)
        if isinstance(form, ProbeForm):
            continue
        question = Question(form=form, window=rule.window)
        answer = await sources[str(rule.source)].ask(question, now=clock.now())
        match observe(rule, answer, now=clock.now()):
            case Failed() as failed:
                found[rule.name] = failed.detail or failed.reason, True
            case NoData() as silent:
                found[rule.name] = silent.detail or silent.reason, False
            case _:
                pass
    return found


def _values(entry: ServiceEntry, state: TrafficState) -> dict[str, str]:
    """The variables as they are for the heaviest live variant."""
    service = entry.service
    variant = state.live[0] if state.live else ""
    version = (state.variants[variant].version or variant) if variant else ""
    labels = {f"label.{name}": value for name, value in service.labels.items()}
    own = {"service": service.name, "environment": service.environment, "deployment": ""}
    return {**own, "version": version, "variant": variant, **labels}
