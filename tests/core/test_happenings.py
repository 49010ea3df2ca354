"""What a committed turn gives to say on a service's own object."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import T0, Scenario
from watchdog.core.audit import AuditDraft, ChainHead, link
from watchdog.core.happenings import LONGEST_NOTE, Happening, happenings
from watchdog.core.rollback import RollbackState
from watchdog.core.service import Mode
from watchdog.core.turn import Turn


def said(story: Scenario) -> list[Happening]:
    """What the story gave to say, turn by turn."""
    turns = (
        Turn(
            audit=tuple(link(ChainHead(), draft) for draft in step.audit),
            rollbacks=step.rollbacks,
            incidents=step.incidents,
        )
        for step in story.steps
    )
    return [one for turn in turns for one in happenings(turn)]


def test_an_incident_and_the_switch_are_told() -> None:
    story = Scenario().stable_blue().green_deployed().green_is_bad().switched()
    found = said(story)
    assert [(one.reason, one.grave) for one in found] == [("IncidentOpened", True), ("RolledBack", False)]
    rollback = story.rollback
    assert rollback.id in found[1].note
    assert f"from {rollback.from_version} on {rollback.from_variant}" in found[1].note


def test_a_blocked_one_names_the_guard_and_another_guard_is_another_happening() -> None:
    story = Scenario().mode(Mode.OBSERVE).stable_blue().green_deployed().green_is_bad()
    blocked = [one for one in said(story) if one.reason == "RollbackBlocked"]
    assert len(blocked) == 1
    assert blocked[0].grave
    assert "guard mode" in blocked[0].note
    assert said(story) == said(story)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("rollback_ineffective", "RollbackIneffective"),
        ("rollback_contested", "RollbackContested"),
        ("rollback_failed", "RollbackFailed"),
        ("rollback_partial", "RollbackPartial"),
        ("rollback_unverified", "RollbackUnverified"),
    ],
)
def test_ends_that_need_a_person_are_grave(kind: str, reason: str) -> None:
    story = Scenario().stable_blue().green_deployed().green_is_bad().switched()
    rollback = replace(story.rollback, state=RollbackState(kind.removeprefix("rollback_")))
    body = {"rollback": rollback.id, "why": "because"}
    record = link(ChainHead(), AuditDraft(at=T0, kind=kind, subject="trips", body=body))
    [found] = happenings(Turn(audit=(record,), rollbacks=(rollback,)))
    assert (found.reason, found.grave, found.service) == (reason, True, "trips")
    assert found.note.endswith(f"because (rollback {rollback.id}, incident {rollback.incident})")


def test_the_name_is_the_same_whoever_says_it_and_whenever() -> None:
    story = Scenario().stable_blue().green_deployed().green_is_bad().switched()
    body = {"rollback": story.rollback.id, "why": "because"}
    keys = set()
    for late in (timedelta(), timedelta(hours=1)):
        draft = AuditDraft(at=T0 + late, kind="rollback_failed", subject="trips", body=body)
        [found] = happenings(Turn(audit=(link(ChainHead(), draft),), rollbacks=(story.rollback,)))
        keys.add(found.key)
    assert len(keys) == 1


def test_a_note_is_one_line_that_fits() -> None:
    story = Scenario().stable_blue().green_deployed().green_is_bad().switched()
    rollback = replace(story.rollback, reason="much\n" * 1000)
    draft = AuditDraft(at=T0, kind="rollback_applied", subject="trips", body={"rollback": rollback.id})
    [found] = happenings(Turn(audit=(link(ChainHead(), draft),), rollbacks=(rollback,)))
    assert len(found.note) == LONGEST_NOTE
    assert "\n" not in found.note


def test_records_of_a_rollback_or_an_incident_that_the_turn_does_not_hold_say_nothing() -> None:
    drafts = [
        AuditDraft(at=T0, kind="rollback_failed", subject="trips", body={"rollback": "rb-0"}),
        AuditDraft(at=T0, kind="incident_opened", subject="trips", body={}),
        AuditDraft(at=T0, kind="paused", subject="trips", body={}),
    ]
    assert happenings(Turn(audit=tuple(link(ChainHead(), one) for one in drafts))) == ()
