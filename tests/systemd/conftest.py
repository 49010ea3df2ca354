"""A manager for every test, and a fleet whose daemon is its unit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.fake_prometheus import FakePrometheus
from tests.faults.fleet import Fleet
from tests.systemd.manager import UserManager
from tests.systemd.service import Service


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left at the end, in the reverse order."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def manager(tmp_path: Path, stack: AsyncExitStack) -> UserManager:
    manager = UserManager(tmp_path / "manager")
    stack.callback(manager.stop)
    return manager.start()


@pytest.fixture
async def service(tmp_path: Path, manager: UserManager) -> Service:
    return Service(tmp_path / "daemon", manager)


@pytest.fixture
async def fleet(tmp_path: Path, stack: AsyncExitStack, service: Service) -> Fleet:
    """One service behind HAProxy, watched by the unit."""
    prometheus = await stack.enter_async_context(FakePrometheus())
    fleet = Fleet(tmp_path, stack, prometheus)
    service.settings = fleet.daemon.settings | {
        name: service.settings[name] for name in ("store", "pause_file", "server")
    }
    fleet.daemon = service
    fleet.add("trips")
    return fleet
