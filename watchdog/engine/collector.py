"""Collects: one poll of one check, from the question to the observation in the reactor's inbox.

At most so many polls of a source at once, each within its time. This module must never judge, and never raise for what
the outside does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import asked_to_end
from watchdog.core.baseline import reach
from watchdog.core.check import CheckId
from watchdog.core.checks import filled_form, rule_of, values_for
from watchdog.core.comparing import compared, comparison
from watchdog.core.events import Observed
from watchdog.core.observation import Failed, FailReason, Observation
from watchdog.core.rule import ProbeForm, Query, Rule
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.rhythm import Beat, Rhythm
from watchdog.probes.interface import Probe
from watchdog.sources.interface import Question, Source
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A provider ends every call within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(seconds=60)
#: Polls of one kind of probe at once.
AT_ONCE = 20


class Collector:
    """Asks sources and probes on behalf of checks."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        probes: Mapping[str, Probe],
        world: Callable[[], World],
        deliver: Callable[[Observed], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._sources = sources
        self._probes = probes
        self._world = world
        self._deliver = deliver
        self._clock = clock
        self._metrics = metrics
        self._rhythms: dict[tuple[str, str, str], Rhythm] = {}
        self._failing: dict[CheckId, str] = {}
        self._gates = {
            ("source", name): asyncio.Semaphore(source.concurrency) for name, source in sources.items()
        } | {("probe", kind): asyncio.Semaphore(AT_ONCE) for kind in probes}

    async def poll(self, check: CheckId) -> Beat | None:
        """Poll one check once and deliver what it gave; answers when the next fresh sample can be seen, if known.

        Safe to cancel: then nothing is delivered.
        """
        service = self._world().services.get(check.service)
        rule = rule_of(service, check) if service else None
        if service is None or rule is None:
            return None
        observation = await self._observe(service, check, rule)
        now = self._clock.now()
        self._deliver(Observed(check=check, observation=observation, arrived_at=now))
        if rule.is_probe or (isinstance(rule.form, Query) and rule.form.freshness is None):
            return None  # always fresh: nothing to wait for
        return self._rhythm(check).heard(observation, now=now)

    def _rhythm(self, check: CheckId) -> Rhythm:
        """A new version on a variant is scraped as the old one was; another variant as often, at other moments."""
        place = (check.service, check.rule, check.variant)
        if place not in self._rhythms:
            kin = (
                one for key, one in self._rhythms.items() if key[:2] == place[:2] and one.every is not None
            )
            like = next(kin, None)
            self._rhythms[place] = Rhythm(every=like.every, lag=like.lag) if like else Rhythm()
        return self._rhythms[place]

    async def _observe(self, service: ServiceWorld, check: CheckId, rule: Rule) -> Observation:
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                observation = await self._ask(service, check, rule)
        except TimeoutError:
            return Failed(reason=FailReason.TIMEOUT, detail="no answer in time")
        except Exception as error:  # noqa: BLE001 - the plugin border: a provider's fault is an error, never a verdict
            return self._fault(check, f"{type(error).__name__} in the provider", error)
        except asyncio.CancelledError as error:
            if asked_to_end():
                raise
            return self._fault(check, "the provider cancelled itself", error)
        self._failing.pop(check, None)
        return observation

    def _fault(self, check: CheckId, fault: str, error: BaseException) -> Failed:
        if self._failing.get(check) != fault:
            self._failing[check] = fault
            _log.error("poll_failed", check=str(check), exc_info=error)
        return Failed(reason=FailReason.UNABLE, detail=fault)

    async def _ask(self, service: ServiceWorld, check: CheckId, rule: Rule) -> Observation:
        form = filled_form(rule, values_for(service, check))
        if isinstance(form, ProbeForm):
            if form.kind not in self._probes:  # an incident keeps the rule it was opened with
                return Failed(
                    reason=FailReason.UNABLE, detail=f"no rule asks for {form.kind} probes any more"
                )
            async with self._gates["probe", form.kind]:
                return await self._probes[form.kind].check(form.settings, now=self._clock.now())
        name = rule.source or ""
        if name not in self._sources:
            return Failed(reason=FailReason.UNABLE, detail=f"source {name!r} is not configured any more")
        async with self._gates["source", name]:
            began = self._clock.monotonic()
            needed = comparison(service, check, rule, now=self._clock.now())
            question = Question(
                form=form,
                window=rule.window,
                reference=needed.asked if needed else None,
                remember=reach(rule),
            )
            answer = await self._sources[name].ask(question, now=self._clock.now())
            self._metrics.observe_query(name, self._clock.monotonic() - began)
        return compared(rule, answer, needed, now=self._clock.now())
