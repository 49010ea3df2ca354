"""How long a proof may take, with several rules: each counts, whichever comes first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import Scenario, of_service, probe, rule
from watchdog.core.observation import Value
from watchdog.core.proof import scrapes_of, verify_for

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("first", ["probe", "query"])
def test_the_longest_rule_counts_wherever_it_stands(first: str) -> None:
    slow = rule(window=600 * SECOND)
    rules = [probe(), slow] if first == "probe" else [slow, probe()]

    assert verify_for(rules, SECOND, {"errors": 10 * SECOND}, 5 * SECOND) == (600 + 2 * 10 + 2 * 10) * SECOND


def test_the_scrapes_of_rules_about_the_whole_service_and_about_the_bad_version_count() -> None:
    story = Scenario(rule(), of_service()).green_deployed()
    for _ in range(2):
        story.after("10s")
        for name, on in (("load", ""), ("errors", "green")):
            check = story.check(name, on)
            story.sees(check, Value(value=50.0, at=story.now, scrape_interval=7 * SECOND))

    assert scrapes_of(story.service, story.rollback) == {"load": 7 * SECOND, "errors": 7 * SECOND}
