"""The packs' own tests: all of them come out as expected, every rule reaches every level, and noise does nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.rules.packs import PACKS, ROOT
from watchdog.core.rule import Level
from watchdog.lab.coverage import levels_of
from watchdog.lab.expectations import ACTIONS
from watchdog.lab.recording import Recording, What
from watchdog.lab.testfile_run import Ran, covered, run


def file_of(pack: str) -> Path:
    return ROOT / "rules" / f"{pack}.test.yaml"


def quiet(ran: Ran) -> list[Recording]:
    """The tests in which nothing may happen."""
    return [one.recording for one in ran.outcomes if one.case.name.startswith("healthy noise")]


def test_every_pack_has_tests_and_every_file_with_tests_a_pack() -> None:
    assert {file_of(pack) for pack in PACKS} == set((ROOT / "rules").glob("*.test.yaml"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_does_what_its_tests_say_and_they_leave_nothing_out(pack: str) -> None:
    ran = run(file_of(pack), environ={}, timer=time.perf_counter)

    assert [str(problem) for problem in ran.problems] == []
    assert [(one.case.name, one.failed) for one in ran.outcomes if not one.ok] == []
    _reaches_every_level(ran)
    _nothing_comes_of_noise(ran)
    moved = any(one.recording.of(What.SWITCH) for one in ran.outcomes)
    assert moved is any(rule.can_roll_back for rule in ran.rules.values())


def _reaches_every_level(ran: Ran) -> None:
    assert covered([ran]).missing == ()
    held = {
        (str(one.facts["rule"]), Level(str(one.facts["held"])))
        for outcome in ran.outcomes
        for one in outcome.recording.of(What.VERDICT)
    }
    assert {(name, level) for name, rule in ran.rules.items() for level in levels_of(rule)} <= held


def _nothing_comes_of_noise(ran: Ran) -> None:
    verdicts = [one.facts for recording in quiet(ran) for one in recording.of(What.VERDICT)]

    assert {one["rule"] for one in verdicts if one["level"] == "ok"} == set(ran.rules), "noise of every rule"
    assert [one for recording in quiet(ran) for what in ACTIONS for one in recording.of(what)] == []
    assert {one["level"] for one in verdicts} - {"ok", "unknown"}, "what never comes near a limit is no noise"
