"""Every source, probe and channel through a proxy that does what networks and servers do at their worst.

A call ends in its time, says what is true of the outcome, leaves nothing open, and the next one after the fault works.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.contracts.fault_rigs import RIGS as ASKING
from tests.contracts.fault_rigs import Rig
from tests.contracts.leaks import nothing_left
from tests.contracts.people_fault_rigs import PEOPLE
from tests.eventually import eventually
from tests.faults.proxy import Deed
from watchdog.channels.registry import KINDS as CHANNELS
from watchdog.probes.registry import KINDS as PROBES
from watchdog.sources.registry import KINDS as SOURCES

RIGS = ASKING | PEOPLE
#: Providers without a network between them and what they ask.
LOCAL = {"command", "log"}
#: A call that is not over by then has no time limit: far beyond any of its own, on whatever machine.
PATIENCE = 30.0


def test_every_provider_that_speaks_over_a_network_has_a_rig() -> None:
    assert {*SOURCES, *PROBES, *CHANNELS} - LOCAL <= set(RIGS)


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return RIGS[request.param]()


@pytest.mark.timeout(120)
async def test_no_fault_of_a_network_is_a_lie_a_leak_or_the_end(rig: Rig, tmp_path: Path) -> None:
    async with nothing_left(), rig.open(tmp_path):
        await eventually(lambda: called(rig, Deed.PASS), within=PATIENCE, what="a first good call")
        for deed in Deed:
            await suffered(rig, deed)
            await eventually(
                lambda: called(rig, Deed.PASS), within=PATIENCE, what=f"a good call after {deed} is over"
            )


async def suffered(rig: Rig, deed: Deed) -> None:
    """One deed, until a call has met it."""
    rig.proxy.always(deed)
    before = rig.met

    async def met() -> bool:
        went_well = await called(rig, deed)
        if rig.met == before:
            return False  # a source that looks by itself has not looked yet
        return went_well is (deed in rig.harmless)

    try:
        await eventually(met, within=PATIENCE, what=f"what has to follow from {deed}")
    finally:
        rig.proxy.drop()


async def called(rig: Rig, deed: Deed) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await rig.call(deed)
