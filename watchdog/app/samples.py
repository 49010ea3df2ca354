"""Whether the rules of a service have data now: each one asked once, as the daemon would ask it.

A rule without data can neither page nor roll back, and nobody notices until it is needed. This module must never
judge a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from watchdog.app.finding import Finding, Health
from watchdog.config.loaded import Configuration, ServiceEntry
from watchdog.core.checks import filled_form
from watchdog.core.observation import Failed, NoData
from watchdog.core.observe import observe
from watchdog.core.rule import ProbeForm, Rule
from watchdog.core.traffic import TrafficState
from watchdog.sources.interface import Question, Source

#: A source whose `run` is over by then does not collect by itself.
_AT_ONCE = timedelta(milliseconds=50)


async def answering(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The sources that can be asked right away. Those that collect by themselves have nothing yet in a new process."""
    tasks = {name: asyncio.ensure_future(source.run()) for name, source in sources.items()}
    if tasks:
        await asyncio.wait(tasks.values(), timeout=_AT_ONCE.total_seconds())
    over = {name for name, task in tasks.items() if task.done()}
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    return {name: source for name, source in sources.items() if name in over}


async def data_of(
    entry: ServiceEntry,
    state: TrafficState,
    configuration: Configuration,
    sources: Mapping[str, Source],
    now: datetime,
) -> list[Finding]:
    """One finding: how many rules of the service have data, and which do not, and why."""
    rules = [configuration.rules[name] for name in entry.service.rules]
    asked = [rule for rule in rules if rule.source in sources and not rule.is_probe]
    if not asked:
        return []
    values = _values(entry, state)
    troubles: list[str] = []
    failed = False
    for rule in asked:
        trouble, broken = await _trouble(rule, values, sources[str(rule.source)], now)
        failed |= broken
        if trouble:
            troubles.append(f"{rule.name}: {trouble}")
    what = f"data of {entry.service.name}"
    if not troubles:
        return [
            Finding(what=what, health=Health.OK, detail=f"all {len(asked)} rules that ask a source have data")
        ]
    return [
        Finding(
            what=what,
            health=Health.BAD if failed else Health.WARN,
            detail=f"{len(troubles)} of {len(asked)} rules have none: {'; '.join(troubles)}",
            advice="compare selectors and labels with the source; a service without requests has no ratio",
        )
    ]


async def _trouble(rule: Rule, values: dict[str, str], source: Source, now: datetime) -> tuple[str, bool]:
    """What keeps data away (nothing when it is there), and whether that is an error rather than silence."""
    form = filled_form(rule, values)
    if isinstance(form, ProbeForm):
        return "", False
    answer = await source.ask(Question(form=form, window=rule.window), now=now)
    match observe(rule, answer, now=now):
        case Failed() as failed:
            return failed.detail or failed.reason, True
        case NoData() as silent:
            return silent.detail or silent.reason, False
        case _:
            return "", False


def _values(entry: ServiceEntry, state: TrafficState) -> dict[str, str]:
    """The variables as they are for the heaviest live variant."""
    service = entry.service
    variant = state.live[0] if state.live else ""
    version = (state.variants[variant].version or variant) if variant else ""
    labels = {f"label.{name}": value for name, value in service.labels.items()}
    own = {"service": service.name, "environment": service.environment, "deployment": ""}
    return {**own, "version": version, "variant": variant, **labels}
