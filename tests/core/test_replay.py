from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.core.scenario import CRITICAL, ROLLBACK, Scenario, counting, of_service, probe, rule
from watchdog.core.audit import AuditRecord, ChainHead, link
from watchdog.core.events import OutcomeKind
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import BEFORE_WRITE, ask
from watchdog.core.replay import DECISIONS, replay
from watchdog.core.request import RequestKind
from watchdog.core.rule import Level
from watchdog.core.service import Mode


def records(story: Scenario) -> list[AuditRecord]:
    """The chain as it is read back: every record through JSON."""
    head, chain = ChainHead(), []
    for draft in story.audit:
        record = link(head, draft)
        head = ChainHead(seq=record.seq, hash=record.hash)
        chain.append(msgspec.json.decode(msgspec.json.encode(record), type=AuditRecord))
    return chain


def one(story: Scenario, kind: str) -> AuditRecord:
    found = [record for record in records(story) if record.kind == kind]
    assert found, f"no record {kind}: {[record.kind for record in records(story)]}"
    return found[-1]


def blocked() -> Scenario:
    return Scenario().green_deployed().tick(paused="the pause file exists").green_is_bad()


def by_person() -> Scenario:
    story = Scenario().green_deployed()
    assert story.ask(RequestKind.ROLLBACK, reason="I know better").status == 202
    return story


def dead_probe() -> Scenario:
    story = Scenario(rule(), probe()).stable_blue().after("5s").traffic(blue=0, green=1).after("1m").traffic()
    for _ in range(6):
        story.after("5s").probed(alive=False)
    return story


def approve_mode() -> Scenario:
    return Scenario(mode=Mode.APPROVE).decided()


def approved() -> Scenario:
    story = approve_mode()
    assert story.ask(RequestKind.APPROVE, story.incident.id).status == 202
    return story


def refused() -> Scenario:
    story = Scenario().traffic(blue=1, green=0)
    assert story.ask(RequestKind.ROLLBACK, reason="I want out").status == 409
    return story


def approval_too_soon() -> Scenario:
    story = approve_mode().tick(paused="the pause file exists")
    assert story.ask(RequestKind.APPROVE, story.incident.id).status == 409
    return story


STORIES: dict[str, Callable[[], Scenario]] = {
    "intended": lambda: Scenario().decided(),
    "blocked": blocked,
    "observe": lambda: Scenario(mode=Mode.OBSERVE).decided(),
    "approval": approve_mode,
    "approved": approved,
    "approval vetoed": approval_too_soon,
    "person": by_person,
    "person refused": refused,
    "probe": dead_probe,
    "evidence": lambda: Scenario(counting()).green_deployed(events=100.0),
    "critical": lambda: Scenario().green_deployed().green_is_bad(3, value=CRITICAL),
    "whole service": lambda: (
        Scenario(of_service(), rule()).green_deployed().green_is_bad(3, rule="load", value=ROLLBACK)
    ),
    "proved": lambda: Scenario().verified().blue_recovers(),
}


@pytest.mark.parametrize("name", STORIES)
def test_every_decision_of_every_story_is_reached_again_from_its_record_alone(name: str) -> None:
    chain = records(STORIES[name]())
    found = [replay(record) for record in chain]
    for record, again in zip(chain, found, strict=True):
        assert again is None or again.faithful, f"{record.kind}: {again}"
        if again is None:
            assert record.kind not in DECISIONS or record.body.get("facts") is None


def test_an_intent_shows_the_verdict_the_rule_and_the_facts_it_was_made_of() -> None:
    again = replay(one(Scenario().decided(), "rollback_intended"))
    assert again is not None
    assert again.verdict is not None
    assert again.verdict.level is Level.ROLLBACK
    assert again.again == again.verdict
    assert again.rule == rule()
    assert again.facts is not None
    assert again.facts.from_variant == "green"
    assert again.vetoes == again.vetoes_again == ()


def test_a_blocked_rollback_shows_the_guards_that_said_no() -> None:
    again = replay(one(blocked(), "rollback_blocked"))
    assert again is not None
    assert [veto.guard for veto in again.vetoes] == ["paused"]
    assert again.vetoes == again.vetoes_again


def test_the_veto_that_an_approval_is_there_to_lift_is_no_difference() -> None:
    again = replay(one(approve_mode(), "approval_asked"))
    assert again is not None
    assert again.faithful
    assert again.vetoes_again == ()


def test_a_persons_rollback_has_no_verdict_to_reach_but_guards() -> None:
    again = replay(one(by_person(), "rollback_intended"))
    assert again is not None
    assert (again.verdict, again.rule) == (None, None)
    assert again.facts is not None
    assert not again.facts.automatic


@pytest.mark.parametrize(
    ("story", "kind"), [(refused, "rollback_request_refused"), (approval_too_soon, "approval_vetoed")]
)
def test_what_a_person_was_refused_is_replayed_too(story: Callable[[], Scenario], kind: str) -> None:
    again = replay(one(story(), kind))
    assert again is not None
    assert again.vetoes == again.vetoes_again != ()


@pytest.mark.parametrize(
    ("kind", "record", "paused"),
    [
        (OutcomeKind.APPLIED, "rollback_applied", ""),
        (OutcomeKind.VETOED, "rollback_blocked", "the pause file exists"),
    ],
)
def test_what_the_guards_said_right_before_the_write_is_replayed(
    kind: OutcomeKind, record: str, paused: str
) -> None:
    story = Scenario().decided()
    state = story.state(blue=0, green=1)
    facts = facts_before_write(story.world, story.rollback, state, now=story.now, paused_by_file=paused)
    after = story.state(blue=1, green=0) if not paused else state
    story.outcome(kind, state=after, facts=facts, vetoes=ask(facts, BEFORE_WRITE))
    again = replay(one(story, record))
    assert again is not None
    assert (again.faithful, again.facts) == (True, facts)
    assert [veto.guard for veto in again.vetoes_again] == (["paused"] if paused else [])


def test_an_opened_incident_has_a_verdict_but_no_guards() -> None:
    again = replay(one(Scenario().decided(), "incident_opened"))
    assert again is not None
    assert again.verdict is not None
    assert again.facts is None


def test_records_without_a_decision_are_not_replayed() -> None:
    kinds = {record.kind for record in records(Scenario().verified()) if replay(record) is None}
    assert {"traffic_changed", "deployment_adopted", "rollback_applied"} <= kinds


def tampered(record: AuditRecord, *path: str, value: Any) -> AuditRecord:
    """The record with one thing changed, as somebody with a hand in the database would."""
    body = copy.deepcopy(record.body)
    inner = body
    for name in path[:-1]:
        inner = inner[name]
    assert path[-1] in inner, f"{path} is not in the record: {sorted(inner)}"
    assert inner[path[-1]] != value, "it says so already"
    inner[path[-1]] = value
    return msgspec.structs.replace(record, body=body)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("observation", "value"), 12.0),
        (("observation", "at"), "2026-03-02T10:00:00Z"),
        (("verdict", "level"), "critical"),
        (("verdict", "explanation"), "all is well"),
        (("verdict", "limit"), 99.0),
        (("rule", "thresholds"), {"rollback": 45.0}),
        (("rule", "hold", "rollback"), {"type": "samples", "count": 9}),
        (("rule_hash",), "0" * 16),
        (("facts", "target_ready"), 0),
        (("facts", "paused"), "by somebody"),
        (("facts", "leader"), False),
        (("facts", "from_live"), False),
        (("facts", "known_before"), "critical"),
        (("facts", "rollbacks_today"), 7),
    ],
    ids=lambda it: ".".join(it) if isinstance(it, tuple) else "",
)
def test_a_record_that_was_tampered_with_does_not_replay(path: tuple[str, ...], value: object) -> None:
    honest = one(Scenario().decided(), "rollback_intended")
    faithful = replay(honest)
    assert faithful is not None
    assert faithful.faithful
    again = replay(tampered(honest, *path, value=value))
    assert again is not None
    assert not again.faithful


def test_a_veto_that_was_removed_or_put_in_does_not_replay() -> None:
    honest = one(blocked(), "rollback_blocked")
    for vetoes in ([], [*honest.body["vetoes"], *honest.body["vetoes"]]):
        again = replay(tampered(honest, "vetoes", value=vetoes))
        assert again is not None
        assert not again.faithful


def test_a_record_that_can_no_longer_be_read_says_so() -> None:
    honest = one(Scenario().decided(), "rollback_intended")
    with pytest.raises(msgspec.ValidationError):
        replay(tampered(honest, "rule", "thresholds", value="high"))
