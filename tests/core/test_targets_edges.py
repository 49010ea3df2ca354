"""Which words a missing target has for people, and that one candidate which does not fit ends no search."""

from __future__ import annotations

import pytest

from tests.core.scenario import Scenario
from watchdog.core.targets import choose


def test_a_wanted_version_is_found_behind_others_that_carry_something_else() -> None:
    story = Scenario().traffic(blue=1, green=0, red=0).healthy_for("11m")
    story.after("5s").traffic(blue=0, red=1).healthy_for("12m")
    story.after("5s").traffic(red=0, green=1)
    found = choose(story.service, story.service.current(), wanted="red")

    assert found.deployment is not None
    assert found.deployment.variant == "red"
    again = choose(story.service, story.service.current(), wanted="blue")
    assert again.deployment is not None
    assert again.deployment.variant == "blue"


def test_the_bad_version_first_in_line_ends_no_search() -> None:
    story = Scenario().traffic(zebra=1, ant=0).healthy_for("11m")
    story.after("5s").traffic(ant=1, zebra=0)
    found = choose(story.service, story.service.current())

    assert found.deployment is not None
    assert found.deployment.variant == "zebra"


@pytest.mark.parametrize(
    ("wanted", "problem", "detail"),
    [
        (None, "not_stable", "version blue on blue was never stable (superseded)"),
        ("v9", "unknown_version", "no variant is known to carry a stable v9"),
    ],
)
def test_why_there_is_none_is_said_in_words(wanted: str | None, problem: str, detail: str) -> None:
    story = Scenario().traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)
    found = choose(story.service, story.service.current(), wanted=wanted)

    assert (found.deployment, found.problem, found.detail) == (None, problem, detail)


def test_that_there_is_no_other_variant_is_said_in_words() -> None:
    story = Scenario().traffic(blue=1).healthy_for("1m")
    found = choose(story.service, story.service.current())

    assert (found.problem, found.detail) == ("no_variant", "there is no other variant")


def test_a_variant_that_nobody_has_seen_is_said_in_words() -> None:
    story = Scenario().traffic(blue=1, green=0).healthy_for("11m")
    found = choose(story.service, story.service.current())

    assert (found.problem, found.detail) == ("never_seen", "nothing is known of what green carries")
