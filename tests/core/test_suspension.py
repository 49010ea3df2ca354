"""What was suspended for a rollback stays so, however that ends: whoever hears of the end hears of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.scenario import Scenario
from watchdog.core.events import OutcomeKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Veto
from watchdog.core.traffic import Suspension, TrafficState

OWNER = "Argo CD application argocd/trips"
PAUSED = Veto(guard="paused", reason="paused", detail="paused by ann")
GONE = Veto(guard="still_live", reason="not_live", detail="green takes no traffic any more")


def suspended(scenario: Scenario) -> TrafficState:
    """The owner was suspended, and the switch itself was not written."""
    found = Suspension(owner=OWNER, rollback=scenario.rollback.id)
    return replace(scenario.state(), suspended=found)


def says_so(message: Message) -> bool:
    return ("suspended", OWNER) in message.facts and message.next_step.endswith(
        "watchdog gitops resume trips --reason TEXT"
    )


@pytest.mark.parametrize(
    "kind", [OutcomeKind.LAPSED, OutcomeKind.REFUSED, OutcomeKind.OVERTAKEN, OutcomeKind.HALF_DONE]
)
def test_a_rollback_that_ends_unwritten_says_what_it_left_suspended(kind: OutcomeKind) -> None:
    scenario = Scenario().decided().after("1s")

    scenario.outcome(kind, state=suspended(scenario), detail="the API server was away")

    assert says_so(scenario.message(MessageKind.ROLLBACK_ENDED))


def test_a_guard_that_says_no_after_the_suspend_is_told_with_it() -> None:
    scenario = Scenario().decided().after("1s")

    scenario.outcome(OutcomeKind.VETOED, state=suspended(scenario), vetoes=(PAUSED,))

    assert says_so(scenario.message(MessageKind.ROLLBACK_BLOCKED))


def test_a_bad_version_that_lost_its_traffic_after_the_suspend_is_told_with_it() -> None:
    scenario = Scenario().decided().after("1s")

    scenario.outcome(OutcomeKind.VETOED, state=suspended(scenario), vetoes=(GONE,))

    assert says_so(scenario.message(MessageKind.ROLLBACK_ENDED))


def test_a_guard_that_was_told_before_the_suspend_is_told_once_more() -> None:
    scenario = Scenario().decided().after("1s").outcome(OutcomeKind.VETOED, vetoes=(PAUSED,))
    first = scenario.message(MessageKind.ROLLBACK_BLOCKED)
    scenario.after("31s").traffic().green_is_bad()

    scenario.after("1s").outcome(OutcomeKind.VETOED, state=suspended(scenario), vetoes=(PAUSED,))
    told = [one for one in scenario.messages if one.kind is MessageKind.ROLLBACK_BLOCKED]

    assert not says_so(first)
    assert [says_so(one) for one in told] == [False, True]
    assert told[0].key != told[1].key
