"""One event and the world give the next world: whatever happens, in whatever order."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.scenario import CRITICAL, OK, ROLLBACK, WARNING, Scenario, of_service, probe, rule
from watchdog.core.check import CheckId
from watchdog.core.checks import checks_of
from watchdog.core.events import Outcome, OutcomeKind, TrafficSeen, TrafficUnseen
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import BEFORE_WRITE, ask
from watchdog.core.message import MessageKind
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Pulse, Value
from watchdog.core.request import RequestKind
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.rule import Holds, Samples
from watchdog.core.service import Limits, Mode
from watchdog.core.step import REMEMBERED, Stepped, memory, step

# -- stories over the whole of it


def test_the_main_job_from_the_deployment_to_the_proof() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic()

    assert scenario.recorded == [
        "traffic_changed",
        "deployment_adopted",
        "deployment_stable",
        "traffic_changed",
        "deployment_watching",
        "incident_opened",
        "incident_worsened",
        "rollback_intended",
        "rollback_applied",
        "deployment_rolled_back",
        "deployment_return",
        "rollback_verified_object",
        "check_cleared",
        "rollback_recovery_seen",
        "rollback_verified_traffic",
        "rollback_uncontested",
        "rollback_recovered",
        "rollback_completed",
        "incident_closed",
    ]
    assert scenario.told == [
        MessageKind.INCIDENT_OPENED,
        MessageKind.INCIDENT_WORSENED,
        MessageKind.ROLLBACK_SWITCHED,
        MessageKind.ROLLBACK_COMPLETED,
        MessageKind.INCIDENT_CLOSED,
    ]


def test_the_same_history_gives_the_same_ids_keys_and_records() -> None:
    first, second = (Scenario().verified().blue_recovers().after("60s").traffic() for _ in range(2))

    assert first.world == second.world
    assert first.messages == second.messages
    assert first.audit == second.audit


def test_an_event_of_a_service_that_is_not_configured_changes_nothing() -> None:
    scenario = Scenario()
    state = scenario.state(blue=1)

    for event in (
        TrafficSeen(service="nobody", state=state),
        TrafficUnseen(service="nobody", error="x"),
        Outcome(rollback="rb", service="nobody", kind=OutcomeKind.APPLIED, at=scenario.now),
    ):
        assert step(scenario.world, event, scenario.now) == Stepped(world=scenario.world)


def test_a_tick_carries_what_only_looking_can_know() -> None:
    scenario = Scenario().tick(paused="the pause file is there", leader=False)

    assert (scenario.world.paused_by_file, scenario.world.leader) == ("the pause file is there", False)

    scenario.tick()
    assert (scenario.world.paused_by_file, scenario.world.leader) == ("", True)


def test_a_tick_in_which_nothing_is_due_writes_nothing() -> None:
    scenario = Scenario().stable_blue().after("1s").tick()

    assert scenario.last == Stepped(world=scenario.world)


def test_a_read_that_is_older_than_the_last_one_is_left_alone() -> None:
    scenario = Scenario().stable_blue()
    old = scenario.state()
    scenario.after("5s").traffic(blue=0, green=1)

    scenario.feed(TrafficSeen(service="trips", state=old))

    assert scenario.service.current() == scenario.on("green")
    assert len(scenario.service.deployments) == 2


def test_rollbacks_of_more_than_a_day_ago_are_left_to_the_store() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic()
    assert len(scenario.service.rollbacks) == 1

    scenario.now += REMEMBERED - timedelta(minutes=1)
    scenario.tick()
    assert len(scenario.service.rollbacks) == 1
    scenario.after("2m").tick()

    assert scenario.service.rollbacks == {}


def test_a_rollback_whose_deployment_is_still_there_is_never_forgotten() -> None:
    scenario = Scenario().decided().after("1s").outcome(OutcomeKind.REFUSED, detail="no")
    scenario.healthy_for("11m").after("48h").tick()

    assert [each.state for each in scenario.service.rollbacks.values()] == [RollbackState.FAILED]


def test_what_checks_remember_can_be_stored_at_any_time() -> None:
    scenario = (
        Scenario(rule(), of_service()).traffic(blue=1, green=0).after("30s").observe("errors", value=OK)
    )

    assert [one.id.rule for one in memory(scenario.service)] == ["errors"]


def test_a_transition_of_a_check_is_stored_with_what_it_led_to() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s").observe(value=OK)
    quiet = scenario.last

    loud = scenario.after("10s").observe(value=CRITICAL).last

    assert quiet.checks == ()
    assert [each.id for each in loud.checks] == [scenario.check()]
    assert scenario.last.incidents != ()


# -- whatever happens

MODES = (Mode.ENFORCE, Mode.ENFORCE, Mode.APPROVE, Mode.OBSERVE)
VALUES = (OK, OK, WARNING, CRITICAL, ROLLBACK, ROLLBACK, ROLLBACK)
JUMPS = ("1s", "2s", "5s", "10s", "10s", "30s", "1m", "3m", "16m", "70m")

observations = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(VALUES),
    st.sampled_from((NoData(reason=NoDataReason.EMPTY), Failed(reason=FailReason.TIMEOUT, detail="slow"))),
)
weights = st.fixed_dictionaries({name: st.integers(0, 2) for name in ("blue", "green", "red")})
readiness = st.sampled_from((0, 1, 10, 10, 10, None))
named = st.sampled_from((None, None, "v1", "v2", "v3"))
operation = st.one_of(
    st.tuples(st.just("observe"), observations, st.integers(0, 5)),
    st.tuples(st.just("observe"), observations, st.integers(0, 5)),
    st.tuples(st.just("observe"), observations, st.integers(0, 5)),
    st.tuples(st.just("bad"), st.integers(0, 5)),
    st.tuples(st.just("probe"), st.booleans()),
    st.tuples(st.just("move"), weights),
    st.tuples(st.just("swap")),
    st.tuples(st.just("read")),
    st.tuples(st.just("unread")),
    st.tuples(st.just("ready"), st.sampled_from(("blue", "green", "red")), readiness),
    st.tuples(st.just("version"), st.sampled_from(("blue", "green", "red")), named),
    st.tuples(st.just("requests"), st.integers(0, 200), st.integers(0, 200)),
    st.tuples(
        st.just("post"), st.sampled_from(("blue", "green", "red")), st.sampled_from(("v1", "v2", "v3"))
    ),
    st.tuples(st.just("ask"), st.sampled_from(list(RequestKind)), st.booleans()),
    st.tuples(st.just("outcome"), st.sampled_from(list(OutcomeKind))),
    st.tuples(st.just("outcome"), st.just(OutcomeKind.APPLIED)),
    st.tuples(st.just("tick"), st.booleans(), st.booleans()),
    st.tuples(st.just("tick"), st.just(value=False), st.just(value=True)),
    st.tuples(st.just("healthy")),
    st.tuples(st.just("configure"), st.sampled_from(MODES)),
    st.tuples(st.just("rules"), st.booleans()),
    st.tuples(st.just("restart")),
)
stories = st.lists(st.tuples(st.sampled_from(JUMPS), operation), min_size=30, max_size=60)


class Story:
    """Carries out operations on a scenario and looks at every decision as it is made."""

    def __init__(self, mode: Mode) -> None:
        quick = Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1))
        self.all_rules = (rule(hold=quick, clear=1), of_service(hold=quick, clear=1), probe())
        minute = timedelta(minutes=1)
        self.scenario = Scenario(
            *self.all_rules,
            mode=mode,
            soak=minute,
            warmup=timedelta(seconds=2),
            verify=minute,
            cooldown=timedelta(seconds=5),
            max_per_day=20,
            min_ready=0.5,
            limits=Limits(max_rollbacks=20),
        )
        self.scenario.looks_every = 7
        self.requests = Counter[str]()
        self.ended: dict[str, Rollback] = {}

    def play(self, jump: str, operation: tuple[Any, ...]) -> None:
        self.scenario.after(jump)
        count = len(self.scenario.steps)
        name, *words = operation
        getattr(self, f"_{name}")(*words)
        self._check(count)

    def _observe(self, seen: Observation | float, pick: int) -> None:
        scenario = self.scenario
        checks = [check for check in checks_of(scenario.service) if check.rule != "healthy"]
        if checks:
            observation = Value(value=seen, at=scenario.now) if isinstance(seen, float) else seen
            scenario.sees(checks[pick % len(checks)], observation)

    def _bad(self, pick: int) -> None:
        for _ in range(2):
            self.scenario.after("3s")
            self._observe(ROLLBACK, pick)

    def _probe(self, alive: bool) -> None:
        check = CheckId(service="trips", rule="healthy")
        self.scenario.sees(check, Pulse(passed=alive, at=self.scenario.now))

    def _move(self, shown: dict[str, int]) -> None:
        self.scenario.traffic(**shown)

    def _swap(self) -> None:
        seen = self.scenario.service.traffic
        live = seen.live if seen else ()
        self.scenario.traffic(blue=int("blue" not in live), green=int("green" not in live), red=0)

    def _read(self) -> None:
        self.scenario.traffic()

    def _unread(self) -> None:
        self.scenario.unreadable()

    def _ready(self, variant: str, ready: int | None) -> None:
        self.scenario.shows(variant, ready=ready).traffic()

    def _version(self, variant: str, version: str | None) -> None:
        self.scenario.shows(variant, version=version).traffic()

    def _requests(self, blue: int, green: int) -> None:
        self.requests.update(blue=blue, green=green)
        for name in ("blue", "green"):
            self.scenario.shows(name, requests=self.requests[name])
        self.scenario.traffic()

    def _post(self, variant: str, version: str) -> None:
        self.scenario.post(version, variant)

    def _tick(self, paused: bool, leader: bool) -> None:
        self.scenario.tick(paused="paused" if paused else "", leader=leader)

    def _healthy(self) -> None:
        self.scenario.healthy_for("2m")

    def _configure(self, mode: Mode) -> None:
        self.scenario.configure(mode=mode)

    def _rules(self, every: bool) -> None:
        self.scenario.configure(rules=self.all_rules if every else self.all_rules[:1])

    def _restart(self) -> None:
        self.scenario.restart()

    def _ask(self, kind: RequestKind, known: bool) -> None:
        scenario = self.scenario
        if kind is RequestKind.DEPLOYMENT:
            return
        open_ones = [*scenario.service.incidents] + [
            source.incident.id for source in scenario.world.sources.values() if source.incident
        ]
        about_incident = kind not in (RequestKind.ROLLBACK, RequestKind.PAUSE, RequestKind.RESUME)
        target = (open_ones[0] if open_ones else "inc-none") if about_incident else "trips"
        scenario.ask(kind, target if known else "nowhere", reason="because")

    def _outcome(self, kind: OutcomeKind) -> None:
        scenario = self.scenario
        waiting = [one for one in scenario.service.rollbacks.values() if one.state is RollbackState.INTENDED]
        if not waiting:
            return
        rollback = waiting[0]
        vetoes = (Veto(guard="paused", reason="paused", detail="x"),) if kind is OutcomeKind.VETOED else ()
        state = None
        if kind in (OutcomeKind.APPLIED, OutcomeKind.FOUND_DONE):
            facts = facts_before_write(
                scenario.world, rollback, scenario.state(), now=scenario.now, paused_by_file=""
            )
            if ask(facts, BEFORE_WRITE):
                return  # the executor would have asked, and not written
            state = scenario.state(**{rollback.from_variant: 0, rollback.to_variant: 1})
        scenario.outcome(kind, state=state, vetoes=vetoes, rollback=rollback.id, detail="because")

    def _check(self, count: int) -> None:
        scenario = self.scenario
        rollbacks = scenario.service.rollbacks
        for stepped in scenario.steps[count:]:
            for rollback in stepped.rollbacks:
                if rollback.state is RollbackState.INTENDED and rollback.intended_at == scenario.now:
                    self._check_intent(stepped, rollback)
        for rollback in rollbacks.values():
            if rollback.id in self.ended:
                assert rollback == self.ended[rollback.id], "what has ended stays as it is"
            if rollback.over:
                self.ended[rollback.id] = rollback
        keys = [rollback.key for rollback in rollbacks.values()]
        assert len(keys) == len(set(keys))
        switched = Counter(one.deployment for one in rollbacks.values() if one.automatic and one.switched)
        assert all(times == 1 for times in switched.values()), "at most one automatic switch per deployment"
        intended = [one for one in rollbacks.values() if one.state is RollbackState.INTENDED]
        assert len(intended) <= 1, "one intent of a service at a time"

    def _check_intent(self, stepped: Stepped, rollback: Rollback) -> None:
        """Nobody is asked again here: it is looked at in the world itself."""
        world = stepped.world
        service = world.services["trips"]
        assert not world.paused_by_file
        assert world.leader
        assert service.paused is None
        assert rollback.to_version not in service.taints
        assert service.traffic is not None
        target = service.traffic.variants[rollback.to_variant]
        assert target.ready
        assert service.traffic.variants[rollback.from_variant].live
        if rollback.automatic:
            assert service.service.mode is not Mode.OBSERVE
            assert service.service.mode is Mode.ENFORCE or "approved by" in rollback.requested_by
            deployment = service.deployments[rollback.deployment]
            assert deployment.armed
            assert deployment.rollback_allowed


@pytest.mark.timeout(120)
@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(mode=st.sampled_from(MODES), story=stories)
def test_whatever_happens_in_whatever_order_the_promises_hold(
    mode: Mode, story: list[tuple[str, tuple[Any, ...]]]
) -> None:
    teller = Story(mode)
    for jump, operation in story:
        teller.play(jump, operation)


@pytest.mark.timeout(120)
@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(mode=st.sampled_from(MODES), story=stories)
def test_the_promises_hold_when_the_story_begins_with_a_bad_deployment(
    mode: Mode, story: list[tuple[str, tuple[Any, ...]]]
) -> None:
    """Chance alone seldom gets as far as a switch."""
    teller = Story(mode)
    for jump, operation in (
        ("1s", ("move", {"blue": 1, "green": 0, "red": 0})),
        ("1s", ("healthy",)),
        ("1s", ("swap",)),
        ("5s", ("bad", 0)),
        *story,
    ):
        teller.play(jump, operation)
