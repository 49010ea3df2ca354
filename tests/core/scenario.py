"""A service that lives through a story: what happens to it, when, and what the watchdog tells, records and decides.

Every step is checked as it is taken: the world before it is left alone, what is to be stored is what the new world
holds, records are JSON, keys and ids do not repeat, and what has ended stays as it is.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckId, CheckState
from watchdog.core.checks import checks_of, rule_of
from watchdog.core.deployment import Deployment
from watchdog.core.events import (
    Asked,
    Event,
    Observed,
    Outcome,
    OutcomeKind,
    Ticked,
    TrafficSeen,
    TrafficUnseen,
)
from watchdog.core.guards import GuardFacts
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.observation import (
    Failed,
    FailReason,
    NoData,
    NoDataReason,
    Observation,
    Pulse,
    Value,
)
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.restore import restore_service
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.rule import Evidence, Holds, ProbeForm, Query, Rule, Samples, Thresholds
from watchdog.core.service import Limits, Mode, RollbackPolicy, Service
from watchdog.core.step import Stepped, memory, step
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.units import parse_duration
from watchdog.core.world import ServiceWorld, World

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
#: Values of the rules below: better than every threshold, and beyond each of them.
OK, WARNING, CRITICAL, ROLLBACK = 1.0, 15.0, 25.0, 50.0

AT_ONCE = Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(2))


def rule(name: str = "errors", *, query: str = 'errors{version="$version"}', **changes: Any) -> Rule:
    """A rule on a number: warning beyond 10, critical beyond 20, rollback beyond 30."""
    made = Rule(
        name=name,
        form=Query(query=query),
        thresholds=Thresholds(warning=10.0, critical=20.0, rollback=30.0),
        hold=AT_ONCE,
        clear=2,
        source="prometheus",
        window=timedelta(seconds=30),
        interval=timedelta(seconds=30),
    )
    return msgspec.structs.replace(made, **changes)


def counting(name: str = "errors") -> Rule:
    """The same with a number of events behind every value."""
    return rule(name, evidence=Evidence(min_events=20, bound=False))


def of_service(name: str = "load", **changes: Any) -> Rule:
    """A rule that does not name the version."""
    return rule(name, query='load{service="$service"}', **changes)


def probe(name: str = "healthy", **changes: Any) -> Rule:
    made = Rule(
        name=name,
        form=ProbeForm(kind="http", settings={"url": "http://$service/"}),
        thresholds=Thresholds(critical=3.0, rollback=5.0),
        clear=2,
    )
    return msgspec.structs.replace(made, **changes)


def service(name: str = "trips", rules: tuple[Rule, ...] = (), **changes: Any) -> Service:
    """One service with short times: soaks for 10 minutes. Names of the policy go to the policy."""
    own = set(Service.__struct_fields__)
    settings = {key: value for key, value in changes.items() if key in own}
    policy = {"soak": 10 * MINUTE, **{key: value for key, value in changes.items() if key not in own}}
    return Service(
        name=name, rules=tuple(one.name for one in rules), rollback=RollbackPolicy(**policy), **settings
    )


def world_of(*services: tuple[Service, tuple[Rule, ...]], limits: Limits = Limits()) -> World:  # noqa: B008  frozen
    return World(
        services={
            one.name: ServiceWorld(service=one, rules={each.name: each for each in rules})
            for one, rules in services
        },
        limits=limits,
    )


class Scenario:
    """`name` is the service that everything is about unless told otherwise; more services may be in the world."""

    def __init__(
        self,
        *rules: Rule,
        name: str = "trips",
        others: tuple[str, ...] = (),
        limits: Limits = Limits(),  # noqa: B008  a frozen value
        **policy: Any,
    ) -> None:
        self.rules = rules or (rule(),)
        names = (name, *others)
        services = ((service(one, self.rules, **policy), self.rules) for one in names)
        self.name = name
        self.world = world_of(*services, limits=limits)
        self.now = T0
        self.last = Stepped(world=self.world)
        self.steps: list[Stepped] = []
        self.messages: list[Message] = []
        self.audit: list[AuditDraft] = []
        self.looks_every = 1  # a copy of the whole world is slow; long stories take one less often
        self._weights: dict[str, int] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._requests = 0
        self._keys: set[str] = set()

    # -- time

    def at(self, text: str) -> Scenario:
        """So long after the beginning."""
        moment = T0 + parse_duration(text)
        assert moment >= self.now, f"{text} is over"
        self.now = moment
        return self

    def after(self, text: str) -> Scenario:
        """So much later."""
        self.now += parse_duration(text)
        return self

    # -- what happens

    def feed(self, event: Event) -> Stepped:
        before = self.world
        frozen = copy.deepcopy(before) if len(self.steps) % self.looks_every == 0 else before
        stepped = step(before, event, self.now)
        assert before == frozen, "the step changed the world it was given"
        self._check(before, stepped)
        self.world, self.last = stepped.world, stepped
        self.steps.append(stepped)
        self.messages.extend(stepped.messages)
        self.audit.extend(stepped.audit)
        return stepped

    def state(self, **weights: int) -> TrafficState:
        """What the switch shows now, with these weights set."""
        self._weights |= weights
        variants = {
            name: VariantState(weight=weight, **{"ready": 10, "total": 10, **self._facts.get(name, {})})
            for name, weight in self._weights.items()
        }
        seen = sorted((name, spot.weight, str(spot.version)) for name, spot in variants.items())
        return TrafficState(variants=variants, revision=str(seen), read_at=self.now)

    def shows(self, variant: str, **facts: Any) -> Scenario:
        """The switch shows this of a variant from now on: version, ready, total, requests, note."""
        self._facts[variant] = {**self._facts.get(variant, {}), **facts}
        return self

    def traffic(self, name: str = "", /, **weights: int) -> Scenario:
        """The switch was read."""
        state = self.state(**weights)
        self.feed(TrafficSeen(service=name or self.name, state=state, edition=self.world.edition))
        return self

    def unreadable(self, why: str = "connection refused") -> Scenario:
        self.feed(TrafficUnseen(service=self.name, error=why, edition=self.world.edition))
        return self

    def check(self, rule: str = "", on: str = "", name: str = "") -> CheckId:
        """The check of a rule, on a variant or on the only live one."""
        world = self.world.services[name or self.name]
        fitting = [
            one
            for one in checks_of(world)
            if one.rule == (rule or self.rules[0].name) and (not on or one.variant in ("", on))
        ]
        assert len(fitting) == 1, f"which check? {fitting}"
        return fitting[0]

    def sees(self, check: CheckId, observation: Observation) -> Scenario:
        edition = self.world.edition
        self.feed(Observed(check=check, observation=observation, arrived_at=self.now, edition=edition))
        return self

    def observe(
        self,
        rule: str = "",
        *,
        value: float,
        on: str = "",
        events: float | None = None,
        name: str = "",
        sampled: str = "0s",
    ) -> Scenario:
        """A rule was polled and gave a number, sampled so long ago."""
        at = self.now - parse_duration(sampled)
        return self.sees(self.check(rule, on, name), Value(value=value, at=at, events=events))

    def probed(self, rule: str = "healthy", *, alive: bool) -> Scenario:
        return self.sees(self.check(rule), Pulse(passed=alive, at=self.now))

    def silence(self, rule: str = "", *, on: str = "", name: str = "") -> Scenario:
        """A rule was polled, and there was nothing."""
        return self.sees(self.check(rule, on, name), NoData(reason=NoDataReason.EMPTY))

    def fails(
        self, rule: str = "", *, reason: FailReason = FailReason.UNREACHABLE, name: str = ""
    ) -> Scenario:
        """A rule was polled, and nobody answered."""
        return self.sees(self.check(rule, "", name), Failed(reason=reason, detail="connection refused"))

    def tick(self, *, paused: str = "", leader: bool = True) -> Scenario:
        self.feed(Ticked(paused_by_file=paused, leader=leader))
        return self

    def ask(self, kind: RequestKind, target: str = "", *, by: str = "alice", **body: Any) -> Reply:
        self._requests += 1
        request = Request(
            id=f"req-{self._requests}",
            kind=kind,
            target=target or self.name,
            by=by,
            at=self.now,
            body=body,
        )
        replies = self.feed(Asked(request=request)).replies
        assert len(replies) == 1, "every request gets one answer"
        assert replies[0].request == request.id
        return replies[0]

    def post(self, version: str, variant: str, **body: Any) -> Reply:
        """CI announces a deployment."""
        return self.ask(RequestKind.DEPLOYMENT, by="ci", version=version, variant=variant, **body)

    def outcome(
        self,
        kind: OutcomeKind,
        *,
        state: TrafficState | None = None,
        vetoes: tuple[Veto, ...] = (),
        facts: GuardFacts | None = None,
        detail: str = "",
        rollback: str = "",
    ) -> Scenario:
        """The executor's word on the rollback that is intended."""
        identity = rollback or self.rollback.id
        self.feed(
            Outcome(
                rollback=identity,
                service=self.name,
                kind=kind,
                at=self.now,
                state=state,
                vetoes=vetoes,
                facts=facts,
                detail=detail,
                attempts=1,
            )
        )
        return self

    def restart(self, *rules: Rule) -> Scenario:
        """The daemon was stopped and starts with what it stored, and perhaps with other rules."""
        kept = self.service
        self.rules = rules or self.rules
        configured = msgspec.structs.replace(kept.service, rules=tuple(one.name for one in self.rules))
        again = restore_service(
            configured,
            {one.name: one for one in self.rules},
            record=kept.record(),
            deployments=kept.deployments.values(),
            incidents=kept.incidents.values(),
            rollbacks=kept.rollbacks.values(),
            checks=memory(kept),
        )
        self.world = msgspec.structs.replace(
            self.world,
            services={**self.world.services, self.name: again},
            breaker="",
            breaker_told=(),
            breaker_told_at=None,
            breaker_since=None,
        )
        return self

    def configure(self, **changes: Any) -> Scenario:
        """The configuration was changed while running: of the service, or its rules (`rules=(…)`)."""
        rules: tuple[Rule, ...] | None = changes.pop("rules", None)
        world = self.service
        configured = msgspec.structs.replace(world.service, **changes)
        if rules is not None:
            self.rules = rules
            configured = msgspec.structs.replace(configured, rules=tuple(one.name for one in rules))
            world = msgspec.structs.replace(world, rules={one.name: one for one in rules})
        world = msgspec.structs.replace(world, service=configured)
        self.world = msgspec.structs.replace(self.world, services={**self.world.services, self.name: world})
        return self

    # -- stories that many tests begin with

    def healthy_for(self, text: str, *, value: float = OK, events: float | None = None) -> Scenario:
        """Every check is polled every 30 s and fine, and the switch is read."""
        end = self.now + parse_duration(text)
        while self.now < end:
            self.now = min(self.now + timedelta(seconds=30), end)
            for check in checks_of(self.service):
                asked = rule_of(self.service, check)
                if asked is not None and asked.is_probe:
                    self.sees(check, Pulse(passed=True, at=self.now))
                else:
                    self.sees(check, Value(value=value, at=self.now, events=events))
            self.traffic()
        return self

    def stable_blue(self, *, events: float | None = None) -> Scenario:
        """Blue was adopted and proved itself; green stands by."""
        return self.traffic(blue=1, green=0).healthy_for("11m", events=events)

    def green_deployed(self, *, events: float | None = None) -> Scenario:
        """After that, traffic moved to green, and green's warm-up is over. Nobody announced it."""
        self.stable_blue(events=events).after("5s").traffic(blue=0, green=1)
        return self.after("35s").traffic()

    def green_is_bad(self, times: int = 2, *, value: float = ROLLBACK, rule: str = "") -> Scenario:
        """Samples of green, 10 s apart."""
        for _ in range(times):
            self.after("10s").observe(rule, value=value, on="green")
        return self

    def decided(self) -> Scenario:
        """Green is bad for long enough."""
        return self.green_deployed().green_is_bad()

    def switched(self) -> Scenario:
        """The executor moved traffic back to blue."""
        self.decided().after("1s")
        return self.outcome(OutcomeKind.APPLIED, state=self.state(blue=1, green=0))

    def verified(self) -> Scenario:
        """The switch shows it too."""
        return self.switched().after("2s").traffic()

    def blue_recovers(self, times: int = 2) -> Scenario:
        self.after("5s")
        for _ in range(times):
            self.after("5s").observe(value=OK, on="blue")
        return self

    # -- what can be asked afterwards

    @property
    def service(self) -> ServiceWorld:
        return self.world.services[self.name]

    @property
    def told(self) -> list[MessageKind]:
        """Everything people heard, in order."""
        return [message.kind for message in self.messages]

    @property
    def recorded(self) -> list[str]:
        """The kinds of all audit records, in order."""
        return [record.kind for record in self.audit]

    def message(self, kind: MessageKind) -> Message:
        """The one message of a kind."""
        found = [message for message in self.messages if message.kind is kind]
        assert len(found) == 1, f"{len(found)} messages of kind {kind}: {self.told}"
        return found[0]

    def on(self, variant: str) -> Deployment:
        """The deployment that takes or took traffic on a variant last."""
        found = self.service.serving(variant)
        assert found is not None, f"nothing was deployed on {variant}"
        return found

    @property
    def rollback(self) -> Rollback:
        """The newest rollback."""
        assert self.service.rollbacks, f"there is no rollback; recorded: {self.recorded}"
        return list(self.service.rollbacks.values())[-1]

    def rollback_is(self, state: RollbackState, why: str = "") -> Scenario:
        assert self.rollback.state is state, f"the newest rollback is {self.rollback.state}. {why}"
        return self

    @property
    def vetoes(self) -> list[tuple[str, str]]:
        return [(veto.guard, veto.reason) for veto in self.rollback.vetoes]

    @property
    def incident(self) -> Incident:
        """The one open breach."""
        found = [one for one in self.service.incidents.values() if one.kind is IncidentKind.BREACH]
        assert len(found) == 1, f"{len(found)} open incidents; told: {self.told}"
        return found[0]

    def remembers(self, rule: str = "", on: str = "") -> CheckState:
        return self.service.checks[self.check(rule, on)]

    def mode(self, mode: Mode) -> Scenario:
        return self.configure(mode=mode)

    # -- what must hold at every step

    def _check(self, before: World, stepped: Stepped) -> None:
        world = stepped.world
        for record in stepped.services:
            assert record == world.services[record.name].record()
        for deployment in stepped.deployments:
            assert world.services[deployment.service].deployments[deployment.id] == deployment
        self._check_incidents(world, stepped)
        self._check_rollbacks(before, stepped)
        for memo in stepped.checks:
            assert world.services[memo.id.service].checks[memo.id] == memo.state
        for check in stepped.forgotten:
            assert check not in world.services[check.service].checks
        for draft in stepped.audit:
            assert json.loads(json.dumps(draft.body)) is not None, "an audit body is JSON already"
        keys = [message.key for message in stepped.messages]
        assert len(keys) == len(set(keys)), "a message is told twice"
        assert not self._keys & set(keys), f"told before: {self._keys & set(keys)}"
        self._keys |= set(keys)
        for message in stepped.messages:
            assert message.headline, "a message says what it is about"
            assert message.next_step or not message.needs_human, "who is needed hears what to do"

    def _check_incidents(self, world: World, stepped: Stepped) -> None:
        for incident in stepped.incidents:
            if incident.kind is IncidentKind.SOURCE:
                held = world.sources[incident.subject].incident
            elif incident.kind is IncidentKind.STORM:
                held = world.storm.incident
            else:
                held = world.services[incident.subject].incidents.get(incident.id)
            assert held == (incident if incident.open else None)
        for one in world.services.values():
            breaches = [each for each in one.incidents.values() if each.kind is IncidentKind.BREACH]
            deployments = [each.deployment for each in breaches]
            assert len(deployments) == len(set(deployments)), "one open incident per service and deployment"
            assert all(each.open for each in one.incidents.values())

    def _check_rollbacks(self, before: World, stepped: Stepped) -> None:
        for rollback in stepped.rollbacks:
            assert stepped.world.services[rollback.service].rollbacks[rollback.id] == rollback
            known = before.services[rollback.service].rollbacks.get(rollback.id)
            assert known is None or not known.over, "what has ended stays as it is"
            seen = (
                known.history if known else rollback.history[:1]
            )  # the decision itself comes with its outcome
            passed = [passage.state for passage in rollback.history[len(seen) :]]
            records = [
                draft.kind
                for draft in stepped.audit
                if draft.body.get("rollback") == rollback.id and draft.kind in _TRANSITIONS
            ]
            assert records == [_RECORD.get(state, f"rollback_{state}") for state in passed]


_RECORD: dict[str, str] = {RollbackState.AWAITING_APPROVAL: "approval_asked"}
#: Records of transitions; others about a rollback (`rollback_recovery_seen`) are notes on the way.
_TRANSITIONS = {_RECORD.get(state, f"rollback_{state}") for state in RollbackState}
