"""Expectations, judged on recordings written by hand: what is met, and what a failure says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from watchdog.lab.expectations import Expectation, Fact, judge, shown
from watchdog.lab.recording import Happening, Recording, What


def at(text: str) -> timedelta:
    minutes, _, seconds = text.partition(":")
    return timedelta(minutes=int(minutes), seconds=int(seconds or 0))


def happening(when: str, what: What, **facts: Fact) -> Happening:
    return Happening(at=at(when), what=what, facts={name.rstrip("_"): fact for name, fact in facts.items()})


STORY = Recording(
    script="a story",
    happenings=(
        happening("0", What.VERDICT, service="app", rule="errors", level="ok", value=0.1 + 0.2, fresh=True),
        happening("5", What.VERDICT, service="app", rule="errors", level="rollback", value=20.0, fresh=True),
        happening("5", What.INCIDENT, service="app", state="opened", level="critical"),
        happening("5:30", What.ROLLBACK, service="app", state="decided", from_="v2", to="v1"),
        happening("6", What.ROLLBACK, service="app", state="applied", from_="v2", to="v1"),
        happening("6", What.SWITCH, service="app", from_="v2", to="v1"),
        happening("6", What.NOTIFICATION, service="app", kind="rollback_switched", channel="ops"),
    ),
)


def expect(
    what: What, *, after: str | None = None, by: str | None = None, times: int | None = None, **facts: object
) -> Expectation:
    values: dict[str, tuple[Fact, ...]] = {}
    for name, value in facts.items():
        values[name.rstrip("_")] = value if isinstance(value, tuple) else (value,)
    return Expectation(
        what=what,
        facts=values,
        after=None if after is None else at(after),
        by=None if by is None else at(by),
        times=times,
        place="f:1:2",
    )


@pytest.mark.parametrize(
    "one",
    [
        expect(What.SWITCH),
        expect(What.SWITCH, to="v1"),
        expect(What.SWITCH, after="6", by="6"),
        expect(What.ROLLBACK, state="applied", after="5", by="6"),
        expect(What.ROLLBACK, state=("completed", "applied")),
        expect(What.ROLLBACK, times=2),
        expect(What.ROLLBACK, times=1, by="5:30"),
        expect(What.ROLLBACK, state="completed", times=0),
        expect(What.ROLLBACK, times=0, by="5"),
        expect(What.SWITCH, after="5"),
        expect(What.VERDICT, value=0.3),
        expect(What.VERDICT, fresh=True, level="ok"),
    ],
)
def test_what_happened_as_expected_is_no_failure(one: Expectation) -> None:
    assert judge([one], STORY) == ()


@pytest.mark.parametrize(
    ("one", "expected", "instead"),
    [
        (
            expect(What.SWITCH, to="v3"),
            "switch to=v3, at any time",
            "nearest, at 6m: switch service=app from=v2 to=v1; to is v1, not v3",
        ),
        (expect(What.SWITCH, by="5"), "switch, by 5m", "1m too late"),
        (expect(What.SWITCH, after="6:30"), "switch, from 6m30s on", "30s too early"),
        (expect(What.SWITCH, after="1", by="2"), "switch, within 1m to 2m", "4m too late"),
        (expect(What.SWITCH, after="5", by="5"), "switch, at 5m", "1m too late"),
        (expect(What.GUARD, guard="armed"), "guard guard=armed, at any time", "there was no guard at all"),
        (
            expect(What.ROLLBACK, times=0),
            "rollback, never",
            "came twice: at 5m30s rollback service=app state=decided from=v2 to=v1; at 6m",
        ),
        (expect(What.ROLLBACK, times=3), "rollback, exactly 3 times", "came twice: at 5m30s"),
        (expect(What.ROLLBACK, times=1), "rollback, exactly once", "came twice"),
        (
            expect(What.ROLLBACK, state="completed", by="10"),
            "rollback state=completed, by 10m",
            "state is decided, not completed",
        ),
        (
            expect(What.VERDICT, level="critical", rule="errors", after="4", by="4:30"),
            "verdict level=critical rule=errors, within 4m to 4m30s",
            "level=rollback value=20 fresh=true; level is rollback, not critical, 30s too late",
        ),
        (expect(What.VERDICT, fresh=False), "verdict fresh=false, at any time", "fresh is true, not false"),
        (
            expect(What.INCIDENT, state=("closed", "acknowledged")),
            "incident state=closed or acknowledged, at any time",
            "state is opened, not closed or acknowledged",
        ),
        (expect(What.INCIDENT, version="v2"), "incident version=v2, at any time", "version is '', not v2"),
    ],
)
def test_a_failure_says_what_was_expected_what_came_nearest_and_when(
    one: Expectation, expected: str, instead: str
) -> None:
    (failed,) = judge([one], STORY)
    assert failed.expected == expected
    assert instead in failed.instead
    assert failed.place == "f:1:2"


def test_every_failure_is_told() -> None:
    both = [expect(What.SWITCH, to="v3"), expect(What.GUARD), expect(What.SWITCH)]
    assert len(judge(both, STORY)) == 2


def test_a_strict_test_fails_for_every_action_that_nothing_expects() -> None:
    wanted = [expect(What.ROLLBACK), expect(What.SWITCH, to="v1"), expect(What.INCIDENT, level="critical")]
    (failed,) = judge(wanted, STORY, strict=True)
    assert failed.expected == "nothing else (strict)"
    assert failed.instead.startswith("notification service=app kind=rollback_switched")
    assert judge([*wanted, expect(What.NOTIFICATION)], STORY, strict=True) == ()


def test_a_strict_test_does_not_mind_verdicts_and_guards() -> None:
    quiet = Recording(
        script="",
        happenings=(happening("1", What.VERDICT, level="ok"), happening("1", What.GUARD, guard="armed")),
    )
    assert judge([], quiet, strict=True) == ()
    assert len(judge([], STORY, strict=True)) == 5


def test_what_must_never_happen_excuses_nothing_in_a_strict_test() -> None:
    assert len(judge([expect(What.SWITCH, times=0, by="1")], STORY, strict=True)) == 5


def test_what_comes_at_another_time_than_expected_is_unexpected_in_a_strict_test() -> None:
    found = judge(
        [expect(What.SWITCH, times=0), *map(expect, (What.ROLLBACK, What.INCIDENT))], STORY, strict=True
    )
    assert [one.instead.split(" ")[0] for one in found] == ["came", "switch", "notification"]


def test_a_long_fact_is_cut_and_one_with_blanks_is_quoted() -> None:
    one = happening("1", What.GUARD, guard="armed", because="x " * 200)
    assert len(shown(one)) < 150
    assert "'x x" in shown(one)
    assert shown(happening("1", What.SWITCH, service="", to="v1")) == "switch to=v1"


def test_what_comes_too_often_is_listed_up_to_five_times() -> None:
    many = Recording(script="", happenings=tuple(happening(str(n), What.SWITCH, to="v1") for n in range(9)))
    (failed,) = judge([expect(What.SWITCH, times=2)], many)
    assert failed.instead.count("switch to=v1") == 5
    assert failed.instead.endswith("and 4 more")
