"""What stands in an outcome: every end carries the state on which it was decided, and says why in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.engine.test_executor import EXPIRY, Rig
from tests.engine.worlds import intent
from tests.eventually import eventually
from watchdog.core.events import OutcomeKind
from watchdog.core.traffic import Tier

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def rig() -> Rig:
    return Rig(Tier.B)


async def test_what_was_written_is_told_with_the_state_after_it(rig: Rig) -> None:
    outcome = await rig.carry_out()

    assert outcome.kind is OutcomeKind.APPLIED
    assert outcome.state is not None
    assert outcome.state.live == ("blue",)
    assert outcome.before is not None
    assert outcome.before.live == ("green",)


async def test_what_was_in_place_already_is_told_with_the_state_that_was_found(rig: Rig) -> None:
    rig.switch.move({"blue": 100})
    outcome = await rig.carry_out(resumed=True)

    assert outcome.kind is OutcomeKind.FOUND_DONE
    assert outcome.state is not None
    assert outcome.state.live == ("blue",)
    assert outcome.before is None


async def test_who_was_overtaken_tells_by_what(rig: Rig) -> None:
    rig.switch.move({"blue": 100})
    outcome = await rig.carry_out()

    assert (outcome.kind, outcome.detail) == (OutcomeKind.OVERTAKEN, "traffic was moved first")
    assert outcome.state is not None
    assert outcome.state.live == ("blue",)


async def test_what_lapsed_is_told_with_the_state_and_the_reason(rig: Rig) -> None:
    late = intent()
    assert late.expires_at is not None
    await rig.clock.sleep(EXPIRY + 1)
    outcome = await rig.carry_out(late)

    assert (outcome.kind, outcome.detail) == (OutcomeKind.LAPSED, "the intent is too old")
    assert outcome.state is not None
    assert outcome.state.live == ("green",)


async def test_a_clock_that_was_set_back_while_nobody_ran_gives_no_intent_a_longer_life(rig: Rig) -> None:
    """By the new clock it was written two hours from now."""
    written = rig.clock.now() + timedelta(hours=2)
    late = intent(decided_at=written, intended_at=written, expires_at=written + timedelta(seconds=EXPIRY))
    rig.switch.vanish()
    begun = rig.clock.boottime()
    await rig.leadership.acquire()

    rig.executor.submit(late)
    await eventually(lambda: rig.outcomes, within=3 * EXPIRY, every=1, what="an end")

    assert rig.outcomes[0].kind is OutcomeKind.LAPSED
    assert rig.clock.boottime() - begun <= EXPIRY + 10


async def test_a_veto_is_told_in_its_own_words_with_the_state_it_was_about(rig: Rig) -> None:
    rig.pause = "the pause file is there"
    outcome = await rig.carry_out()

    assert (outcome.kind, outcome.detail) == (OutcomeKind.VETOED, "the pause file is there")
    assert [veto.guard for veto in outcome.vetoes] == ["paused"]
    assert outcome.state is not None
    assert outcome.facts is not None
